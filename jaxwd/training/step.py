"""One optimizer step: `new_state, info = step(state, batch, key)`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxwd.decay import DecayScheme
from jaxwd.losses import Task
from jaxwd.models import Model
from jaxwd.schedules import ScalarOrSchedule, value_at
from jaxwd.training.gradient import accumulated, objective_of
from jaxwd.training.precision import PRECISIONS, masters, written
from jaxwd.training.share import decay_share
from jaxwd.trees import Tree, norm

_ROUNDING = 0x526F756E  # "Roun": a purpose of its own among the keys of a step


class State(NamedTuple):
    """What the next step needs. No random key: keys are derived from the step.

    Attributes:
        step: how many were made.
        params: θ, in the type that holds them.
        model_state: what changes without a gradient, such as running means.
        opt_state: of the chain.
        average: the weights' exponential moving average in float32; () without one.
    """

    step: jax.Array
    params: Tree
    model_state: Tree
    opt_state: Tree
    average: Tree = ()

    @property
    def measured(self) -> Tree:
        """Return the weights that are evaluated: the average where there is one."""
        return self.average if jax.tree.leaves(self.average) else self.params


class Batch(NamedTuple):
    """Normalised inputs and their targets; or several batches, a first axis for each."""

    inputs: Any
    targets: Any


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


class Arithmetic(NamedTuple):
    """How a step is computed; none of it changes what is minimised.

    Attributes:
        precision: a row of `jaxwd.training.precision.PRECISIONS`.
        accumulate: a step's batch is taken in so many parts, one after another, and
            their gradients are averaged: the memory of one part, the step of the whole.
        average: β of the weights' exponential moving average, or None.
        remat: what the backward pass computes again instead of keeping; a row of
            `jaxwd.training.gradient.REMAT`, or None to keep everything.
    """

    precision: str = "float32"
    accumulate: int = 1
    average: float | None = None
    remat: str | None = None


PLAIN = Arithmetic()


def make_step(
    model: Model,
    task: Task,
    tx: optax.GradientTransformation,
    hyper: Hyper,
    *,
    axis: str | None = None,
    arithmetic: Arithmetic = PLAIN,
) -> Callable[[State, Batch, jax.Array], tuple[State, Info]]:
    """Return the step of a training: gradient, decay, update, and what was seen.

        θ_{t+1} = θ_t + chain(∇(data loss + penalty), θ_t)
        θ̄_{t+1} = β·θ̄_t + (1−β)·θ_{t+1}          with `arithmetic.average`, θ̄_0 = θ_0

    Args:
        model: its two pure functions.
        task: data loss and score.
        tx: the Optax chain, decay inside unless it is a penalty in the loss; it is
            handed the batch's data loss as `value=`.
        hyper: what the chain was made from.
        axis: name of the device axis under `pmap` or `shard_map`; gradients, model
            state and report are averaged over it, once, and every device draws its
            own dropout mask.
        arithmetic: precision, accumulation, averaging, recomputation.

    Returns:
        `step(state, batch, key)`. `key` is that of this very step.
    """
    chain = optax.with_extra_args_support(tx)  # some schemes follow the loss
    row = PRECISIONS[arithmetic.precision]
    gradient = accumulated(
        objective_of(model, task, hyper, row, arithmetic.remat), arithmetic.accumulate
    )

    def step(state: State, batch: Batch, key: jax.Array) -> tuple[State, Info]:
        state = state._replace(params=masters(row, state.params))
        own = key
        if axis is not None:
            own = jax.random.fold_in(key, jax.lax.axis_index(axis))
        grads, aux = gradient(state, batch, own)
        if axis is not None:
            grads, aux = _mean_over((grads, aux), axis)
        data_loss, penalty, score, model_state = aux
        updates, opt_state = chain.update(
            grads, state.opt_state, state.params, value=data_loss
        )
        # Rounding is the same on every device, whatever their masks were.
        rounding = jax.random.fold_in(key, _ROUNDING) if row.by_chance else key
        after = written(row, optax.apply_updates(state.params, updates), rounding)
        made = updates
        if row.held != "float32":  # the step that rounding left
            made = jax.tree.map(jnp.subtract, masters(row, after), state.params)
        info = Info(
            data_loss,
            penalty,
            score,
            norm(state.params),
            norm(grads),
            norm(made),
            decay_share(hyper, state, grads, updates),
            jnp.asarray(value_at(hyper.learning_rate, state.step)),
        )
        average = averaged(state.average, masters(row, after), arithmetic.average)
        return State(state.step + 1, after, model_state, opt_state, average), info

    return step


def _mean_over(tree: Tree, axis: str) -> Tree:
    """Return the mean over devices of what has one: counters are the same on all."""
    return jax.tree.map(
        lambda x: jax.lax.pmean(x, axis) if jnp.issubdtype(x.dtype, jnp.inexact) else x,
        tree,
    )


def started(params: Tree, model_state: Tree, tx: Any, arithmetic: Arithmetic) -> State:
    """Return the state before the first step, of float32 weights."""
    row = PRECISIONS[arithmetic.precision]
    nearest = row._replace(by_chance=False)
    return State(
        jnp.int32(0),
        written(nearest, params, jax.random.key(0)),
        model_state,
        tx.init(params),
        () if arithmetic.average is None else params,
    )


def averaged(average: Tree, params: Tree, beta: float | None) -> Tree:
    """Return β·average + (1−β)·params; () without β."""
    if beta is None:
        return ()
    return jax.tree.map(lambda m, p: beta * m + (1 - beta) * p, average, params)
