"""Shrink and perturb: a jump of the weights between two tasks, with an explicit key."""

from typing import Any

import jax

from jaxwd.errors import require
from jaxwd.masks import Where, everything, rules
from jaxwd.trees import Tree


def shrink_and_perturb(
    key: jax.Array,
    params: Tree,
    *,
    keep: Any = 0.6,
    noise: Any = 0.01,
    where: Where = everything,
) -> Tree:
    """Return a·θ + σ·ξ with ξ ~ N(0, 1), of the parameters' structure and dtypes.

    Not a part of a step: call it where new data arrives, before training goes on, and
    make a new optimizer state. Warm starts then generalise as fresh ones do.

    Args:
        key: of this very call; the same key gives the same weights.
        params: any pytree.
        keep: a in [0, 1], what is left of each weight.
        noise: σ, in units of weights.
        where: which leaves; default all.

    Source: Ash and Adams, On warm-starting neural network training, 2020.

    >>> import jax.numpy as jnp
    >>> shrink_and_perturb(jax.random.key(0), {"w": jnp.ones(2)}, keep=0.5, noise=0.0)
    {'w': Array([0.5, 0.5], dtype=float32)}
    """
    require("keep", keep, 0.0, 1.0)
    require("noise", noise, 0.0)
    leaves, shape = jax.tree.flatten(params)
    chosen = shape.flatten_up_to(rules(where).mask(params))
    moved = [
        (
            keep * x
            + noise * jax.random.normal(jax.random.fold_in(key, i), x.shape, x.dtype)
        ).astype(x.dtype)
        if is_chosen
        else x
        for i, (is_chosen, x) in enumerate(zip(chosen, leaves, strict=True))
    ]
    return shape.unflatten(moved)
