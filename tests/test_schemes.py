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
    "auto_l2": (
        wd.auto_l2(wd.coupled(STRENGTH), refractory=2.0, divide=4.0, every=3),
        scheme_rules.auto_l2,
        {("stuck", True), ("stuck", False), ("falls", True), ("falls", False)},
    ),
}
NORMS = {
    "max_norm": (wd.max_norm(0.9), scheme_rules.max_norm, {True}),
    "norm_ball": (wd.norm_ball(1.5), scheme_rules.norm_ball),
    "radial_brake": (
        wd.radial_brake(outward=0.25, inward=0.5),
        scheme_rules.radial_brake,
        {True, False},
    ),
    "lawn": (wd.lawn(30), scheme_rules.lawn),
    "hyperball": (wd.hyperball(), scheme_rules.hyperball),
    "rotational": (wd.rotational(STRENGTH), scheme_rules.rotational),
    "rotational sgd": (
        wd.rotational(STRENGTH, core="sgd", momentum=0.9, center=False),
        functools.partial(scheme_rules.rotational, c=1 / 1.9, center=False),
    ),
    "amos": (wd.amos(scale=0.5, b2=0.9), scheme_rules.amos),
    "cpr uniform": (
        wd.cpr(bound="uniform", kappa=2.0),
        functools.partial(scheme_rules.cpr, kappa=2.0),
        {True, False},
    ),
    "cpr dependent": (
        wd.cpr(bound="dependent", factor=0.8),
        functools.partial(scheme_rules.cpr, bound="dependent"),
    ),
    "cpr l1": (
        wd.cpr(bound="dependent", factor=0.8, measure="l1", update=0.1),
        functools.partial(scheme_rules.cpr, bound="dependent", measure="l1", mu=0.1),
    ),
    "cpr std": (
        wd.cpr(bound="dependent", factor=0.8, measure="std", update=0.1),
        functools.partial(scheme_rules.cpr, bound="dependent", measure="std", mu=0.1),
    ),
    "cpr warm_start": (
        wd.cpr(bound="warm_start", steps=20),
        functools.partial(scheme_rules.cpr, bound="warm_start"),
        {True, False},
    ),
    "cpr inflection": (
        wd.cpr(bound="inflection", every=8),
        functools.partial(scheme_rules.cpr, bound="inflection"),
        {True, False, "inflection"},
    ),
}
ALL = SCHEMES | NORMS
# A buffer that overshoots and a rescaled direction; tests/heavy has every core.
CORES = ("momentum", "adam")


def gradient(theta, t):
    h, z = helpers.curvatures(), helpers.noise()
    return {k: h[k] * (leaf - 1.0) + z[k][t] for k, leaf in theta.items()}


@pytest.mark.parametrize("scheme", ALL)
@pytest.mark.parametrize("core", CORES)
def test_trajectory_equals_the_numpy_rule(core, scheme, x64):
    decay, rule, *branches = ALL[scheme]
    params = helpers.start()
    tx = wd.optimizer(core, helpers.RATE, decay=decay)
    got = jax.jit(lambda p: helpers.descend(tx, p, decay))(params)
    cores = {leaf: rules.CORES[core]() for leaf in params}
    want, seen = scheme_rules.trajectory(
        rule, cores, params, gradient, helpers.etas(), helpers.ALPHA
    )
    for leaf in params:
        np.testing.assert_allclose(got[leaf], want[leaf], rtol=1e-6, atol=1e-9)
    if core == "momentum":  # it overshoots, so both sides of every test are met
        assert branches in ([], [seen])
    plain = wd.optimizer(core, helpers.RATE)
    without = jax.jit(lambda p: helpers.descend(plain, p, wd.none()))(params)
    helpers.assert_trees_equal(got["bias"], without["bias"])
    assert np.abs(got["kernel"][-1] - without["kernel"][-1]).max() > 1e-4


@functools.cache
def undecayed():
    params = helpers.start(np.float32)
    return helpers.descend(wd.optimizer("adam", 0.02), params, wd.none(), 20)


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if s != "tangent"])
def test_strength_zero_is_no_decay(scheme):
    """But for `tangent`, which turns the step whatever λ is."""
    decay, *_ = SCHEMES[scheme]
    decay = dataclasses.replace(decay, strength=0.0)
    params = helpers.start(np.float32)
    got = helpers.descend(wd.optimizer("adam", 0.02, decay=decay), params, decay, 20)
    want = undecayed()
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


@pytest.mark.parametrize("scheme", ALL)
def test_frozen_leaves_never_move_and_parts_of_a_tree_decay_alike(scheme):
    """`frozen=`, `partition` and `masked` hold a part of the tree; decay is the same."""
    decay, *_ = ALL[scheme]
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
    np.testing.assert_allclose(got["kernel"], want["kernel"], rtol=1e-6, atol=1e-6)
    tx = optax.masked(whole, {"kernel": True, "bias": False})
    got, _ = tx.update(grads, tx.init(params), params)
    np.testing.assert_allclose(got["kernel"], want["kernel"], rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(got["bias"], grads["bias"])


@pytest.mark.parametrize("scheme", ALL)
def test_multi_steps_decays_once_and_a_nan_step_does_not_decay(scheme):
    decay, *_ = ALL[scheme]
    params = helpers.start(np.float32)
    grads = jax.tree.map(lambda x: jnp.asarray(x, np.float32), gradient(params, 0))
    tx = wd.optimizer("momentum", 0.02, decay=decay)
    want, _ = tx.update(grads, tx.init(params), params, **helpers.EXTRA)
    several = optax.MultiSteps(tx, 3)
    state, got = several.init(params), None
    for _ in range(3):
        got, state = several.update(grads, state, params, **helpers.EXTRA)
    helpers.assert_trees_close(got, want, rtol=1e-5, atol=1e-7)
    careful = optax.apply_if_finite(tx, 5)
    broken = jax.tree.map(lambda g: g * jnp.nan, grads)
    got, _ = careful.update(broken, careful.init(params), params, **helpers.EXTRA)
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


PROXIMAL = [
    p for p, row in wd.penalties.PENALTIES.items() if row.prox and p != "p_norm"
]


@pytest.mark.parametrize("name", PROXIMAL)
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


# --- spectra ----------------------------------------------------------------------------


def test_alpha_decay_shares_by_the_tail_of_each_spectrum(x64):
    """Low for the smallest α, high for the largest, between them linear; vectors λ."""
    rng = np.random.default_rng(0)
    params = {
        name: {"kernel": jnp.asarray(rng.normal(size=(30, 8)) ** power)}
        for name, power in (("a", 1), ("b", 3), ("c", 5))
    } | {"vector": {"kernel": jnp.ones(4)}, "bias": jnp.ones(4)}
    zero = jax.tree.map(jnp.zeros_like, params)
    decay = wd.alpha_decay(wd.decoupled(0.1), every=2, low=0.5, high=2.0)
    tx = wd.optimizer("sgd", 1.0, decay=decay)
    state = tx.init(params)

    def factors(state, params):
        updates, state = tx.update(zero, state, params)
        ratio = jax.tree.map(
            lambda u, x: float(jnp.ravel(-u / x)[0]) / 0.1, updates, params
        )
        return ratio, state

    alphas = {k: scheme_rules.hill(np.asarray(params[k]["kernel"])) for k in "abc"}
    low, high = min(alphas.values()), max(alphas.values())
    first, state = factors(state, params)
    for k, alpha in alphas.items():
        want = 0.5 + (alpha - low) / (high - low) * 1.5
        assert first[k]["kernel"] == pytest.approx(want, rel=1e-6)
    assert first["vector"]["kernel"] == pytest.approx(1.0)
    assert first["bias"] == 0.0
    turned = params | {"a": params["c"], "c": params["a"]}
    second, state = factors(state, turned)  # not looked at in this step
    assert second["a"]["kernel"] == pytest.approx(first["a"]["kernel"])
    third, _ = factors(state, turned)
    assert third["a"]["kernel"] == pytest.approx(first["c"]["kernel"])


def test_hill_estimate_recovers_a_power_law(x64):
    """Eigenvalues of a Pareto tail with density λ^−α: the estimate is α, within 10 %."""
    from jaxwd.decay.spectrum import hill_alpha

    for alpha in (2.0, 3.0):
        quantiles = (np.arange(1, 801) / 801) ** (-1 / (alpha - 1))
        got = float(hill_alpha(jnp.diag(jnp.sqrt(jnp.asarray(quantiles)))))
        assert got == pytest.approx(alpha, rel=0.1)


def test_matrix_penalties_are_what_the_singular_values_say(x64):
    rng = np.random.default_rng(0)
    orthogonal = np.linalg.qr(rng.normal(size=(6, 4)))[0]
    for matrix in (rng.normal(size=(6, 4)), rng.normal(size=(4, 6)), orthogonal):
        params = {"kernel": jnp.asarray(matrix)}
        s = np.linalg.svd(matrix, compute_uv=False)
        value = {
            name: float(wd.penalties.penalty(name, params, 0.3))
            for name in ("soft_orthogonality", "spectral")
        }
        assert value["soft_orthogonality"] == pytest.approx(
            0.3 * ((s**2 - 1) ** 2).sum(), abs=1e-12
        )
        assert value["spectral"] == pytest.approx(0.15 * s[0] ** 2)
        # One power iteration finds at most σ² of WᵀW − I, and on average a good part.
        keys = jax.random.split(jax.random.key(0), 50)
        draw = functools.partial(wd.penalties.srip, params=params, strength=0.3)
        srip = jax.vmap(draw)(keys)
        most = 0.3 * np.abs(s**2 - 1).max() ** 2
        assert np.all(srip <= most + 1e-12)
        assert np.mean(srip) >= 0.5 * most
    bias = {"kernel": jnp.ones(3)}
    assert wd.penalties.penalty("soft_orthogonality", bias, 1.0) == 0


# --- presets and λ over time ------------------------------------------------------------

ALIASES = {
    "optax.adamw": ("adam", lambda rate: optax.adamw(rate, weight_decay=0.1)),
    "torch.AdamW": ("adam", lambda rate: optax.adamw(rate, weight_decay=0.1)),
    "keras": (
        "sgd",
        lambda rate: optax.chain(optax.add_decayed_weights(0.1), optax.sgd(rate)),
    ),
    "torch.SGD": (
        "momentum",
        lambda rate: optax.chain(optax.add_decayed_weights(0.1), optax.sgd(rate, 0.9)),
    ),
    "torch.Adam": (
        "adam",
        lambda rate: optax.chain(optax.add_decayed_weights(0.1), optax.adam(rate)),
    ),
    "big_vision": (
        "adam",
        lambda rate: optax.chain(
            optax.scale_by_adam(),
            optax.scale(helpers.ALPHA),
            optax.add_decayed_weights(0.1, mask={"kernel": True, "bias": False}),
            optax.scale_by_schedule(lambda t: -rate(t) / helpers.ALPHA),
        ),
    ),
}


@pytest.mark.parametrize("name", ALIASES)
def test_a_preset_is_what_that_code_base_does(name):
    core, alias = ALIASES[name]
    params = helpers.start(np.float32)
    ours = wd.optimizer(core, helpers.RATE, decay=wd.preset(name, 0.1))
    paths = [
        helpers.descend(tx, params, wd.none(), 40) for tx in (ours, alias(helpers.RATE))
    ]
    helpers.assert_trees_close(*paths, rtol=1e-5, atol=1e-6)


def test_every_preset_is_a_scheme_and_others_are_named():
    for name in wd.decay.PRESETS:
        assert wd.preset(name, 0.1).strength == 0.1
    with pytest.raises(wd.InputError, match="did you mean 'big_vision'"):
        wd.preset("bigvision", 0.1)


def test_strength_over_time():
    t = np.arange(100)
    late, early = wd.late(0.1, steps=100)(t), wd.early(0.1, steps=100)(t)
    np.testing.assert_allclose(late + early, np.full(100, 0.1), rtol=1e-6)
    rate = wd.cosine(0.1, steps=100)(t)
    np.testing.assert_allclose(
        wd.opposite(0.1, steps=100)(t) + rate, np.full(100, 0.1), rtol=1e-5
    )
    rising = wd.rising_cosine(0.4, steps=100)(t)
    assert rising[0] == pytest.approx(0.04)
    assert np.all(np.diff(rising) > 0)
    omega = wd.log_time(4.0, steps=100)(t) * (t + 10)
    np.testing.assert_allclose(omega, np.full(100, 4.0), rtol=1e-5)


# --- norms ------------------------------------------------------------------------------


@pytest.mark.parametrize("core", CORES)
def test_hyperball_holds_the_norm_and_the_rate_is_the_angle(core):
    params = helpers.start(np.float32)
    tx = wd.optimizer(core, 0.05, decay=wd.hyperball())
    path = helpers.descend(tx, params, wd.none(), 50)["kernel"]
    norms = np.linalg.norm(np.asarray(path).reshape(51, -1), axis=1)
    np.testing.assert_allclose(norms, norms[0], rtol=1e-6)
    # A step of length η‖θ‖ and the way back turn by an angle between atan η and η/(1−η).
    units = np.asarray(path).reshape(51, -1) / norms[:, None]
    angles = np.arccos(np.clip((units[1:] * units[:-1]).sum(1), -1, 1))
    assert np.all(angles < 0.05 / 0.95)


def test_decay_beside_hyperball_is_a_no_op_to_first_order(x64):
    """Adding ηλθ before the projection changes a step by O(ηλ) of itself, no more."""
    x, u, eta = np.array([3.0, 4.0]), np.array([4.0, -2.0]), 0.1

    def projected(lam):
        y = x - eta * 5 * u / np.linalg.norm(u) - eta * lam * x
        return y * 5 / np.linalg.norm(y) - x

    for lam, most in [(1.0, 0.15), (0.1, 0.015)]:
        change = np.linalg.norm(projected(lam) - projected(0.0))
        assert change < most * np.linalg.norm(projected(0.0))


@pytest.mark.parametrize(
    ("core", "law", "hyper"),
    [("adam", "adam", {"b1": 0.9}), ("momentum", "sgd", {"momentum": 0.9})],
)
def test_rotational_turns_by_the_law_of_its_equilibrium(core, law, hyper):
    """On noise the root mean square of the angle a step is √(2ηλc), within 2 %."""
    rate, strength = 0.001, 0.5
    decay = wd.rotational(strength, core=law, center=False, **hyper)
    start = {"kernel": jax.random.normal(jax.random.key(1), (200, 20))}
    tx = wd.optimizer(core, rate, decay=decay, **hyper)

    def step(carry, key):
        params, state = carry
        noise = {"kernel": jax.random.normal(key, (200, 20))}
        updates, state = tx.update(noise, state, params)
        new = optax.apply_updates(params, updates)
        a, b = params["kernel"], new["kernel"]
        sizes = jnp.linalg.norm(a, axis=0) * jnp.linalg.norm(b, axis=0)
        cosine = jnp.sum(a * b, axis=0) / sizes
        return (new, state), jnp.mean(2 * (1 - cosine))

    keys = jax.random.split(jax.random.key(0), 400)
    (end, _), squares = jax.lax.scan(step, (start, tx.init(start)), keys)
    c = {"adam": 0.1 / 1.9, "sgd": 1 / 1.9}[law]
    angle = float(jnp.sqrt(jnp.mean(squares[50:])))
    assert angle == pytest.approx(np.sqrt(2 * rate * strength * c), rel=0.02)
    np.testing.assert_allclose(
        jnp.linalg.norm(end["kernel"], axis=0),
        jnp.linalg.norm(start["kernel"], axis=0),
        rtol=1e-4,
    )


def test_cpr_within_its_bound_is_the_plain_core_and_beyond_it_reaches_the_bound():
    params = helpers.start(np.float32)
    free = wd.optimizer("adam", 0.01, decay=wd.cpr(bound="uniform", kappa=1e6))
    plain = wd.optimizer("adam", 0.01)
    helpers.assert_trees_close(
        helpers.descend(free, params, wd.none(), 40),
        helpers.descend(plain, params, wd.none(), 40),
        rtol=1e-5,
        atol=1e-6,
    )
    bound = wd.cpr(bound="uniform", kappa=1.0, update=0.1)
    tx = wd.optimizer("sgd", 0.01, decay=bound)
    end = {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}

    def step(carry, _):
        theta, state = carry
        grads = {"kernel": theta["kernel"] - 1, "bias": 0 * theta["bias"]}
        updates, state = tx.update(grads, state, theta)
        return (optax.apply_updates(theta, updates), state), None

    (end, _), _ = jax.lax.scan(step, (end, tx.init(end)), None, 3000)
    proposed = end["kernel"] - 0.01 * (end["kernel"] - 1)  # R is bounded there
    assert float(jnp.sum(proposed**2)) == pytest.approx(1.0, rel=1e-3)
    assert 0.95 < float(jnp.sum(end["kernel"] ** 2)) < 1.0


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
    (lambda: wd.proximal(0.1, penalty="spectral"), "no closed form"),
    (lambda: wd.alpha_decay(wd.decoupled(0.1), low=2.0, high=1.0), "swap them"),
    (lambda: wd.cautious(wd.hyperball()), "hyperball does not go with cautious"),
    (lambda: wd.max_norm(0.0), r"limit=0 is not allowed"),
    (lambda: wd.cpr(bound="uniform"), r"takes kappa=, not nothing"),
    (lambda: wd.cpr(bound="dependent", kappa=1.0), r"takes factor=, not kappa=1.0"),
    (lambda: wd.cpr(bound="dependant"), "did you mean 'dependent'"),
    (lambda: wd.cpr(measure="l3"), "unknown measure"),
    (lambda: wd.rotational(0.1, core="adamm"), "did you mean 'adam'"),
    (lambda: wd.lawn(2.5), "give a whole number"),
    (lambda: wd.cautious(wd.coupled(0.1)), "coupled does not go with cautious"),
    (
        lambda: wd.to_init(wd.tangent(wd.decoupled(0.1))),
        "tangent does not go with to_init",
    ),
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


def test_auto_l2_without_the_loss_says_so():
    tx = wd.optimizer("sgd", 0.1, decay=wd.auto_l2(wd.coupled(0.1)))
    with pytest.raises(wd.InputError, match="value=loss"):
        tx.update(ONES, tx.init(ONES), ONES)


def test_update_without_parameters_says_so():
    tx = wd.optimizer("sgd", 0.1, decay=wd.to_init(wd.decoupled(0.1)))
    with pytest.raises(wd.InputError, match="tx.update"):
        tx.update(ONES, tx.init(ONES))
