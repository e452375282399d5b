"""Does regression want another λ than classification, on the same data?

One regression set, as it is, with its targets scaled by 10 and by 100, and as
classification of its targets in ten bins of equal counts. For every task and seed the
best λ of L2 in the gradient is looked for on validation loss, over a grid of learning
rates × λ; log₁₀ λ* is then compared by pairs of seeds. Scaling the targets of an L-layer
ReLU net by c under squared error is the same problem with λ·c^(2 − 2/L): a shift of
log₁₀ c for the two layers here, so part of "regression wants more" is a matter of units.

    python experiments/lambda_by_task.py               # or: jaxwd run lambda_by_task
    jaxwd run lambda_by_task --dataset diabetes --epochs 5 --seeds 3

Cost: 1.3 minutes with `--seeds 10` (2,040 trainings; 2 cores of an AMD EPYC busy with other
work, JAX 0.10.2).
Answer, 10 seeds: targets × 10 shift log₁₀ λ* by +0.75 [+0.50, +1.00] (1 predicted), × 100
by +1.10 [+0.11, +2.09] (2 predicted); classification differs by −0.25 [−0.50, +0.00], p
0.068. 95 % t-intervals; a step of the grid is 0.5. The loss's units matter; the task is not
shown to. An earlier measurement of 5 seeds gave +0.80, +1.90 and −0.10.
"""

import math
import pathlib
from dataclasses import dataclass, replace

from jaxwd.errors import InputError
from jaxwd.flags import Flags, guarded, parse
from jaxwd.lab.experiment import recipe

BINS, LAYERS = 10, 2
LOW, HIGH = 1e-5, 1e3


@dataclass(frozen=True)
class TaskFlags(Flags):
    """The shared flags, with what this experiment adds."""

    dataset: str = "friedman"
    model: str = "mlp"
    optimizer: str = "adam"
    schedule: str = "cosine"
    epochs: int = 20
    scales: tuple[float, ...] = (10.0, 100.0)
    """c: what targets are multiplied by, beside 1."""
    trials: int = 51
    """Cells of each grid: three learning rates × as many λ as that leaves."""


def tasks(data, scales):
    """Return name → (data, log₁₀ of the predicted shift of λ*; None without one)."""
    import numpy as np

    from jaxwd.data import Split

    def with_targets(change, **words):
        parts = {
            part: Split(split.inputs, change(np.asarray(split.targets)))
            for part in ("train", "validation", "test")
            for split in [getattr(data, part)]
        }
        return replace(data, **parts, **words)

    inner = np.quantile(data.train.targets, np.linspace(0, 1, BINS + 1)[1:-1])
    binned = with_targets(
        lambda y: np.digitize(y[:, 0], inner).astype(np.int32),
        task="classification",
        classes=tuple(str(i) for i in range(BINS)),
    )
    found = {"regression": (data, 0.0)}
    for c in scales:
        scaled = with_targets(lambda y, c=c: (c * y).astype(np.float32))
        shift = (2 - 2 / LAYERS) * math.log10(c)
        found[f"regression × {c:g}"] = (scaled, shift)
    return found | {"classification": (binned, None)}


def execute(flags):
    from rich.console import Console

    import jaxwd as wd
    from jaxwd import runtime
    from jaxwd.lab import Arm, Ledger
    from jaxwd.lab.comparison_progress import comparison_progress
    from jaxwd.lab.ledger.file import FILE
    from jaxwd.lab.optima import optima

    runtime.setup(flags.device, cache=flags.cache)
    data = wd.load(flags.dataset, data_dir=flags.data_dir, manual_dir=flags.manual_dir)
    if data.task != "regression" or data.outputs != 1:
        raise InputError(f"{data.name} is no regression of one target; use friedman")
    folder = flags.out or pathlib.Path("runs/lambda_by_task")
    ranges = {
        "learning_rate": wd.choices(0.003, 0.01, 0.03),
        "decay.strength": wd.log_range(LOW, HIGH),
    }
    found, todo = {}, tasks(data, flags.scales)
    for name, (given, _) in todo.items():
        arm = Arm(name, replace(recipe(flags), decay=wd.coupled(0.0)), tune=ranges)
        score, runs = wd.losses.task(given.task).score_name, flags.trials * flags.seeds
        drawn = comparison_progress([name], runs, flags.epochs, score, Console())
        ledger = Ledger(folder / name.replace(" ", "_") / FILE)
        with ledger, drawn as progress:
            found[name] = optima(
                arm,
                given,
                trials=flags.trials,
                seeds=range(flags.seeds),
                ledger=ledger,
                watcher=progress.tuning,
            )
    return answer(found, todo, folder)


def answer(found, todo, folder):
    """Print and write each task's log₁₀ λ*, and its paired distance to regression's."""
    from rich.console import Console

    from jaxwd.lab import holm, interval, paired
    from jaxwd.report.table import Table

    places = {
        name: {seed: math.log10(dict(v)["decay.strength"]) for seed, v in best.items()}
        for name, best in found.items()
    }
    rows, reference = [], places["regression"]
    pairs = {}
    for name in todo:
        seeds = sorted(places[name].keys() & reference.keys())
        if seeds and name != "regression":
            both = ([place[s] for s in seeds] for place in (places[name], reference))
            pairs[name] = paired(*both)
    adjusted = dict(zip(pairs, holm([d.p for d in pairs.values()]), strict=True))
    for name, (_, shift) in todo.items():
        if not places[name]:
            rows.append((name, "0", "diverged", "", "", ""))
            continue
        at = interval(list(places[name].values()))
        ends = sum(not 1.01 * LOW < 10**x < 0.99 * HIGH for x in places[name].values())
        p = adjusted.get(name, math.nan)
        far = pairs[name].interval if name in pairs else None
        rows.append(
            (
                name,
                f"{at.n}, {ends} at an end" if ends else str(at.n),
                f"{at.mean:.2f} ± {at.half:.2f}",
                f"{far.mean:+.2f} [{far.low:+.2f}, {far.high:+.2f}]" if far else "",
                "–" if shift is None else f"{shift:+.2f}",
                "" if math.isnan(p) else f"{p:.3f}",
            )
        )
    columns = ("task", "n", "log₁₀ λ*", "− regression", "predicted", "p")
    note = (
        "λ* has the lowest validation loss of its seed's grid. Differences are paired by "
        "seed, with 95 % t-intervals; p is of the paired t-test, adjusted by Holm."
    )
    table = Table("The best λ by task", columns, tuple(rows), note)
    Console().print(table.rich())
    question = (__doc__ or "").splitlines()[0]
    page = folder / "report.md"
    page.write_text(f"# {question}\n\n{table.markdown()}\n", encoding="utf-8")
    print(f"report: {page}")


def main(arguments=None):
    def command():
        flags = parse(TaskFlags, "lambda_by_task", __doc__ or "", arguments)
        flags.check()
        execute(flags)

    return guarded(command)


if __name__ == "__main__":
    raise SystemExit(main())
