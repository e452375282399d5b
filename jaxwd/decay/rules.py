"""One rule a scheme: where it stands in the chain, and what multiplies λ there.

An Optax chain reads from gradient to update, and the place is the meaning (see
`placement.py`). A row says what stands in each bracket, and the shrink at zero gradient
where it is known. A new scheme is one constructor and one row here.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import optax

from jaxwd.decay.after import proximal_step, selective_step
from jaxwd.decay.amos import place_amos
from jaxwd.decay.cpr import place_cpr
from jaxwd.decay.norm_rules import NORM_RULES
from jaxwd.decay.placement import Placement, Rates
from jaxwd.decay.pull import enter
from jaxwd.decay.scheme import DecayScheme
from jaxwd.errors import InputError, require
from jaxwd.schedules import Scalar, ScalarOrSchedule


class Multiplier(NamedTuple):
    """How d_t comes about: the bracket, and the factor on λ inside that bracket.

    In the `direction` bracket λθ is multiplied by −η_t afterwards, in `step` by
    nothing. `shrink` is d_t itself, as a function of (η_t, α); it is largest at the
    peak, where η_t = α.
    """

    bracket: Literal["direction", "step"]
    factor: Callable[[Rates], ScalarOrSchedule]
    shrink: Callable[[Any, Any], Any]
    needs_peak: bool


def _inverse_peak(rates: Rates) -> Scalar:
    return 1.0 / rates.peak  # `_multiplier` made sure that it is known


def _over_rate(
    function: Callable[[Any, Any], Any],
) -> Callable[[Rates], ScalarOrSchedule]:
    """Return rates → function(η_t, α), a schedule where η_t is one."""

    def factor(rates: Rates) -> ScalarOrSchedule:
        eta, alpha = rates
        if callable(eta):
            return lambda step: function(eta(step), alpha)
        return function(eta, alpha)

    return factor


MULTIPLIERS: dict[str, Multiplier] = {
    "lr": Multiplier("direction", lambda r: 1.0, lambda eta, alpha: eta, False),
    "schedule": Multiplier(
        "direction", _inverse_peak, lambda eta, alpha: eta / alpha, True
    ),
    "constant": Multiplier("step", lambda r: -1.0, lambda eta, alpha: 1.0, False),
    "corrected": Multiplier(
        "direction",
        _over_rate(lambda eta, alpha: eta / alpha),
        lambda eta, alpha: eta * eta / alpha,
        True,
    ),
    "lr_squared": Multiplier(
        "direction",
        _over_rate(lambda eta, alpha: eta),
        lambda eta, alpha: eta * eta,
        False,
    ),
}
"""`times=` → where λθ is added and by what it is multiplied there."""


class Known(NamedTuple):
    """What the shrink of a step depends on: η_t, α, λ_t, and the core's gain (or None)."""

    eta: Any
    alpha: Any
    strength: Any
    gain: float | None


class Rule(NamedTuple):
    """One row of `RULES`.

    Attributes:
        place: (scheme, rates) → what stands in the chain.
        shrink: (scheme, known) → 1 − θ'/θ at zero gradient, a gate open; None where it
            depends on the data.
    """

    place: Callable[[DecayScheme, Rates], Placement]
    shrink: Callable[[DecayScheme, Known], Any]


def _multiplier(scheme: DecayScheme, rates: Rates) -> Multiplier:
    row = MULTIPLIERS[scheme.times]
    if row.needs_peak and rates.peak is None:
        raise InputError(
            f"{scheme.kind}(times={scheme.times!r}) needs the schedule's peak: use a "
            "schedule made by jaxwd, which carries it, or pass peak= to compose"
        )
    if row.needs_peak:
        name = f"{scheme.kind}(times={scheme.times!r}): peak learning rate"
        require(name, rates.peak, 0.0, open_low=True)
    return row


def _nothing(scheme: DecayScheme, rates: Rates) -> Placement:
    return Placement()


def _coupled(scheme: DecayScheme, rates: Rates) -> Placement:
    return Placement(gradient=enter(scheme, 1.0))


def _decoupled(scheme: DecayScheme, rates: Rates) -> Placement:
    row = _multiplier(scheme, rates)
    sign = 1 if row.bracket == "direction" else -1
    return Placement(**{row.bracket: enter(scheme, row.factor(rates), sign=sign)})


def _after(
    step: Callable[[DecayScheme, ScalarOrSchedule], optax.GradientTransformation],
) -> Callable[[DecayScheme, Rates], Placement]:
    """Return the rule of a scheme that acts on the finished step, with amount d_tλ."""

    def place(scheme: DecayScheme, rates: Rates) -> Placement:
        amount = _over_rate(_multiplier(scheme, rates).shrink)(rates)
        return Placement(step=(step(scheme, amount),))

    return place


def _coupled_shrink(scheme: DecayScheme, known: Known) -> Any:
    factor = scheme.gradient_factor
    if known.gain is None or factor is None or scheme.allocation is not None:
        return None
    return known.eta * known.gain * factor * known.strength


def _decoupled_shrink(scheme: DecayScheme, known: Known) -> Any:
    factor = scheme.gradient_factor
    if factor is None or scheme.allocation is not None:
        return None
    d = MULTIPLIERS[scheme.times].shrink(known.eta, known.alpha)
    return d * factor * known.strength


def _proximal_shrink(scheme: DecayScheme, known: Known) -> Any:
    pull = _decoupled_shrink(scheme, known)
    return None if pull is None else pull / (1 + pull)


def _no_shrink(scheme: DecayScheme, known: Known) -> Any:
    return 0.0


def _unknown_shrink(scheme: DecayScheme, known: Known) -> Any:
    return None


RULES: dict[str, Rule] = {
    "none": Rule(_nothing, _no_shrink),
    "penalized": Rule(_nothing, _coupled_shrink),  # it enters through the loss
    "coupled": Rule(_coupled, _coupled_shrink),
    "decoupled": Rule(_decoupled, _decoupled_shrink),
    "proximal": Rule(_after(proximal_step), _proximal_shrink),
    "selective": Rule(_after(selective_step), _no_shrink),
    "cpr": Rule(place_cpr, _unknown_shrink),
    "amos": Rule(place_amos, _unknown_shrink),
} | {kind: Rule(place, _unknown_shrink) for kind, place in NORM_RULES.items()}
"""Scheme kind → its rule."""
