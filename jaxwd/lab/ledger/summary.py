"""A ledger in a few lines: runs by state and arm, the best of each, what made them."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from jaxwd.lab.ledger.reading import STATUSES, Reader, Run


class Best(NamedTuple):
    """The run that validation chooses, and by what."""

    run: Run
    metric: str
    value: float


def best(runs: Sequence[Run]) -> Best | None:
    """Return the finished run with the best score on the validation part.

    The score is `validation_accuracy` or another `validation_…` that is no loss,
    highest first; else `validation_loss`, lowest first. Never a test metric.
    """
    finished = [run for run in runs if run.outcome]
    names = {n for run in finished for n in run.outcome or {} if "validation_" in n}
    scores = sorted(n for n in names if not n.endswith("loss"))
    if not names:
        return None
    metric = scores[0] if scores else "validation_loss"
    sign = 1 if scores else -1
    measured = [
        Best(run, metric, value)
        for run in finished
        if not math.isnan(value := float((run.outcome or {}).get(metric, math.nan)))
    ]
    return max(measured, key=lambda one: sign * one.value, default=None)


def summary(ledger: Reader) -> Iterator[Any]:
    """Yield what `jaxwd ledger show` prints."""
    from rich.table import Table
    from rich.text import Text

    runs, gone = ledger.runs(), set(ledger.abandoned())
    yield Text(f"{ledger.path}: {len(runs):,} runs")
    states = [s for s in STATUSES if any(run.status == s for run in runs)]
    table = Table(box=None, pad_edge=False)
    for head in ("arm", *states, "best", "of"):
        table.add_column(head, justify="left" if head in ("arm", "of") else "right")
    for arm in dict.fromkeys(arm for run in runs for arm in run.arms):
        mine = [run for run in runs if arm in run.arms]
        counts, top = Counter(run.status for run in mine), best(mine)
        found = ("", "") if top is None else (f"{top.value:.4f}", _named(top.run))
        shared = {run.arm for run in mine} - {arm}
        name = f"{arm} (runs of {', '.join(sorted(shared))})" if shared else arm
        cells = (name or "–", *(str(counts[s]) for s in states), *found)
        table.add_row(*map(Text, cells))  # a name in brackets is no style
    if runs:
        yield table
    top = best(runs)
    if top is not None:
        yield Text(f"best: {top.metric} {top.value:.6g}, run {top.run.key}")
    if gone:
        yield Text(f"{len(gone)} of the running were left by a process that is gone")
    for made_by in ledger.provenance():
        versions = made_by.get("versions") or {}
        shown = ", ".join(f"{k} {v}" for k, v in versions.items() if k in _SHOWN)
        said = [made_by.get(name) for name in ("time", "processor", "commit")]
        words = [str(x) for x in (*said, shown) if x]
        if words:
            yield Text(f"made by: {'; '.join(words)}")


def _named(run: Run) -> str:
    """Return what tells a run from its neighbours."""
    labels = [f"{p}={value}" for p, value in run.labels.items() if p != "also"]
    seeded = [] if "seed" in run.labels else [f"seed {run.seed}"]
    return ", ".join(labels + seeded)


_SHOWN = ("jaxwd", "jax")
