"""Carry a λ from one convention to another, or say why that cannot be done."""

import math
from typing import Any

from jaxwd.errors import InputError, unknown
from jaxwd.guide import conversion as kept
from jaxwd.guide.conversion import Conversion
from jaxwd.guide.setting import Setting, number, rate_and_course, sizes
from jaxwd.guide.side import WITH_MOMENTUM, Side, sides

MATCHES = ("exact", "mean")


def convert(
    strength: float,
    *,
    source: str,
    target: str,
    learning_rate: Any = None,
    target_learning_rate: float | None = None,
    schedule: Any = None,
    steps: int | None = None,
    warmup: int = 0,
    match: str = "exact",
    optimizer: str | None = None,
    momentum: float | None = None,
    nesterov: bool = False,
    batch_size: float | None = None,
    examples: float | None = None,
    dataset_size: float | None = None,
    epochs: float | None = None,
) -> Conversion:
    """Return the number that decays in `target`'s convention as `strength` in `source`'s.

    A step takes d_t = λ·f·α^p·s_t^k off a weight without gradient, and a convention is
    p, k and f (`jaxwd list conventions`). Equal d_t in every step gives

        λ′ = λ · (f/f′) · α^p/α′^p′ · s_t^(k−k′)

    which is a number only where k = k′ or the learning rate is constant. Otherwise the
    conversion is refused, unless `match="mean"` asks for an equal sum of d_t instead.
    Decay in the gradient converts among its own written forms for every optimizer, and
    to decay beside the step for SGD only: d_t = η_t·c·λ/(1 − μ).

    Args:
        strength: λ, or τ or a half-life, in the unit of `source`.
        source: a convention or a code base that has it, such as `torch.AdamW`.
        target: the same. Upper and lower case do not matter.
        learning_rate: α, a number or a schedule made by jaxwd; only where it matters.
        target_learning_rate: α′ where it differs, so with another optimizer.
        schedule: how the rate moves: a name (with `steps`), `constant`, or a schedule
            made by jaxwd. τ and half-lives are of the mean shrink over it, and of the
            peak where nothing is said.
        steps: length of the run.
        warmup: steps of linear rise before the schedule's shape.
        match: `exact`, or `mean` to keep the total shrink where d_t cannot be kept.
        optimizer: the optimizer of both sides, where neither name says it.
        momentum: μ of SGD; 0 where nothing is said.
        nesterov: Nesterov's momentum; it has the same lasting gain 1/(1 − μ).
        batch_size: b, examples (or tokens) a step.
        examples: m of the λ/(2m) form.
        dataset_size: B, examples (or tokens) an epoch.
        epochs: T, length of the run.

    Returns:
        A float that also has `equation`, `keeps`, `assumed` and `explain()`.

    Raises:
        InputError: unknown or ambiguous name, a missing value, no such number, or one
            that would take more than the whole weight off in a step.

    Do not convert a tuned λ to another optimizer and call it tuned: what is kept is
    the decay, not the best value.

    >>> convert(0.01, source="torch.AdamW", target="paper", learning_rate=1e-3)
    1e-05
    >>> convert(5e-4, source="torch.SGD", target="keras.L2")
    0.00025
    >>> got = convert(1e-4, source="torch.SGD", target="timm.sgdw", momentum=0.9)
    >>> got, got.equation
    (0.001, 'η_tλ′ = η_tλ/(1−μ), so λ′ = 10·λ')
    """
    if match not in MATCHES:
        raise unknown("match", match, MATCHES)
    alpha, course = rate_and_course(learning_rate, schedule, steps, warmup)
    if momentum is not None:
        momentum = number("momentum", momentum)
        if momentum >= 1:
            raise InputError(f"momentum={momentum:g} is not allowed; give one below 1")
    known = sizes(
        batch_size=batch_size,
        examples=examples,
        dataset_size=dataset_size,
        epochs=epochs,
    )
    setting = Setting(alpha, momentum, course=course, **known)
    here, there = sides(source, target, optimizer, setting)
    kinds = {here.row.kind, there.row.kind}
    named = nesterov or (optimizer or "").casefold().endswith(WITH_MOMENTUM)
    if momentum is None and named and len(kinds) == 2 and "gradient" in kinds:
        raise InputError("the optimizer meant has momentum: say momentum=")
    if target_learning_rate is not None:
        rate = number("target_learning_rate", target_learning_rate, open_low=True)
        there = there.at_rate(rate)
    elif here.another_optimizer(there):
        there = there.at_rate(None)
    value, keeps, equation = _solve(_checked(strength, here), here, there, match)
    there.check(value)
    return Conversion(
        value,
        source=here.row.name,
        target=there.row.name,
        given=float(strength),
        equation=equation,
        keeps=keeps,
        assumed=_assumed(here, there, keeps, nesterov),
        jaxwd=there.in_jaxwd(value),
    )


def _checked(strength: float, here: Side) -> float:
    is_time = here.row.kind == "time"
    value = number("strength", strength, open_low=is_time)
    if math.isinf(value) and not is_time:
        raise InputError("strength=inf is not allowed; give a finite number")
    return value


def _solve(given: float, here: Side, there: Side, match: str) -> tuple[float, str, str]:
    """Return the number, what it keeps, and the equation it solves."""
    kinds = {here.row.kind, there.row.kind}
    if "sign" in kinds:
        if len(kinds) > 1:
            raise InputError(
                f"{here.name} to {there.name}: L1 pulls with a constant force and L2 in "
                "proportion to the weight, so no number makes them equal; tune each"
            )
        return given, kept.EVERY_STEP, "λ′·sign θ = λ·sign θ, so λ′ = λ"
    if kinds == {"gradient"} and here.same_rate(there):
        ratio = here.row.factor(here.setting) / there.row.factor(there.setting)
        texts = there.row.text("λ′"), here.row.text("λ")
        return given * ratio, kept.EVERY_STEP, _linear(*texts, ratio)
    if "time" in kinds:
        return _through_time(given, here, there)
    return _through_amounts(given, here, there, match)


def _through_amounts(
    given: float, here: Side, there: Side, match: str
) -> tuple[float, str, str]:
    """λ′ = λ·(f/f′)·(α^p/α′^p′)·(s^k/s^k′)."""
    one, other = here.amount(), there.amount()
    ratio = one.factor / other.factor
    if not (here.same_rate(there) and one.alpha == other.alpha):
        ratio *= here.rate_power(one.alpha) / there.rate_power(other.alpha)
    texts = there.written(other, "′"), here.written(one, "")
    course = here.setting.course
    if one.shape == other.shape or course.constant:
        return given * ratio, _kept(here, there), _linear(*texts, ratio)
    if match == "exact":
        raise InputError(
            f"{here.name} to {there.name}: the one multiplies λ by s_t^{one.shape}, the "
            f"other by s_t^{other.shape}, so no number is right in every step unless the "
            "learning rate never moves; say schedule=constant, or match=mean with the "
            "schedule to keep the total shrink"
        )
    if course.mean is None:
        raise InputError("match=mean needs schedule= and steps=, to take the mean over")
    ratio *= course.mean(one.shape) / course.mean(other.shape)
    left, right = (f"mean({text})" for text in texts)
    return given * ratio, kept.MEAN, _linear(left, right, ratio)


def _through_time(given: float, here: Side, there: Side) -> tuple[float, str, str]:
    """Through d itself: the mean shrink of a step, or the shrink at the peak."""
    d = here.shrink(given)
    here.require_below_one(d)
    value = there.from_shrink(d)
    said = here.setting.course.mean is not None
    keeps = kept.MEAN_TIME if said else kept.PEAK_TIME
    left, right = there.shrink_text("′"), here.shrink_text("")
    return value, keeps, f"{left} = {right} = {d:.6g}, so {there.symbol}′ = {value:.6g}"


def _linear(left: str, right: str, ratio: float) -> str:
    times = "λ" if math.isclose(ratio, 1.0, rel_tol=1e-12) else f"{ratio:.6g}·λ"
    return f"{left} = {right}, so λ′ = {times}"


def _kept(here: Side, there: Side) -> str:
    if "gradient" in (here.row.kind, there.row.kind) and here.setting.momentum:
        return kept.STEADY
    return kept.EVERY_STEP if here.same_rate(there) else kept.SHRINK


def _assumed(here: Side, there: Side, keeps: str, nesterov: bool) -> tuple[str, ...]:
    in_gradient = "gradient" in (here.row.kind, there.row.kind)
    said: list[str] = []
    if "step" in (here.row.kind, there.row.kind) or keeps in kept.TIMES:
        for side in (here, there):
            said += side.rate_sentences()
            if side.row.kind == "gradient":
                said += side.momentum_sentences(nesterov)
    for side in (here, there):
        said += [
            f"{need} = {getattr(side.setting, need):.12g}"
            for need in side.row.needs
            if getattr(side.setting, need) is not None
        ]
    if in_gradient and here.row.in_loss != there.row.in_loss:
        said.append("no clip between loss and gradient")
    if keeps in (kept.MEAN, kept.MEAN_TIME):
        said.append(f"the learning rate is {here.setting.course.name}")
    return tuple(dict.fromkeys(said))
