"""The three problems of every picture, and a scheme's way through them.

1. no gradient, under Adam: what decay does alone
2. ½(x − 1)² with noise, under SGD and under Adam
3. an elongated quadratic in the plane, from three starts, under Adam
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gallery_parts.layouts import LAYOUTS
from jax import Array

import jaxwd as wd

STEPS, PEAK = 300, 0.05
TAU_OVER_RUN = 0.3
WEIGHTS = (1.0, -0.6, 0.2)
NOISE = 0.3
START = -0.5
STARTS = ((-0.9, 1.0), (1.5, -0.7), (-0.7, -0.8))
MINIMUM = np.array([1.0, 0.5])
CURVATURES, ANGLE = (0.4, 2.0), np.pi / 6


def hessian() -> np.ndarray:
    """Return the quadratic's 2 × 2 matrix: its flat axis stands at 30°."""
    c, s = np.cos(ANGLE), np.sin(ANGLE)
    turn = np.array([[c, -s], [s, c]])
    return turn @ np.diag(CURVATURES) @ turn.T


def noise() -> np.ndarray:
    """Return the fixed disturbance of the 1-D gradient, one number a step."""
    return np.random.default_rng(0).normal(0, NOISE, STEPS).astype(np.float32)


def ellipse(theta: Any, t: Any = 0) -> Any:
    """½(θ − θ*)ᵀH(θ − θ*)."""
    gap = theta - MINIMUM
    return 0.5 * gap @ hessian() @ gap


def direction(theta: Any, t: Any = 0) -> Any:
    """1 − cos(θ, θ*), blind to length like weights that feed a normalisation."""
    return 1 - theta @ MINIMUM / jnp.linalg.norm(theta) / np.linalg.norm(MINIMUM)


PLANES = {"ellipse": ellipse, "direction": direction}
"""Name → loss of the third panel."""


class Paths(NamedTuple):
    """What is drawn of one scheme; weights along the last axis, steps before it.

    Attributes:
        free: no gradient, at the whole and at half the learning rate, (2, T + 1, 3).
        sgd: 1-D under SGD, (T + 1,).
        adam: 1-D under Adam, (T + 1,).
        plane: 2-D under Adam, (3, T + 1, 2).
    """

    free: np.ndarray
    sgd: np.ndarray
    adam: np.ndarray
    plane: np.ndarray


def scheme_of(call: str, params: Any) -> wd.DecayScheme:
    """Return the scheme that a line of code makes; `anchor` is a tree of 0.5 there."""
    anchor = jax.tree.map(lambda x: jnp.full_like(x, 0.5), params)
    return eval(call, {"wd": wd, "anchor": anchor})


@functools.lru_cache
def paths(call: str, layout: str = "unit", plane: str = "ellipse") -> Paths:
    """Return the ways of the scheme `call` makes, computed in one program."""
    row = LAYOUTS[layout]

    def follow(core: str, start: Array, loss: Callable | None, peak: Any) -> Array:
        params = row.lay(start)
        decay = scheme_of(call, params)
        rate = wd.cosine(peak, steps=STEPS)
        tx = wd.optimizer(core, rate, decay=decay)

        def objective(params: Any, t: Any) -> Any:
            penalty = wd.penalties.of_scheme(decay, params, t)
            if loss is None:
                return penalty
            return loss(row.read(params, len(start)), t) + row.rest(params) + penalty

        def step(carry: Any, t: Any) -> Any:
            params, state = carry
            value, gradient = jax.value_and_grad(objective)(params, t)
            updates, state = tx.update(gradient, state, params, value=value)
            params = jax.tree.map(jnp.add, params, updates)
            return (params, state), row.read(params, len(start))

        _, path = jax.lax.scan(step, (params, tx.init(params)), jnp.arange(STEPS))
        return jnp.concatenate([start[None], path])

    def hill(theta: Array, t: Any) -> Any:
        return 0.5 * (theta[0] - 1) ** 2 + jnp.asarray(noise())[t] * theta[0]

    @jax.jit
    def all_of_them() -> Any:
        weights, start = jnp.array(WEIGHTS), jnp.array([START])
        return (
            jax.vmap(lambda peak: follow("adam", weights, None, peak))(
                jnp.array([PEAK, PEAK / 2])
            ),
            follow("sgd", start, hill, PEAK)[:, 0],
            follow("adam", start, hill, PEAK)[:, 0],
            jax.vmap(lambda start: follow("adam", start, PLANES[plane], PEAK))(
                jnp.array(STARTS)
            ),
        )

    return Paths(*(np.asarray(x) for x in all_of_them()))


def tau_over_run(
    call: str, layout: str = "unit", gain: float | None = 1.0
) -> float | None:
    """Return τ/T at zero gradient, under SGD; None where data decide it.

    With `gain=None` under any core; None for what an adaptive core rescales.
    """
    params = LAYOUTS[layout].lay(jnp.array(WEIGHTS))
    rate = wd.cosine(PEAK, steps=STEPS)
    got = wd.shrink(scheme_of(call, params), rate, steps=STEPS, gain=gain)
    return None if got is None or not np.isfinite(got.tau) else got.tau_over_run


def strength_said(call: str, layout: str = "unit") -> str:
    """Return τ/T in words, empty where it is not defined."""
    share = tau_over_run(call, layout)
    if share is None:
        return ""
    everywhere = tau_over_run(call, layout, gain=None) is not None
    return f"τ/T = {share:.2f}" + ("" if everywhere else " under SGD")
