"""Norms held in place: where each scheme of `norms.py` stands and what it does there."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxwd.decay.leafwise import leafwise
from jaxwd.decay.placement import Placement, Rates
from jaxwd.decay.scheme import DecayScheme
from jaxwd.schedules import value_at
from jaxwd.trees import norm, over, unit_axes, unit_norm

Array = jax.Array
Place = Callable[[DecayScheme, Rates], Placement]


def _rescaled(proposed: Array, length: Array, now: Array) -> Array:
    return proposed * jnp.where(now > 0, length / jnp.where(now > 0, now, 1), 1)


def _bounded(measure: Callable[[Array], Array], setting: str) -> Place:
    """Return the rule that scales θ̃ back to a measure of at most the setting."""

    def place(scheme: DecayScheme, rates: Rates) -> Placement:
        bound = dict(scheme.settings)[setting]

        def move(
            u: Array, x: Array, memory: Any, t: Array, m: float, g: Array
        ) -> tuple:
            now = measure(x + u)
            return _rescaled(x + u, jnp.minimum(now, bound), now) - x, memory

        return Placement(step=(leafwise(scheme, move),))

    return place


def _radial_brake(scheme: DecayScheme, rates: Rates) -> Placement:
    share = dict(scheme.settings)

    def move(u: Array, x: Array, memory: Any, t: Array, m: float, g: Array) -> tuple:
        was, now = norm(x), norm(x + u)
        s = jnp.where(now > was, share["outward"], share["inward"])
        return _rescaled(x + u, was + s * (now - was), now) - x, memory

    return Placement(step=(leafwise(scheme, move),))


def _lawn(scheme: DecayScheme, rates: Rates) -> Placement:
    free = dict(scheme.settings)["free_steps"]

    def tangent(u: Array, x: Array, memory: Any, t: Array, m: float, g: Array) -> tuple:
        radial = over(jnp.sum(u * x), jnp.sum(x * x)) * x
        return jnp.where(t < free, u, u - radial), memory

    def hold(u: Array, x: Array, memory: Any, t: Array, m: float, g: Array) -> tuple:
        held = _rescaled(x + u, norm(x), norm(x + u)) - x
        return jnp.where(t < free, u, held), memory

    return Placement(
        gradient=(leafwise(scheme, tangent),), step=(leafwise(scheme, hold),)
    )


def _hyperball(scheme: DecayScheme, rates: Rates) -> Placement:
    def normalise(
        u: Array, x: Array, memory: Any, t: Array, m: float, g: Array
    ) -> tuple:
        return over(norm(x), norm(u)) * u, memory

    def hold(u: Array, x: Array, start: Array, t: Array, m: float, g: Array) -> tuple:
        return _rescaled(x + u, start, norm(x + u)) - x, start

    return Placement(
        direction=(leafwise(scheme, normalise),),
        step=(leafwise(scheme, hold, norm),),
    )


def _rotational(scheme: DecayScheme, rates: Rates) -> Placement:
    settings = dict(scheme.settings)
    beta, eps = settings["beta"], 1e-8

    def turn(u: Array, x: Array, memory: Any, t: Array, m: float, g: Array) -> tuple:
        start, average = memory
        axes = unit_axes(x)
        u = u - x * over(jnp.sum(u * x, axis=axes, keepdims=True), start**2)
        if settings["center"]:
            u = u - jnp.mean(u, axis=axes, keepdims=True)
        average = beta * average + (1 - beta) * unit_norm(u) ** 2
        typical = jnp.sqrt(average / (1 - beta ** (t + 1))) + eps
        eta = jnp.asarray(value_at(rates.learning_rate, t))
        strength = m * value_at(scheme.strength, t)
        # × −η_t follows: angle/η_t leaves the angle itself.
        angle = jnp.sqrt(over(2 * strength * settings["angle"], eta))
        return angle * start * u / typical, (start, average)

    def hold(u: Array, x: Array, start: Array, t: Array, m: float, g: Array) -> tuple:
        return _rescaled(x + u, start, unit_norm(x + u)) - x, start

    return Placement(
        direction=(leafwise(scheme, turn, lambda x: (unit_norm(x), 0 * unit_norm(x))),),
        step=(leafwise(scheme, hold, unit_norm),),
    )


NORM_RULES: dict[str, Place] = {
    "max_norm": _bounded(unit_norm, "limit"),
    "norm_ball": _bounded(norm, "radius"),
    "radial_brake": _radial_brake,
    "lawn": _lawn,
    "hyperball": _hyperball,
    "rotational": _rotational,
}
"""Scheme kind → where it stands."""
