"""The form of a decay, measured: what it is multiplied by, and where it enters."""

import math
from dataclasses import dataclass

import numpy as np

from jaxwd.probe.natures import natures
from jaxwd.schedules import linear
from jaxwd.testing.case import LAST_STEP, Case

CONVENTIONS: dict[tuple[int, int], str] = {
    (1, 1): "lr",
    (0, 1): "schedule",
    (0, 0): "constant",
    (1, 2): "corrected",
    (2, 2): "lr²",
}
"""(power of a constant rate, power within a schedule) → what λ is multiplied by."""

_CLOSE = 5e-4  # of a ratio of shrinks, each known to about 1e-6


@dataclass(frozen=True)
class Form:
    """What was measured of a decay.

    Attributes:
        shrink: 1 − θ'/θ of a first step at zero gradient, of the leaf that decays most.
        kind: `decoupled`, `coupled`, `by gradient`, …: see `jaxwd.probe.natures`.
        gain: shrink in the long run over `shrink`; above 1 where a momentum keeps
            decay, NaN where that does not settle.
        rate_power: p of shrink ∝ η^p, between two constant rates.
        schedule_power: the same within one schedule; None where a schedule is refused.
        law: how the shrink follows λ: `∝ λ`, `prox` (ηλ/(1 + ηλ)), `λ cancels`, or a
            ratio.
        at_rate_zero: the shrink where the schedule has reached 0, None as above.
        leaves: name → shrink of each leaf.
        beside_gradient: decay beside a gradient of size 1, over decay at rest.
    """

    shrink: float
    kind: str
    gain: float
    rate_power: float
    schedule_power: float | None
    law: str
    at_rate_zero: float | None
    leaves: dict[str, float]
    beside_gradient: float

    @property
    def times(self) -> str | None:
        """Return what λ is multiplied by, as `wd.decoupled(times=…)` says it."""
        if self.schedule_power is None:
            return None
        pair = self.rate_power, self.schedule_power
        if any(math.isnan(p) or abs(p - round(p)) > 0.02 for p in pair):
            return None
        return CONVENTIONS.get((round(pair[0]), round(pair[1])))


def measure(case: Case) -> Form:
    """Return the form of the decay of the leaf that decays most."""
    i, shrink = case.main, float(case.shrink[case.main])
    step = 1 if case.plain.clock.zero else 0  # step 0 is special to some cores
    nature = natures(case.plain, step)[i]
    faster = case.shrink_of(case.probe(case.make(2 * case.rate, case.strength)))[i]
    stronger = case.shrink_of(case.probe(case.make(case.rate, 2 * case.strength)))[i]
    within, at_zero = _over_a_schedule(case, i)
    return Form(
        shrink,
        nature.kind,
        nature.gain,
        _power(faster, shrink),
        within,
        _law(shrink, float(stronger)),
        at_zero,
        dict(zip(case.names, map(float, case.shrink), strict=True)),
        nature.beside_gradient,
    )


def _over_a_schedule(case: Case, i: int) -> tuple[float | None, float | None]:
    """Return the power within η → 0 and the shrink at its end; None if it is refused.

    Compared with a constant rate at the same step, since cores change with time too.
    """
    half = LAST_STEP // 2
    try:
        falling = linear(case.rate, steps=LAST_STEP)
        probe = case.probe(case.make(falling, case.strength))
    except Exception:
        return None, None
    slower, at_zero = (float(case.shrink_of(probe, t)[i]) for t in (half, LAST_STEP))
    return _power(float(case.shrink_of(case.plain, half)[i]), slower), at_zero


def _power(larger: float, smaller: float) -> float:
    """Return p where doubling the rate multiplies the shrink by 2^p."""
    if smaller == 0 or larger / smaller <= 0:
        return float("nan")
    return round(float(np.log2(larger / smaller)), 3) + 0.0


def _law(shrink: float, doubled: float) -> str:
    """Return how the shrink follows λ, from what doubling it does."""
    if shrink == 0:
        return "no decay"
    ratio = doubled / shrink
    if abs(ratio - 2) < _CLOSE:
        return "∝ λ"
    if abs(ratio - 1) < _CLOSE:
        return "λ cancels"
    # x/(1 − x) of a proximal step ηλ/(1 + ηλ) is ηλ again.
    if (
        shrink < 1
        and abs(doubled / (1 - doubled) / (shrink / (1 - shrink)) - 2) < _CLOSE
    ):
        return "prox"
    return f"×{ratio:.3g} for 2λ"
