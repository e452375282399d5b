"""The value `Schedule`: a peak times a shape, called with a step."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxwd.errors import InputError, require, unknown
from jaxwd.schedules.shapes import SHAPES

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
        require("steps", self.steps, 1, whole=True)
        require("warmup", self.warmup, 0, self.steps, whole=True)
        self._function()  # settings the shape does not know are found here

    def _function(self) -> Callable[[Any], Any]:
        given = (self.shape, self.steps, self.warmup, self.options)
        if any(isinstance(value, Tracer) for _, value in self.options):
            return _multiplier.__wrapped__(*given)  # a traced option outlives no trace
        return _multiplier(*given)

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
