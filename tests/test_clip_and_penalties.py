"""Clips act leaf by leaf or on the whole as they say; penalties have their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Ridge

import jaxwd as wd
from jaxwd.clip import CLIPS

GRADS = {"kernel": jnp.array([3.0, -4.0]), "bias": jnp.array([0.5])}


def clipped(name, threshold, params=GRADS):
    tx = wd.clip.by_name(name, threshold)
    return tx.update(GRADS, tx.init(params), params)[0]


@pytest.mark.parametrize(
    ("name", "threshold", "kernel", "bias"),
    [
        ("value", 1.0, [1.0, -1.0], [0.5]),
        ("global_norm", 1.0, np.array([3.0, -4.0]) / 25.25**0.5, [0.5 / 25.25**0.5]),
        ("block_norm", 1.0, [0.6, -0.8], [0.5]),
        ("adaptive", 0.5, [1.5, -2.0], [0.25]),  # params = grads, so ‖θ‖ = ‖g‖
    ],
)
def test_clip_values(name, threshold, kernel, bias):
    got = clipped(name, threshold)
    np.testing.assert_allclose(got["kernel"], kernel, rtol=1e-5)
    np.testing.assert_allclose(got["bias"], bias, rtol=1e-5)


@pytest.mark.parametrize("name", CLIPS)
def test_a_large_threshold_changes_nothing(name):
    for key, value in clipped(name, 1e6).items():
        np.testing.assert_array_equal(value, GRADS[key])


@pytest.mark.parametrize("name", CLIPS)
def test_zero_gradients_stay_zero_without_nan(name):
    zero = jax.tree.map(jnp.zeros_like, GRADS)
    tx = wd.clip.by_name(name, 1.0)
    for value in jax.tree.leaves(tx.update(zero, tx.init(zero), GRADS)[0]):
        np.testing.assert_array_equal(value, 0.0)


@pytest.mark.parametrize(
    ("name", "threshold", "message"),
    [
        ("norm", 1.0, "unknown clip 'norm'"),
        ("value", 0.0, "clip threshold=0 is not allowed"),
        ("value", float("nan"), "clip threshold=nan"),
        ("adaptive", -1.0, "clip threshold=-1"),
    ],
)
def test_clip_mistakes_are_errors(name, threshold, message):
    with pytest.raises(wd.InputError, match=message):
        wd.clip.by_name(name, threshold)
    if name in CLIPS:
        with pytest.raises(wd.InputError, match=message):
            getattr(wd.clip, name)(threshold)


# --- penalties --------------------------------------------------------------------------

THETA = {"kernel": jnp.array([[1.0, -2.0], [3.0, 0.5]]), "bias": jnp.array([7.0])}

# written form → gradient over λθ (or over λ sign θ)
GRADIENTS = [
    (lambda p: wd.penalties.l2(p, 0.1), lambda w: 0.2 * w),
    (lambda p: wd.penalties.half_l2(p, 0.1), lambda w: 0.1 * w),
    (lambda p: wd.penalties.l2_per_example(p, 0.1, examples=4), lambda w: 0.025 * w),
    (lambda p: wd.penalties.l1(p, 0.1), lambda w: 0.1 * np.sign(w)),
    (
        lambda p: wd.penalties.elastic_net(p, 0.1, 0.3),
        lambda w: 0.1 * np.sign(w) + 0.3 * w,
    ),
]


@pytest.mark.parametrize(("penalty", "gradient"), GRADIENTS)
def test_penalty_gradients_and_exempt_leaves(penalty, gradient):
    got = jax.grad(penalty)(THETA)
    np.testing.assert_allclose(got["kernel"], gradient(np.asarray(THETA["kernel"])))
    np.testing.assert_array_equal(got["bias"], 0.0)


def test_the_studys_three_forms_differ_64_fold_at_batch_32():
    largest = wd.penalties.l2(THETA, 5e-4)
    smallest = wd.penalties.l2_per_example(THETA, 5e-4, examples=32)
    np.testing.assert_allclose(largest / smallest, 64.0, rtol=1e-5)


def test_multipliers_weight_the_penalty():
    where = [("kernel", 0.5), ("bias", 1.0)]
    got = wd.penalties.l2(THETA, 1.0, where=where)
    np.testing.assert_allclose(got, 0.5 * (1 + 4 + 9 + 0.25) + 49.0, rtol=1e-6)


def test_penalty_strength_may_be_a_schedule():
    scheme = wd.penalized(wd.linear(1.0, steps=10))
    at_start = wd.penalties.of_scheme(scheme, THETA, 0)
    at_half = wd.penalties.of_scheme(scheme, THETA, 5)
    np.testing.assert_allclose(at_half, 0.5 * at_start, rtol=1e-6)


def test_only_penalized_adds_to_the_loss_and_coupled_only_reports():
    """A coupled scheme's penalty in the loss too would decay twice."""
    for scheme in (wd.none(), wd.decoupled(0.1), wd.coupled(0.1)):
        assert wd.penalties.of_scheme(scheme, THETA) == 0
    for scheme in (wd.none(), wd.decoupled(0.1)):
        assert wd.penalties.reported(scheme, THETA) == 0
    assert wd.penalties.reported(wd.coupled(0.1), THETA) == wd.penalties.of_scheme(
        wd.penalized(0.1), THETA
    )


@pytest.mark.parametrize("name", ["l1", "l2", "half_l2"])
def test_negative_penalties_are_refused(name):
    with pytest.raises(wd.InputError, match="strength=-1 is not allowed"):
        getattr(wd.penalties, name)(THETA, -1)


def test_penalized_least_squares_reaches_scikit_learns_ridge(x64):
    """Loss ½·mean + ½λ‖θ‖² has the minimum of Ridge(α = λn), which sums squares."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 4)), rng.normal(size=50)
    strength = 0.3
    scheme = wd.penalized(strength)
    tx = wd.optimizer("sgd", 0.1, decay=scheme)

    def step(carry, _):
        params, state = carry

        def objective(p):
            data = 0.5 * jnp.mean((x @ p["kernel"] - y) ** 2)
            return data + wd.penalties.of_scheme(scheme, p)

        updates, state = tx.update(jax.grad(objective)(params), state, params)
        return (jax.tree.map(jnp.add, params, updates), state), None

    params = {"kernel": jnp.zeros(4)}
    (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), length=2000)
    want = Ridge(alpha=strength * 50, fit_intercept=False).fit(x, y).coef_
    np.testing.assert_allclose(params["kernel"], want, rtol=1e-8)
