"""The shapes s(t) of a schedule: each takes the steps left after the warm-up."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from jaxwd.errors import require, unknown


def _constant(steps: int) -> Callable:
    return lambda t: jnp.ones(jnp.shape(t))


def _step(steps: int, *, factor: float = 0.1, every: int | None = None) -> Callable:
    require("factor", factor, 0.0, 1.0)
    every = max(1, steps // 3) if every is None else every
    require("every", every, 1)
    return lambda t: factor ** jnp.floor(t / every)


def _exponential(steps: int, *, end: float = 0.01) -> Callable:
    require("end", end, 0.0, 1.0, open_low=True)
    return lambda t: end ** (t / steps)


def _inverse_time(steps: int, *, rate: float = 9.0) -> Callable:
    require("rate", rate, 0.0)
    return lambda t: 1.0 / (1.0 + rate * t / steps)


def _polynomial(steps: int, *, power: float = 2.0, end: float = 0.0) -> Callable:
    require("power", power, 0.0)
    require("end", end, 0.0, 1.0)
    return optax.polynomial_schedule(1.0, end, power, steps)


def _linear(steps: int, *, end: float = 0.0) -> Callable:
    return _polynomial(steps, power=1.0, end=end)


def _cosine(steps: int, *, end: float = 0.0) -> Callable:
    require("end", end, 0.0, 1.0)
    return optax.cosine_decay_schedule(1.0, steps, alpha=end)


def _warm_restarts(
    steps: int, *, cycles: int = 3, stretch: float = 2.0, end: float = 0.0
) -> Callable:
    require("cycles", cycles, 1, whole=True)
    require("end", end, 0.0, 1.0)
    require("stretch", stretch, 0.0, open_low=True)
    # Ends of the cycles: each is `stretch` times as long as the one before.
    lengths = stretch ** np.arange(cycles)
    edges = np.concatenate([[0.0], np.cumsum(lengths) / lengths.sum() * steps])

    def shape(t: Any) -> Any:
        starts, spans = jnp.asarray(edges[:-1]), jnp.asarray(np.diff(edges))
        i = jnp.clip(jnp.searchsorted(starts, t, side="right") - 1, 0, cycles - 1)
        phase = jnp.clip((t - starts[i]) / spans[i], 0.0, 1.0)
        return end + (1.0 - end) * 0.5 * (1.0 + jnp.cos(jnp.pi * phase))

    return shape


def _one_cycle(
    steps: int, *, rise: float = 0.3, start: float = 1 / 25, end: float = 1e-4
) -> Callable:
    require("rise", rise, 0.0, 0.99, open_low=True)
    require("start", start, 0.0, 1.0, open_low=True)
    require("end", end, 0.0, 1.0, open_low=True)
    # Optax divides by the interval lengths, so each must hold one step at least.
    return optax.cosine_onecycle_schedule(
        max(steps, 2),
        1.0,
        pct_start=rise,
        div_factor=1 / start,
        final_div_factor=1 / end,
    )


def _wsd(steps: int, *, cooldown: float = 0.2, end: float = 0.0) -> Callable:
    require("cooldown", cooldown, 0.0, 1.0, open_low=True)
    require("end", end, 0.0, 1.0)
    flat = steps - max(1, round(cooldown * steps))
    return lambda t: 1.0 - (1.0 - end) * jnp.clip((t - flat) / (steps - flat), 0.0, 1.0)


def _rising_cosine(steps: int, *, start: float = 0.1) -> Callable:
    require("start", start, 0.0, 1.0)
    fall = optax.cosine_decay_schedule(1.0, steps)
    return lambda t: 1.0 - (1.0 - start) * fall(t)


def _early(steps: int, *, until: float = 0.5) -> Callable:
    require("until", until, 0.0, 1.0)
    return lambda t: jnp.where(t < until * steps, 1.0, 0.0)


def _late(steps: int, *, after: float = 0.5) -> Callable:
    require("after", after, 0.0, 1.0)
    return lambda t: jnp.where(t < after * steps, 0.0, 1.0)


def _opposite(steps: int, *, of: str = "cosine", **options: Any) -> Callable:
    if of not in SHAPES:
        raise unknown("schedule", of, SHAPES)
    shape = SHAPES[of](steps, **options)
    return lambda t: 1.0 - shape(t)


SHAPES: dict[str, Callable[..., Callable[[Any], Any]]] = {
    "constant": _constant,
    "step": _step,
    "exponential": _exponential,
    "inverse_time": _inverse_time,
    "polynomial": _polynomial,
    "linear": _linear,
    "cosine": _cosine,
    "warm_restarts": _warm_restarts,
    "one_cycle": _one_cycle,
    "wsd": _wsd,
    "rising_cosine": _rising_cosine,
    "early": _early,
    "late": _late,
    "opposite": _opposite,
}
"""Shape name → function(steps, **options) → s(t). A new schedule is one row."""
