"""Two one-sided tests: "no difference that matters" as a result, not as a failure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from jaxwd.errors import InputError, require
from jaxwd.lab.statistics.pairs import without_spread


@dataclass(frozen=True)
class Equivalence:
    """Whether a paired difference is shown to lie within a margin.

    Attributes:
        margin: the largest difference that does not matter, in the gaps' unit.
        p: the larger of the two one-sided p-values; NaN where the spread is not known.
        low: lower end of the 90 % t-interval; with `high` inside ±margin exactly where
            p < 0.05.
        high: its upper end.
    """

    margin: float
    p: float
    low: float
    high: float


def equivalence(gaps: Sequence[float], margin: float) -> Equivalence:
    """Return the paired TOST of |mean gap| < margin.

    p = max(P(T ≥ (m̄ + margin)/se), P(T ≤ (m̄ − margin)/se)), T of n − 1 degrees of
    freedom: both "worse by the margin" and "better by the margin" must be refused.
    The margin belongs to the question and is chosen before looking.

    Args:
        gaps: paired differences a − b, (n,).
        margin: above 0, in the unit of the gaps (accuracies are shares, not percent).

    Raises:
        InputError: a margin that is not positive, no pairs.

    Source: Schuirmann, A comparison of the two one-sided tests procedure and the power
    approach, 1987.

    >>> got = equivalence([0.001, -0.002, 0.000, 0.001, 0.000], margin=0.005)
    >>> got.p < 0.05, got.high < 0.005
    (True, True)
    """
    require("margin", margin, 0.0, open_low=True)
    x = np.asarray(gaps, np.float64)
    if x.size == 0:
        raise InputError("equivalence: no pairs; give at least two")
    if without_spread(x):
        nan = float("nan")
        return Equivalence(margin, nan, nan, nan)
    nu, mean, error = x.size - 1, x.mean(), stats.sem(x)
    worse = stats.t.sf((mean + margin) / error, nu)
    better = stats.t.cdf((mean - margin) / error, nu)
    half = stats.t.ppf(0.95, nu) * error
    p = float(max(worse, better))
    return Equivalence(margin, p, float(mean - half), float(mean + half))
