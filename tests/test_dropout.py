"""Dropout: the arithmetic with given masks, the sampling by its moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxwd as wd
from jaxwd.dropout import apply, dropout, sample_mask

X = jnp.asarray(np.random.default_rng(0).normal(size=(64, 50)), jnp.float32)


@given(rate=st.floats(0, 0.9375, width=32))
def test_kept_units_are_scaled_and_dropped_units_are_zero(rate):
    mask = jnp.arange(50) % 2 == 0
    got = apply(X, mask, rate)
    np.testing.assert_allclose(got[:, ::2], X[:, ::2] / (1 - rate), rtol=1e-4)
    np.testing.assert_array_equal(got[:, 1::2], 0)


@pytest.mark.parametrize("traced", [False, True])
def test_rate_zero_is_the_identity_bit_for_bit(traced):
    call = lambda rate: dropout(X, rate, train=True, key=jax.random.key(0))  # noqa: E731
    got = jax.jit(call)(0.0) if traced else call(0.0)
    np.testing.assert_array_equal(got, X)


@pytest.mark.parametrize("traced", [False, True])
def test_rate_one_is_zero_with_finite_gradients(traced):
    def total(x, rate):
        return dropout(x, rate, train=True, key=jax.random.key(0)).sum()

    grad = jax.grad(total)
    got = jax.jit(grad)(X, 1.0) if traced else grad(X, 1.0)
    np.testing.assert_array_equal(got, 0)
    np.testing.assert_array_equal(total(X, 1.0), 0)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_mask_keeps_the_stated_share_and_the_mean_is_kept(rate):
    """Within five standard errors of 200,000 draws."""
    mask = sample_mask(jax.random.key(1), (200_000,), rate)
    error = 5 * (rate * (1 - rate) / 200_000) ** 0.5
    assert abs(float(mask.mean()) - (1 - rate)) < error
    mean = apply(jnp.ones(200_000), mask, rate).mean()
    assert abs(float(mean) - 1) < error / (1 - rate)


def test_same_key_same_mask_and_other_key_other_mask():
    a, b = (sample_mask(jax.random.key(3), (1000,), 0.5) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert (a != sample_mask(jax.random.key(4), (1000,), 0.5)).any()


def test_broadcast_dims_share_one_draw():
    x = jnp.ones((8, 5, 5, 16))
    got = dropout(x, 0.5, train=True, key=jax.random.key(0), broadcast_dims=(1, -2))
    assert (got.min((1, 2)) == got.max((1, 2))).all()
    assert 0 < float((got[:, 0, 0] == 0).mean()) < 1


def test_rate_may_be_swept_by_vmap():
    rates = jnp.array([0.0, 0.5, 1.0])
    call = lambda rate: dropout(X, rate, train=True, key=jax.random.key(0))  # noqa: E731
    got = jax.vmap(call)(rates)
    for i, rate in enumerate(rates):
        np.testing.assert_array_equal(got[i], call(float(rate)))


def test_evaluation_is_the_identity_and_needs_no_key():
    np.testing.assert_array_equal(dropout(X, 0.5, train=False), X)


def test_dtype_is_kept():
    x = X.astype(jnp.bfloat16)
    assert dropout(x, 0.5, train=True, key=jax.random.key(0)).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dropout(X, 0.1, train=True), "rate=0.1 needs a key; pass key="),
        (lambda: dropout(X, 1.5, train=False), "dropout rate=1.5 is not allowed"),
        (lambda: sample_mask(jax.random.key(0), (3,), -0.1), "dropout rate=-0.1"),
        (lambda: dropout(X, float("nan"), train=True), "dropout rate=nan"),
        (
            lambda: sample_mask(jax.random.key(0), (3, 4), 0.5, broadcast_dims=(2,)),
            "broadcast_dims=2 is not allowed",
        ),
    ],
)
def test_mistakes_are_errors(call, message):
    with pytest.raises(wd.InputError, match=message):
        call()
