"""Batches on their way from a source to the device."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxwd.data import Split
from jaxwd.data.streams import Source
from jaxwd.data.streams.pipeline import Order, batches, shared
from jaxwd.errors import InputError
from jaxwd.training.step import Batch
from jaxwd.training.streaming.pieces import most_steps


class Reading(NamedTuple):
    """Who reads, and how.

    Attributes:
        process: number of this process.
        processes: how many share each batch.
        threads: how many read at the same time; None: by the number of cores.
        piece_bytes: bytes of inputs that go to the device at once, at most.
    """

    process: int
    processes: int
    threads: int | None
    piece_bytes: int


class Feed:
    """The training's batches, taken a piece at a time.

    Attributes:
        state: the iterator's state behind what was taken last, JSON.
    """

    def __init__(
        self,
        source: Source,
        order: Callable[[int], Any],
        batch: int,
        steps: int,
        epochs: int,
        reading: Reading,
        change: Callable[[np.ndarray, np.ndarray], np.ndarray] | None,
    ) -> None:
        self._iterator = batches(
            source, Order(order), batch, steps, epochs, change=change,
            process=reading.process, processes=reading.processes,
            threads=reading.threads,
        )  # fmt: skip
        self.state: dict[str, int] = self._iterator.get_state()

    def restore(self, state: dict[str, int]) -> None:
        """Go on where a feed of this state stood."""
        self._iterator.set_state(state)
        self.state = self._iterator.get_state()

    def take(self, steps: int) -> Batch:
        """Return the next batches, stacked, on the host."""
        first = self._step()
        piece = Batch(*(np.empty((steps, *x.shape), x.dtype) for x in first))
        for i in range(steps):
            for whole, part in zip(piece, self._step() if i else first, strict=True):
                whole[i] = part  # and nothing else holds it
        self.state = self._iterator.get_state()
        return piece

    def _step(self) -> Split:
        try:
            return next(self._iterator)
        except InputError as error:  # grain adds notes on its own frames
            raise InputError(str(error)) from None

    def close(self) -> None:
        """End the threads that read ahead."""
        self._iterator.close()


class _InTurn(Source):
    """A source in stored order, filled up at its end by its last row."""

    def __init__(self, source: Source) -> None:
        self.name, self._source = source.name, source

    def __len__(self) -> int:
        return len(self._source)

    def read(self, rows: np.ndarray) -> Split:
        inside = rows[rows < len(self._source)]
        if not len(inside):
            inside = np.array([len(self._source) - 1])
        found = self._source.read(inside)
        places = np.minimum(np.arange(len(rows)), len(inside) - 1)
        return found if len(inside) == len(rows) else Split(*(x[places] for x in found))


class Turn(NamedTuple):
    """How a split is gone through once.

    Attributes:
        batch: rows of a batch.
        length: batches of a piece, the same in every piece.
        pieces: how many.
    """

    batch: int
    length: int
    pieces: int


def turn_of(source: Source, batch: int, row_bytes: int, reading: Reading) -> Turn:
    """Return how to go through a split in batches of so many rows."""
    count = math.ceil(len(source) / batch)
    share = shared(batch, reading.process, reading.processes)
    most = most_steps(share * row_bytes, reading.piece_bytes)
    parts = math.ceil(count / most)
    return Turn(batch, math.ceil(count / parts), parts)


def once_through(
    source: Source, turn: Turn, reading: Reading
) -> Iterator[tuple[Batch, np.ndarray]]:
    """Yield a split's examples in stored order: batches, and which of their rows count.

    The ragged end is filled up by the last row, which counts once.
    """
    steps = turn.length * turn.pieces
    rows = np.arange(steps * turn.batch)
    feed = Feed(_InTurn(source), lambda _: rows, turn.batch, steps, 1, reading, None)
    share = turn.batch // reading.processes
    mine = slice(reading.process * share, (reading.process + 1) * share)
    counts = (rows < len(source)).astype(np.float32)
    counts = counts.reshape(turn.pieces, turn.length, turn.batch)[..., mine]
    try:
        for piece in counts:
            yield feed.take(turn.length), piece
    finally:
        feed.close()
