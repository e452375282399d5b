"""Sizes and projections of updates, leaf by leaf, in float32 at least."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxwd.trees import Tree

Parts = list[Any]
"""The leaves of an update, in the order JAX flattens them."""


@jax.jit
def odd_part(up: Tree, down: Tree) -> Parts:
    """Return ½(a − b) leaf by leaf, in float32."""
    pairs = zip(jax.tree.leaves(up), jax.tree.leaves(down), strict=True)
    return [0.5 * (_wide(a) - _wide(b)) for a, b in pairs]


@jax.jit
def even_part(up: Tree, down: Tree) -> Parts:
    """Return ½(a + b) leaf by leaf, in float32."""
    pairs = zip(jax.tree.leaves(up), jax.tree.leaves(down), strict=True)
    return [0.5 * (_wide(a) + _wide(b)) for a, b in pairs]


def _wide(x: Any) -> Any:
    return jnp.asarray(x).astype(jnp.promote_types(jnp.float32, x.dtype))


@jax.jit
def shares(parts: Parts, weights: Tree) -> Any:
    """Return the shrink −⟨part, θ⟩/⟨θ, θ⟩ of each leaf, shape (leaves,)."""

    def share(part: Any, theta: Any) -> Any:
        theta = _wide(theta)
        square = jnp.sum(theta * theta)
        return -jnp.sum(part * theta) / jnp.where(square > 0, square, 1.0)

    leaves = jax.tree.leaves(weights)
    return jnp.stack([share(p, w) for p, w in zip(parts, leaves, strict=True)])


@jax.jit
def norms(parts: Parts) -> Any:
    """Return the Euclidean norm of each leaf, shape (leaves,)."""
    return jnp.stack([jnp.sqrt(jnp.sum(_wide(p) ** 2)) for p in parts])


@jax.jit
def gaps(a: Parts, b: Parts, factor: Any = 1.0) -> Any:
    """Return ‖a − factor·b‖ of each leaf; factor is a number or one for each leaf."""
    factors = jnp.broadcast_to(jnp.asarray(factor, jnp.float32), (len(a),))
    return jnp.stack(
        [
            jnp.sqrt(jnp.sum((_wide(x) - factors[i] * _wide(y)) ** 2))
            for i, (x, y) in enumerate(zip(a, b, strict=True))
        ]
    )


@jax.jit
def dots(a: Parts, b: Parts) -> Any:
    """Return ⟨a, b⟩ of each leaf."""
    return jnp.stack([jnp.sum(_wide(x) * _wide(y)) for x, y in zip(a, b, strict=True)])


def along(weights: Tree, share: Any) -> Parts:
    """Return −share·θ, leaf by leaf; `share` has one number for each leaf."""
    return [
        -jnp.asarray(s, jnp.float32) * _wide(w)
        for w, s in zip(jax.tree.leaves(weights), share, strict=True)
    ]
