"""Tell a core from an alias by its answers, since Optax does not record the kind."""

import functools
import warnings
from typing import Any

import jax
import numpy as np
import optax

from jaxwd.errors import InputError
from jaxwd.trees import sum_squares

_CORES = "pass optax.scale_by_*(), optax.trace() or optax.identity()"
_STEPS = 3  # a warm-up from 0 hides an alias's learning rate in its first step


def reject_alias(core: optax.GradientTransformation) -> None:
    """Raise where `core` brings its own learning rate or decay, as aliases do.

    `optax.adamw(…)` inside `compose` would decay twice, and its negative sign would
    make training climb. A core answers gradients of ones with steps along them, and
    gradients of zeros with the same steps whatever the weights are.
    """
    if isinstance(core, str):
        raise InputError(
            f"core={core!r} is a name; jaxwd.optimizer({core!r}, …) builds it, compose "
            "takes a transformation such as optax.scale_by_adam()"
        )
    if not hasattr(core, "init") or not hasattr(core, "update"):
        raise InputError(f"core={core!r} is no Optax transformation; {_CORES}")
    verdict = _verdict(core)
    if verdict is not None:
        raise InputError(verdict)


def _bowl(params: Any) -> jax.Array:
    """Return a loss for cores that ask for one: its curvature is the same everywhere."""
    return 0.5 * sum_squares(params)


@functools.lru_cache(maxsize=64)
def _verdict(core: optax.GradientTransformation) -> str | None:
    def updates(gradient: float, weight: float) -> np.ndarray:
        """Return the updates of a few steps, weights held still."""
        params = {"kernel": np.full((2, 2), weight, np.float32)}
        grads = {"kernel": np.full((2, 2), gradient, np.float32)}
        extra = {"value": 1.0, "grad": grads, "value_fn": _bowl, "obj_fn": _bowl}
        tried = optax.with_extra_args_support(core)
        state, seen = tried.init(params), []
        for _ in range(_STEPS):
            got: Any
            got, state = tried.update(grads, state, params, **extra)
            seen.append(np.asarray(got["kernel"]))
        return np.stack(seen)

    try:
        # A caller may be under jit or vmap; the probe's numbers are constants there.
        with jax.ensure_compile_time_eval():
            along = updates(1.0, 0.0)
            at_rest = [updates(0.0, weight) for weight in (1.0, 2.0)]
    except Exception as error:
        warnings.warn(
            "core: could not be tried on a small example "
            f"({type(error).__name__}), so nobody checked that it brings no learning "
            "rate and no decay of its own",
            UserWarning,
            stacklevel=5,
        )
        return None
    if (along < 0).any():
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
