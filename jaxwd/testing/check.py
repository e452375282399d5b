"""`check_decay`: run every check on one optimizer, none of them stops the others."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxwd.errors import InputError, require, unknown
from jaxwd.masks import Where, rules
from jaxwd.testing import decays, programs, wrappers
from jaxwd.testing.case import Case, Make, sample
from jaxwd.testing.decays import Expected
from jaxwd.testing.form import CONVENTIONS, measure
from jaxwd.testing.report import DecayReport, Outcome, Row

SHAPES = {"kernel": (4, 3), "bias": (3,)}
_FIRST = next(iter(decays.CHECKS))
_KINDS = ("decoupled", "coupled", "by gradient", "not ∝ θ", "anchored")


def check_decay(
    make: Make,
    *,
    shapes: Any = None,
    learning_rate: float = 0.1,
    strength: float = 0.01,
    coupling: str | None = None,
    times: str | None = None,
    where: Where | None = None,
    extra_args: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> DecayReport:
    """Check what an optimizer's weight decay does: a suite for optimizers of your own.

    Measures at zero gradient how much a step takes off, how that follows λ, η and η's
    schedule, whether it is decoupled; then whether λ may be traced, mapped over and
    scheduled, and whether decay stays right under `MultiSteps`, `masked`, `partition`,
    `apply_if_finite` and in bfloat16. A check that raises has failed and says why; the
    others go on.

    Args:
        make: function(learning_rate, strength) → Optax transformation. It is called
            with numbers, traced arrays and schedules.
        shapes: a tree of shapes; default `{"kernel": (4, 3), "bias": (3,)}`.
        learning_rate: η.
        strength: λ, in your own unit.
        coupling: what you expect, to be checked: `decoupled`, `coupled`, or `by
            gradient`, which is what coupled decay becomes in an adaptive core.
        times: what you expect λ to be multiplied by: `lr`, `schedule`, `constant`,
            `corrected`, `lr²`.
        where: which leaves you expect to decay, as in `wd.decoupled(where=…)`.
        extra_args: what `update` needs beside gradients, as `{"value": 1.0}`.
        name: for the report; default the function's own name.

    Returns:
        A `DecayReport`: `print` it; `report.assert_ok()` raises in a test of yours.
        What was not expected is noted and does not fail.

    Raises:
        InputError: an expectation that does not exist, a negative number.

    >>> import optax
    >>> report = check_decay(lambda rate, lam: optax.adamw(rate, weight_decay=lam),
    ...                      coupling="decoupled", times="lr")
    >>> report.assert_ok()
    >>> print(report.rows[0])
    Row(check='shrinks at zero gradient', result='pass', measured='0.001 a step')
    """
    require("learning_rate", learning_rate, 0.0, open_low=True)
    require("strength", strength, 0.0, open_low=True)
    if coupling is not None and coupling not in _KINDS:
        raise unknown("coupling", coupling, _KINDS)
    if times is not None and times not in CONVENTIONS.values():
        raise unknown("times", times, CONVENTIONS.values())
    if not callable(make):
        raise InputError(
            f"make={make!r} is no function; give function(learning_rate, strength) → "
            "transformation"
        )
    want = Expected(coupling, times, None if where is None else rules(where))
    named = name or getattr(make, "__name__", type(make).__name__)
    case = Case(
        make,
        sample(SHAPES if shapes is None else shapes),
        learning_rate,
        strength,
        dict(extra_args or {}),
    )
    try:
        form = measure(case)
    except Exception as error:
        return DecayReport(named, (Row(_FIRST, *_raised(error)),), None)
    if form.shrink == 0:
        return DecayReport(
            named, (Row(_FIRST, *decays.shrinks(case, form, want)),), form
        )
    others = programs.CHECKS | wrappers.CHECKS
    rows = [
        Row(check, *_guarded(function, case, form, want))
        for check, function in decays.CHECKS.items()
    ] + [Row(check, *_guarded(function, case)) for check, function in others.items()]
    return DecayReport(named, tuple(rows), form)


def _guarded(check: Callable[..., Outcome], *arguments: Any) -> Outcome:
    try:
        return check(*arguments)
    except Exception as error:
        return _raised(error)


def _raised(error: Exception) -> Outcome:
    cause = (error.__cause__ if isinstance(error, InputError) else None) or error
    said = str(cause).strip().splitlines() or [""]
    return Outcome("FAIL", f"{type(cause).__name__}: {said[0][:200]}")
