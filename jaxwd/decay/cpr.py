"""Constrained parameter regularisation: a bound on each leaf's size, by a multiplier."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxwd.decay.leafwise import leafwise
from jaxwd.decay.placement import Placement, Rates
from jaxwd.decay.scheme import DecayScheme
from jaxwd.errors import InputError, require, unknown
from jaxwd.masks import Where, kernels, rules
from jaxwd.schedules import value_at
from jaxwd.trees import norm, over

Array = jax.Array


class Measure(NamedTuple):
    """One row of `MEASURES`: R of a leaf, ∇R, and by what μ is divided."""

    value: Callable[[Array], Array]
    gradient: Callable[[Array], Array]
    per: Callable[[Array], int]


def _std_gradient(x: Array) -> Array:
    return over(x - jnp.mean(x), (x.size - 1) * jnp.std(x, ddof=1))


MEASURES: dict[str, Measure] = {
    "l2": Measure(lambda x: jnp.sum(jnp.square(x)), lambda x: 2 * x, lambda x: x.size),
    "l1": Measure(lambda x: jnp.sum(jnp.abs(x)), jnp.sign, lambda x: x.size),
    "std": Measure(lambda x: jnp.std(x, ddof=1), _std_gradient, lambda x: 1),
}
"""`measure=` → R. The reference multiplies by θ where ∇‖θ‖₁ is sign θ."""

BOUNDS: dict[str, dict[str, Any]] = {
    "uniform": {"kappa": ...},
    "dependent": {"factor": 1.0},
    "warm_start": {"steps": ...},
    "inflection": {"every": 200, "average": 0.9},
}
"""`bound=` → the settings it takes, with their defaults; ... must be given."""


class CprState(NamedTuple):
    """What one leaf remembers: Λ, κ (∞ until it is set), and how its norm has grown."""

    multiplier: Array
    kappa: Array
    average: Array
    last: Array
    growth: Array


def cpr(
    *,
    bound: str = "inflection",
    measure: str = "l2",
    update: float = 1.0,
    times: str = "constant",
    where: Where = kernels,
    **settings: float,
) -> DecayScheme:
    """CPR: keep R(θ) ≤ κ by a multiplier of its own for every leaf.

    After the step: Λ ← max(0, Λ + (μ/n)(R(θ̃) − κ)); θ' = θ̃ − Λ∇R(θ̃), with n the
    leaf's number of weights. There is no λ. As long as Λ is 0 this is the plain core; a
    Λ that has grown comes down by (μ/n)(κ − R) a step, so R falls below κ before that.

    Args:
        bound: where κ comes from:

            - `"uniform"`, `kappa=`: the same κ for every leaf.
            - `"dependent"`, `factor=`: κ = factor·R(θ₀).
            - `"warm_start"`, `steps=`: κ = R(θ) after that many steps.
            - `"inflection"`, `every=`, `average=`: κ = R(θ) where the growth of ‖θ‖
              (averaged with 0.9, looked at every 200 steps) begins to fall. Default.
        measure: R: `"l2"` Σθ² (default), `"l1"` Σ|θ|, `"std"` the standard deviation
            (μ is not divided by n).
        update: μ, the multiplier's step; 1 in the paper.
        times: `"constant"` (default) or `"lr"`, which multiplies Λ∇R by η_t.
        where: which leaves; default kernels only.
        **settings: of the bound, as above.

    Raises:
        InputError: an unknown bound or measure, its setting missing.

    Source: Franke et al., Improving deep learning optimization through constrained
    parameter regularization, 2024; pytorch-cpr 0.3.1, whose foreach path this follows
    (its single-tensor path never sets κ at an inflection).

    Not for one κ (`"uniform"`) for leaves of different sizes; R is a sum over a
    leaf.

    Reference: automl/CPR (pytorch-cpr).

    >>> print(cpr(bound="dependent", factor=0.8))
    cpr(bound=dependent, factor=0.8, measure=l2, update=1.0)
    """
    if bound not in BOUNDS:
        raise unknown("bound", bound, BOUNDS)
    if measure not in MEASURES:
        raise unknown("measure", measure, MEASURES)
    if times not in ("constant", "lr"):
        raise unknown("times", times, ("constant", "lr"))
    require("cpr: update", update, 0.0, open_low=True)
    known = BOUNDS[bound]
    filled = known | settings
    missing = [name for name, value in filled.items() if value is ...]
    if missing or set(settings) - set(known):
        given = ", ".join(f"{k}={v}" for k, v in settings.items()) or "nothing"
        takes = ", ".join(f"{name}=" for name in known)
        raise InputError(f"cpr: bound={bound!r} takes {takes}, not {given}")
    for name, value in filled.items():
        require(f"cpr: {name}", value, 0.0)
    pairs = {"bound": bound, **filled, "measure": measure, "update": update}
    return DecayScheme(
        "cpr", times=times, where=rules(where), settings=tuple(pairs.items())
    )


def place_cpr(scheme: DecayScheme, rates: Rates) -> Placement:
    """Stand on the finished step, with κ, Λ and the growth of every leaf in the state."""
    settings = dict(scheme.settings)
    measure = MEASURES[settings["measure"]]
    own_start, own_bound = _START[settings["bound"]], _BOUND[settings["bound"]]

    def start(x: Array) -> CprState:
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        zero = jnp.zeros((), x.dtype)
        kappa = own_start(x, measure, settings).astype(x.dtype)
        return CprState(zero, kappa, zero, zero, zero)

    def move(
        u: Array, x: Array, state: CprState, t: Array, m: float, g: Array
    ) -> tuple:
        now = t + 1  # steps are counted from 1, as the reference does
        y = x + u
        excess = (measure.value(y) - state.kappa) / measure.per(y)
        multiplier = jnp.maximum(0, state.multiplier + settings["update"] * excess)
        eta = value_at(rates.learning_rate, t) if scheme.times == "lr" else 1.0
        new = y - eta * multiplier * measure.gradient(y)
        state = state._replace(multiplier=multiplier)
        return new - x, own_bound(new, state, now, measure, settings)

    return Placement(step=(leafwise(scheme, move, start),))


def _unbound(x: Array, measure: Measure, settings: dict) -> Array:
    return jnp.full((), jnp.inf)


def _keep(new: Array, state: CprState, now: Array, *_: Any) -> CprState:
    return state


def _at_warm_start(
    new: Array, state: CprState, now: Array, measure: Measure, settings: dict
) -> CprState:
    reached = now == settings["steps"]
    return state._replace(kappa=jnp.where(reached, measure.value(new), state.kappa))


def _at_inflection(
    new: Array, state: CprState, now: Array, measure: Measure, settings: dict
) -> CprState:
    """Set κ once, when the relative growth of the averaged ‖θ‖ falls for the first time.

    Copied until `every` steps, averaged after; compared from 3·`every` on, and
    only while the growth is above 1 %.
    """
    every, keep = settings["every"], settings["average"]
    averaged = keep * state.average + (1 - keep) * norm(new)
    average = jnp.where(now >= every, averaged, norm(new))
    looked = (now > every) & (now % every == 0)
    growth = over(average - state.last, average)
    falls = (state.growth > growth) & (growth > 0.01)
    first = jnp.isinf(state.kappa) & looked & (now > 3 * every) & falls
    return CprState(
        state.multiplier,
        jnp.where(first, measure.value(new), state.kappa),
        average,
        jnp.where(looked, average, state.last),
        jnp.where(looked & (now > 2 * every), growth, state.growth),
    )


_START: dict[str, Callable[[Array, Measure, dict], Array]] = {
    "uniform": lambda x, measure, settings: jnp.asarray(settings["kappa"]),
    "dependent": lambda x, measure, s: s["factor"] * measure.value(x),
    "warm_start": _unbound,
    "inflection": _unbound,
}
_BOUND: dict[str, Callable[..., CprState]] = {
    "uniform": _keep,
    "dependent": _keep,
    "warm_start": _at_warm_start,
    "inflection": _at_inflection,
}
