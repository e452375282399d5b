"""The weights and gradients a transformation is probed with."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxwd.errors import InputError
from jaxwd.trees import Tree, map_named


def is_real(leaf: Any) -> bool:
    """Say whether a leaf holds floating-point numbers, which alone can decay."""
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)


def weights(params: Tree) -> Tree:
    """Return `params` with numbers where a leaf has none: all zeros, or a bare shape.

    A zero cannot shrink, so nothing could be learnt from a bias at its start.
    """
    rng = np.random.default_rng(0)

    def sample(name: str, leaf: Any) -> Any:
        bare = isinstance(leaf, jax.ShapeDtypeStruct)
        if not bare:
            leaf = jnp.asarray(leaf)
        if not is_real(leaf):
            return jnp.zeros(leaf.shape, leaf.dtype) if bare else leaf
        if not bare and leaf.size and not np.isfinite(np.asarray(leaf, float)).all():
            raise InputError(f"params: leaf {name!r} holds NaN or infinity")
        if not bare and np.any(np.asarray(leaf)):
            return leaf
        size = rng.uniform(0.5, 1.0, leaf.shape) * rng.choice([-1.0, 1.0], leaf.shape)
        # As large as weights usually start, so that no norm is out of the ordinary.
        width = math.prod(leaf.shape[:-1]) if bare and len(leaf.shape) > 1 else 1
        return _beside(size / math.sqrt(max(width, 1)), leaf)

    return map_named(sample, params)


def gradient(weights: Tree) -> Tree:
    """Return gradients of size 1 a weight, at right angles to each leaf's weights.

    The right angle keeps ‖g + λθ‖ the same when θ changes its sign, so that a
    normalisation of the sum does not look like decay.
    """
    rng = np.random.default_rng(1)

    def draw(leaf: Any) -> Any:
        if not is_real(leaf):
            return jnp.zeros_like(leaf)
        g = rng.standard_normal(leaf.shape)
        if leaf.size > 1:
            theta = np.asarray(leaf, float)
            g = g - theta * (np.sum(g * theta) / max(np.sum(theta**2), 1e-300))
        size = np.sqrt(np.mean(g**2)) if g.size else 1.0
        return _beside(g / (size or 1.0), leaf)

    return jax.tree.map(draw, weights)


def _beside(values: np.ndarray, leaf: Any) -> jax.Array:
    """Return values as an array of the leaf's type that lies where the leaf lies."""
    array = jnp.asarray(values, leaf.dtype)
    return jax.device_put(array, leaf.sharding) if leaf.sharding else array
