"""The two-way bootstrap: what other seeds and another test set could have given."""

import numpy as np

from jaxwd.errors import InputError, require
from jaxwd.lab.statistics.intervals import LEVEL, Share

_CHUNK = 500


def seeds_by_examples(
    a: np.ndarray, b: np.ndarray, *, resamples: int = 10_000, seed: int = 0
) -> Share:
    """Return the mean of a − b with an interval over seeds and test examples alike.

    Rows (seeds) and columns (examples) are drawn with replacement, each by itself, and
    the mean of the cells they share is taken; the interval is that of percentiles. A
    t-interval over seeds speaks of this test set only; this one also of others drawn as
    it was. It is somewhat too wide (the noise of single cells counts more than once)
    and, as every percentile interval, too narrow below about ten seeds.

    Args:
        a: one score for each seed and example, (seeds, examples).
        b: of the other arm, same seeds and same examples.
        resamples: how many draws; 10,000 settle the second digit of the ends.
        seed: of the draws.

    Returns:
        mean, low, high; n is the number of seeds.

    Raises:
        InputError: shapes differ, or fewer than two seeds or examples.

    Sources: McCullagh, Resampling and exchangeable arrays, 2000; Owen, The pigeonhole
    bootstrap, 2007.

    >>> rng = np.random.default_rng(0)
    >>> b = rng.random((5, 200)) < 0.8
    >>> got = seeds_by_examples(b | (rng.random((5, 200)) < 0.3), b, resamples=500)
    >>> 0 < got.low < got.mean < got.high
    True
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if x.shape != y.shape or x.ndim != 2:
        raise InputError(
            f"seeds_by_examples: shapes {x.shape} and {y.shape}; give (seeds, examples) "
            "of the same seeds and examples"
        )
    if min(x.shape) < 2:
        raise InputError(
            f"seeds_by_examples: {x.shape[0]} seeds and {x.shape[1]} examples; give at "
            "least two of each"
        )
    require("resamples", resamples, 1, whole=True)
    gaps = x - y
    seeds, examples = gaps.shape
    rng = np.random.default_rng(seed)
    means = []
    for begin in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - begin)
        rows = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size)
        columns = rng.multinomial(examples, np.full(examples, 1 / examples), size)
        means.append(np.sum((rows @ gaps) * columns, -1) / (seeds * examples))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Share(float(gaps.mean()), float(low), float(high), seeds)
