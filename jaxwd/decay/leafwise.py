"""Transformations written leaf by leaf, for schemes that hold norms in place."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxwd.decay.pull import given
from jaxwd.decay.scheme import DecayScheme
from jaxwd.trees import Tree

Array = jax.Array


class LeafState(NamedTuple):
    """Step counter, and what every decayed leaf remembers."""

    count: jax.Array
    leaves: Any


def leafwise(
    scheme: DecayScheme,
    move: Callable[..., tuple[Array, Any]],
    start: Callable[[Array], Any] = lambda x: (),
) -> optax.GradientTransformationExtraArgs:
    """Return the transformation that replaces u by `move(u, θ, memory, step, m, g)`.

    Args:
        scheme: says which leaves; the others pass unchanged.
        move: (what passes, θ, the leaf's memory, step counter from 0, multiplier,
            the raw gradient) → (what passes on, new memory).
        start: θ at `init` → memory of the leaf.
    """

    def init(params: Tree) -> LeafState:
        multipliers = scheme.where.multipliers(params, strict=False)
        memory = jax.tree.map(lambda m, x: start(x) if m else (), multipliers, params)
        return LeafState(jnp.zeros([], jnp.int32), memory)

    def update(
        updates: Tree,
        state: Any,
        params: Tree | None = None,
        *,
        raw_gradient: Tree | None = None,
        **_: Any,
    ) -> tuple[Tree, LeafState]:
        params = given(params)
        grads = updates if raw_gradient is None else raw_gradient
        leaves, shape = jax.tree.flatten(params)
        rows = zip(
            shape.flatten_up_to(scheme.where.multipliers(params, strict=False)),
            shape.flatten_up_to(updates),
            leaves,
            shape.flatten_up_to(state.leaves),
            shape.flatten_up_to(grads),
            strict=True,
        )
        moved = [
            move(u, x, memory, state.count, m, g) if m else (u, memory)
            for m, u, x, memory, g in rows
        ]
        passed = shape.unflatten([u for u, _ in moved])
        kept = shape.unflatten([memory for _, memory in moved])
        # Narrow parameters may widen what is computed with them; the state stays.
        kept = jax.tree.map(lambda new, old: new.astype(old.dtype), kept, state.leaves)
        return passed, LeafState(state.count + 1, kept)

    return optax.GradientTransformationExtraArgs(init, update)
