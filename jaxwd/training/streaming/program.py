"""Compiled functions of a training whose batches come from a stream."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxwd.losses import task
from jaxwd.training.arrays import Arrays, Stats
from jaxwd.training.functions import functions
from jaxwd.training.parallel import Layout
from jaxwd.training.parts import model_of, require_one_batch
from jaxwd.training.precision import cast
from jaxwd.training.recipe import Numbers, Recipe
from jaxwd.training.step import Batch, Info, State


class Totals(NamedTuple):
    """Sums over the examples that an evaluation has seen."""

    loss: jax.Array
    score: jax.Array


@dataclass(frozen=True)
class StreamProgram:
    """Compiled functions for one recipe structure on one shape of batch.

    Attributes:
        init: `(key, numbers, arrays) → State`; the arrays hold one example.
        steps: length → `(State, numbers, key, batches, stats)` →
            `(State, losses, scores, Info)` on as many batches, raw as read.
        evaluate: length and rows of a batch → `(params, model_state, totals, batches,
            counts, stats)` → totals; counts (length, rows) are 1 where a row counts and
            0 where it fills.
    """

    init: Callable[..., State]
    steps: Callable[[int], Callable[..., tuple[State, jax.Array, jax.Array, Info]]]
    evaluate: Callable[[int, int], Callable[..., Totals]]


@functools.lru_cache(maxsize=16)
def compile_streamed(
    structure: Recipe,
    task_name: str,
    outputs: int,
    examples: int,
    spread: Layout,
    one: Arrays,
) -> StreamProgram:
    """Return the program of a recipe structure; the same arguments reuse it.

    Args:
        structure: `recipe.structure()`.
        task_name: a row of `jaxwd.losses.TASKS`.
        outputs: number of model outputs.
        examples: number of training examples.
        spread: the layout over devices.
        one: arrays of one example as `jax.ShapeDtypeStruct`.
    """
    pure = functions(structure, task_name, outputs, examples, axis=spread.axis)
    number = jax.ShapeDtypeStruct((), jnp.float32)
    numbers = spread.abstract(Numbers(number, number, number))
    root = spread.abstract(jax.eval_shape(lambda: jax.random.key(0)))
    state = spread.abstract_state(jax.eval_shape(pure.init, root, numbers, one))
    require_one_batch(model_of(structure, outputs), state.model_state, spread)
    stats = Stats(one.mean, one.scale)

    def batches(length: int, size: int) -> Batch:
        def longer(x: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((length, size, *x.shape[1:]), x.dtype)

        return spread.abstract_batch(Batch(*map(longer, one.train)))

    @functools.cache
    def steps(length: int) -> Callable:
        given = batches(length, structure.batch_size)
        return spread.spread(pure.steps, 0, state, numbers, root, given, stats)

    measure = measuring(structure, task_name, outputs, spread.axis, spread.in_turn)
    scalar: Any = number
    total = spread.abstract(Totals(scalar, scalar))

    @functools.cache
    def evaluate(length: int, size: int) -> Callable:
        counts = jax.ShapeDtypeStruct((length, size), jnp.float32)
        counts = spread.abstract_batch(counts)
        return spread.spread(
            measure, None, state.measured, state.model_state, total,
            batches(length, size), counts, stats,
        )  # fmt: skip

    init = spread.once(pure.init, root, numbers, one, out=state)
    return StreamProgram(init, steps, evaluate)


def measuring(
    structure: Recipe,
    task_name: str,
    outputs: int,
    axis: str | None = None,
    in_turn: Callable[[Any, jax.Array], Any] = lambda weights, _: weights,
) -> Callable[..., Totals]:
    """Return the function that adds some batches to the totals of an evaluation.

    With an axis it sees its device's rows of each batch, and adds those of all; see
    `Layout.in_turn` for the weights.
    """
    model, score = model_of(structure, outputs), task(task_name)

    def measure(
        params: Any,
        model_state: Any,
        totals: Totals,
        batches: Batch,
        counts: jax.Array,
        stats: Stats,
    ) -> Totals:
        weights = params
        if structure.precision != "float32":
            weights = cast(params, "float32")

        def add(totals: Totals, given: tuple[Batch, jax.Array]) -> tuple[Totals, None]:
            raw, counts = given
            inputs = stats.normalize(raw.inputs)
            held = in_turn(weights, counts)
            outputs, _ = model.apply(held, model_state, inputs, train=False)
            loss = jnp.sum(counts * score.loss(outputs, raw.targets))
            hits = jnp.sum(counts * score.score(outputs, raw.targets))
            return Totals(totals.loss + loss, totals.score + hits), None

        if axis is None:
            return jax.lax.scan(add, totals, (batches, counts))[0]
        none = jax.tree.map(jnp.zeros_like, totals)
        own = jax.lax.scan(add, none, (batches, counts))[0]
        return jax.tree.map(jnp.add, totals, jax.lax.psum(own, axis))

    return measure
