"""The pure functions of a training: start, epoch, steps, evaluation.

Numbers and seed are their inputs, not constants in them, so recipes that differ in
nothing else share one compilation, and a grid maps over them.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxwd.data import Split
from jaxwd.errors import concrete
from jaxwd.losses import task
from jaxwd.schedules import value_at
from jaxwd.training.arrays import Arrays, Stats
from jaxwd.training.noise import noisy_labels
from jaxwd.training.parts import chain_of, clip_of, model_of
from jaxwd.training.precision import cast
from jaxwd.training.recipe import Numbers, Recipe
from jaxwd.training.step import Batch, Hyper, Info, State, make_step, started

_EVALUATE_BATCH = 256
_PARTS = (slice(None, -1), -1)


class Functions(NamedTuple):
    """The pure functions of a training, not compiled: a grid maps over them.

    Attributes:
        init: `(key, numbers, arrays) → State`.
        epoch: `(State, numbers, key, epoch, arrays) → (State, losses, scores, Info)`.
        steps: the same on batches that come from elsewhere, in the order they have:
            `(State, numbers, key, batches, stats)`, a first axis for the step.
        evaluate: `(params, model_state, split, mean, scale) → mean loss, mean score`.
    """

    init: Callable[..., State]
    epoch: Callable[..., tuple[State, jax.Array, jax.Array, Info]]
    steps: Callable[..., tuple[State, jax.Array, jax.Array, Info]]
    evaluate: Callable[..., tuple[jax.Array, jax.Array]]


def functions(
    structure: Recipe,
    task_name: str,
    outputs: int,
    examples: int,
    *,
    axis: str | None = None,
    local: Callable[[jax.Array], jax.Array] = lambda rows: rows,
    in_turn: Callable[[Any, jax.Array], Any] = lambda weights, _: weights,
    devices: int = 1,
    limit: int | None = None,
) -> Functions:
    """Return the pure functions of a recipe structure.

    Args:
        structure: `recipe.structure()`.
        task_name: a row of `jaxwd.losses.TASKS`.
        outputs: number of model outputs.
        examples: number of training examples.
        axis: name of the device axis that a step averages over.
        local: row numbers (steps, batch) → those of this device.
        in_turn: weights, row numbers → the weights for one turn of an evaluation.
        devices: how many share a batch; those of an evaluation are made to divide.
        limit: only the first steps of each epoch, for timing; at least 2.
    """
    model = model_of(structure, outputs)
    trained = model
    if axis is not None and model.over_axis is not None:
        trained = model.over_axis(axis)  # batch norms over the rows of all devices
    batch = structure.batch_size
    steps_an_epoch = structure.steps_per_epoch(examples)
    total = (
        steps_an_epoch * structure.epochs
    )  # the schedule's length, whatever `limit` says
    score = task(task_name)

    def init(root: jax.Array, numbers: Numbers, arrays: Arrays) -> State:
        recipe = structure.with_numbers(numbers)
        example = arrays.normalize(arrays.train.inputs[:1])[0]
        params, model_state = model.init(
            jax.random.fold_in(root, 0), example, value_at(recipe.dropout, 0)
        )
        tx = chain_of(recipe, total)
        return started(params, model_state, tx, structure.arithmetic)

    def stepping(
        numbers: Numbers, root: jax.Array
    ) -> Callable[[State, Batch], tuple[State, Info]]:
        """Return the step on normalised inputs, with the keys of this training."""
        recipe = structure.with_numbers(numbers)
        hyper = Hyper(
            recipe.rate(total),
            recipe.decay,
            recipe.dropout,
            clip_of(recipe),
            recipe.decays_inside,
        )
        step = make_step(
            trained,
            score,
            chain_of(recipe, total),
            hyper,
            axis=axis,
            arithmetic=structure.arithmetic,
        )
        dropout_key = jax.random.fold_in(root, 2)
        return lambda state, batch: step(
            state, batch, jax.random.fold_in(dropout_key, state.step)
        )

    def epoch(
        state: State, numbers: Numbers, root: jax.Array, index: Any, arrays: Arrays
    ) -> tuple[State, jax.Array, jax.Array, Info]:
        recipe = structure.with_numbers(numbers)
        step = stepping(numbers, root)
        order = order_of(root, index, examples)[: steps_an_epoch * batch]
        rows = local(order.reshape(steps_an_epoch, batch)[:limit])
        targets = arrays.train.targets
        if concrete(recipe.label_noise) != 0:
            noise_key = jax.random.fold_in(root, 3)
            targets = noisy_labels(noise_key, targets, outputs, recipe.label_noise)

        def one(state: State, rows: jax.Array) -> tuple[State, Info]:
            inputs = arrays.normalize(arrays.train.inputs[rows])
            return step(state, Batch(inputs, targets[rows]))

        return _in_turn(one, state, rows)

    def steps(
        state: State, numbers: Numbers, root: jax.Array, batches: Batch, stats: Stats
    ) -> tuple[State, jax.Array, jax.Array, Info]:
        step = stepping(numbers, root)

        def one(state: State, raw: Batch) -> tuple[State, Info]:
            return step(state, Batch(stats.normalize(raw.inputs), raw.targets))

        return _in_turn(one, state, batches)

    def evaluate(
        params: Any, model_state: Any, split: Split, mean: Any, scale: Any
    ) -> tuple[jax.Array, jax.Array]:
        """Return mean loss and score over every example of a split, exactly."""
        n = split.examples
        size = math.ceil(min(_EVALUATE_BATCH, n) / devices) * devices
        rows = local(jnp.arange(math.ceil(n / size) * size).reshape(-1, size))
        weights = (
            cast(params, "float32") if structure.precision != "float32" else params
        )

        def one(total: Any, rows: jax.Array) -> tuple[Any, None]:
            counts = (rows < n).astype(jnp.float32)  # the last batch is filled up
            taken = jnp.minimum(rows, n - 1)
            inputs = Stats(mean, scale).normalize(split.inputs[taken])
            held = in_turn(weights, rows)
            outputs, _ = model.apply(held, model_state, inputs, train=False)
            targets = split.targets[taken]
            loss = jnp.sum(counts * score.loss(outputs, targets))
            hits = jnp.sum(counts * score.score(outputs, targets))
            return (total[0] + loss, total[1] + hits), None

        (loss, hits), _ = jax.lax.scan(one, (jnp.zeros(()), jnp.zeros(())), rows)
        if axis is not None:
            loss, hits = jax.lax.psum((loss, hits), axis)
        return loss / n, hits / n

    return Functions(init, epoch, steps, evaluate)


def order_of(root: jax.Array, index: Any, examples: int) -> jax.Array:
    """Return the row numbers of an epoch in the order a training takes them."""
    key = jax.random.fold_in(jax.random.fold_in(root, 1), index)
    return jax.random.permutation(key, examples)


def _in_turn(
    one: Callable[[State, Any], tuple[State, Info]], state: State, given: Any
) -> tuple[State, jax.Array, jax.Array, Info]:
    """Return the state behind all steps, every loss and score, and the last report."""

    def brief(state: State, given: Any) -> tuple[State, tuple]:
        state, info = one(state, given)
        return state, (info.data_loss, info.score)

    # The last step stands outside the scan: only there the norms are computed.
    before, last = (jax.tree.map(lambda x, at=at: x[at], given) for at in _PARTS)
    state, (losses, scores) = jax.lax.scan(brief, state, before)
    state, info = one(state, last)
    losses = jnp.append(losses, info.data_loss)
    return state, losses, jnp.append(scores, info.score), info
