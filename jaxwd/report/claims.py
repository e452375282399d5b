"""What may be said of equivalence and of tuning, in whole sentences."""

from jaxwd.lab.controls import CONTROLS
from jaxwd.lab.study import Arm, Study
from jaxwd.report.comparison import PATHS, number
from jaxwd.report.pairs import Compared
from jaxwd.report.tables import scaled

_LEVEL = 0.05


def beside_p(got: Compared, kind: str) -> str:
    """Return the rest of a shown difference: sign flips, size, how often, examples."""
    flip = f"sign-flip p {p_words(got.flip_p)}"
    wins = sum(gap > 0 for gap in got.difference.gaps)
    word = "higher" if kind == "loss" else "better"
    said = f"{flip}; g_z = {got.effect:+.2f}; {word} in {wins} of "
    said += f"{got.difference.interval.n} pairs"
    if got.wider is not None:
        low, high = (scaled(x, kind) for x in (got.wider.low, got.wider.high))
        digits = 2 if kind == "accuracy" else 3
        said += (
            f"; over seeds and test examples {low:+.{digits}f} to {high:+.{digits}f}"
        )
    return said


def few_pairs(found: dict[str, Compared]) -> str:
    """Return what sign flips of so few pairs cannot show, once for all arms."""
    floor = min((got.flip_floor for got in found.values()), default=0.0)
    if floor < _LEVEL:
        return ""
    return f"With so few pairs the sign-flip p is never below {floor:.3g}."


def equivalent(study: Study, arms: list[Arm], found: dict[str, Compared]) -> list[str]:
    """Return a sentence for each arm shown to be equivalent to its reference."""
    said = []
    for arm in arms:
        got = found[arm.name]
        if got.same is None or not got.same_p < _LEVEL:
            continue
        digits = 2 if study.score == "accuracy" else 3
        low, high = (scaled(x, study.score) for x in (got.same.low, got.same.high))
        said.append(
            f"{arm.name} and {study.reference(arm)} are equivalent within "
            f"{margin_words(study)} (TOST p {p_words(got.same_p)}, 90 % interval "
            f"{low:+.{digits}f} to {high:+.{digits}f})"
        )
    return said


def equal(study: Study, arms: list[Arm], found: dict[str, Compared]) -> list[str]:
    """Return a sentence for each arm whose every pair is a tie."""
    return [
        f"{arm.name} scored as {study.reference(arm)} did in every pair"
        for arm in arms
        if not any(found[arm.name].difference.gaps)
    ]


def needed(study: Study, arms: list[Arm], found: dict[str, Compared]) -> str:
    """Return how many pairs would find a difference of the margin."""
    counts = sorted(n for arm in arms if (n := found[arm.name].needed) is not None)
    if study.margin is None or not counts:
        return ""
    low, high = f"{counts[0]:,}", f"{counts[-1]:,}"
    many = low if low == high else f"{low} to {high}"
    size = margin_words(study, "")
    return f"To find one of {size} four times out of five takes {many} pairs."


def tuning(study: Study) -> list[str]:
    """Return how the arms were tuned, what won, and what is to be minded about it."""
    if not study.tuning:
        return []
    first = next(iter(study.tuning.values()))
    won = [
        f"{name} at {_values(tuned.best.values)}"
        for name, tuned in study.tuning.items()
        if tuned.best is not None
    ]
    trials = len(first.trials)
    metric = first.metric.replace("_", " ").removeprefix("−")
    said = [
        f"Each arm was tuned with {trials} trial{'s' * (trials > 1)} on {metric}: "
        f"{'; '.join(won)}."
    ]
    said += [
        f"Every trial of {name} failed, and it is left out."
        for name, tuned in study.tuning.items()
        if tuned.best is None
    ]
    for name, tuned in study.tuning.items():
        for path, side in tuned.edges.items():
            said.append(
                f"The best {PATHS.get(path, path)} of {name} stands at the {side} edge "
                f"of its range ({tuned.ranges[path]}): a wider range may do better."
            )
    said += [
        f"{arm.name} is a control, not tuned: {CONTROLS[arm.control].what} of the winner "
        f"of {arm.follows}."
        for arm in study.arms
        if arm.follows
    ]
    fixed = [
        arm.name
        for arm in study.arms
        if arm.name not in study.tuning and not arm.follows
    ]
    if fixed:
        said.append(f"Not tuned: {', '.join(fixed)}.")
    return said


def margin_words(study: Study, sign: str = "±") -> str:
    """Return the margin with its unit, as in ±0.5 points."""
    assert study.margin is not None
    unit = " points" if study.score == "accuracy" else ""
    return f"{sign}{scaled(study.margin, study.score):g}{unit}"


def p_words(p: float) -> str:
    """Return a p-value as it stands in a sentence."""
    return f"= {p:.3f}" if p >= 0.001 else "< 0.001"


def _values(values: tuple) -> str:
    return ", ".join(
        f"{PATHS.get(path, path)} {'= ' * (path == 'decay.strength')}{number(value)}"
        for path, value in values
    )
