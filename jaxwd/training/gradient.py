"""The gradient of a step: precision, recomputation and accumulation, then one mean."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxwd import penalties
from jaxwd.losses import Task
from jaxwd.models import Model
from jaxwd.schedules import value_at
from jaxwd.training.precision import Precision, computing
from jaxwd.trees import Tree

REMAT: dict[str, Any] = {
    "elementwise": jax.checkpoint_policies.dots_saveable,
    "blocks": None,
}
"""What is computed again in the backward pass: name → policy of `jax.checkpoint`.

`elementwise` keeps the results of matrix products and computes what is cheap again.
`blocks` keeps what passes from one block of the model to the next and costs a forward
pass more; the model does it itself (its option `remat`), since only it knows its blocks.
XLA on a CPU undoes both, and no memory is saved there.
"""

Gradient = Callable[[Any, Any, jax.Array], tuple[Tree, tuple]]


def objective_of(
    model: Model, task: Task, hyper: Any, row: Precision, remat: str | None
) -> Callable[..., tuple[jax.Array, tuple]]:
    """Return `(params, model_state, step, batch, key) → objective, aux`.

    aux is data loss, penalty beside it, score, model state. Penalties see the float32
    weights, not those that the forward pass computes with.
    """

    def outputs_of(
        params: Tree, model_state: Tree, inputs: Any, rate: Any, key: jax.Array
    ) -> tuple[jax.Array, Tree]:
        return model.apply(
            computing(row, params),
            model_state,
            computing(row, inputs),
            train=True,
            dropout_rate=rate,
            key=key,
        )

    if remat is not None and (policy := REMAT[remat]) is not None:
        outputs_of = jax.checkpoint(outputs_of, policy=policy)

    def objective(
        params: Tree, model_state: Tree, step: jax.Array, batch: Any, key: jax.Array
    ) -> tuple[jax.Array, tuple]:
        rate = value_at(hyper.dropout, step)
        outputs, changed = outputs_of(params, model_state, batch.inputs, rate, key)
        if row.computed != "float32":
            outputs = outputs.astype(jnp.float32)
        data_loss = jnp.mean(task.loss(outputs, batch.targets))
        penalty = penalties.reported(hyper.decay, params, step)
        added = penalties.of_scheme(hyper.decay, params, step)
        score = jnp.mean(task.score(outputs, batch.targets))
        return data_loss + added, (data_loss, penalty, score, changed)

    return objective


def accumulated(objective: Callable, parts: int) -> Gradient:
    """Return `(state, batch, key) → gradient, aux`, in so many parts of the batch.

        g = (1/parts)·Σ g_part

    Parts follow each other: a model's running means see one after the other, and each
    draws a dropout mask of its own.
    """
    of_part = jax.grad(objective, has_aux=True)
    if parts == 1:
        return lambda state, batch, key: of_part(
            state.params, state.model_state, state.step, batch, key
        )

    def gradient(state: Any, batch: Any, key: jax.Array) -> tuple[Tree, tuple]:
        def add(held: tuple, given: tuple) -> tuple[tuple, None]:
            total, model_state = held
            number, part = given
            own = jax.random.fold_in(key, number)
            grads, (*seen, model_state) = of_part(
                state.params, model_state, state.step, part, own
            )
            new = jax.tree.map(lambda t, g: t + g, total, (grads, tuple(seen)))
            return (new, model_state), None

        zero = jnp.zeros(())
        none = jax.tree.map(jnp.zeros_like, state.params)
        # Every parts-th row: a batch spread over devices stays where it is.
        strided = jax.tree.map(
            lambda x: jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0), batch
        )
        start = ((none, (zero, zero, zero)), state.model_state)
        ((grads, seen), model_state), _ = jax.lax.scan(
            add, start, (jnp.arange(parts), strided)
        )
        grads, seen = jax.tree.map(lambda x: x / parts, (grads, seen))
        return grads, (*seen, model_state)

    return gradient
