"""Intervals, paired differences and adjustments against scipy and by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import jaxwd as wd
from jaxwd.lab import holm, interval, paired

values = st.lists(
    st.floats(-1e3, 1e3).map(lambda x: round(x, 3)), min_size=2, max_size=12
)


@given(values)
def test_interval_is_scipys_t_interval(x):
    got = interval(x)
    if np.std(x) == 0:
        assert got.half == 0
        return
    low, high = stats.t.interval(0.95, len(x) - 1, np.mean(x), stats.sem(x))
    assert got.low == pytest.approx(low, rel=1e-9, abs=1e-9)
    assert got.high == pytest.approx(high, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_interval_covers_the_truth_95_times_in_100(n):
    """4,000 normal samples; the binomial standard error is 0.0034."""
    rng = np.random.default_rng(0)
    covered = [
        got.low <= 0 <= got.high
        for got in (interval(row.tolist()) for row in rng.normal(size=(4000, n)))
    ]
    assert abs(np.mean(covered) - 0.95) < 4 * 0.0034


def test_one_value_has_no_interval_and_none_is_an_error():
    assert math.isnan(interval([1.0]).half)
    with pytest.raises(wd.InputError, match="no values"):
        interval([])


@given(values)
def test_paired_is_scipys_paired_t_test(x):
    rng = np.random.default_rng(0)
    y = np.asarray(x) + rng.normal(size=len(x))
    got = paired(x, y.tolist())
    assert got.p == pytest.approx(stats.ttest_rel(x, y).pvalue, rel=1e-6, abs=1e-12)
    assert got.interval.mean == pytest.approx(np.mean(np.asarray(x) - y), abs=1e-9)


def test_pairing_sees_what_the_means_hide():
    """Seeds differ by points, arms by a tenth: only the pairs show it."""
    seeds = np.array([80.0, 84.0, 88.0, 92.0, 86.0])
    other = seeds + np.array([0.10, 0.12, 0.09, 0.11, 0.10])
    assert paired(other.tolist(), seeds.tolist()).p < 1e-4
    assert stats.ttest_ind(other, seeds).pvalue > 0.9


def test_pairs_without_spread_claim_nothing():
    """Accuracies come in steps of one example, so equal gaps happen by chance."""
    assert paired([1.0, 2.0], [1.0, 2.0]).p == 1.0
    for step in (0.01, 1 / 270):
        x = np.array([0.90, 0.91, 0.93])
        got = paired((x + step).tolist(), x.tolist())
        assert math.isnan(got.p)
        assert math.isnan(got.detectable)
    assert math.isnan(holm([got.p])[0])


def test_detectable_difference_is_found_four_times_out_of_five():
    rng = np.random.default_rng(1)
    n, size = 5, 2.024  # d_z needed for 80 % power with five pairs (exact: 1.68)
    found = [
        paired((rng.normal(size=n) + size).tolist(), np.zeros(n).tolist()).p < 0.05
        for _ in range(2000)
    ]
    assert np.mean(found) > 0.8
    got = paired([0.0, 1.0, 2.0, 3.0, 4.0], [0.0] * 5)
    spread = np.std([0, 1, 2, 3, 4], ddof=1)
    assert 1.6 < got.detectable / spread < 2.1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_monotone_and_never_below_p(p):
    adjusted = holm(p)
    assert all(a >= x - 1e-12 for a, x in zip(adjusted, p, strict=True))
    assert all(0 <= a <= 1 for a in adjusted)
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= -1e-12).all()
    assert min(adjusted) == pytest.approx(min(1.0, min(p) * len(p)))


def test_holm_keeps_unknown_values():
    got = holm([0.01, float("nan"), 0.2])
    assert got[0] == pytest.approx(0.02)
    assert math.isnan(got[1])
    assert got[2] == pytest.approx(0.2)


def test_unequal_lengths_are_an_error():
    with pytest.raises(wd.InputError, match="3 values against 2; pair them by seed"):
        paired([1.0, 2.0, 3.0], [1.0, 2.0])
