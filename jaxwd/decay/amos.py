"""Amos: decay and step of every leaf wear off as the leaf learns."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxwd.decay.leafwise import leafwise
from jaxwd.decay.placement import Placement, Rates
from jaxwd.decay.scheme import DecayScheme
from jaxwd.errors import require
from jaxwd.masks import Where, kernels, rules
from jaxwd.schedules import value_at
from jaxwd.trees import over

Array = jax.Array


class AmosState(NamedTuple):
    """What one leaf remembers: the average v of mean g², and b, how much it learnt."""

    average: Array
    learnt: Array


def amos(
    *,
    scale: float | None = None,
    b2: float = 0.999,
    c: float = 0.25,
    d: float = 0.25,
    where: Where = kernels,
) -> DecayScheme:
    """Amos: a decay of ½γ towards weights of size η̃, and steps that shrink with it.

    For each leaf, with ξ = η_t, v = EMA of mean g² and v̂ that average bias-corrected:

        γ = (1 + c√ξ·b)^(−½) · ξ² · mean g²/v̂
        θ' = θ − (η̃ξ·u + ½γθ) / (1 + d√(ξη̃)·b)
        b ← b + γ(1 + b)

    There is no λ: ½γ is what keeps a leaf that turns at random at ‖θ‖/√n = η̃, and it
    wears off as b grows. The paper's direction is u = g/√v̂ with one v a leaf,
    `optimizer("amos", ξ, decay=amos())`; over other cores γ is the same and u theirs.

    Args:
        scale: η̃, the size that weights shall have in the end. Default √(1/fan-in), fan-in
            being what an output unit (last axis) sums over. Multipliers of `where`
            multiply it.
        b2: of the average v; 1 − b2 about as large as ξ. Default 0.999.
        c: how the decay wears off; 0.25 is the paper's.
        d: how the step wears off; 0.25 is the paper's.
        where: which leaves; default kernels only. Other leaves take the core's own
            steps, which for the row `amos` are then not multiplied by an η̃.

    Raises:
        InputError: a number out of its range.

    Not with a learning rate tuned for another optimizer: ξ is about 1/√(batches in the
    data), and it is not scheduled down, since d does that.

    Source: Tian and Parikh, Amos, 2022; google-research/jestimator, whose v may also be
    kept for each row and whose schedules are read one step later.

    Reference: google-research/jestimator.

    >>> print(amos(scale=0.05))
    amos(scale=0.05, b2=0.999, c=0.25, d=0.25)
    """
    if scale is not None:
        require("amos: scale", scale, 0.0, open_low=True)
    require("amos: b2", b2, 0.0, 1.0)
    require("amos: c", c, 0.0)
    require("amos: d", d, 0.0)
    settings = {"scale": scale, "b2": b2, "c": c, "d": d}
    return DecayScheme("amos", where=rules(where), settings=tuple(settings.items()))


def place_amos(scheme: DecayScheme, rates: Rates) -> Placement:
    """Stand on the step −ξu, with v and b of every leaf in the state."""
    given = dict(scheme.settings)
    b2, c, d = given["b2"], given["c"], given["d"]

    def target(x: Array) -> Any:
        if given["scale"] is not None:
            return given["scale"]
        return (x.shape[-1] / x.size) ** 0.5 if x.ndim else 1.0

    def start(x: Array) -> AmosState:
        zero = jnp.zeros((), jnp.promote_types(x.dtype, jnp.float32))
        return AmosState(zero, zero)

    def move(
        u: Array, x: Array, state: AmosState, t: Array, m: float, g: Array
    ) -> tuple:
        xi, eta = value_at(rates.learning_rate, t), m * target(x)
        square = jnp.mean(jnp.square(g.astype(state.average.dtype)))
        average = b2 * state.average + (1 - b2) * square
        ratio = over(square * (1 - b2 ** (t + 1)), average)  # mean g²/v̂
        b = state.learnt
        gamma = xi**2 * ratio / jnp.sqrt(1 + c * jnp.sqrt(xi) * b)
        rest = 1 + d * jnp.sqrt(xi * eta) * b
        moved = (eta * u - gamma / 2 * x) / rest
        return moved.astype(u.dtype), AmosState(average, b + gamma * (1 + b))

    return Placement(step=(leafwise(scheme, move, start),))
