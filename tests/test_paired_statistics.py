"""What is said of paired gaps, against scipy, published values and simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import jaxwd as wd
from jaxwd.lab.statistics import (
    effect_size,
    equivalence,
    improvement,
    interval,
    pairs_needed,
    power,
    seeds_by_examples,
    separability,
    sign_flip,
)

gaps_of = st.lists(
    st.integers(-1000, 1000).map(lambda x: x / 1000), min_size=2, max_size=9
)


def normal(seed, rows, n, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 1.0, (rows, n))


# --- sign flips -------------------------------------------------------------------


@given(gaps_of)
def test_sign_flip_is_the_count_over_all_signs(gaps):
    x = np.array(gaps)
    sums = [abs(np.dot(s, x)) for s in itertools.product((-1, 1), repeat=len(x))]
    counted = np.mean([s >= abs(x.sum()) - 1e-9 for s in sums])
    assert sign_flip(gaps).p == pytest.approx(counted, abs=1e-12)


@pytest.mark.parametrize("n", [2, 5, 10, 13])
def test_sign_flip_is_scipys_permutation_test(n):
    x = normal(n, 1, n, 0.4)[0]
    want = stats.permutation_test(
        (x,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=False
    )
    assert sign_flip(x.tolist()).p == pytest.approx(want.pvalue, abs=1e-12)


@given(gaps_of, st.floats(0.1, 50.0))
def test_sign_flip_knows_neither_sign_order_nor_unit(gaps, unit):
    p = sign_flip(gaps).p
    assert sign_flip([-unit * x for x in reversed(gaps)]).p == pytest.approx(p)


@pytest.mark.parametrize(("n", "smallest"), [(3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_smallest_p_is_reached_where_all_gaps_agree(n, smallest):
    got = sign_flip([0.1 + i for i in range(n)])
    assert got.p == got.smallest == smallest
    assert sign_flip([0.01] * n).p == smallest  # even where a t-test knows nothing
    assert sign_flip([0.0] * n).p == 1.0


def test_sign_flip_refuses_a_true_null_as_often_as_it_says():
    """At n = 8 the test's own steps allow exactly 12/256 below 0.05."""
    found = [sign_flip(row.tolist()).p <= 0.05 for row in normal(0, 4000, 8)]
    assert abs(np.mean(found) - 12 / 256) < 4 * math.sqrt(0.047 * 0.953 / 4000)


def test_sign_flip_is_exact_for_thirty_pairs_and_drawn_above_forty():
    many = normal(3, 1, 30, 0.3)[0]
    got = sign_flip(many.tolist())
    assert got.exact
    signs = np.random.default_rng(0).choice((-1, 1), (20_000, 30))
    drawn = np.mean(np.abs(signs @ many) >= abs(many.sum()))
    assert got.p == pytest.approx(drawn, abs=4 * math.sqrt(0.25 / 20_000))
    more = sign_flip(normal(4, 1, 45, 0.2)[0].tolist())
    assert not more.exact
    t = stats.ttest_1samp(normal(4, 1, 45, 0.2)[0], 0.0).pvalue
    assert more.p == pytest.approx(t, abs=0.02)
    assert more == sign_flip(normal(4, 1, 45, 0.2)[0].tolist())


# --- effect size ------------------------------------------------------------------


def test_effect_size_has_no_bias_where_the_plain_one_does():
    rows = normal(1, 20_000, 6, 0.8)
    corrected = np.mean([effect_size(row.tolist()) for row in rows])
    plain = np.mean(rows.mean(1) / rows.std(1, ddof=1))
    assert corrected == pytest.approx(0.8, abs=0.02)
    assert plain > 0.9


@pytest.mark.parametrize(("n", "j"), [(5, 0.7979), (10, 0.9139), (20, 0.9599)])
def test_effect_size_correction_is_the_published_one(n, j):
    x = normal(n, 1, n, 1.0)[0]
    d = x.mean() / x.std(ddof=1)
    assert effect_size(x.tolist()) / d == pytest.approx(j, abs=1e-4)


def test_effect_size_is_unknown_without_spread_or_pairs():
    assert math.isnan(effect_size([0.1, 0.1, 0.1]))
    assert math.isnan(effect_size([0.1, 0.2]))


# --- equivalence ------------------------------------------------------------------


@given(gaps_of, st.floats(0.01, 2.0))
def test_equivalence_is_the_ninety_percent_interval_inside_the_margin(gaps, margin):
    got = equivalence(gaps, margin)
    if np.std(gaps) == 0:
        assert math.isnan(got.p)
        return
    low, high = stats.t.interval(0.9, len(gaps) - 1, np.mean(gaps), stats.sem(gaps))
    assert (got.low, got.high) == pytest.approx((low, high))
    if min(abs(low + margin), abs(high - margin)) > 1e-9:
        assert (got.p < 0.05) == (-margin < low and high < margin)


def test_equivalence_is_the_larger_of_scipys_one_sided_p_values():
    x = normal(7, 1, 9, 0.3)[0]
    sides = [
        stats.ttest_1samp(x, shift, alternative=side).pvalue
        for shift, side in ((-1.0, "greater"), (1.0, "less"))
    ]
    assert equivalence(x.tolist(), 1.0).p == pytest.approx(max(sides))


def test_equivalence_is_claimed_wrongly_at_most_one_time_in_twenty():
    """The true difference is the margin itself: the worst case of the null."""
    claimed = [
        equivalence(row.tolist(), 1.0).p < 0.05 for row in normal(2, 4000, 10, 1.0)
    ]
    assert np.mean(claimed) < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 4000)
    found = [equivalence(row.tolist(), 1.5).p < 0.05 for row in normal(2, 500, 12)]
    assert np.mean(found) > 0.9


@pytest.mark.parametrize("margin", [0.0, -1.0, float("nan")])
def test_margins_must_be_positive(margin):
    with pytest.raises(wd.InputError, match="margin=.* is not allowed"):
        equivalence([0.1, 0.2], margin)


# --- probability of improvement ---------------------------------------------------


@pytest.mark.parametrize("n", [3, 7, 20])
def test_improvement_is_scipys_exact_binomial_interval(n):
    for wins in range(n + 1):
        got = improvement([1.0] * wins + [-1.0] * (n - wins))
        want = stats.binomtest(wins, n).proportion_ci(method="exact")
        assert (got.low, got.high) == pytest.approx((want.low, want.high))
        assert got.mean == wins / n


def test_ties_are_half_a_win_and_reversal_mirrors():
    got, back = improvement([1.0, 0.0, 2.0]), improvement([-1.0, 0.0, -2.0])
    assert got.mean == pytest.approx(2.5 / 3)
    assert (back.low, back.high) == pytest.approx((1 - got.high, 1 - got.low))


def test_improvement_covers_the_truth():
    rng = np.random.default_rng(5)
    for n, truth in ((5, 0.5), (10, 0.75)):
        rows = rng.random((2000, n)) - (1 - truth)
        covered = [
            got.low <= truth <= got.high
            for got in (improvement(row.tolist()) for row in rows)
        ]
        assert np.mean(covered) > 0.95 - 4 * math.sqrt(0.05 * 0.95 / 2000)


# --- power ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("d", "n"), [(0.2, 199), (0.5, 34), (0.75, 16), (1.0, 10), (1.5, 6), (2.0, 5)]
)
def test_pairs_needed_are_those_of_published_tables(d, n):
    assert pairs_needed(d, 1.0) == n
    assert pairs_needed(10 * d, 10.0) == n
    assert power(n, d) >= 0.8 > power(n - 1, d)


def test_power_is_what_simulated_tests_find():
    for n, d in ((5, 1.0), (12, 0.6), (8, 0.0)):
        rows = normal(n, 4000, n, d)
        found = np.mean(stats.ttest_1samp(rows, 0.0, axis=1).pvalue < 0.05)
        assert power(n, d) == pytest.approx(found, abs=4 * math.sqrt(0.25 / 4000))


def test_pairs_needed_says_when_no_number_will_do():
    assert pairs_needed(1e-9, 1.0) is None
    with pytest.raises(wd.InputError, match="difference=0 is not allowed"):
        pairs_needed(0.0, 1.0)


# --- bootstrap over seeds and examples --------------------------------------------


def hits(rng, seeds, examples, seed_sd, example_sd):
    """Gaps with a part of the seed, a part of the example and a part of the cell."""
    return (
        seed_sd * rng.normal(size=(seeds, 1))
        + example_sd * rng.normal(size=(1, examples))
        + 0.5 * rng.normal(size=(seeds, examples))
    )


def test_two_way_bootstrap_covers_other_seeds_and_other_examples():
    """A t-interval over seeds misses the examples' part; this one does not."""
    rng = np.random.default_rng(0)
    two_way, t_only = [], []
    for trial in range(150):
        x = hits(rng, 15, 60, 0.1, 1.0)
        got = seeds_by_examples(x, 0 * x, resamples=400, seed=trial)
        two_way.append(got.low <= 0 <= got.high)
        over_seeds = interval(x.mean(1).tolist())
        t_only.append(over_seeds.low <= 0 <= over_seeds.high)
    assert np.mean(two_way) > 0.87
    assert np.mean(t_only) < 0.6


def test_two_way_bootstrap_has_the_variance_its_theory_says():
    """Var* = within the seeds' and the examples' own variances and one cell's more."""
    rng = np.random.default_rng(1)
    x = hits(rng, 30, 40, 1.0, 1.0)
    got = seeds_by_examples(x, 0 * x, resamples=20_000)
    rows, columns = x.mean(1).var() / 30, x.mean(0).var() / 40
    width = (got.high - got.low) / (2 * 1.96)
    assert math.sqrt(rows + columns) < 1.05 * width
    assert width < 1.15 * math.sqrt(rows + columns)
    assert got == seeds_by_examples(x, 0 * x, resamples=20_000)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones((2, 3)), np.ones((3, 2)), r"shapes \(2, 3\) and \(3, 2\)"),
        (np.ones(3), np.ones(3), r"give \(seeds, examples\)"),
        (np.ones((1, 3)), np.ones((1, 3)), "at least two of each"),
    ],
)
def test_bootstrap_refuses_what_it_cannot_resample(a, b, message):
    with pytest.raises(wd.InputError, match=message):
        seeds_by_examples(a, b)


# --- separable basins -------------------------------------------------------------

X = np.linspace(-3, 3, 7)
GRID = 10.0**X


def basin(tilt, narrow=1.0):
    """A valley along log λ = tilt·log α, with a shallow bowl along it."""
    x, y = X[:, None], X[None]
    return narrow * (y - tilt * x) ** 2 + 0.01 * x**2


def test_an_aligned_basin_is_separable_whatever_its_shape():
    for loss in (
        X[:, None] ** 2 + X**2,
        np.exp(X[:, None] ** 2 + 3 * X**2),  # another function of the same
        np.where(X[:, None] > 2, np.inf, X[:, None] ** 2 + (X - 1) ** 2),
    ):
        got = separability(GRID, GRID, loss)
        assert (got.rank, got.regret) == (1.0, 0.0)
        assert got.tilt == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("tilt", [-1.0, -0.5, 0.5])
def test_tilt_is_the_slope_of_the_valley(tilt):
    got = separability(GRID, GRID, basin(tilt))
    assert got.tilt == pytest.approx(tilt, abs=1e-6)
    assert got.rank < 0.7


def test_a_diagonal_costs_only_what_its_floor_rises_by():
    along = separability(GRID, GRID, basin(-1.0))
    assert along.regret == pytest.approx(0.01 * np.mean(X**2))


def test_rank_ignores_increasing_functions_and_axes_that_are_swapped():
    loss = basin(-0.5)
    a, b = separability(GRID, GRID, loss), separability(GRID, GRID, np.exp(loss / 9))
    assert a.rank == b.rank
    assert separability(GRID, GRID, loss.T).rank == pytest.approx(a.rank)


def test_noise_alone_is_not_separable():
    rng = np.random.default_rng(0)
    ranks = [separability(GRID, GRID, rng.normal(size=(7, 7))).rank for _ in range(40)]
    assert abs(np.mean(ranks)) < 0.1


@pytest.mark.parametrize(
    ("rates", "loss", "message"),
    [
        (GRID[:2], np.ones((2, 7)), "at least 3 × 3"),
        (GRID[::-1], np.ones((7, 7)), "rates must be positive and increasing"),
        (GRID, np.full((7, 7), np.nan), "every run diverged"),
    ],
)
def test_separability_refuses_what_is_no_grid(rates, loss, message):
    with pytest.raises(wd.InputError, match=message):
        separability(rates, GRID, loss)
