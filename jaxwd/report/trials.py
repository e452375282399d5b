"""Runs of a sweep as plain values: what was varied, in groups of seeds, with bands."""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from jaxwd.lab.statistics import LEVEL
from jaxwd.report.tables import scaled

Row = dict[str, Any]
Labels = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Trial:
    """One run, wherever it came from: a ledger's `Run` or a sweep's `Outcome`.

    Attributes:
        arm: the arm it belongs to, "" in a plain sweep.
        seed: of its recipe.
        labels: what was varied, by path, as `(("decay.strength", 0.1), ...)`.
        status: `finished`, `diverged`, `stopped`, `running` or `waiting`.
        final: metrics at the end; None where it did not end.
        history: one row for each epoch.
        message: why it diverged or was stopped.
        step: the first step whose loss is not finite.
    """

    arm: str
    seed: int
    labels: Labels
    status: str
    final: Row | None = None
    history: Sequence[Row] = ()
    message: str = ""
    step: int | None = None


@dataclass(frozen=True)
class Group:
    """The runs that differ in nothing but their seed."""

    arm: str
    labels: Labels
    trials: list[Trial] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return the arm and what was varied, in words."""
        varied = ", ".join(f"{short(k)} {in_text(v)}" for k, v in self.labels)
        return ": ".join(filter(None, (self.arm, varied))) or "all runs"

    @property
    def finished(self) -> list[Trial]:
        """Return the runs that have final metrics."""
        done = (t for t in self.trials if t.status == "finished" and t.final)
        return list(done)

    @property
    def diverged(self) -> int:
        """Return how many of the runs diverged."""
        return sum(t.status == "diverged" for t in self.trials)

    def metrics(self, names: Iterable[str]) -> dict[str, tuple[float, float]]:
        """Return metric → mean and half of its 95 % interval over the seeds."""
        found = {}
        for name in names:
            values = [
                t.final[name] for t in self.finished if t.final and name in t.final
            ]
            if values:
                mean, half = band(np.array(values, float)[:, None])
                found[name] = (float(mean[0]), float(half[0]))
        return found


def trial(run: Any, curve: Callable[[str], Sequence[Row]] | None = None) -> Trial:
    """Return a `Run`, an `Outcome` or a `Trial` as a `Trial`.

    Args:
        run: anything with the attributes of one of the three.
        curve: `key → rows` for runs that do not carry their history, such as
            `ledger.curve`.
    """
    if isinstance(run, Trial):
        return run
    final = run.final if hasattr(run, "final") else run.outcome
    history = getattr(run, "history", None)
    if history is None:
        history = curve(run.key) if curve is not None else ()
    seed = run.seed if hasattr(run, "seed") else run.recipe.seed
    labels = {path: value for path, value in dict(run.labels).items() if path != "also"}
    return Trial(
        getattr(run, "arm", ""),
        int(labels.get("seed", seed)),
        tuple((path, _hashable(value)) for path, value in labels.items()),
        run.status,
        final,
        history,
        run.message or "",
        run.step,
    )


def groups(trials: Sequence[Trial]) -> list[Group]:
    """Return the runs in groups of equal arm and labels, in order of appearance."""
    found: dict[tuple[str, str], Group] = {}
    for one in trials:
        labels = tuple((k, v) for k, v in one.labels if k != "seed")
        key = (one.arm, repr(labels))
        found.setdefault(key, Group(one.arm, labels)).trials.append(one)
    return list(found.values())


def band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and half of the 95 % t-interval down the columns of runs × points.

    The same as `jaxwd.lab.statistics.interval`, for many columns at once; the half is
    NaN for one run.

    >>> mean, half = band(np.array([[0.90], [0.92], [0.91]]))
    >>> round(mean.item(), 4), round(half.item(), 4)
    (0.91, 0.0248)
    """
    n = len(values)
    mean = values.mean(axis=0)
    if n < 2:
        return mean, np.full_like(mean, math.nan)
    return mean, _quantile(n - 1) * values.std(axis=0, ddof=1) / math.sqrt(n)


@functools.cache
def _quantile(freedom: int) -> float:
    return float(stats.t.ppf(0.5 + LEVEL / 2, freedom))


def unit(metric: str, score: str) -> tuple[float, str]:
    """Return what a metric is multiplied by to be shown, and its unit."""
    if metric == "decay_share":
        return 100.0, " %"
    return (scaled(1.0, score), " %") if metric.endswith("accuracy") else (1.0, "")


def short(path: str) -> str:
    """Return a label's path in a word or a letter: `λ` for `decay.strength`."""
    return {"strength": "λ", "learning_rate": "lr"}.get(
        path.rsplit(".", 1)[-1], path.rsplit(".", 1)[-1]
    )


def in_text(value: Any, digits: int = 4) -> str:
    """Return a label's value: numbers to a few digits, others as they are."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:.{digits}g}".replace("e-0", "e-")


def _hashable(value: Any) -> Any:
    """Return a label as a ledger gives it back, lists as the tuples they were."""
    if isinstance(value, dict):
        value = [*value.items()]
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value
