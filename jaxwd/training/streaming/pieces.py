"""How a training's steps are cut into the pieces that a device takes at once."""

import math
from collections.abc import Iterator
from typing import NamedTuple

PIECE_BYTES = 64 * 2**20
"""A piece's inputs hold at most so many bytes, where a step's are not more already."""


class Piece(NamedTuple):
    """Steps that go to the device as one array.

    Attributes:
        epoch: which one, from 0.
        start: its first step, counted within the epoch.
        steps: how many.
        saves: whether a checkpoint is due behind it.
        ends: whether it is the last of its epoch.
    """

    epoch: int
    start: int
    steps: int
    saves: bool
    ends: bool


def most_steps(batch_bytes: int, limit: int = PIECE_BYTES) -> int:
    """Return how many steps fit into a piece; at least one."""
    return max(1, limit // max(1, batch_bytes))


def cut(steps: int, most: int) -> list[int]:
    """Return the lengths of nearly equal pieces, none of them 2.

    XLA unrolls a loop of one turn, which a piece of 2 would be, into another program
    with other last bits; pieces of any other length give the bits of a whole epoch.

    >>> cut(10, 4), cut(8, 3), cut(5, 100)
    ([4, 3, 3], [3, 3, 1, 1], [5])
    """
    count = math.ceil(steps / most)
    short, longer = divmod(steps, count)
    lengths = [short + 1] * longer + [short] * (count - longer)
    return [n for length in lengths for n in ([1, 1] if length == 2 else [length])]


def pieces_of_epoch(
    steps: int, most: int, every: int | None, start: int = 0
) -> list[tuple[int, int, bool]]:
    """Return (first step, length, saves) of an epoch's pieces from `start` on.

    They are the same in every epoch and however often the training was stopped, because
    a checkpoint stands only between two of them.

    >>> pieces_of_epoch(7, 3, 4)
    [(0, 1, False), (1, 1, False), (2, 1, False), (3, 1, True), (4, 3, True)]
    >>> pieces_of_epoch(7, 3, 4, start=4)
    [(4, 3, True)]
    """
    stride = steps if every is None else every
    found, at = [], start
    while at < steps:
        stop = min(steps, (at // stride + 1) * stride)
        lengths = cut(stop - at, most)
        for length in lengths:
            found.append((at, length, at + length == stop))
            at += length
    return found


def pieces(
    steps: int, epochs: int, most: int, every: int | None, done: int = 0
) -> Iterator[Piece]:
    """Return the pieces of a training of which `done` steps are behind it."""
    first, start = divmod(done, steps)
    for epoch in range(first, epochs):
        at = start if epoch == first else 0
        for begin, length, saves in pieces_of_epoch(steps, most, every, at):
            yield Piece(epoch, begin, length, saves, begin + length == steps)
