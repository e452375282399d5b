"""How often a paired t-test finds what is there, and how many pairs that needs."""

import numpy as np
from scipy import stats

from jaxwd.errors import require
from jaxwd.lab.statistics.intervals import LEVEL

_MOST = 10_000_000


def power(n: int, d: float) -> float:
    """Return the power of a two-sided paired t-test at level 0.05.

    P(|T'| > t_{0.975, n−1}), T' noncentral t of n − 1 degrees of freedom and
    noncentrality d·√n.

    Args:
        n: pairs, at least 2.
        d: true d_z, the mean difference over the standard deviation of differences.

    >>> round(power(10, 1.0), 2)
    0.8
    """
    require("n", n, 2, whole=True)
    critical = stats.t.ppf(0.5 + LEVEL / 2, n - 1)
    shift = abs(d) * np.sqrt(n)
    upper = stats.nct.sf(critical, n - 1, shift)
    # scipy's lower tail may be NaN where it is below the smallest number.
    lower = np.nan_to_num(stats.nct.cdf(-critical, n - 1, shift))
    return float(upper + lower)


def pairs_needed(difference: float, spread: float, wanted: float = 0.8) -> int | None:
    """Return how many pairs find a true difference with power `wanted` at level 0.05.

    The smallest n with power(n, difference/spread) ≥ wanted, if differences between
    pairs vary as `spread` says. A spread seen in few pairs is itself uncertain: from
    five, the truth lies between 0.6 and 2.9 times it (95 %), and n moves by the square.

    Args:
        difference: true mean difference that shall be found, above 0.
        spread: standard deviation of the paired differences, same unit.
        wanted: power, in (0, 1).

    Returns:
        n ≥ 2, or None where it is above ten million.

    Raises:
        InputError: a difference or spread that is not positive.

    Source: Cohen, Statistical power analysis for the behavioral sciences, 1988.

    >>> [pairs_needed(d, 1.0) for d in (0.5, 0.75, 1.0, 1.5, 2.0)]
    [34, 16, 10, 6, 5]
    """
    require("difference", difference, 0.0, open_low=True)
    require("spread", spread, 0.0, open_low=True)
    require("wanted", wanted, 0.0, 1.0, open_low=True)
    d = difference / spread
    low, high = 1, 2
    while power(high, d) < wanted:
        low, high = high, 2 * high
        if high > _MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle, d) >= wanted else (middle, high)
    return high
