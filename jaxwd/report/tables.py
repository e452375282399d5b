"""The three tables of a study: what was reached, how it fitted, what decay did."""

import math
from typing import Any

from jaxwd.lab.statistics import Difference, holm, interval, paired
from jaxwd.lab.study import Arm, Study
from jaxwd.report.table import Table
from jaxwd.schedules import peak_of
from jaxwd.training.words import in_words

_DIGITS = {"accuracy": 2, "loss": 3}


def result_table(study: Study) -> Table:
    """Return what each arm reached, and its paired difference to the reference."""
    score = study.score
    gaps = _paired_cells(study, f"test_{score}", score)
    rows = []
    for arm in study.arms:
        column = _columns(study, arm)
        if column is None:
            rows.append((arm.name, "0", _why_empty(study, arm), "", "", ""))
            continue
        rows.append(
            (
                arm.name,
                str(len(study.finals[arm.name])),
                _mean(column[f"validation_{score}"], score),
                _mean(column[f"test_{score}"], score),
                *gaps[arm.name],
            )
        )
    unit = " %" if score == "accuracy" else ""
    columns = (
        "arm",
        "n",
        f"validation{unit}",
        f"test{unit}",
        f"test − {_reference(study)}",
        "p",
    )
    return Table(
        f"Result: {score}",
        columns,
        tuple(rows),
        "Mean ± half of the 95 % t-interval over n paired seeds, without dropout, over "
        "every example of a split. The difference is paired by seed, with its 95 % "
        "t-interval; p is of the paired t-test, adjusted by Holm. The test split was "
        "looked at once, after the last epoch.",
    )


def fit_table(study: Study) -> Table:
    """Return how each arm fitted: training score, gap, data loss, time."""
    score = study.score
    gaps = _paired_cells(study, "test_loss", "loss")
    rows = []
    for arm in study.arms:
        column = _columns(study, arm)
        if column is None:
            rows.append((arm.name, _why_empty(study, arm), "", "", "", "", ""))
            continue
        train, test = column[f"train_{score}"], column[f"test_{score}"]
        overfit = [a - b for a, b in zip(train, test, strict=True)]
        rows.append(
            (
                arm.name,
                f"{scaled(interval(train).mean, score):.{_DIGITS.get(score, 4)}f}",
                f"{scaled(interval(overfit).mean, score):.{_DIGITS.get(score, 4)}f}",
                f"{interval(column['test_loss']).mean:.3f}",
                *gaps[arm.name],
                f"{interval(column['seconds']).mean:.1f}",
            )
        )
    unit = " %" if score == "accuracy" else ""
    columns = (
        "arm",
        f"train{unit}",
        "gap",
        "test loss",
        f"loss − {_reference(study)}",
        "p",
        "sec.",
    )
    return Table(
        "Fit",
        columns,
        tuple(rows),
        "Means, and paired differences as above; the gap is the training score minus the "
        "test score. Losses are data losses: they never contain the penalty. Seconds are "
        "the wall time of one training with its evaluations, without compilation.",
        optional=("sec.", "gap"),
    )


def decay_table(study: Study) -> Table:
    """Return what decay did in each arm: λ, shrink per step, τ, τ/T, norms."""
    rows = []
    for arm in study.arms:
        decay, column = arm.recipe.decay, _columns(study, arm)
        rows.append(
            (
                arm.name,
                decay.name,
                "0" if decay.kind == "none" else f"{peak_of(decay.strength):.4g}",
                in_words(arm.recipe.dropout),
                *_shrink(study, arm),
                f"{interval(column['param_norm']).mean:.1f}" if column else "",
                f"{interval(column['penalty']).mean:.4f}" if column else "",
                _share(column["decay_share"]) if column else "",
            )
        )
    columns = (
        "arm",
        "scheme",
        "λ",
        "dropout",
        "shrink",
        "τ",
        "τ/T",
        "‖θ‖",
        "penalty",
        "share",
    )
    return Table(
        "What decay did",
        columns,
        tuple(rows),
        "Shrink is what pure decay takes off a weight in one step, mean over the run; τ "
        "is its inverse, in steps, and T the number of steps: far above 1, the run ends "
        "before decay can act. ‖θ‖ and the penalty are means at the end; the penalty "
        "stands beside the loss, not in it. The share is "
        "‖decay‖/(‖decay‖ + ‖rest‖) where decay enters, at the last step.",
        optional=("penalty", "dropout", "share", "‖θ‖"),
    )


def compare_all(study: Study, metric: str) -> dict[str, Difference]:
    """Return every arm's paired difference to the arm it is compared with."""
    found = {}
    for arm in study.compared():
        a, b = study.pairs(arm, metric)
        if a:
            found[arm.name] = paired(a, b)
    return found


def digits(kind: str) -> int:
    """Return how many digits stand behind the point: of accuracies two, in percent."""
    return _DIGITS.get(kind, 4)


def scaled(value: float, kind: str) -> float:
    """Return accuracies in percent, everything else as it is."""
    return 100 * value if kind == "accuracy" else value


def _columns(study: Study, arm: Arm) -> dict[str, list[Any]] | None:
    """Return final metric → values of all seeds; None where no seed finished."""
    finals = list(study.finals[arm.name].values())
    return {key: [row[key] for row in finals] for key in finals[0]} if finals else None


def _why_empty(study: Study, arm: Arm) -> str:
    return "diverged" if study.diverged[arm.name] else "not run"


def _shrink(study: Study, arm: Arm) -> tuple[str, str, str]:
    got = study.shrink(arm)
    if got is None:
        return "by core", "?", "?"
    if got.per_step == 0:
        return "0", "–", "–"
    return f"{got.per_step:.3g}", f"{got.tau:,.0f}", f"{got.tau_over_run:.3g}"


def _share(values: list[float]) -> str:
    mean = interval(values).mean
    return "?" if math.isnan(mean) else f"{mean:.1%}"


def _mean(values: list[float], kind: str) -> str:
    got, digits = interval(values), _DIGITS.get(kind, 4)
    mean = f"{scaled(got.mean, kind):.{digits}f}"
    if math.isnan(got.half):
        return mean
    return f"{mean} ± {scaled(got.half, kind):.{digits}f}"


def _reference(study: Study) -> str:
    """Return the one arm all others are compared with, or words for several."""
    names = {study.reference(arm) for arm in study.compared()}
    return names.pop() if len(names) == 1 else "its reference"


def _paired_cells(study: Study, metric: str, kind: str) -> dict[str, tuple[str, str]]:
    """Return arm name → (difference with interval, p adjusted by Holm)."""
    differences = compare_all(study, metric)
    same = {arm.name for arm in study.compared() if study.identical(arm)}
    adjusted = holm(
        [math.nan if name in same else d.p for name, d in differences.items()]
    )
    cells = {arm.name: ("reference", "") for arm in study.arms}
    for (name, difference), p in zip(differences.items(), adjusted, strict=True):
        cells[name] = (difference_cell(difference, kind), p_cell(p))
    for name in same:
        cells[name] = ("0, identical runs", "")
    return cells


def difference_cell(difference: Difference, kind: str) -> str:
    """Return a difference with its interval, accuracies in points."""
    got, digits = difference.interval, _DIGITS.get(kind, 4)
    mean = f"{scaled(got.mean, kind):+.{digits}f}"
    if math.isnan(got.half):
        return mean
    low, high = scaled(got.low, kind), scaled(got.high, kind)
    return f"{mean} [{low:+.{digits}f}, {high:+.{digits}f}]"


def p_cell(adjusted: float) -> str:
    """Return a p-value, `?` where it is not known."""
    if math.isnan(adjusted):
        return "?"
    return f"{adjusted:.3f}" if adjusted >= 0.001 else "<0.001"
