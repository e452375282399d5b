"""Gradient clipping by name. Clips stand before decay: decay is never clipped.

In `jaxwd.compose` the order is clip → decay → core. Reversed, `g + λθ` would share
one allowance: a large gradient would switch decay off, and large weights would use up
the gradient's room. Keep the order in mind when you read results: a value clip also
turns the gradient's direction, and the adaptive clip compares ‖g‖ with ‖θ‖, which
decay itself makes smaller.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxwd.errors import require, unknown
from jaxwd.trees import norm


def value(threshold: float) -> optax.GradientTransformation:
    """g ← min(max(g, −c), c) for every number by itself; changes the direction."""
    _require(threshold)
    return optax.clip(threshold)


def global_norm(threshold: float) -> optax.GradientTransformation:
    """g ← g·min(1, c/‖g‖), ‖g‖ over all leaves together; keeps the direction."""
    _require(threshold)
    return optax.clip_by_global_norm(threshold)


def block_norm(threshold: float) -> optax.GradientTransformation:
    """g ← g·min(1, c/‖g‖) for every leaf by itself.

    >>> tx = block_norm(1.0)
    >>> grads = {"a": jnp.array([3.0, 4.0]), "b": jnp.array([0.5])}
    >>> tx.update(grads, tx.init(grads))[0]["a"].round(3)
    Array([0.6, 0.8], dtype=float32)
    """
    _require(threshold)

    def clip_leaf(g: jax.Array) -> jax.Array:
        size = norm(g)
        return g * jnp.where(size > threshold, threshold / jnp.maximum(size, 1e-30), 1)

    return optax.stateless(lambda updates, _: jax.tree.map(clip_leaf, updates))


def adaptive(threshold: float) -> optax.GradientTransformation:
    """g ← g·min(1, c·max(‖θ‖, 1e-3)/‖g‖) for every output unit (AGC).

    Source: Brock et al., High-performance large-scale image recognition without
    normalization, 2021; the paper takes c = 0.01 and leaves the last layer out.
    """
    _require(threshold)
    return optax.adaptive_grad_clip(threshold)


CLIPS: dict[str, Callable[[float], optax.GradientTransformation]] = {
    "value": value,
    "global_norm": global_norm,
    "block_norm": block_norm,
    "adaptive": adaptive,
}
"""Name → clip(threshold)."""


def by_name(name: str, threshold: float) -> optax.GradientTransformation:
    """Return the clip `name` at `threshold`.

    Raises:
        InputError: unknown name, or a threshold that is not above 0.
    """
    if name not in CLIPS:
        raise unknown("clip", name, CLIPS)
    return CLIPS[name](threshold)


def _require(threshold: float) -> None:
    require("clip threshold", threshold, 0.0, open_low=True)
