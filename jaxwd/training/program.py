"""The compiled functions of a training, shared by all recipes of one structure."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxwd.training.arrays import Arrays
from jaxwd.training.functions import functions
from jaxwd.training.parallel import Layout
from jaxwd.training.parts import model_of, require_one_batch
from jaxwd.training.recipe import Numbers, Recipe
from jaxwd.training.step import Info, State


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
    pure = functions(
        structure,
        task_name,
        outputs,
        shapes.train.examples,
        axis=spread.axis,
        local=spread.local,
        in_turn=spread.in_turn,
        devices=spread.devices,
        limit=limit,
    )
    number = jax.ShapeDtypeStruct((), jnp.float32)
    numbers = spread.abstract(
        Numbers(number, number, number, dict.fromkeys(also, number) or ())
    )
    root = spread.abstract(jax.eval_shape(lambda: jax.random.key(0)))
    index = spread.abstract(jax.ShapeDtypeStruct((), jnp.int32))
    state = spread.abstract_state(jax.eval_shape(pure.init, root, numbers, shapes))
    require_one_batch(model_of(structure, outputs), state.model_state, spread)
    return Program(
        spread.once(pure.init, root, numbers, shapes, out=state),
        spread.spread(pure.epoch, 0, state, numbers, root, index, shapes),
        {
            part: spread.spread(
                pure.evaluate,
                None,
                state.measured,
                state.model_state,
                getattr(shapes, part),
                shapes.mean,
                shapes.scale,
            )
            for part in ("train", "validation", "test")
        },
    )
