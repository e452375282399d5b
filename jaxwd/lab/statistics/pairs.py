"""Paired differences: t-test, effect size, and Holm's adjustment over arms."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from jaxwd.errors import InputError
from jaxwd.lab.statistics.intervals import LEVEL, Interval, interval


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences a − b.

    Attributes:
        interval: mean and 95 % t-interval of the differences.
        p: two-sided p-value of the paired t-test; 1 where all pairs are equal, NaN
            where they all differ by one and the same amount (scores come in steps of
            one example, so that happens, and their spread is then not known).
        detectable: the true difference that n such pairs would show in four of five
            repetitions (80 % power at level 0.05), from the spread seen here; NaN
            where there is none.
        gaps: the differences themselves, for the other statistics.
        correlation: of a and b over the pairs: what pairing gains; NaN where one of
            them does not vary.
    """

    interval: Interval
    p: float
    detectable: float
    gaps: tuple[float, ...] = ()
    correlation: float = float("nan")


def paired(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Return the paired difference a − b with its interval, p and detectable size.

    >>> d = paired([0.91, 0.93, 0.92], [0.90, 0.91, 0.91])
    >>> round(d.interval.mean, 4), round(d.p, 3), round(d.correlation, 3)
    (0.0133, 0.057, 0.866)
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if x.shape != y.shape:
        raise InputError(f"paired: {x.size} values against {y.size}; pair them by seed")
    gaps = x - y
    got = interval(gaps.tolist())
    unknown = float("nan")
    rest = (tuple(gaps.tolist()), _correlation(x, y))
    if x.size < 2:
        return Difference(got, unknown, unknown, *rest)
    if without_spread(gaps, float(np.abs([x, y]).max())):
        p = 1.0 if (gaps == 0).all() else unknown
        return Difference(got, p, unknown, *rest)
    p = float(stats.ttest_rel(x, y).pvalue)
    df = x.size - 1
    needed = stats.t.ppf(0.5 + LEVEL / 2, df) + stats.t.ppf(0.8, df)
    detectable = float(needed * gaps.std(ddof=1) / np.sqrt(x.size))
    return Difference(got, p, detectable, *rest)


def without_spread(gaps: Sequence[float] | np.ndarray, size: float = 1.0) -> bool:
    """Say whether differences of numbers of about `size` are equal up to rounding."""
    x = np.asarray(gaps, np.float64)
    return x.size < 2 or bool(x.std(ddof=1) <= 1e-9 * max(1.0, size))


def effect_size(gaps: Sequence[float]) -> float:
    """Return g_z: the paired d_z = mean/sd of the gaps, times Hedges' correction J.

    J = Γ(ν/2)/(√(ν/2)·Γ((ν − 1)/2)), ν = n − 1, takes away what d_z is too large by on
    average in small samples: 0.80 at n = 5, 0.91 at n = 10. NaN below three pairs and
    where the gaps do not vary. d_z depends on how well pairs correlate; do not hold it
    against an effect size of unpaired groups.

    Args:
        gaps: paired differences a − b, (n,).

    Source: Hedges, Distribution theory for Glass's estimator of effect size, 1981.

    >>> round(effect_size([1.0, 2.0, 3.0]), 4)
    1.1284
    """
    x = np.asarray(gaps, np.float64)
    if x.size < 3 or without_spread(x):
        return float("nan")
    nu = x.size - 1
    j = np.exp(special.gammaln(nu / 2) - special.gammaln((nu - 1) / 2)) / np.sqrt(
        nu / 2
    )
    return float(j * x.mean() / x.std(ddof=1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values, in the order given; NaN stays NaN.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, np.float64)
    known = np.flatnonzero(~np.isnan(p))
    adjusted = p.copy()
    largest = 0.0
    for rank, i in enumerate(known[np.argsort(p[known], kind="stable")]):
        largest = max(largest, min(1.0, (known.size - rank) * p[i]))
        adjusted[i] = largest
    return adjusted.tolist()


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    if x.size < 3 or without_spread(x) or without_spread(y):
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])
