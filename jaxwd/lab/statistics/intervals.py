"""A mean with its t-interval; a share of pairs with its binomial interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from jaxwd.errors import InputError

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean with its t-interval.

    Attributes:
        mean: of the n values.
        half: half the width of the 95 % interval; NaN for one value.
        n: how many values.
    """

    mean: float
    half: float
    n: int

    @property
    def low(self) -> float:
        """Return the lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """Return the upper end."""
        return self.mean + self.half


@dataclass(frozen=True)
class Share:
    """A share of n pairs with its 95 % interval.

    Attributes:
        mean: the share, in [0, 1].
        low: lower end of the interval.
        high: upper end.
        n: how many pairs.
    """

    mean: float
    low: float
    high: float
    n: int


def interval(values: Sequence[float]) -> Interval:
    """Return the mean and its 95 % t-interval.

    >>> interval([0.90, 0.92, 0.91])
    Interval(mean=0.91, half=0.0248..., n=3)
    """
    x = np.asarray(values, np.float64)
    if x.size == 0:
        raise InputError("interval: no values; give at least one")
    if x.size == 1:
        return Interval(float(x[0]), float("nan"), 1)
    half = stats.t.ppf(0.5 + LEVEL / 2, x.size - 1) * stats.sem(x)
    return Interval(float(np.round(x.mean(), 15)), float(half), x.size)


def improvement(gaps: Sequence[float]) -> Share:
    """Return the probability of improvement, P(a > b) + ½P(a = b), over pairs.

    γ = (#{gap > 0} + ½#{gap = 0})/n with the Clopper–Pearson interval, which covers at
    least 95 % at any n; a tie counts as half a success, which only widens it. It asks
    how often, not by how much, and is of pairs: shuffling the seeds changes it.

    Args:
        gaps: paired differences a − b, (n,).

    Raises:
        InputError: no pairs.

    Sources: Clopper and Pearson, The use of confidence or fiducial limits, 1934;
    Bouthillier et al., Accounting for variance in machine learning benchmarks, 2021,
    who call γ > 0.75 with a lower end above 0.5 meaningful.

    >>> got = improvement([0.1, 0.2, 0.3, -0.1])
    >>> got.mean, round(got.low, 3), round(got.high, 3)
    (0.75, 0.194, 0.994)
    """
    x = np.asarray(gaps, np.float64)
    n = x.size
    if n == 0:
        raise InputError("improvement: no pairs; give at least one")
    wins = float((x > 0).sum() + 0.5 * (x == 0).sum())
    tail = (1 - LEVEL) / 2
    low = float(stats.beta.ppf(tail, wins, n - wins + 1)) if wins > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, wins + 1, n - wins)) if wins < n else 1.0
    return Share(wins / n, low, high, n)
