"""The sentence a person may quote; it follows from the numbers and from nothing else."""

import math

from jaxwd.lab.statistics import interval
from jaxwd.lab.study import Arm, Study
from jaxwd.report import claims
from jaxwd.report.pairs import Compared, compared
from jaxwd.report.tables import scaled

_LEVEL = 0.05


def verdict(study: Study) -> str:
    """Return what the study shows, in a few plain sentences.

    An arm is said to differ only if its Holm-adjusted p is below 0.05. Otherwise the
    sentence says that nothing is shown, and how large a difference would have shown;
    with a margin, equivalence may be shown instead. The data loss is spoken of only
    where it differs. A second paragraph says how arms were tuned and what to mind.
    """
    metric = f"test_{study.score}"
    said = _diverged(study)
    found = compared(study)
    numbers = sorted({got.difference.interval.n for got in found.values()})
    tuned = claims.tuning(study)
    if not numbers:
        return " ".join([*said, "There is nothing to compare.", *tuned])
    if numbers[-1] < 2:
        alone = "One seed an arm shows nothing; run at least three."
        return " ".join([*said, alone, *tuned])
    seeds = _join([str(n) for n in numbers])
    shown, unshown = _sorted_out(study, found, study.score)
    said += [
        f"{arm.name} gave exactly the runs of {twin}."
        for arm in study.compared()
        if (twin := study.twin(arm))
    ]
    where = f"On test {study.score} with {seeds} paired seeds"
    settled = [
        sentence
        for claim in (claims.equivalent, claims.equal)
        for sentence in claim(study, unshown, found)
    ]
    open_ = [
        arm
        for arm in unshown
        if not claims.equivalent(study, [arm], found)
        and not claims.equal(study, [arm], found)
    ]
    if shown or settled:
        said.append(f"{where}, {'; '.join([*shown, *settled])}.")
    if open_:
        rest = _unshown(study, open_, found)
        begun = bool(shown or settled)
        said.append(rest[0].upper() + rest[1:] if begun else f"{where} {rest}")
        said.append(claims.needed(study, open_, found))
    lower, _ = _sorted_out(study, compared(study, "test_loss"), "loss")
    if lower and study.score == "accuracy":
        said.append(f"On test data loss, {'; '.join(lower)}.")
    if shown or (lower and study.score == "accuracy"):
        said.append(claims.few_pairs(found))
    said.append(_level_reached(study, metric))
    notes = [*tuned, *_weak_decay(study)]
    return "\n\n".join(" ".join(filter(None, part)) for part in (said, notes) if part)


def _sorted_out(
    study: Study, found: dict[str, Compared], kind: str
) -> tuple[list[str], list[Arm]]:
    """Return sentences on the arms that differ, and the arms that do not."""
    shown: list[str] = []
    unshown: list[Arm] = []
    for arm in study.compared():
        got = found.get(arm.name)
        if got is None or study.identical(arm):
            continue
        if got.p < _LEVEL:
            shown.append(_shown(study, arm, got, kind))
        else:
            unshown.append(arm)
    return shown, unshown


def _shown(study: Study, arm: Arm, got: Compared, kind: str) -> str:
    d = got.difference
    words = ("higher", "lower") if kind == "loss" else ("better", "worse")
    digits = 2 if kind == "accuracy" else 3
    size = scaled(abs(d.interval.mean), kind)
    low, high = (scaled(x, kind) for x in (d.interval.low, d.interval.high))
    within = got.same is not None and got.same_p < _LEVEL
    return (
        f"{arm.name} is {words[d.interval.mean < 0]} than {study.reference(arm)} by "
        f"{size:.{digits}f}{_unit(kind)} (95 % interval {low:+.{digits}f} to "
        f"{high:+.{digits}f}, p {claims.p_words(got.p)}, {claims.beside_p(got, kind)})"
        + (f", yet within {claims.margin_words(study)}" if within else "")
    )


def _unshown(study: Study, arms: list[Arm], found: dict[str, Compared]) -> str:
    names = _join([arm.name for arm in arms])
    references = {study.reference(arm) for arm in arms}
    one = references.pop() if len(references) == 1 else "its reference"
    sizes = [scaled(found[arm.name].difference.detectable, study.score) for arm in arms]
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
