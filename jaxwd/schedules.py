"""Step → value, for learning rate, λ and dropout alike; a schedule carries its peak.

A schedule is `peak · s(t)` with the shape s(t) in [0, 1]. The two factors are kept
apart because decay schemes differ exactly in which of them multiplies λ.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from jaxwd.errors import InputError, require, unknown

Scalar = Any
"""A Python number or an array of shape `()`, traced or not."""

ScalarOrSchedule = Any
"""A scalar, or a function of the step that returns one."""


@dataclass(frozen=True)
class Schedule:
    """A named schedule: `schedule(step) = peak · s(step)`, s in [0, 1].

    Being a value it prints, compares and hashes (where its peak is a number), and it
    can be called with a traced step or an array of steps. Make one with the
    functions of this module, such as `cosine(3e-3, steps=10_000, warmup=500)`.

    Attributes:
        shape: name of the row in `SHAPES`.
        peak: the largest value; a number or a traced array.
        steps: length of the run in optimizer steps, warm-up included.
        warmup: steps that rise linearly from 0 to the peak before the shape begins.
        options: the shape's own settings.
    """

    shape: str
    peak: Scalar
    steps: int
    warmup: int = 0
    options: tuple[tuple[str, Any], ...] = field(default=())

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise unknown("schedule", self.shape, SHAPES)
        require("peak", self.peak, 0.0)
        require("steps", self.steps, 1)
        require("warmup", self.warmup, 0, self.steps)
        self._function()  # settings the shape does not know are found here

    def _function(self) -> Callable[[Any], Any]:
        return _multiplier(self.shape, self.steps, self.warmup, self.options)

    def multiplier(self, step: Scalar) -> Any:
        """Return s(step) in [0, 1], of the step's shape."""
        # Some of Optax's schedules take only scalars; here any shape of steps will do.
        return jnp.vectorize(self._function())(jnp.asarray(step, float))

    def __call__(self, step: Scalar) -> Any:
        """Return `peak · s(step)`."""
        return self.peak * self.multiplier(step)

    def values(self) -> np.ndarray:
        """Return the multipliers of all steps of the run, shape `(steps,)`."""
        return np.asarray(self.multiplier(jnp.arange(self.steps)))


@functools.lru_cache(maxsize=512)
def _multiplier(
    shape: str, steps: int, warmup: int, options: tuple[tuple[str, Any], ...]
) -> Callable[[Any], Any]:
    """Return s(t) with its warm-up joined on."""
    allowed = list(inspect.signature(SHAPES[shape]).parameters)[1:]
    for name, value in options:
        if name not in allowed:
            raise InputError(
                f"schedule {shape!r} does not take {name}={value}; it takes steps, "
                f"warmup{''.join(', ' + option for option in allowed)}"
            )
    after = SHAPES[shape](max(steps - warmup, 1), **dict(options))
    if not warmup:
        return after

    def warmed(step: Any) -> Any:
        return jnp.where(step < warmup, step / warmup, after(step - warmup))

    return warmed


# --- the shapes: each takes the number of steps left after warm-up -----------------


def _constant(steps: int) -> Callable:
    return lambda t: jnp.ones(jnp.shape(t))


def _step(steps: int, *, factor: float = 0.1, every: int | None = None) -> Callable:
    every = every or max(1, steps // 3)
    return lambda t: factor ** jnp.floor(t / every)


def _exponential(steps: int, *, end: float = 0.01) -> Callable:
    require("end", end, 0.0, 1.0, open_low=True)
    return lambda t: end ** (t / steps)


def _inverse_time(steps: int, *, rate: float = 9.0) -> Callable:
    require("rate", rate, 0.0)
    return lambda t: 1.0 / (1.0 + rate * t / steps)


def _polynomial(steps: int, *, power: float = 2.0, end: float = 0.0) -> Callable:
    return optax.polynomial_schedule(1.0, end, power, steps)


def _linear(steps: int, *, end: float = 0.0) -> Callable:
    return optax.polynomial_schedule(1.0, end, 1.0, steps)


def _cosine(steps: int, *, end: float = 0.0) -> Callable:
    return optax.cosine_decay_schedule(1.0, steps, alpha=end)


def _warm_restarts(
    steps: int, *, cycles: int = 3, stretch: float = 2.0, end: float = 0.0
) -> Callable:
    require("cycles", cycles, 1)
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
    require("rise", rise, 0.0, 1.0, open_low=True)
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
    flat = steps - max(1, round(cooldown * steps))
    return lambda t: 1.0 - (1.0 - end) * jnp.clip((t - flat) / (steps - flat), 0.0, 1.0)


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
}
"""Shape name → function(steps, **options) → s(t). A new schedule is one row."""


def schedule(
    name: str, peak: Scalar, *, steps: int, warmup: int = 0, **options: Any
) -> Schedule:
    """Return the schedule `name`; see the functions below for each shape's options.

    Args:
        name: one of `SHAPES`.
        peak: largest value; a number, or an array so that one compilation serves many.
        steps: steps of the run, warm-up included.
        warmup: linear rise from 0 at step 0 to the peak at step `warmup`.
        **options: settings of the shape.

    Raises:
        InputError: unknown name or option, negative peak, warm-up longer than the run.

    >>> schedule("linear", 0.1, steps=10)(5).item()
    0.05...
    """
    return Schedule(name, peak, steps, warmup, tuple(sorted(options.items())))


def constant(peak: Scalar, *, steps: int = 1, warmup: int = 0) -> Schedule:
    """s(t) = 1: the peak from the end of the warm-up on."""
    return schedule("constant", peak, steps=max(steps, warmup), warmup=warmup)


def step(
    peak: Scalar,
    *,
    steps: int,
    warmup: int = 0,
    factor: float = 0.1,
    every: int | None = None,
) -> Schedule:
    """s(t) = factor^⌊t / every⌋; by default three stairs over the run.

    >>> step(1.0, steps=90, every=30)(jnp.array([0, 29, 30, 60])).round(3)
    Array([1.  , 1.  , 0.1 , 0.01], dtype=float32)
    """
    options = {"factor": factor} | ({} if every is None else {"every": every})
    return schedule("step", peak, steps=steps, warmup=warmup, **options)


def exponential(
    peak: Scalar, *, steps: int, warmup: int = 0, end: float = 0.01
) -> Schedule:
    """s(t) = end^(t/T): falls by the same factor every step, to `end` of the peak."""
    return schedule("exponential", peak, steps=steps, warmup=warmup, end=end)


def inverse_time(
    peak: Scalar, *, steps: int, warmup: int = 0, rate: float = 9.0
) -> Schedule:
    """s(t) = 1 / (1 + rate·t/T); with the default 9 it ends at a tenth of the peak."""
    return schedule("inverse_time", peak, steps=steps, warmup=warmup, rate=rate)


def polynomial(
    peak: Scalar, *, steps: int, warmup: int = 0, power: float = 2.0, end: float = 0.0
) -> Schedule:
    """s(t) = (1 − end)·(1 − t/T)^power + end."""
    return schedule(
        "polynomial", peak, steps=steps, warmup=warmup, power=power, end=end
    )


def linear(peak: Scalar, *, steps: int, warmup: int = 0, end: float = 0.0) -> Schedule:
    """s(t) = (1 − end)·(1 − t/T) + end; the default falls to exactly zero."""
    return schedule("linear", peak, steps=steps, warmup=warmup, end=end)


def cosine(peak: Scalar, *, steps: int, warmup: int = 0, end: float = 0.0) -> Schedule:
    """s(t) = end + (1 − end)·½(1 + cos πt/T).

    Source: Loshchilov and Hutter, SGDR, 2017, one cycle.

    >>> cosine(3e-3, steps=10_000, warmup=500).peak
    0.003
    """
    return schedule("cosine", peak, steps=steps, warmup=warmup, end=end)


def warm_restarts(
    peak: Scalar,
    *,
    steps: int,
    warmup: int = 0,
    cycles: int = 3,
    stretch: float = 2.0,
    end: float = 0.0,
) -> Schedule:
    """Cosines that start again at the peak, each `stretch` times as long as the last.

    Source: Loshchilov and Hutter, SGDR: stochastic gradient descent with warm
    restarts, 2017.
    """
    return schedule(
        "warm_restarts",
        peak,
        steps=steps,
        warmup=warmup,
        cycles=cycles,
        stretch=stretch,
        end=end,
    )


def one_cycle(
    peak: Scalar,
    *,
    steps: int,
    warmup: int = 0,
    rise: float = 0.3,
    start: float = 1 / 25,
    end: float = 1e-4,
) -> Schedule:
    """Cosine up from `start` over the first `rise` of the run, cosine down after.

    The last value is `start·end` of the peak, as in torch's `OneCycleLR` and Optax.
    Source: Smith and Topin, Super-convergence, 2018.
    """
    return schedule(
        "one_cycle", peak, steps=steps, warmup=warmup, rise=rise, start=start, end=end
    )


def wsd(
    peak: Scalar,
    *,
    steps: int,
    warmup: int = 0,
    cooldown: float = 0.2,
    end: float = 0.0,
) -> Schedule:
    """Warm-up, stable, decay: flat, then linear to `end` over the last `cooldown`."""
    return schedule("wsd", peak, steps=steps, warmup=warmup, cooldown=cooldown, end=end)


def value_at(value: ScalarOrSchedule, step: Scalar) -> Any:
    """Return a number as it is, a schedule's value at `step`."""
    return value(step) if callable(value) else value


def peak_of(value: ScalarOrSchedule, peak: Scalar | None = None) -> Scalar | None:
    """Return the peak α: the one given, a schedule's own, or the constant itself.

    None where nobody knows: a foreign callable without `peak=`.
    """
    if peak is not None:
        return peak
    if callable(value):
        return getattr(value, "peak", None)
    return value
