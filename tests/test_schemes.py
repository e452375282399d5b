"""Gates, anchors, shapes, allocations and proximal steps: rules, invariants, refusals."""

import dataclasses
import functools

import helpers
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rules
import scheme_rules
from hypothesis import given
from hypothesis import strategies as st
from scheme_rules import STRENGTH

import jaxwd as wd

ONES = {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}

# name → (the scheme, its NumPy rule, branches the run must take)
SCHEMES = {
    "lr_squared": (
        wd.decoupled(STRENGTH, times="lr_squared"),
        scheme_rules.lr_squared,
    ),
    "cautious": (wd.cautious(wd.decoupled(STRENGTH)), scheme_rules.cautious),
    "cautious, ties skipped": (
        wd.cautious(wd.decoupled(STRENGTH), ties="skip"),
        functools.partial(scheme_rules.cautious, open_gate=np.greater),
    ),
    "cautious constant": (
        wd.cautious(wd.decoupled(0.01, times="constant")),
        scheme_rules.cautious_constant,
    ),
    "tangent": (
        wd.tangent(wd.decoupled(STRENGTH), delta=0.9, ratio=0.25),
        scheme_rules.tangent,
        {"unit", "leaf", "neither"},
    ),
    "to_init": (wd.to_init(wd.decoupled(STRENGTH)), scheme_rules.to_init),
    "to_init coupled": (
        wd.to_init(wd.coupled(STRENGTH)),
        scheme_rules.to_init_coupled,
    ),
    "to_tree": (wd.to_tree(wd.coupled(STRENGTH), ONES), scheme_rules.to_ones),
    "to_tree penalized": (
        wd.to_tree(wd.penalized(STRENGTH), ONES),
        scheme_rules.to_ones,
    ),
    "to_ema": (wd.to_ema(wd.decoupled(STRENGTH), beta=0.9), scheme_rules.to_ema),
    "to_ema debiased": (
        wd.to_ema(wd.decoupled(STRENGTH), beta=0.9, debias=True),
        scheme_rules.to_ema_debiased,
    ),
    "to_norm": (wd.to_norm(wd.decoupled(STRENGTH), 2.0), scheme_rules.to_norm),
    "to_norm of its own": (
        wd.to_norm(wd.decoupled(STRENGTH)),
        scheme_rules.to_own_norm,
    ),
    "coupled l1": (wd.coupled(STRENGTH, penalty="l1"), scheme_rules.coupled_l1),
    "penalized l1": (wd.penalized(STRENGTH, penalty="l1"), scheme_rules.coupled_l1),
    "decoupled huber": (
        wd.decoupled(STRENGTH, penalty="huber", delta=0.5),
        scheme_rules.decoupled_huber,
    ),
    "decoupled p_norm": (
        wd.decoupled(STRENGTH, penalty="p_norm", p=1.5),
        scheme_rules.decoupled_p_norm,
    ),
    "proximal": (wd.proximal(STRENGTH), scheme_rules.prox_l2),
    "proximal schedule": (
        wd.proximal(0.01, times="schedule"),
        scheme_rules.prox_l2_schedule,
    ),
    "proximal l1": (wd.proximal(STRENGTH, penalty="l1"), scheme_rules.prox_l1),
    "proximal elastic_net": (
        wd.proximal(STRENGTH, penalty="elastic_net", l1_ratio=0.25),
        scheme_rules.prox_elastic,
    ),
    "proximal huber": (
        wd.proximal(STRENGTH, penalty="huber", delta=0.5),
        scheme_rules.prox_huber,
    ),
    "proximal p_norm": (
        wd.proximal(STRENGTH, penalty="p_norm", p=0.8),
        scheme_rules.prox_p_norm,
    ),
    "proximal group_lasso": (
        wd.proximal(STRENGTH, penalty="group_lasso"),
        scheme_rules.prox_group,
    ),
    "proximal to_init": (
        wd.to_init(wd.proximal(STRENGTH)),
        scheme_rules.prox_to_init,
    ),
    "selective": (wd.selective(0.7), scheme_rules.selective, {"back", "free"}),
    "stable": (wd.stable(wd.decoupled(STRENGTH), b2=0.9, eps=0.0), scheme_rules.stable),
    "awd": (wd.awd(wd.coupled(STRENGTH)), scheme_rules.awd),
    "adadecay": (wd.adadecay(wd.coupled(STRENGTH)), scheme_rules.adadecay),
}
# What a scheme stands beside: nothing, a buffer, a rescaled and a signed direction.
CORES = ("sgd", "momentum", "adam", "lion")


def gradient(theta, t):
    h, z = helpers.curvatures(), helpers.noise()
    return {k: h[k] * (leaf - 1.0) + z[k][t] for k, leaf in theta.items()}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("core", CORES)
def test_trajectory_equals_the_numpy_rule(core, scheme, x64):
    decay, rule, *branches = SCHEMES[scheme]
    params = helpers.start()
    tx = wd.optimizer(core, helpers.RATE, decay=decay)
    got = jax.jit(lambda p: helpers.descend(tx, p, decay))(params)
    cores = {leaf: rules.CORES[core]() for leaf in params}
    want, seen = scheme_rules.trajectory(
        rule, cores, params, gradient, helpers.etas(), helpers.ALPHA
    )
    for leaf in params:
        np.testing.assert_allclose(got[leaf], want[leaf], rtol=1e-6, atol=1e-9)
    assert branches in ([], [seen])
    plain = wd.optimizer(core, helpers.RATE)
    without = jax.jit(lambda p: helpers.descend(plain, p, wd.none()))(params)
    helpers.assert_trees_equal(got["bias"], without["bias"])
    if (core, scheme) == ("sgd", "selective"):
        return  # a small step down a gradient does not grow what it reduces
    assert np.abs(got["kernel"][-1] - without["kernel"][-1]).max() > 1e-4


@functools.cache
def undecayed():
    params = helpers.start(np.float32)
    return helpers.descend(wd.optimizer("adam", 0.02), params, wd.none(), 20)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_strength_zero_is_no_decay(scheme):
    decay, *_ = SCHEMES[scheme]
    decay = dataclasses.replace(decay, strength=0.0)
    params = helpers.start(np.float32)
    got = helpers.descend(wd.optimizer("adam", 0.02, decay=decay), params, decay, 20)
    want = undecayed()
    if decay.gate is None or decay.gate.name != "tangent":  # it turns the step as well
        helpers.assert_trees_close(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_program_serves_all_strengths_under_vmap(scheme):
    """λ is traced, 0 included; the program equals each λ alone, and is traced once."""
    decay, *_ = SCHEMES[scheme]
    traces = []

    @jax.jit
    def one(strength):
        traces.append(1)
        own = dataclasses.replace(decay, strength=strength)
        tx = wd.optimizer("adam", helpers.RATE, decay=own)
        return helpers.descend(tx, helpers.start(np.float32), own, 20)["kernel"]

    strengths = jnp.array([0.0, 0.1, 0.5])
    together = jax.vmap(one)(strengths)
    for i in range(3):
        alone = one(strengths[i])
        np.testing.assert_allclose(together[i], alone, rtol=2e-5, atol=2e-6)
    assert len(traces) == 1


@pytest.mark.parametrize("scheme", SCHEMES)
def test_frozen_leaves_never_move_and_parts_of_a_tree_decay_alike(scheme):
    """`frozen=` and `optax.partition` hold a part of the tree; decay there is the same."""
    decay, *_ = SCHEMES[scheme]
    if decay.allocation is not None:
        pytest.skip("shares λ by the gradients of every leaf it holds")
    params = helpers.start(np.float32)
    grads = gradient(params, 0)
    whole = wd.optimizer("adam", 0.02, decay=decay)
    want, _ = whole.update(grads, whole.init(params), params)
    tx = wd.optimizer("adam", 0.02, decay=decay, frozen="bias")
    state = tx.init(params)
    for _ in range(3):
        updates, state = tx.update(grads, state, params)
        np.testing.assert_array_equal(updates["bias"], np.zeros(2, np.float32))
    labels = {"kernel": "a", "bias": "b"}
    tx = optax.partition({"a": whole, "b": optax.sgd(0.1)}, labels)
    got, _ = tx.update(grads, tx.init(params), params)
    np.testing.assert_allclose(got["kernel"], want["kernel"], rtol=1e-6)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_multi_steps_decays_once_and_a_nan_step_does_not_decay(scheme):
    decay, *_ = SCHEMES[scheme]
    params = helpers.start(np.float32)
    grads = jax.tree.map(lambda x: jnp.asarray(x, np.float32), gradient(params, 0))
    tx = wd.optimizer("momentum", 0.02, decay=decay)
    want, _ = tx.update(grads, tx.init(params), params)
    several = optax.MultiSteps(tx, 3)
    state, got = several.init(params), None
    for _ in range(3):
        got, state = several.update(grads, state, params)
    helpers.assert_trees_close(got, want, rtol=1e-5, atol=1e-7)
    careful = optax.apply_if_finite(tx, 5)
    broken = jax.tree.map(lambda g: g * jnp.nan, grads)
    got, _ = careful.update(broken, careful.init(params), params)
    helpers.assert_trees_equal(got, jax.tree.map(jnp.zeros_like, params))


# --- named equalities ----------------------------------------------------------------

EQUAL = {
    "to a tree of zeros": (
        wd.to_tree(wd.decoupled(0.3), jax.tree.map(jnp.zeros_like, ONES)),
        wd.decoupled(0.3),
    ),
    "to norm 0": (wd.to_norm(wd.decoupled(0.3), 0.0), wd.decoupled(0.3)),
    "elastic net of ratio 1": (
        wd.proximal(0.3, penalty="elastic_net", l1_ratio=1.0),
        wd.proximal(0.3, penalty="l1"),
    ),
    "elastic net of ratio 0": (
        wd.proximal(0.3, penalty="elastic_net", l1_ratio=0.0),
        wd.proximal(0.3),
    ),
    "huber with a wide delta": (
        wd.proximal(0.3, penalty="huber", delta=1e6),
        wd.proximal(0.3),
    ),
    "huber with a narrow delta, λδ fixed": (
        wd.proximal(0.3e4, penalty="huber", delta=1e-4),
        wd.proximal(0.3, penalty="l1"),
    ),
    "p-norm of 2": (wd.proximal(0.3, penalty="p_norm", p=2.0), wd.proximal(0.3)),
    "l2 is half_l2 of 2λ": (wd.decoupled(0.3, penalty="l2"), wd.decoupled(0.6)),
    "tangent that never acts": (
        wd.tangent(wd.decoupled(0.3), delta=0.0),
        wd.decoupled(0.3),
    ),
    "adadecay of steepness 0": (
        wd.adadecay(wd.coupled(0.3), steepness=0.0),
        wd.coupled(0.3),
    ),
    "an average that forgets nothing is the start": (
        wd.to_ema(wd.decoupled(0.3), beta=1.0),
        wd.to_init(wd.decoupled(0.3)),
    ),
}


@pytest.mark.parametrize("name", EQUAL)
def test_schemes_that_are_the_same(name, x64):
    a, b = EQUAL[name]
    paths = [
        helpers.descend(wd.optimizer("adam", helpers.RATE, decay=d), helpers.start(), d)
        for d in (a, b)
    ]
    close = 1e-3 if "narrow" in name else 1e-9
    helpers.assert_trees_close(*paths, rtol=close, atol=close)


# --- invariants ------------------------------------------------------------------------

NUMBERS = st.floats(-3, 3, allow_nan=False, width=32)
SETTINGS = {
    "l2_per_example": {"examples": 4},
    "elastic_net": {"l1_ratio": 0.3},
    "huber": {"delta": 0.7},
    "p_norm": {"p": 1.5},
}


@pytest.mark.parametrize("name", [p for p in wd.penalties.PENALTIES if p != "p_norm"])
@given(y=st.lists(NUMBERS, min_size=4, max_size=4), t=st.floats(0.0, 2.0, width=32))
def test_proximal_step_is_the_minimum(name, y, t):
    """No small move away from prox(y) lowers t·R(z) + ½‖z − y‖²."""
    row, settings = wd.penalties.PENALTIES[name], SETTINGS.get(name, {})
    with jax.enable_x64(True):
        y = jnp.asarray(y, jnp.float64).reshape(2, 2)
        z = row.prox(y, t, y, **settings)

        def objective(z):
            return t * row.value(z, **settings) + 0.5 * jnp.sum((z - y) ** 2)

        moves = np.concatenate([np.eye(4), -np.eye(4), [[1, 1, -1, -1]], [[1.0] * 4]])
        for move in moves.reshape(-1, 2, 2):
            assert objective(z) <= objective(z + 1e-3 * move) + 1e-12


@pytest.mark.parametrize("name", wd.penalties.PENALTIES)
def test_gradient_of_a_penalty_is_its_slope(name, x64):
    row, settings = wd.penalties.PENALTIES[name], SETTINGS.get(name, {})
    x = helpers.start()["kernel"]
    by_hand = row.gradient(x, **settings)
    np.testing.assert_allclose(
        by_hand, jax.grad(lambda x: row.value(x, **settings))(x), rtol=1e-9
    )
    factor = row.linear(settings)
    assert factor is None or np.allclose(by_hand, factor * x)
    assert np.all(np.isfinite(row.gradient(jnp.zeros((3, 2)), **settings)))


@pytest.mark.parametrize("penalty", ["l1", "elastic_net", "group_lasso"])
def test_proximal_steps_make_exact_zeros_and_gradient_steps_do_not(penalty):
    params = {"kernel": jnp.array([[0.5, 0.01], [-0.4, 0.02]])}
    zero = {"kernel": jnp.zeros((2, 2))}
    ends = {}
    for make in (wd.proximal, wd.decoupled):
        tx = wd.optimizer("sgd", 0.1, decay=make(0.7, penalty=penalty))
        theta, state = params, tx.init(params)
        for _ in range(3):
            updates, state = tx.update(zero, state, theta)
            theta = optax.apply_updates(theta, updates)
        ends[make] = np.asarray(theta["kernel"])
    assert np.all(ends[wd.proximal][:, 1] == 0)
    assert np.all(ends[wd.proximal][:, 0] != 0)
    assert np.all(ends[wd.decoupled] != 0)


@pytest.mark.parametrize("penalty", ["half_l2", "l1", "huber"])
def test_no_strength_makes_a_proximal_step_turn_a_sign(penalty):
    settings = SETTINGS.get(penalty, {})
    decay = wd.proximal(1e6, times="constant", penalty=penalty, **settings)
    tx = wd.optimizer("sgd", 1.0, decay=decay)
    updates, _ = tx.update(
        {"kernel": jnp.zeros(2)}, tx.init(ONES), {"kernel": ONES["bias"]}
    )
    assert np.all(1 + updates["kernel"] >= 0)


def sign_descent(decay, steps=10_000):
    """Lion without memory is sign descent on ½(x − 5)²; return where it stops."""
    tx = wd.optimizer("lion", 0.002, decay=decay, b1=0.0)
    start = {"kernel": jnp.array(0.0)}

    def step(carry, _):
        params, state = carry
        updates, state = tx.update({"kernel": params["kernel"] - 5}, state, params)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (start, tx.init(start)), None, steps)
    return float(params["kernel"])


def test_sign_methods_stay_in_the_box_of_one_over_lambda_and_cautious_ones_do_not():
    """min f s.t. |θ| ≤ 1/λ (Chen et al., 2024); cautious decay keeps f's own minimum."""
    assert sign_descent(wd.decoupled(0.5)) == pytest.approx(2.0, abs=0.01)
    cautious = wd.cautious(wd.decoupled(0.5))
    assert sign_descent(cautious) == pytest.approx(5.0, abs=0.01)


def test_cautious_decay_on_noise_is_about_half_the_decay():
    """RMS on pure noise: √(η/2λ) for plain decay, √(η/λ) for cautious."""
    rate, strength, steps = 0.01, 0.05, 10_000
    start = {"kernel": jnp.zeros(400)}

    def rms(decay):
        tx = wd.optimizer("adam", rate, decay=decay)

        def step(carry, key):
            params, state = carry
            noise = {"kernel": jax.random.normal(key, (400,))}
            updates, state = tx.update(noise, state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), jnp.mean(params["kernel"] ** 2)

        keys = jax.random.split(jax.random.key(0), steps)
        _, squares = jax.lax.scan(step, (start, tx.init(start)), keys)
        return np.sqrt(squares[steps // 2 :].mean())

    plain = np.sqrt(rate / (2 * strength))
    assert rms(wd.decoupled(strength)) == pytest.approx(plain, rel=0.02)
    cautious = rms(wd.cautious(wd.decoupled(strength)))
    assert cautious == pytest.approx(np.sqrt(rate / strength), rel=0.03)
    assert cautious == pytest.approx(rms(wd.decoupled(strength / 2)), rel=0.06)


def test_stable_decay_is_divided_by_the_scale_of_the_loss():
    params, zero = helpers.start(np.float32), wd.optimizer("adam", 0.1)
    grads = {k: jnp.asarray(v, np.float32) for k, v in gradient(params, 0).items()}

    def decay_at(scale):
        tx = wd.optimizer("adam", 0.1, decay=wd.stable(wd.decoupled(0.3)))
        scaled = jax.tree.map(lambda g: scale * g, grads)
        with_it, _ = tx.update(scaled, tx.init(params), params)
        without, _ = zero.update(scaled, zero.init(params), params)
        return np.asarray(with_it["kernel"] - without["kernel"])

    np.testing.assert_allclose(decay_at(10.0), decay_at(1.0) / 10, rtol=1e-3, atol=1e-6)


def test_selective_projection_of_strength_one_keeps_the_distance():
    params = {"kernel": jnp.array([3.0, 4.0])}
    tx = wd.optimizer("sgd", 1.0, decay=wd.selective(1.0, anchor=0))
    # The step grows ‖θ‖ although ⟨g, θ⟩ > 0: overshoot through 0 to the other side.
    grads = {"kernel": jnp.array([9.0, 12.0])}
    updates, _ = tx.update(grads, tx.init(params), params)
    assert float(jnp.linalg.norm(params["kernel"] + updates["kernel"])) == (
        pytest.approx(5.0, rel=1e-6)
    )


def test_to_norm_goes_to_the_norm_at_the_rate_of_decay():
    params = {"kernel": jnp.array([3.0, 4.0])}
    tx = wd.optimizer("sgd", 0.1, decay=wd.to_norm(wd.decoupled(0.5), 1.0))
    state, theta = tx.init(params), params
    for _ in range(20):
        updates, state = tx.update({"kernel": jnp.zeros(2)}, state, theta)
        theta = optax.apply_updates(theta, updates)
    norm = float(jnp.linalg.norm(theta["kernel"]))
    assert norm == pytest.approx(1 + 4 * 0.95**20, rel=1e-5)


def test_pretrained_fixed_point_of_l2_sp():
    """On a quadratic, decay to θ₀ ends at (h + λ)⁻¹(h·θ* + λ·θ₀)."""
    start = {"kernel": jnp.array([2.0, -1.0])}
    h, optimum = jnp.array([1.0, 3.0]), jnp.array([5.0, 5.0])
    tx = wd.optimizer("sgd", 0.2, decay=wd.to_init(wd.decoupled(0.5)))
    state, theta = tx.init(start), start
    for _ in range(200):
        grads = {"kernel": h * (theta["kernel"] - optimum)}
        updates, state = tx.update(grads, state, theta)
        theta = optax.apply_updates(theta, updates)
    want = (h * optimum + 0.5 * start["kernel"]) / (h + 0.5)
    np.testing.assert_allclose(theta["kernel"], want, rtol=1e-5)


@pytest.mark.parametrize("ties", ["decay", "skip", "sign", "signbit"])
def test_ties_differ_only_at_exact_zeros(ties):
    at_zero = {"decay": True, "skip": False, "sign": False, "signbit": True}[ties]
    tx = wd.optimizer("sgd", 1.0, decay=wd.cautious(wd.decoupled(0.5), ties=ties))
    params = {"kernel": jnp.array([1.0, 1.0, 1.0])}
    grads = {"kernel": jnp.array([0.0, 0.25, -0.25])}
    updates, _ = tx.update(grads, tx.init(params), params)
    want = np.array([-0.5 if at_zero else 0.0, -0.75, 0.25])
    np.testing.assert_array_equal(updates["kernel"], want)


# --- refusals ----------------------------------------------------------------------------

BAD = [
    (lambda: wd.cautious(wd.coupled(0.1)), "coupled does not go with cautious"),
    (lambda: wd.cautious(wd.none()), "none does not go with cautious"),
    (lambda: wd.to_init(wd.penalized(0.1)), "a loss keeps no state"),
    (lambda: wd.stable(wd.proximal(0.1)), "proximal does not go with stable"),
    (lambda: wd.cautious(wd.tangent(wd.decoupled(0.1))), "has a gate already"),
    (lambda: wd.to_ema(wd.to_init(wd.coupled(0.1))), "has an anchor already"),
    (lambda: wd.cautious(0.1), r"cautious takes a scheme, not 0.1"),
    (lambda: wd.cautious(wd.decoupled(0.1), ties="skp"), "did you mean 'skip'"),
    (lambda: wd.decoupled(0.1, penalty="hubr"), "did you mean 'huber'"),
    (lambda: wd.decoupled(0.1, penalty="huber"), "needs delta="),
    (lambda: wd.decoupled(0.1, delta=1.0), "does not take delta=1.0"),
    (lambda: wd.proximal(0.1, penalty="p_norm", p=0.0), r"p=0 is not allowed"),
    (lambda: wd.proximal(0.1, penalty="elastic_net", l1_ratio=2), r"in \[0, 1\]"),
    (lambda: wd.to_ema(wd.decoupled(0.1), beta=1.5), r"beta=1.5 is not allowed"),
    (
        lambda: wd.to_ema(wd.decoupled(0.1), beta=1.0, debias=True),
        "beta=1 with debias takes no weight in",
    ),
    (lambda: wd.to_norm(wd.decoupled(0.1), -1.0), r"norm=-1 is not allowed"),
    (
        lambda: wd.optimizer("sgd", 1.0, decay=wd.to_init(wd.decoupled(2.0))),
        "multiplies weights by -1 in one step",
    ),
    (
        lambda: wd.optimizer(
            "sgd", 1.0, decay=wd.to_tree(wd.decoupled(0.1), {"kernel": jnp.ones(9)})
        ).init(ONES),
        r"to_tree: the tree has",
    ),
]


@pytest.mark.parametrize(("call", "words"), BAD)
def test_bad_input_is_named_with_its_remedy(call, words):
    with pytest.raises(wd.InputError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_update_without_parameters_says_so():
    tx = wd.optimizer("sgd", 0.1, decay=wd.to_init(wd.decoupled(0.1)))
    with pytest.raises(wd.InputError, match="tx.update"):
        tx.update(ONES, tx.init(ONES))
