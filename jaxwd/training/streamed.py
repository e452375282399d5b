"""A whole training on data that is read while it runs: `run` for more than memory."""

import copy
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import jax
import numpy as np

from jaxwd.data import Dataset
from jaxwd.data.streams import Stream, stream
from jaxwd.errors import InputError, require
from jaxwd.losses import task
from jaxwd.training.checkpoints import Checkpoints
from jaxwd.training.epochs import Row, require_finite, row_of
from jaxwd.training.loop import Result, check, opened
from jaxwd.training.parallel import layout as layout_of
from jaxwd.training.processes.agreed import require_agreed
from jaxwd.training.recipe import Recipe
from jaxwd.training.step import State
from jaxwd.training.streaming.feed import Feed, Reading
from jaxwd.training.streaming.measuring import measured
from jaxwd.training.streaming.pieces import PIECE_BYTES, Piece
from jaxwd.training.streaming.setup import Setup, set_up


def run_streamed(
    recipe: Recipe,
    data: Stream | Dataset | str | None = None,
    *,
    layout: str = "single",
    devices: int | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    checkpoints: Checkpoints | str | os.PathLike | None = None,
    every_steps: int | None = None,
    on_save: Callable[[], None] | None = None,
    threads: int | None = None,
    piece_bytes: int = PIECE_BYTES,
) -> Result:
    """Train `recipe` on a stream and return what came out, as `jaxwd.run` does.

    The order is that of `run`: epoch e of seed s takes the rows
    `permutation(fold_in(fold_in(key(s), 1), e), n)[: steps·batch]`. So on one device the
    numbers are those of `run` on the same examples, bit for bit on a CPU (to the last
    bits where an epoch has two steps: XLA compiles those together). Each of several
    processes reads its share of every batch and nothing else.

    Pieces of several steps go to the device while it works on the piece before. What is
    in memory does not grow with the data, but for the orders of two epochs (8 bytes an
    example; 12 with label noise) and the index of a source. Some pieces are: two that
    are ready, what is read ahead, and XLA's copies. From a file of 2 GB a training grew
    by 1.0 GB with pieces of 64 MB, by 0.4 GB with pieces of 4 MB, of which 0.2 GB are its
    programs.

    Args:
        recipe: all that determines the training.
        data: a `Stream`, a name for `jaxwd.stream` or a `Dataset`; default the
            recipe's data set.
        layout: how a batch is spread over devices, as in `run`.
        devices: how many devices take part; default all.
        on_epoch: called with the row of metrics after each epoch, first with the rows
            of the epochs before where a training goes on.
        checkpoints: a folder, or `Checkpoints`. The state is saved after each epoch,
            with the iterator's, and what is found there goes on.
        every_steps: save after so many steps of an epoch too, so that a stop loses
            less. A training that goes on from the middle of an epoch ends with the
            bits of one that was not stopped.
        on_save: called behind each save within an epoch; what it raises ends the
            training there.
        threads: how many read at the same time; default 2 for each core, at most 16.
        piece_bytes: bytes of inputs that go to the device at once, at most; a
            single step may be more.

    Raises:
        InputError: as `run`; a record that cannot be read; data of another length than
            the checkpoint's; grain is not installed.
        Diverged: the loss stopped being finite; names the step and the recipe.

    Do not use it for data that fits into the device's memory: `run` gathers there and
    reads nothing.

    >>> recipe = Recipe(dataset="friedman", model="mlp", epochs=2, learning_rate=0.01)
    >>> run_streamed(recipe).final["test_loss"] < 0.5
    True
    """
    if not isinstance(data, Stream):
        data = stream(recipe.dataset if data is None else data)
    if recipe.train_examples is not None:
        data = data.take(recipe.train_examples)
    check(recipe, cast(Any, data))  # it asks what a data set and a stream both say
    if every_steps is not None:
        require("every_steps", every_steps, 1, whole=True)
    require("piece_bytes", piece_bytes, 1, whole=True)
    spread = layout_of(layout, recipe.batch_size, devices, recipe.accumulate)
    count = jax.process_count() if spread.row.several else 1
    reading = Reading(jax.process_index() % count, count, threads, piece_bytes)
    require_agreed(
        recipe=recipe.digest(),
        data=data.known_by(),
        layout=layout,
        every_steps=every_steps,
        piece_bytes=piece_bytes,
    )
    setup = set_up(recipe, data, spread, reading, every_steps)
    with opened(checkpoints) as kept:
        state, past = setup.state, Past()
        if kept is not None:
            require_agreed(checkpoints=kept.folder, every=kept.every)
            saved = kept.latest(state, recipe, data.known_by())
            if saved is not None:
                # A copy: what was restored stays what it was.
                state, past = saved.state, Past(**copy.deepcopy(saved.progress))
        feed = setup.feed()
        try:
            return _trained(
                setup,
                state,
                past,
                feed,
                kept,
                on_epoch or (lambda _: None),
                on_save or (lambda: None),
            )
        finally:
            feed.close()


@dataclass
class Past:
    """What a checkpoint notes beside the state.

    Attributes:
        history: rows of the epochs that are complete.
        losses: of the steps since.
        scores: likewise.
        iterator: the state of the stream's iterator.
        in_epochs: seconds of training, evaluation left out.
        seconds: wall time of training and evaluation.
    """

    history: list[Row] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    iterator: dict[str, int] = field(default_factory=lambda: {"next_index": 0})
    in_epochs: float = 0.0
    seconds: float = 0.0


def _trained(
    setup: Setup,
    state: State,
    past: Past,
    feed: Feed,
    kept: Checkpoints | None,
    on_epoch: Callable[[Row], None],
    on_save: Callable[[], None],
) -> Result:
    """Return the result of a training that goes on from its past."""
    began = time.perf_counter() - past.seconds
    for row in past.history:
        on_epoch(row)
    feed.restore(past.iterator)
    todo = setup.pieces(past.iterator["next_index"])
    piece, batches = _next(setup, feed, todo)
    while piece is not None:
        if isinstance(batches, InputError):  # what was before it is kept by now
            raise batches
        at = time.perf_counter()
        past.iterator = feed.state
        state, losses, scores, info = setup.program.steps(piece.steps)(
            state, setup.numbers, setup.root, batches, setup.stats
        )
        done, (piece, batches) = piece, _next(setup, feed, todo)  # while it works
        _note(setup, past, done, np.asarray(losses), np.asarray(scores))
        past.in_epochs += time.perf_counter() - at
        if done.ends:
            _end_epoch(setup, past, done, state, info)
            past.history[-1]["seconds"] = time.perf_counter() - began
        past.seconds = time.perf_counter() - began
        if kept is not None and _due(kept, done, setup.recipe.epochs):
            kept.save(past.iterator["next_index"], state, vars(past))
            if not done.ends:
                on_save()
        if done.ends:
            on_epoch(past.history[-1])
    final = dict(past.history[-1])
    for part in ("train", "test"):
        final |= measured(setup, state, part)
    recipe = setup.recipe
    return Result(
        recipe,
        past.history,
        final,
        setup.spread.on_host(state.measured),
        time.perf_counter() - began,
        setup.compile_seconds,
        recipe.epochs * setup.steps * recipe.batch_size / past.in_epochs,
        setup.spread.on_host(state.model_state),
    )


def _due(kept: Checkpoints, done: Piece, epochs: int) -> bool:
    """Return whether the state is saved behind a piece."""
    return kept.due(done.epoch + 1, epochs) if done.ends else done.saves


def _next(setup: Setup, feed: Feed, todo: Any) -> tuple[Piece | None, Any]:
    """Return the next piece with its batches on the device; None behind the last.

    In place of batches that cannot be read, their error: the piece before is not done.
    """
    piece = next(todo, None)
    if piece is None:
        return None, None
    try:
        return piece, setup.spread.place_batch(feed.take(piece.steps))
    except InputError as error:
        return piece, error


def _note(
    setup: Setup, past: Past, piece: Piece, losses: np.ndarray, scores: np.ndarray
) -> None:
    """Keep a piece's losses and scores; raise where a loss is not finite."""
    past.losses += losses.tolist()
    past.scores += scores.tolist()
    if not np.isfinite(losses).all():
        whole = np.zeros(setup.steps)
        whole[piece.start : piece.start + piece.steps] = losses
        require_finite(setup.recipe, whole, piece.epoch, setup.steps)


def _end_epoch(setup: Setup, past: Past, piece: Piece, state: State, info: Any) -> None:
    """Add the epoch's row to the history."""
    losses, scores = (np.array(x, np.float32) for x in (past.losses, past.scores))
    name = task(setup.data.task).score_name
    row = row_of(piece.epoch, losses, scores, info._asdict(), name)
    row |= measured(setup, state, "validation")
    loss = np.array([row["validation_loss"]])
    require_finite(setup.recipe, loss, piece.epoch, setup.steps)
    past.history.append(row)
    past.losses, past.scores = [], []
