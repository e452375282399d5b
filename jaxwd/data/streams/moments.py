"""Mean and standard deviation of a stream, without holding it."""

from collections.abc import Iterator

import numpy as np

from jaxwd.data.streams.source import Source, blocks

MEASURED = 10_000
"""How many training examples are looked at where mean and deviation are not known."""

Moments = tuple[tuple[float, ...], tuple[float, ...]]


def measured(source: Source, examples: int = MEASURED) -> tuple[Moments, int]:
    """Return mean and standard deviation of each channel, and over how many examples.

        mean = Σx/n,  std = √(Σ(x − mean)²/n),  1 where a channel never changes

    The examples are evenly spaced over the split: the first ones of a folder would all
    be of one class.
    """
    if source.read(np.array([0])).inputs.dtype == np.int32:  # characters stay numbers
        return ((0.0,), (1.0,)), len(source)
    n = min(examples, len(source))
    rows = np.linspace(0, len(source) - 1, n).round().astype(np.int64)
    parts = (source.read(rows[block]).inputs for block in blocks(n, 256))
    flat = (part.reshape(-1, part.shape[-1]) for part in parts)
    first = next(flat)
    of = _of_bytes if first.dtype == np.uint8 else _of_floats
    mean, std = of(first, flat)
    std = np.where(std > 0, std, 1.0)
    return (tuple(mean.tolist()), tuple(std.tolist())), n


def _of_bytes(first: np.ndarray, rest: Iterator) -> tuple[np.ndarray, np.ndarray]:
    """Count how often each level occurs in each channel: exact."""
    counts = _levels(first)
    for part in rest:
        counts += _levels(part)
    level = np.arange(256.0)[:, None]
    n = counts[:, 0].sum()
    mean = (counts * level).sum(0) / n
    return mean, np.sqrt((counts * level**2).sum(0) / n - mean**2)


def _levels(flat: np.ndarray) -> np.ndarray:
    return np.stack([np.bincount(c, minlength=256) for c in flat.T], -1)


def _of_floats(first: np.ndarray, rest: Iterator) -> tuple[np.ndarray, np.ndarray]:
    """Merge the moments of block after block (Chan, Golub and LeVeque, 1983)."""
    n, mean, squares = _block(first)
    for part in rest:
        more, own, own_squares = _block(part)
        apart, both = own - mean, n + more
        mean = mean + apart * more / both
        squares = squares + own_squares + apart**2 * n * more / both
        n = both
    return mean, np.sqrt(squares / n)


def _block(flat: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Return n, mean and Σ(x − mean)² of one block in float64."""
    own = flat.astype(np.float64)
    mean = own.mean(0)
    return len(own), mean, np.square(own - mean).sum(0)
