"""One optimizer step: `new_state, info = step(state, batch, key)`."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxwd import penalties
from jaxwd.decay import MULTIPLIERS, DecayScheme
from jaxwd.losses import Task
from jaxwd.models import Model
from jaxwd.schedules import ScalarOrSchedule, peak_of, value_at
from jaxwd.trees import Tree, norm


class State(NamedTuple):
    """What the next step needs. No random key: keys are derived from the step."""

    step: jax.Array
    params: Tree
    model_state: Tree
    opt_state: Tree


class Batch(NamedTuple):
    """Normalised inputs and their targets."""

    inputs: jax.Array
    targets: jax.Array


class Info(NamedTuple):
    """What a person needs to know of a step; what nobody reads costs nothing.

    Attributes:
        data_loss: mean data loss of the batch; never contains the penalty.
        penalty: the penalty beside it (½λ‖θ‖² for coupled and penalized, else 0).
        score: mean score of the batch, dropout included.
        param_norm: ‖θ‖ before the step.
        grad_norm: ‖g‖ of the data loss (of the whole objective for `penalized`).
        update_norm: ‖θ' − θ‖.
        decay_share: the decay's part where it enters, ‖decay‖/(‖decay‖ + ‖rest‖):
            λθ against the gradient if coupled, d_tλθ against η_t·u if decoupled,
            NaN where it enters inside the core.
        learning_rate: η_t.
    """

    data_loss: jax.Array
    penalty: jax.Array
    score: jax.Array
    param_norm: jax.Array
    grad_norm: jax.Array
    update_norm: jax.Array
    decay_share: jax.Array
    learning_rate: jax.Array


class Hyper(NamedTuple):
    """What a step reports on: numbers or schedules, the scheme and the clip."""

    learning_rate: ScalarOrSchedule
    decay: DecayScheme
    dropout: ScalarOrSchedule
    clip: optax.GradientTransformation | None = None
    decays_inside: bool = False


def make_step(
    model: Model,
    task: Task,
    tx: optax.GradientTransformation,
    hyper: Hyper,
    *,
    axis: str | None = None,
) -> Callable[[State, Batch, jax.Array], tuple[State, Info]]:
    """Return the pure step function of a training.

    Args:
        model: pure `init` and `apply`.
        task: per-example loss and score.
        tx: the Optax chain, decay included.
        hyper: the numbers the chain was built from, for the report and the loss.
        axis: name of the device axis under `pmap` or `shard_map`; gradients, model
            state and report are averaged over it, once, and every device draws its
            own dropout mask.

    Returns:
        `step(state, batch, key)`. `key` is that of this very step.
    """
    chain = optax.with_extra_args_support(tx)  # some schemes follow the loss

    def step(state: State, batch: Batch, key: jax.Array) -> tuple[State, Info]:
        if axis is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index(axis))

        def objective(params: Tree) -> tuple[jax.Array, tuple]:
            outputs, model_state = model.apply(
                params,
                state.model_state,
                batch.inputs,
                train=True,
                dropout_rate=value_at(hyper.dropout, state.step),
                key=key,
            )
            data_loss = jnp.mean(task.loss(outputs, batch.targets))
            penalty = penalties.reported(hyper.decay, params, state.step)
            added = penalties.of_scheme(hyper.decay, params, state.step)
            score = jnp.mean(task.score(outputs, batch.targets))
            return data_loss + added, (data_loss, penalty, score, model_state)

        grads, aux = jax.grad(objective, has_aux=True)(state.params)
        if axis is not None:
            grads, aux = jax.lax.pmean((grads, aux), axis)
        data_loss, penalty, score, model_state = aux
        updates, opt_state = chain.update(
            grads, state.opt_state, state.params, value=data_loss
        )
        params = optax.apply_updates(state.params, updates)
        info = Info(
            data_loss,
            penalty,
            score,
            norm(state.params),
            norm(grads),
            norm(updates),
            decay_share(hyper, state, grads, updates),
            jnp.asarray(value_at(hyper.learning_rate, state.step)),
        )
        return State(state.step + 1, params, model_state, opt_state), info

    return step


def decay_share(hyper: Hyper, state: State, grads: Tree, updates: Tree) -> jax.Array:
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
