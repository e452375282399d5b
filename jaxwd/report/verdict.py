"""The sentence a person may quote; it follows from the numbers and from nothing else."""

import math

from jaxwd.lab.statistics import Difference, holm, interval
from jaxwd.lab.study import Arm, Study
from jaxwd.report.tables import compare_all, scaled

_LEVEL = 0.05


def verdict(study: Study) -> str:
    """Return what the study shows, in a few plain sentences.

    An arm is said to differ only if its Holm-adjusted p is below 0.05. Otherwise the
    sentence says that nothing is shown, and how large a difference would have shown.
    The data loss is spoken of only where it differs.
    """
    metric = f"test_{study.score}"
    said = _diverged(study)
    differences = compare_all(study, metric)
    if not differences:
        return " ".join([*said, "There is nothing to compare."])
    if max(d.interval.n for d in differences.values()) < 2:
        return " ".join([*said, "One seed an arm shows nothing; run at least three."])
    seeds = _join(
        [str(n) for n in sorted({d.interval.n for d in differences.values()})]
    )
    shown, unshown = _sorted_out(study, differences, study.score)
    said += [
        f"{arm.name} gave exactly the runs of {study.reference(arm)}."
        for arm in study.compared()
        if study.identical(arm)
    ]
    where = f"On test {study.score} with {seeds} paired seeds"
    if shown:
        said.append(f"{where}, {'; '.join(shown)}.")
    if unshown:
        rest = _unshown(study, unshown, differences)
        said.append(rest[0].upper() + rest[1:] if shown else f"{where} {rest}")
    lower, _ = _sorted_out(study, compare_all(study, "test_loss"), "loss")
    if lower and study.score == "accuracy":
        said.append(f"On test data loss, {'; '.join(lower)}.")
    said += [_level_reached(study, metric), *_weak_decay(study)]
    return " ".join(filter(None, said))


def _sorted_out(
    study: Study, differences: dict[str, Difference], kind: str
) -> tuple[list[str], list[Arm]]:
    """Return sentences on the arms that differ, and the arms that do not."""
    shown: list[str] = []
    unshown: list[Arm] = []
    adjusted = dict(
        zip(differences, holm([d.p for d in differences.values()]), strict=True)
    )
    for arm in study.compared():
        d = differences.get(arm.name)
        if d is None or study.identical(arm):
            continue
        if adjusted[arm.name] < _LEVEL:
            shown.append(_shown(study, arm, d, adjusted[arm.name], kind))
        else:
            unshown.append(arm)
    return shown, unshown


def _shown(study: Study, arm: Arm, d: Difference, p: float, kind: str) -> str:
    words = ("higher", "lower") if kind == "loss" else ("better", "worse")
    digits = 2 if kind == "accuracy" else 3
    size = scaled(abs(d.interval.mean), kind)
    low, high = (scaled(x, kind) for x in (d.interval.low, d.interval.high))
    chance = f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"
    return (
        f"{arm.name} is {words[d.interval.mean < 0]} than {study.reference(arm)} by "
        f"{size:.{digits}f}{_unit(kind)} (95 % interval {low:+.{digits}f} to "
        f"{high:+.{digits}f}, {chance})"
    )


def _unshown(study: Study, arms: list[Arm], differences: dict[str, Difference]) -> str:
    names = _join([arm.name for arm in arms])
    references = {study.reference(arm) for arm in arms}
    one = references.pop() if len(references) == 1 else "its reference"
    sizes = [scaled(differences[arm.name].detectable, study.score) for arm in arms]
    sizes = sorted(size for size in sizes if not math.isnan(size))
    text = f"no difference to {one} is shown for {names}; that is not evidence of none"
    if not sizes:
        return f"{text}: the pairs differ too little among themselves to judge."
    low, high = f"{sizes[0]:.2f}", f"{sizes[-1]:.2f}"
    size = f"about {high}" if low == high else f"{low} to {high}"
    by = "" if low == high else ", by the arm,"
    return (
        f"{text}: a true difference of {size}{_unit(study.score)}{by} would have been "
        "found four times out of five."
    )


def _level_reached(study: Study, metric: str) -> str:
    first = study.arms[0].name
    if not study.finals[first]:
        return ""
    mean = interval(list(study.values(first, metric).values())).mean
    unit = " %" if study.score == "accuracy" else ""
    return f"{first} reached {scaled(mean, study.score):.2f}{unit}."


def _weak_decay(study: Study) -> list[str]:
    """Say for which arms the run is too short for their decay to show."""
    weak = []
    for arm in study.arms:
        got = study.shrink(arm)
        if got is not None and got.per_step > 0 and got.tau_over_run > 3:
            weak.append((arm.name, got))
    if not weak:
        return []
    names = _join([name for name, _ in weak])
    ratio = min(got.tau_over_run for _, got in weak)
    lost = max(1 - got.kept for _, got in weak)
    return [
        f"The decay of {names} needs {ratio:.3g} times this run to act (τ/T): by itself "
        f"it takes {lost:.1%} off a weight over the whole training."
    ]


def _diverged(study: Study) -> list[str]:
    said = []
    for arm in study.arms:
        seeds = study.diverged[arm.name]
        if seeds and not study.finals[arm.name]:
            said.append(
                f"{arm.name} diverged with every seed (learning rate "
                f"{arm.recipe.learning_rate:g})."
            )
        elif seeds:
            said.append(
                f"{arm.name} diverged with seed{'s' if len(seeds) > 1 else ''} "
                f"{_join([str(s) for s in seeds])} at learning rate "
                f"{arm.recipe.learning_rate:g} and is compared on the other seeds only."
            )
    return said


def _unit(kind: str) -> str:
    return " points" if kind == "accuracy" else ""


def _join(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
