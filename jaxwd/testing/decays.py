"""Checks of the decay itself: how much, of what, multiplied by what."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from jaxwd.masks import Rules
from jaxwd.testing.case import Case
from jaxwd.testing.form import Form
from jaxwd.testing.report import Outcome, Status

_ROUNDING = 5e-7  # four ulps of float32 at 1


@dataclass(frozen=True)
class Expected:
    """What the person who made the optimizer expects; None where nothing was said."""

    coupling: str | None = None
    times: str | None = None
    where: Rules | None = None


def judged(given: object, want: object | None) -> Status:
    """Return pass or FAIL where something was expected, else a note."""
    return "note" if want is None else "pass" if given == want else "FAIL"


def shrinks(case: Case, form: Form, want: Expected) -> Outcome:
    """Weights move towards 0 when only decay acts."""
    if form.shrink == 0 and form.kind == "by gradient":
        return Outcome("note", "no: it decays beside a gradient only")
    if form.shrink == 0:
        return Outcome("FAIL", "nothing decays")
    if not form.shrink > 0:
        return Outcome("FAIL", f"weights grow by {-form.shrink:.4g} a step")
    return Outcome("pass", f"{form.shrink:.4g} a step")


def finite(case: Case, form: Form, want: Expected) -> Outcome:
    """A gradient of zeros gives numbers."""
    if case.plain.rest_is_zero:
        return Outcome("pass", "finite")
    return Outcome("FAIL", "NaN; measured beside small gradients instead")


def coupling(case: Case, form: Form, want: Expected) -> Outcome:
    """Decay is the same beside any gradient or not, and a momentum keeps it or not."""
    said = form.kind
    if form.kind == "by gradient":
        said += f": beside one of size 1, {form.beside_gradient:.2g} of it at rest"
    elif math.isnan(form.gain):
        said += ", kept in the state, where it does not settle"
    elif form.gain > 1:
        said += f", {form.gain:.4g} times as much once the momentum is full"
    return Outcome(judged(form.kind, want.coupling), said)


def multiplied_by(case: Case, form: Form, want: Expected) -> Outcome:
    """The power of the learning rate: of a constant one, and within a schedule."""
    said = f"η^{form.rate_power:g} between constant rates, "
    if form.schedule_power is None:
        said += "a schedule is refused"
    else:
        said = f"{form.times or 'no usual convention'}: {said}"
        said += f"η^{form.schedule_power:g} within a schedule"
    return Outcome(judged(form.times, want.times), said)


def at_rate_zero(case: Case, form: Form, want: Expected) -> Outcome:
    """What decay does where the schedule has reached 0."""
    if form.at_rate_zero is None:
        return Outcome("note", "not known")
    if math.isnan(form.at_rate_zero):
        return Outcome("FAIL", "gives NaN")
    stops = abs(form.at_rate_zero) <= max(1e-6 * abs(form.shrink), _ROUNDING)
    return Outcome(
        "note", "stops" if stops else f"goes on, {form.at_rate_zero:.4g} a step"
    )


def linear_in_strength(case: Case, form: Form, want: Expected) -> Outcome:
    """Twice the λ, twice the shrink, for decay whose λ has a unit."""
    good = form.law in ("∝ λ", "prox")
    has_unit = form.kind in ("decoupled", "coupled")
    said = {
        "∝ λ": "twice the λ, twice the shrink",
        "prox": "proximal: ηλ/(1 + ηλ)",
        "λ cancels": "λ cancels at zero gradient",
    }.get(form.law, form.law)
    return Outcome("pass" if good else "FAIL" if has_unit else "note", said)


def zero_strength(case: Case, form: Form, want: Expected) -> Outcome:
    """λ = 0 adds nothing at all."""
    left = case.odd_share(case.probe(case.make(case.rate, 0.0)))
    if left <= _ROUNDING:
        return Outcome("pass", "only rounding is left" if left else "no decay is left")
    return Outcome("FAIL", f"{left:.2g} of the weights a step is left")


def which_leaves(case: Case, form: Form, want: Expected) -> Outcome:
    """Which leaves decay, and how fast where they differ."""
    decayed = {name: s for name, s in form.leaves.items() if s != 0}
    differ = len({f"{s:.3g}" for s in decayed.values()}) > 1
    said = ", ".join(
        f"{name or 'the array'} "
        + ((f"{s:.3g}" if differ else "yes") if name in decayed else "no")
        for name, s in form.leaves.items()
    )
    if want.where is None:
        return Outcome("note", said)
    rules = want.where.decide(case.params, strict=False)
    meant = {name for name, rule in rules.items() if rule and rule.multiplier}
    return Outcome(judged(set(decayed), meant), said)


CHECKS: dict[str, Callable[[Case, Form, Expected], Outcome]] = {
    "shrinks at zero gradient": shrinks,
    "zero gradient is finite": finite,
    "coupled or decoupled": coupling,
    "multiplied by": multiplied_by,
    "at learning rate 0": at_rate_zero,
    "linear in λ": linear_in_strength,
    "λ = 0 adds nothing": zero_strength,
    "which leaves": which_leaves,
}
"""Name → check, in the order they are printed."""
