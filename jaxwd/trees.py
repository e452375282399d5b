"""Leaf names and norms of any pytree of parameters."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Tree = Any
"""Any pytree of arrays: nested dicts, Equinox modules, NNX states, one array."""

# flax.nnx stores an array inside a Variable; its attribute is no part of the name.
_VARIABLE_FIELDS = ("value", "raw_value")


def path_name(path: tuple[Any, ...]) -> str:
    """Return a leaf's name, its keys joined by slashes: `conv1/kernel`.

    >>> import jax
    >>> tree = {"conv1": {"kernel": 0.0}, "blocks": [1.0]}
    >>> [path_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]
    ['blocks/0', 'conv1/kernel']
    """
    if path and getattr(path[-1], "name", None) in _VARIABLE_FIELDS:
        path = path[:-1]
    return jax.tree_util.keystr(path, simple=True, separator="/")


def named_leaves(tree: Tree) -> list[tuple[str, Any]]:
    """Return `(name, leaf)` for every leaf, in the order JAX flattens them."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [(path_name(path), leaf) for path, leaf in leaves]


def map_named(function: Callable[[str, Any], Any], tree: Tree) -> Tree:
    """Apply `function(name, leaf)` to every leaf and keep the structure."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: function(path_name(path), leaf), tree
    )


def sum_squares(tree: Tree) -> jax.Array:
    """Return Σ θ² over all leaves, a scalar."""
    return sum(
        (jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)), jnp.zeros(())
    )


def norm(tree: Tree) -> jax.Array:
    """Return the Euclidean norm of all leaves taken as one vector, a scalar.

    >>> norm({"a": jnp.array([3.0]), "b": jnp.array([4.0])}).item()
    5.0
    """
    return jnp.sqrt(sum_squares(tree))


def count(tree: Tree) -> int:
    """Return how many numbers the leaves hold.

    >>> count({"a": jnp.zeros((2, 3)), "b": jnp.zeros(4)})
    10
    """
    return sum(np.size(leaf) for leaf in jax.tree.leaves(tree))


def unit_axes(x: jax.Array) -> tuple[int, ...] | None:
    """Return the axes of one output unit: all but the last; all axes of a vector."""
    return tuple(range(x.ndim - 1)) if x.ndim > 1 else None


def unit_norm(x: jax.Array) -> jax.Array:
    """Return ‖x‖ of every output unit, to be broadcast over the leaf."""
    return jnp.sqrt(jnp.sum(jnp.square(x), axis=unit_axes(x), keepdims=True))


def over(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return a/b, and 0 where b is 0."""
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), 0)
