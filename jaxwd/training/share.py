"""How much of a step the decay is, where that can be told."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from jaxwd import penalties
from jaxwd.decay import MULTIPLIERS
from jaxwd.schedules import peak_of, value_at
from jaxwd.trees import Tree, norm

if TYPE_CHECKING:
    from jaxwd.training.step import Hyper, State


def decay_share(
    hyper: "Hyper", state: "State", grads: Tree, updates: Tree
) -> jax.Array:
    """Return ‖decay‖/(‖decay‖ + ‖rest‖) where the decay enters; 0 without decay.

    NaN for schemes whose decay is no fixed multiple of the weights (gates, anchors,
    allocations, proximal steps): it cannot be told from the rest of the step there.
    """
    decay = hyper.decay
    if decay.kind == "none":
        return jnp.zeros(())
    if hyper.decays_inside:  # nobody sees what the core made of it
        return jnp.full((), jnp.nan)
    if decay.kind == "penalized":  # the gradient contains it already
        decayed = jax.grad(lambda p: penalties.of_scheme(decay, p, state.step))(
            state.params
        )
        return _share(norm(decayed), norm(jax.tree.map(jnp.subtract, grads, decayed)))
    if decay.kind not in ("coupled", "decoupled") or not decay.is_plain:
        return jnp.full((), jnp.nan)
    strength = value_at(decay.strength, state.step) * decay.gradient_factor
    decayed = jax.tree.map(
        lambda m, p: m * strength * p,
        decay.where.multipliers(state.params),
        state.params,
    )
    if decay.kind == "coupled":
        if hyper.clip is not None:  # decay enters behind the clip
            held = hyper.clip.init(state.params)
            grads, _ = hyper.clip.update(grads, held, state.params)
        return _share(norm(decayed), norm(grads))
    eta, alpha = value_at(hyper.learning_rate, state.step), peak_of(hyper.learning_rate)
    d = MULTIPLIERS[decay.times].shrink(eta, alpha)
    rest = jax.tree.map(lambda u, p: u + d * p, updates, decayed)
    return _share(d * norm(decayed), norm(rest))


def _share(part: jax.Array, rest: jax.Array) -> jax.Array:
    total = part + rest
    return jnp.where(total > 0, part / jnp.where(total > 0, total, 1.0), 0.0)
