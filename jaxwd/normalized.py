"""Find the leaves whose length the model does not feel: those that feed a norm."""

import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxwd.errors import InputError, require
from jaxwd.masks import Rule, Rules
from jaxwd.trees import Tree, map_named, named_leaves


def scale_free(
    function: Callable[[Tree], Any],
    params: Tree,
    *,
    factor: float = 2.0,
    tolerance: float = 1e-3,
) -> Rules:
    """Return rules that name the leaves with f(…, c·θ_l, …) = f(…, θ_l, …).

    Weights that feed a normalisation are of this kind: decay does not shrink what the
    model computes, it sets the effective learning rate η/‖θ‖². AdamC is meant for them:

        decoupled(λ, times="corrected", where=scale_free(f, params))

    Found by trying, so it holds for whatever makes the outputs equal. It runs the
    function once a leaf. Biases in front of a norm make their kernel scale with them
    only together: such kernels are not found.

    Args:
        function: parameters → outputs, in training mode (batch statistics of the batch
            itself), with a fixed batch and no randomness.
        params: any pytree; zeros are fine elsewhere, but a leaf of zeros is left out.
        factor: c.
        tolerance: largest allowed change of the outputs, relative to their size; norms
            add an ε, so it is not 0.

    Raises:
        InputError: no leaf is scale-free.

    >>> import jax.numpy as jnp
    >>> params = {"body": {"kernel": jnp.eye(3)}, "head": {"kernel": jnp.ones((3, 2))}}
    >>> x = jnp.array([[1.0, 2.0, 4.0]])
    >>> def f(p):
    ...     h = x @ p["body"]["kernel"]
    ...     h = h / jnp.linalg.norm(h)
    ...     return h @ p["head"]["kernel"]
    >>> print(scale_free(f, params))
    body/kernel
    """
    require("factor", factor, 0.0, open_low=True)
    require("tolerance", tolerance, 0.0)
    run = jax.jit(function)
    before = jax.tree.leaves(run(params))

    def is_free(name: str, leaf: Any) -> bool:
        if not np.any(leaf):
            return False
        scaled = map_named(lambda n, x: factor * x if n == name else x, params)
        after = jax.tree.leaves(run(scaled))
        return all(
            np.linalg.norm(np.asarray(b - a)) <= tolerance * np.linalg.norm(a)
            for a, b in zip(before, after, strict=True)
        )

    found = [name for name, leaf in named_leaves(params) if is_free(name, leaf)]
    if not found:
        raise InputError(
            "scale_free: scaling any leaf changes the outputs; run the function in "
            "training mode (batch statistics), or name the leaves by where="
        )
    return Rules(tuple(Rule(re.escape(name)) for name in found))
