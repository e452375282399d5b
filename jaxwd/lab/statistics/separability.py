"""Can λ be tuned without the learning rate? One basin, three numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from jaxwd.errors import InputError


@dataclass(frozen=True)
class Separability:
    """How far the best λ is the same at every learning rate.

    Attributes:
        rank: mean Spearman correlation between the orders in which two learning rates
            put the strengths, averaged with that between two strengths' orders of the
            learning rates. 1: any order of tuning finds the optimum; 0: unrelated.
        tilt: d log λ*/d log α along the valley: 0 where λ* does not depend on the
            learning rate, −1 where only the product αλ counts. NaN where the valley
            leaves the grid.
        regret: loss that is lost, on average over where one starts, by choosing the
            learning rate at a fixed λ and then λ at that learning rate.
        rates: how many learning rates take part: those that reach the best quarter.
        strengths: how many strengths, likewise.
    """

    rank: float
    tilt: float
    regret: float
    rates: int
    strengths: int


def separability(
    rates: Sequence[float] | np.ndarray,
    strengths: Sequence[float] | np.ndarray,
    losses: np.ndarray,
) -> Separability:
    """Return how separable the basin of a learning rate × λ grid is.

    A loss f(α) + g(λ), or any increasing function of one, puts the strengths in one and
    the same order at every learning rate, and the other way about; `rank` measures how
    far that holds and does not change when losses are rescaled by an increasing
    function. The mean correlation of m orders is (mW − 1)/(m − 1), W Kendall's
    coefficient of concordance. Only learning rates and strengths that reach the best
    quarter of the cells take part: outside the basin orders are noise. `tilt` is
    Theil's median slope through the minima, refined by a parabola, of learning rates
    whose minimum is inside the grid.

    Args:
        rates: learning rates α > 0, (r,), r ≥ 3, increasing.
        strengths: λ > 0, (s,), s ≥ 3, increasing.
        losses: (r, s); what diverged is NaN or infinite, and counts as worst.

    Raises:
        InputError: fewer than three of either, shapes that differ, values that are not
            positive and increasing, no finite loss.

    Source: Kendall and Babington Smith, The problem of m rankings, 1939; the basins of
    Loshchilov and Hutter, Decoupled weight decay regularization, 2019, fig. 2.

    >>> x = np.linspace(-2, 2, 5)
    >>> grid = 10.0**x
    >>> separability(grid, grid, x[:, None] ** 2 + x**2).rank
    1.0
    >>> round(separability(grid, grid, (x[:, None] + x) ** 2).tilt, 6)
    -1.0
    """
    alpha, lam = (np.asarray(v, np.float64) for v in (rates, strengths))
    loss = np.array(losses, np.float64)
    if min(alpha.size, lam.size) < 3 or loss.shape != (alpha.size, lam.size):
        raise InputError(
            f"separability: {alpha.size} rates, {lam.size} strengths, losses of shape "
            f"{loss.shape}; give at least 3 × 3 and losses (rates, strengths)"
        )
    for name, values in (("rates", alpha), ("strengths", lam)):
        if not (values > 0).all() or not (np.diff(values) > 0).all():
            raise InputError(f"separability: {name} must be positive and increasing")
    finite = np.isfinite(loss)
    if not finite.any():
        raise InputError("separability: every run diverged; there is no basin")
    loss[~finite] = np.inf
    basin = loss <= np.quantile(loss[finite], 0.25)
    rows, columns = basin.any(1), basin.any(0)
    ranks = [_agreement(loss[rows]), _agreement(loss.T[columns])]
    known = [rank for rank in ranks if not np.isnan(rank)]
    return Separability(
        float(np.mean(known)) if known else float("nan"),
        _tilt(np.log(alpha[rows]), np.log(lam), loss[rows]),
        _regret(loss),
        int(rows.sum()),
        int(columns.sum()),
    )


def _agreement(orders: np.ndarray) -> float:
    """Return the mean Spearman correlation between rows; NaN for a single row."""
    ranks = stats.rankdata(orders, axis=1)
    ranks = ranks[np.ptp(ranks, axis=1) > 0]
    if len(ranks) < 2:
        return float("nan")
    pairs = np.corrcoef(ranks)[np.triu_indices(len(ranks), 1)]
    return float(np.round(pairs.mean(), 12))


def _tilt(alpha: np.ndarray, lam: np.ndarray, loss: np.ndarray) -> float:
    """Return the median slope of log λ* over log α."""
    inside = [
        (x, _vertex(lam, row))
        for x, row in zip(alpha, loss, strict=True)
        if 0 < np.argmin(row) < lam.size - 1
    ]
    if len(inside) < 2:
        return float("nan")
    x, best = np.array(inside).T
    i, j = np.triu_indices(x.size, 1)
    return float(np.median((best[j] - best[i]) / (x[j] - x[i])))


def _vertex(x: np.ndarray, y: np.ndarray) -> float:
    """Return where the parabola through the lowest point and its neighbours is lowest."""
    i = int(np.argmin(y))
    near = slice(i - 1, i + 2)
    if not np.isfinite(y[near]).all():
        return float(x[i])
    a, b, _ = np.polyfit(x[near] - x[i], y[near] - y[i], 2)
    return float(x[i] - b / (2 * a)) if a > 0 else float(x[i])


def _regret(loss: np.ndarray) -> float:
    """Return the mean loss lost by tuning one after the other."""
    best_rate = np.argmin(loss, axis=0)  # at each λ one may start from
    reached = loss[best_rate].min(axis=1)
    return float(np.mean(reached) - loss.min())
