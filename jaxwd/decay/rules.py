"""One rule a scheme: where it stands in the chain, and what multiplies λ there.

An Optax chain reads from gradient to update, and the place is the meaning:

    clip → [gradient] → core → [direction] → × −η_t → [step]

A rule returns the `optax.add_decayed_weights` for each bracket. A new scheme is one
constructor in `scheme.py` and one rule here.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import optax

from jaxwd.decay.scheme import DecayScheme
from jaxwd.errors import InputError, require
from jaxwd.schedules import Scalar, ScalarOrSchedule, value_at

Chain = tuple[optax.GradientTransformation, ...]


class Placement(NamedTuple):
    """What a scheme puts into the chain's three brackets."""

    gradient: Chain = ()
    direction: Chain = ()
    step: Chain = ()


class Rates(NamedTuple):
    """The learning rate η_t (number or function of the step) and its peak α."""

    learning_rate: ScalarOrSchedule
    peak: Scalar


class Multiplier(NamedTuple):
    """How d_t comes about: the bracket, and the factor on λ inside that bracket.

    In the `direction` bracket λθ is multiplied by −η_t afterwards, in `step` by
    nothing. `shrink` is d_t itself, as a function of (η_t, α).
    """

    bracket: Literal["direction", "step"]
    factor: Callable[[Rates], ScalarOrSchedule]
    shrink: Callable[[Any, Any], Any]
    needs_peak: bool


def _inverse_peak(rates: Rates) -> Scalar:
    return 1.0 / rates.peak  # `_decoupled` made sure that it is known


def _schedule_share(rates: Rates) -> ScalarOrSchedule:
    eta, alpha = rates
    if callable(eta):
        return lambda step: eta(step) / alpha
    return eta / alpha


MULTIPLIERS: dict[str, Multiplier] = {
    "lr": Multiplier("direction", lambda r: 1.0, lambda eta, alpha: eta, False),
    "schedule": Multiplier(
        "direction", _inverse_peak, lambda eta, alpha: eta / alpha, True
    ),
    "constant": Multiplier("step", lambda r: -1.0, lambda eta, alpha: 1.0, False),
    "corrected": Multiplier(
        "direction", _schedule_share, lambda eta, alpha: eta * eta / alpha, True
    ),
}
"""`times=` → where λθ is added and by what it is multiplied there."""


def product(a: ScalarOrSchedule, b: ScalarOrSchedule) -> ScalarOrSchedule:
    """Return a·b, a schedule as soon as one of them is."""
    if callable(a) or callable(b):
        return lambda step: value_at(a, step) * value_at(b, step)
    return a * b


def add_decay(scheme: DecayScheme, factor: ScalarOrSchedule) -> Chain:
    """Return `add_decayed_weights(factor·m·λ)` for each multiplier m of the rules."""

    def on_level(level: float) -> optax.GradientTransformation:
        strength = product(product(factor, level), scheme.strength)

        def mask(tree: Any) -> Any:
            # `init` checked the rules on the whole tree; Optax may hold a part of it.
            multipliers = scheme.where.multipliers(tree, strict=False)
            return jax.tree.map(lambda m: m == level, multipliers)

        return optax.add_decayed_weights(strength, mask=mask)

    return tuple(on_level(level) for level in scheme.where.levels())


def _nothing(scheme: DecayScheme, rates: Rates) -> Placement:
    return Placement()


def _coupled(scheme: DecayScheme, rates: Rates) -> Placement:
    return Placement(gradient=add_decay(scheme, 1.0))


def _decoupled(scheme: DecayScheme, rates: Rates) -> Placement:
    row = MULTIPLIERS[scheme.times]
    if row.needs_peak and rates.peak is None:
        raise InputError(
            f"decoupled(times={scheme.times!r}) needs the schedule's peak: use a "
            "schedule made by jaxwd, which carries it, or pass peak= to compose"
        )
    if row.needs_peak:
        name = f"decoupled(times={scheme.times!r}): peak learning rate"
        require(name, rates.peak, 0.0, open_low=True)
    return Placement(**{row.bracket: add_decay(scheme, row.factor(rates))})


RULES: dict[str, Callable[[DecayScheme, Rates], Placement]] = {
    "none": _nothing,
    "penalized": _nothing,  # it enters through the loss
    "coupled": _coupled,
    "decoupled": _decoupled,
}
"""Scheme kind → its rule."""
