"""Tell a core from an alias by its answers, since Optax does not record the kind."""

import functools
from typing import Any

import jax
import numpy as np
import optax

from jaxwd.errors import InputError

_CORES = "pass optax.scale_by_*(), optax.trace() or optax.identity()"


def reject_alias(core: optax.GradientTransformation) -> None:
    """Raise where `core` brings its own learning rate or decay, as aliases do.

    `optax.adamw(…)` inside `compose` would decay twice, and its negative sign would
    make training climb. A core answers a gradient of ones with a step along it, and
    a first gradient of zeros with the same step for any weights.
    """
    verdict = _verdict(core)
    if verdict is not None:
        raise InputError(verdict)


@functools.lru_cache(maxsize=64)
def _verdict(core: optax.GradientTransformation) -> str | None:
    def first_update(gradient: float, weight: float) -> np.ndarray:
        params = {"kernel": np.full((2, 2), weight, np.float32)}
        grads = {"kernel": np.full((2, 2), gradient, np.float32)}
        updates: Any = core.update(grads, core.init(params), params)[0]
        return np.asarray(updates["kernel"])

    try:
        # A caller may be under jit or vmap; the probe's numbers are constants there.
        with jax.ensure_compile_time_eval():
            along = first_update(1.0, 0.0)
            at_rest = [first_update(0.0, weight) for weight in (1.0, 2.0)]
    except Exception:
        return None  # a core that wants more than gradients cannot be probed
    if (along < 0).all():
        return (
            "core: this transformation steps against the gradient, so it has a learning "
            f"rate of its own (an alias such as optax.adam?); {_CORES} instead"
        )
    if np.isfinite(at_rest).all() and not np.array_equal(at_rest[0], at_rest[1]):
        return (
            "core: this transformation decays weights by itself, decay would be given "
            f"twice; {_CORES} and say decay= instead"
        )
    return None
