"""All that is fixed before the first step of a streamed training."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxwd.data import Split
from jaxwd.data.streams import Stream
from jaxwd.errors import InputError
from jaxwd.training.arrays import Arrays, Stats
from jaxwd.training.functions import order_of
from jaxwd.training.noise import noisy_labels
from jaxwd.training.parallel import Layout
from jaxwd.training.recipe import Recipe
from jaxwd.training.step import State
from jaxwd.training.streaming.feed import Feed, Reading, Turn, turn_of
from jaxwd.training.streaming.pieces import most_steps, pieces
from jaxwd.training.streaming.program import StreamProgram, compile_streamed

_EVALUATE_BATCH = 256
_EVALUATED = ("validation", "train", "test")


@dataclass(frozen=True)
class Setup:
    """What stays the same while a streamed training runs.

    Attributes:
        recipe: what is run.
        data: what it reads.
        spread: the layout over devices.
        reading: which share of each batch this process reads, and how.
        every: steps of an epoch between two checkpoints; None: one at its end.
        steps: steps of an epoch.
        most: steps of a piece at most.
        turns: split → how it is evaluated.
        program: compiled functions.
        numbers: the recipe's, on the device.
        root: its key.
        stats: mean and scale of the inputs, on the device.
        state: where it starts.
        compile_seconds: wall time of compilation.
    """

    recipe: Recipe
    data: Stream
    spread: Layout
    reading: Reading
    every: int | None
    steps: int
    most: int
    turns: dict[str, Turn]
    program: StreamProgram
    numbers: Any
    root: jax.Array
    stats: Stats
    state: State
    compile_seconds: float

    def feed(self) -> Feed:
        """Return the training's batches, from the first one on."""
        return Feed(
            self.data.train,
            _order(self.recipe.seed, len(self.data.train)),
            self.recipe.batch_size,
            self.steps,
            self.recipe.epochs,
            self.reading,
            _noise(self.recipe, self.data),
        )

    def pieces(self, done: int) -> Any:
        """Return the pieces that are left when so many steps are done."""
        return pieces(self.steps, self.recipe.epochs, self.most, self.every, done)


def set_up(
    recipe: Recipe, data: Stream, spread: Layout, reading: Reading, every: int | None
) -> Setup:
    """Compile what a streamed training needs and make its first state."""
    if len(data.train) >= 2**31:
        raise InputError(
            f"{data.name} has {len(data.train)} training examples; an epoch's order has "
            "room for 2147483647: stream it in parts"
        )
    steps = recipe.steps_per_epoch(len(data.train))
    root = spread.place(jax.random.key(recipe.seed))
    numbers = spread.place(jax.tree.map(jnp.float32, recipe.numbers()))
    first = data.first
    one = spread.place(_arrays(first, data))
    row_bytes = int(first.inputs.nbytes)
    share = recipe.batch_size // reading.processes
    most = most_steps(share * row_bytes, reading.piece_bytes)
    turns = {}
    for part in _EVALUATED:
        source = getattr(data, part)
        # The batches of `run`, so that sums have its bits.
        size = min(_EVALUATE_BATCH, len(source))
        size = math.ceil(size / spread.devices) * spread.devices
        turns[part] = turn_of(source, size, row_bytes, reading)
    began = time.perf_counter()
    program = compile_streamed(
        recipe.structure(), data.task, data.outputs, len(data.train), spread,
        spread.abstract(one),
    )  # fmt: skip
    for length in {piece.steps for piece in pieces(steps, 1, most, every)}:
        program.steps(length)
    for turn in turns.values():
        program.evaluate(turn.length, turn.batch)
    seconds = time.perf_counter() - began
    state = program.init(root, numbers, one)
    stats = Stats(one.mean, one.scale)
    return Setup(recipe, data, spread, reading, every, steps, most, turns, program,
                 numbers, root, stats, state, seconds)  # fmt: skip


def _arrays(first: Split, data: Stream) -> Arrays:
    """Return arrays of one example, for the shapes and for the start."""
    scale = 1.0 / np.asarray(data.std, np.float32)
    return Arrays(first, first, first, np.asarray(data.mean, np.float32), scale)


def _order(seed: int, examples: int) -> Callable[[int], np.ndarray]:
    """Return epoch → row numbers: those of `run`, on this process's own device."""
    compiled = jax.jit(order_of, static_argnums=2)
    return lambda epoch: np.asarray(
        compiled(jax.random.key(seed), np.int32(epoch), examples)
    )


def _noise(recipe: Recipe, data: Stream) -> Any:
    """Return `(rows, targets) → targets` with the labels that `run` gets wrong.

    What a wrong label is moved by does not depend on the label, so it is drawn once
    for all examples: 4 bytes each.
    """
    if not recipe.label_noise:
        return None
    if data.task != "classification":
        raise InputError(
            f"label_noise={recipe.label_noise}: a stream changes one label an example, "
            f"and {data.name} is a {data.task}; leave it 0, or train by jaxwd.run"
        )
    key = jax.random.fold_in(jax.random.key(recipe.seed), 3)
    still = jnp.zeros(len(data.train), jnp.int32)
    moved = np.asarray(noisy_labels(key, still, data.outputs, recipe.label_noise))
    return lambda rows, targets: (targets + moved[rows]) % np.int32(data.outputs)
