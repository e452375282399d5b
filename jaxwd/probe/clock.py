"""The step counters in an optimizer's state: found by watching, set to any step."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# `optax.MultiSteps` counts the calls of one step here, and ends each step at 0.
_WITHIN_A_STEP = "mini_step"


@dataclass(frozen=True)
class Clock:
    """Which leaves of a state count steps, and what they hold at step 0.

    Attributes:
        zero: position among the state's leaves → value at step 0.
    """

    zero: dict[int, int]

    def at(self, state: Any, step: int) -> Any:
        """Return `state` with its counters at `step`, everything else as it is."""
        leaves, treedef = jax.tree.flatten(state)
        for i, value in self.zero.items():
            leaves[i] = jnp.asarray(value + step, leaves[i].dtype)
        return jax.tree.unflatten(treedef, leaves)


def find_clock(states: Sequence[Any]) -> Clock:
    """Return the clock of states that follow each other by one step.

    A counter is a whole number that went up by exactly one each time.
    """
    if len({jax.tree.structure(state) for state in states}) > 1:
        return Clock({})  # a state that changes its shape has no place to look at
    columns = zip(*(jax.tree.leaves(state) for state in states), strict=True)
    zero = {}
    for i, column in enumerate(columns):
        if not all(map(_is_whole, column)):
            continue
        values = [int(value) for value in column]
        if all(b - a == 1 for a, b in itertools.pairwise(values)):
            zero[i] = values[0]
    return Clock(zero)


def within_a_step(state: Any) -> bool:
    """Say whether `optax.MultiSteps` is in the middle of its micro-steps."""
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    return any(
        path and getattr(path[-1], "name", None) == _WITHIN_A_STEP and int(leaf) != 0
        for path, leaf in leaves
    )


def _is_whole(leaf: Any) -> bool:
    return (
        np.ndim(leaf) == 0
        and hasattr(leaf, "dtype")
        and jnp.issubdtype(leaf.dtype, jnp.integer)
    )
