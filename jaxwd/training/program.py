"""The compiled functions of a training: start, one epoch in a scan, evaluation.

Numbers and seed are inputs of the program, not constants in it, so recipes that
differ in nothing else share one compilation.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxwd import clip as clips
from jaxwd.data import Split
from jaxwd.errors import InputError, concrete
from jaxwd.losses import task
from jaxwd.models import Model, by_name
from jaxwd.optimizers import optimizer
from jaxwd.schedules import value_at
from jaxwd.training.arrays import Arrays as Arrays
from jaxwd.training.arrays import arrays_of as arrays_of
from jaxwd.training.noise import noisy_labels
from jaxwd.training.parallel import Layout
from jaxwd.training.recipe import Numbers, Recipe
from jaxwd.training.step import Batch, Hyper, Info, State, make_step

_EVALUATE_BATCH = 256


class Functions(NamedTuple):
    """The pure functions of a training, not compiled: a grid maps over them.

    Attributes:
        init: `(key, numbers, arrays) → State`.
        epoch: `(State, numbers, key, epoch, arrays) → (State, losses, scores, Info)`.
        evaluate: `(params, model_state, split, mean, scale) → mean loss, mean score`.
    """

    init: Callable[..., State]
    epoch: Callable[..., tuple[State, jax.Array, jax.Array, Info]]
    evaluate: Callable[..., tuple[jax.Array, jax.Array]]


@dataclass(frozen=True)
class Program:
    """Compiled functions for one recipe structure on one shape of data.

    Attributes:
        init: `(key, numbers, arrays) → State`.
        epoch: `(State, numbers, key, epoch, arrays) → (State, losses, scores, Info)`;
            losses and scores are those of every step, the Info is of the last one.
        evaluate: split name → `(params, model_state, split, mean, scale)` → mean loss
            and mean score over the split.
    """

    init: Callable[..., State]
    epoch: Callable[..., tuple[State, jax.Array, jax.Array, Info]]
    evaluate: dict[str, Callable[..., tuple[jax.Array, jax.Array]]]


def model_of(recipe: Recipe, outputs: int) -> Model:
    """Return the recipe's model with as many outputs as the data asks for."""
    if isinstance(recipe.model, Model):
        return recipe.model
    return by_name(recipe.model, classes=outputs, **dict(recipe.model_options))


def chain_of(recipe: Recipe, steps: int) -> Any:
    """Return the recipe's Optax chain for a run of `steps` steps."""
    return optimizer(
        recipe.optimizer,
        recipe.rate(steps),
        decay=recipe.decay,
        clip=clip_of(recipe),
        **dict(recipe.optimizer_options),
    )


def clip_of(recipe: Recipe) -> Any:
    """Return the recipe's clip of the raw gradient, or None."""
    return None if recipe.clip is None else clips.by_name(recipe.clip, recipe.clip_at)


@functools.lru_cache(maxsize=64)
def require_outputs(
    structure: Recipe, input_shape: tuple[int, ...], outputs: int
) -> None:
    """Raise unless the model turns a batch into (batch, outputs), as the data asks.

    A regression of shape (batch,) would broadcast against targets (batch, 1) and
    train to nonsense in silence.
    """
    model = model_of(structure, outputs)

    def try_it(key: jax.Array) -> jax.Array:
        example = jnp.zeros(input_shape, jnp.float32)
        params, state = model.init(key, example, value_at(structure.dropout, 0))
        return model.apply(params, state, example[None], train=False)[0]

    got = jax.eval_shape(try_it, jax.random.key(0)).shape
    if got != (1, outputs):
        raise InputError(
            f"model {model.name}: a batch of 1 gives outputs of shape {got}; the data "
            f"asks for (1, {outputs})"
        )


def functions(
    structure: Recipe,
    task_name: str,
    outputs: int,
    examples: int,
    *,
    axis: str | None = None,
    local: Callable[[jax.Array], jax.Array] = lambda rows: rows,
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
        limit: only the first steps of each epoch, for timing; at least 2.
    """
    model = model_of(structure, outputs)
    batch = structure.batch_size
    steps = structure.steps_per_epoch(examples)
    total = steps * structure.epochs  # the schedule's length, whatever `limit` says
    score = task(task_name)

    def init(root: jax.Array, numbers: Numbers, arrays: Arrays) -> State:
        recipe = structure.with_numbers(numbers)
        example = arrays.normalize(arrays.train.inputs[:1])[0]
        params, model_state = model.init(
            jax.random.fold_in(root, 0), example, value_at(recipe.dropout, 0)
        )
        opt_state = chain_of(recipe, total).init(params)
        return State(jnp.int32(0), params, model_state, opt_state)

    def epoch(
        state: State, numbers: Numbers, root: jax.Array, index: Any, arrays: Arrays
    ) -> tuple[State, jax.Array, jax.Array, Info]:
        recipe = structure.with_numbers(numbers)
        hyper = Hyper(
            recipe.rate(total),
            recipe.decay,
            recipe.dropout,
            clip_of(recipe),
            recipe.decays_inside,
        )
        step = make_step(model, score, chain_of(recipe, total), hyper, axis=axis)
        order_key = jax.random.fold_in(jax.random.fold_in(root, 1), index)
        dropout_key = jax.random.fold_in(root, 2)
        order = jax.random.permutation(order_key, examples)[: steps * batch]
        rows = local(order.reshape(steps, batch)[:limit])
        targets = arrays.train.targets
        if concrete(recipe.label_noise) != 0:
            noise_key = jax.random.fold_in(root, 3)
            targets = noisy_labels(noise_key, targets, outputs, recipe.label_noise)

        def one(state: State, rows: jax.Array) -> tuple[State, Info]:
            inputs = arrays.normalize(arrays.train.inputs[rows])
            key = jax.random.fold_in(dropout_key, state.step)
            return step(state, Batch(inputs, targets[rows]), key)

        def brief(state: State, rows: jax.Array) -> tuple[State, tuple]:
            state, info = one(state, rows)
            return state, (info.data_loss, info.score)

        # The last step stands outside the scan: only there the norms are computed.
        state, (losses, scores) = jax.lax.scan(brief, state, rows[:-1])
        state, info = one(state, rows[-1])
        losses = jnp.append(losses, info.data_loss)
        return state, losses, jnp.append(scores, info.score), info

    def evaluate(
        params: Any, model_state: Any, split: Split, mean: Any, scale: Any
    ) -> tuple[jax.Array, jax.Array]:
        """Return mean loss and score over every example of a split, exactly."""
        n = split.examples
        size = min(_EVALUATE_BATCH, n)
        rows = jnp.arange(math.ceil(n / size) * size).reshape(-1, size)

        def one(total: Any, rows: jax.Array) -> tuple[Any, None]:
            counts = (rows < n).astype(jnp.float32)  # the last batch is filled up
            taken = jnp.minimum(rows, n - 1)
            inputs = (split.inputs[taken].astype(jnp.float32) - mean) * scale
            outputs, _ = model.apply(params, model_state, inputs, train=False)
            targets = split.targets[taken]
            loss = jnp.sum(counts * score.loss(outputs, targets))
            hits = jnp.sum(counts * score.score(outputs, targets))
            return (total[0] + loss, total[1] + hits), None

        (loss, hits), _ = jax.lax.scan(one, (jnp.zeros(()), jnp.zeros(())), rows)
        return loss / n, hits / n

    return Functions(init, epoch, evaluate)


@functools.lru_cache(maxsize=32)
def compile_program(
    structure: Recipe,
    task_name: str,
    outputs: int,
    spread: Layout,
    shapes: Arrays,
    also: tuple[str, ...] = (),
    limit: int | None = None,
) -> Program:
    """Compile the program of a recipe structure; the same arguments reuse it.

    Args:
        structure: `recipe.structure()`.
        task_name: a row of `jaxwd.losses.TASKS`.
        outputs: number of model outputs.
        spread: the layout over devices.
        shapes: the data's arrays as `jax.ShapeDtypeStruct`.
        also: paths of options that are inputs too, as in `recipe.structure(also)`.
        limit: only the first steps of each epoch, for timing.
    """
    init, epoch, evaluate = functions(
        structure,
        task_name,
        outputs,
        shapes.train.examples,
        axis=spread.axis,
        local=spread.local,
        limit=limit,
    )
    number = jax.ShapeDtypeStruct((), jnp.float32)
    numbers = spread.abstract(
        Numbers(number, number, number, dict.fromkeys(also, number) or ())
    )
    root = spread.abstract(jax.eval_shape(lambda: jax.random.key(0)))
    index = spread.abstract(jax.ShapeDtypeStruct((), jnp.int32))
    state = spread.abstract(jax.eval_shape(init, root, numbers, shapes))
    return Program(
        spread.once(init, root, numbers, shapes),
        spread.spread(epoch, 0, state, numbers, root, index, shapes),
        {
            part: spread.once(
                evaluate,
                state.params,
                state.model_state,
                getattr(shapes, part),
                shapes.mean,
                shapes.scale,
            )
            for part in ("train", "validation", "test")
        },
    )
