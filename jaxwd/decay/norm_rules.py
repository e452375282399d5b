"""Norms held in place: where each scheme of `norms.py` stands and what it does there."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxwd.decay.leafwise import leafwise, over, size, unit_axes, unit_size
from jaxwd.decay.placement import Placement, Rates
from jaxwd.decay.scheme import DecayScheme
from jaxwd.schedules import value_at

Array = jax.Array


def _rescaled(proposed: Array, length: Array, now: Array) -> Array:
    return proposed * jnp.where(now > 0, length / jnp.where(now > 0, now, 1), 1)


def _max_norm(scheme: DecayScheme, rates: Rates) -> Placement:
    limit = dict(scheme.settings)["limit"]

    def move(u: Array, x: Array, memory: Any, t: Array, m: float) -> tuple:
        now = unit_size(x + u)
        return _rescaled(x + u, jnp.minimum(now, limit), now) - x, memory

    return Placement(step=(leafwise(scheme, move),))


def _norm_ball(scheme: DecayScheme, rates: Rates) -> Placement:
    radius = dict(scheme.settings)["radius"]

    def move(u: Array, x: Array, memory: Any, t: Array, m: float) -> tuple:
        now = size(x + u)
        return _rescaled(x + u, jnp.minimum(now, radius), now) - x, memory

    return Placement(step=(leafwise(scheme, move),))


def _radial_brake(scheme: DecayScheme, rates: Rates) -> Placement:
    share = dict(scheme.settings)

    def move(u: Array, x: Array, memory: Any, t: Array, m: float) -> tuple:
        was, now = size(x), size(x + u)
        s = jnp.where(now > was, share["outward"], share["inward"])
        return _rescaled(x + u, was + s * (now - was), now) - x, memory

    return Placement(step=(leafwise(scheme, move),))


def _lawn(scheme: DecayScheme, rates: Rates) -> Placement:
    free = dict(scheme.settings)["free_steps"]

    def tangent(g: Array, x: Array, memory: Any, t: Array, m: float) -> tuple:
        radial = over(jnp.sum(g * x), jnp.sum(x * x)) * x
        return jnp.where(t < free, g, g - radial), memory

    def hold(u: Array, x: Array, memory: Any, t: Array, m: float) -> tuple:
        held = _rescaled(x + u, size(x), size(x + u)) - x
        return jnp.where(t < free, u, held), memory

    return Placement(
        gradient=(leafwise(scheme, tangent),), step=(leafwise(scheme, hold),)
    )


def _hyperball(scheme: DecayScheme, rates: Rates) -> Placement:
    def normalise(u: Array, x: Array, memory: Any, t: Array, m: float) -> tuple:
        return over(size(x), size(u)) * u, memory

    def hold(u: Array, x: Array, start: Array, t: Array, m: float) -> tuple:
        return _rescaled(x + u, start, size(x + u)) - x, start

    return Placement(
        direction=(leafwise(scheme, normalise),),
        step=(leafwise(scheme, hold, size),),
    )


def _rotational(scheme: DecayScheme, rates: Rates) -> Placement:
    settings = dict(scheme.settings)
    beta, eps = settings["beta"], 1e-8

    def turn(u: Array, x: Array, memory: Any, t: Array, m: float) -> tuple:
        start, average = memory
        axes = unit_axes(x)
        u = u - x * over(jnp.sum(u * x, axis=axes, keepdims=True), start**2)
        if settings["center"]:
            u = u - jnp.mean(u, axis=axes, keepdims=True)
        average = beta * average + (1 - beta) * unit_size(u) ** 2
        typical = jnp.sqrt(average / (1 - beta ** (t + 1))) + eps
        eta = jnp.asarray(value_at(rates.learning_rate, t))
        strength = m * value_at(scheme.strength, t)
        # × −η_t follows: angle/η_t leaves the angle itself.
        angle = jnp.sqrt(over(2 * strength * settings["angle"], eta))
        return angle * start * u / typical, (start, average)

    def hold(u: Array, x: Array, start: Array, t: Array, m: float) -> tuple:
        return _rescaled(x + u, start, unit_size(x + u)) - x, start

    return Placement(
        direction=(leafwise(scheme, turn, lambda x: (unit_size(x), 0 * unit_size(x))),),
        step=(leafwise(scheme, hold, unit_size),),
    )


NORM_RULES: dict[str, Callable[[DecayScheme, Rates], Placement]] = {
    "max_norm": _max_norm,
    "norm_ball": _norm_ball,
    "radial_brake": _radial_brake,
    "lawn": _lawn,
    "hyperball": _hyperball,
    "rotational": _rotational,
}
"""Scheme kind → where it stands."""
