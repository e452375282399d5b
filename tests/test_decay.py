"""Every scheme over every optimizer: exact shrink, the NumPy rule, nothing silent."""

import warnings

import helpers
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rules

import jaxwd as wd

ONES = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}


@pytest.mark.parametrize("scheme", helpers.SCHEMES)
@pytest.mark.parametrize("name", helpers.OPTIMIZERS)
def test_trajectory_equals_the_numpy_rule(name, scheme, x64):
    kind, times, make = helpers.SCHEMES[scheme]
    strength = 0.05 if times != "constant" else 0.002
    decay = make(strength)
    if (name, scheme) in helpers.REFUSED:
        with pytest.raises(wd.InputError, match=helpers.REFUSED[name, scheme]):
            helpers.build(name, helpers.RATE, decay=decay)
        return
    tx = helpers.build(name, helpers.RATE, decay=decay)
    params = helpers.start()
    got = jax.jit(lambda p: helpers.descend(tx, p, decay))(params)
    want = helpers.oracle(name, kind, times, lambda t: strength, params)
    for leaf, path in want.items():
        assert np.abs(path[-1] - path[0]).max() > 1e-3  # the path goes somewhere
        np.testing.assert_allclose(got[leaf], path, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("scheme", [s for s in helpers.SCHEMES if "decoupled" in s])
@pytest.mark.parametrize("name", helpers.BESIDE)
def test_zero_gradient_shrinks_by_exactly_d_lambda(name, scheme, x64):
    """θ' − θ'(no decay) = −d_t·λ·θ on kernels and nothing elsewhere, at every step."""
    _, times, make = helpers.SCHEMES[scheme]
    strength = 0.3
    params = helpers.start()
    zero = jax.tree.map(jnp.zeros_like, params)
    rate = wd.linear(0.1, steps=10, warmup=3)
    with_decay = helpers.build(name, rate, decay=make(strength))
    without = helpers.build(name, rate)
    extra = helpers.EXTRA

    @jax.jit
    def run(params):
        def step(states, t):
            one, state = with_decay.update(zero, states[0], params, **extra)
            other, plain_state = without.update(zero, states[1], params, **extra)
            return (state, plain_state), (one, other, rate(t))

        states = with_decay.init(params), without.init(params)
        return jax.lax.scan(step, states, jnp.arange(8))[1]

    updates, plain, etas = run(params)
    d = rules.SHRINK[times](np.asarray(etas), 0.1) * np.ones(8)
    want = -d[:, None, None] * strength * np.asarray(params["kernel"])
    np.testing.assert_allclose(
        updates["kernel"] - plain["kernel"], want, rtol=1e-9, atol=1e-14
    )
    np.testing.assert_array_equal(updates["bias"], plain["bias"])


@pytest.mark.parametrize("name", helpers.OPTIMIZERS)
def test_coupled_is_the_core_fed_with_lambda_theta(name, x64):
    """At zero gradient, coupled(λ) equals no decay with the gradient λθ, bit for bit."""
    params = helpers.start()
    zero = jax.tree.map(jnp.zeros_like, params)
    fed = {"kernel": 0.3 * params["kernel"], "bias": zero["bias"]}
    coupled = helpers.build(name, 0.1, decay=wd.coupled(0.3))
    plain = helpers.build(name, 0.1)
    states = coupled.init(params), plain.init(params)
    for _ in range(2):  # ADOPT's first step looks at no gradient
        a, one = coupled.update(zero, states[0], params, **helpers.EXTRA)
        b, other = plain.update(fed, states[1], params, **helpers.EXTRA)
        helpers.assert_trees_equal(a, b)
        states = one, other
    assert np.abs(a["kernel"]).max() > 1e-9


@pytest.mark.parametrize("name", helpers.OPTIMIZERS)
def test_strength_schedule_has_its_own_counter(name, x64):
    """λ(t) follows its own schedule, whatever the learning rate does."""
    fade = wd.linear(0.2, steps=helpers.STEPS)
    decay = wd.decoupled(fade)
    params = helpers.start()
    got = helpers.descend(helpers.build(name, helpers.RATE, decay=decay), params, decay)
    want = helpers.oracle(name, "decoupled", "lr", lambda t: float(fade(t)), params)
    np.testing.assert_allclose(got["kernel"], want["kernel"], rtol=1e-6, atol=1e-9)


def test_strength_and_learning_rate_may_be_traced():
    """One program under vmap serves many strengths, 0 included, and equals each alone."""

    def one(strength, rate):
        decay = wd.decoupled(strength)
        tx = wd.optimizer("adam", rate, decay=decay)
        return helpers.descend(tx, helpers.start(np.float32), decay, steps=20)["kernel"]

    strengths, rates = jnp.array([0.0, 0.1, 0.5]), jnp.array([0.01, 0.02, 0.03])
    together = jax.vmap(one)(strengths, rates)
    for i in range(3):
        alone = one(float(strengths[i]), float(rates[i]))
        np.testing.assert_allclose(together[i], alone, rtol=1e-5, atol=1e-6)


def test_update_is_traced_once_for_all_numbers():
    traces = []

    @jax.jit
    def step(strength, rate, params):
        traces.append(1)
        tx = wd.optimizer("momentum", rate, decay=wd.coupled(strength))
        return tx.update(params, tx.init(params), params)[0]

    for strength, rate in [(0.1, 0.1), (0.2, 0.3), (0.0, 0.0)]:
        step(strength, rate, ONES)
    assert len(traces) == 1


# --- masks in the chain -------------------------------------------------------------


def test_multipliers_scale_the_strength_leaf_by_leaf():
    params = {"body": {"kernel": jnp.ones(2)}, "head": {"kernel": jnp.ones(2)}}
    where = [("head/.*", 0.5), (".*kernel", 1.0)]
    tx = wd.optimizer("sgd", 0.1, decay=wd.decoupled(1.0, where=where))
    updates, _ = tx.update(
        jax.tree.map(jnp.zeros_like, params), tx.init(params), params
    )
    np.testing.assert_allclose(updates["body"]["kernel"], -0.1, rtol=1e-6)
    np.testing.assert_allclose(updates["head"]["kernel"], -0.05, rtol=1e-6)


def test_rules_may_exempt_what_is_frozen_anyway():
    params = {"embed": {"kernel": jnp.ones(2)}, "head": {"kernel": jnp.ones(2)}}
    where = {"embed/.*": 0.0, ".*kernel": 1.0}
    decay = wd.coupled(0.1, where=where)
    tx = wd.optimizer("sgd", 0.1, decay=decay, frozen="embed/.*")
    updates, _ = tx.update(params, tx.init(params), params)
    np.testing.assert_array_equal(updates["embed"]["kernel"], 0)
    np.testing.assert_allclose(updates["head"]["kernel"], -0.11, rtol=1e-6)


def test_a_rule_that_matches_nothing_is_an_error_at_init():
    tx = wd.optimizer("sgd", 0.1, decay=wd.coupled(0.1, where="kernal"))
    with pytest.raises(wd.InputError, match="'kernal' matches no leaf.*'kernel'"):
        tx.init(ONES)


@pytest.mark.parametrize("scheme", helpers.SCHEMES)
@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "yogi", "lion"])
def test_frozen_leaves_never_move(name, scheme):
    decay = helpers.SCHEMES[scheme][2](0.1)
    tx = wd.optimizer(name, 0.1, decay=decay, frozen="frozen/.*")
    params = {"frozen": dict(ONES), "free": dict(ONES)}
    state = tx.init(params)
    for _ in range(3):
        updates, state = tx.update(params, state, params)
        helpers.assert_trees_equal(
            updates["frozen"], jax.tree.map(jnp.zeros_like, ONES)
        )
        params = optax.apply_updates(params, updates)
    helpers.assert_trees_equal(params["frozen"], ONES)
    assert (params["free"]["kernel"] < 1).all()


# --- composition with Optax ---------------------------------------------------------


def test_multi_steps_decays_once_for_k_micro_steps():
    inner = wd.optimizer("sgd", 0.1, decay=wd.decoupled(0.5))
    tx = optax.MultiSteps(inner, 4)
    params, state = ONES, tx.init(ONES)
    for _ in range(4):
        updates, state = tx.update(jax.tree.map(jnp.zeros_like, ONES), state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params["kernel"], 0.95, rtol=1e-6)


def test_clip_acts_on_the_gradient_and_not_on_the_decay():
    tx = wd.optimizer("sgd", 1.0, decay=wd.coupled(0.5), clip=wd.clip.global_norm(1e-6))
    updates, _ = tx.update(ONES, tx.init(ONES), ONES)
    np.testing.assert_allclose(updates["kernel"], -0.5, rtol=1e-5)


def test_compose_returns_an_ordinary_optax_transformation():
    tx = wd.compose(optax.scale_by_adam(), learning_rate=0.1, decay=wd.coupled(0.1))
    assert isinstance(tx, optax.GradientTransformationExtraArgs)
    tx = optax.apply_if_finite(optax.chain(tx, optax.identity()), 3)
    tx.update(ONES, tx.init(ONES), ONES)


# --- what is refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wd.coupled(-1e-3), r"coupled: strength=-0.001 is not allowed"),
        (lambda: wd.decoupled(float("nan")), r"decoupled: strength=nan"),
        (lambda: wd.penalized(float("inf")), r"penalized: strength=inf"),
        (lambda: wd.decoupled(0.1, times="rate"), r"unknown times 'rate'"),
        (lambda: wd.penalized(0.1, penalty="halfl2"), r"did you mean 'half_l2'"),
        (
            lambda: wd.penalized(0.1, penalty="l2_per_example"),
            r"penalty='l2_per_example' needs examples=",
        ),
        (lambda: wd.optimizer("adamm", 0.1), r"did you mean 'adam'"),
        (lambda: wd.optimizer("adam", -0.1), r"learning_rate=-0.1 is not allowed"),
        (lambda: wd.optimizer("adam", 0.1, momentum=0.9), r"'adam' does not take mom"),
        (lambda: wd.optimizer("adam", 0.1, b1=1.5), r"adam: b1=1.5 is not allowed"),
        (
            lambda: wd.optimizer("sgd", 0.1, decay=wd.decoupled(20.0)),
            r"multiplies weights by -1 in one step; choose a strength at most 10",
        ),
        (
            lambda: wd.optimizer("sgd", 0.1, decay=wd.decoupled(2.0, times="schedule")),
            r"at most 1$",
        ),
        (
            lambda: wd.optimizer("momentum", 0.1, decay=wd.coupled(30.0)),
            r"multiplies weights by -2 in one step; choose a strength at most 10",
        ),
        (
            lambda: wd.optimizer("sgd", 0.1, decay=wd.penalized(6.0, penalty="l2")),
            r"choose a strength at most 5",
        ),
        (
            lambda: wd.optimizer(
                "sgd",
                optax.cosine_decay_schedule(0.1, 10),
                decay=wd.decoupled(0.1, times="corrected"),
            ),
            r"needs the schedule's peak.*pass peak=",
        ),
        (
            lambda: wd.compose(optax.adamw(1e-3), learning_rate=0.1),
            r"learning rate of its own.*optax.scale_by_",
        ),
        (
            lambda: wd.compose(
                optax.adamw(optax.warmup_cosine_decay_schedule(0.0, 1e-3, 10, 100)),
                learning_rate=0.1,
            ),
            r"learning rate of its own.*optax.scale_by_",
        ),
        (
            lambda: wd.compose("adam", learning_rate=0.1),
            r"jaxwd.optimizer\('adam', …\)",
        ),
        (lambda: wd.compose(None, learning_rate=0.1), r"core=None is no Optax trans"),
        (
            lambda: wd.optimizer("adam", 0.1, decay=0.1),
            r"such as decay=jaxwd.decoupled\(0",
        ),
        (lambda: wd.optimizer("adam", "0.1"), r"learning_rate='0.1' .* give a number"),
        (
            lambda: wd.coupled("a lot"),
            r"strength='a lot' is not allowed; give a number",
        ),
        (lambda: wd.coupled(None), r"strength=None is not allowed; give a number"),
        (
            lambda: wd.optimizer("sgd", 0.0, decay=wd.decoupled(0.1, times="schedule")),
            r"peak learning rate=0 is not allowed",
        ),
        (
            lambda: wd.optimizer("sgd", 0.1, peak=-1.0, decay=wd.decoupled(0.1)),
            r"peak=-1 is not allowed",
        ),
        (
            lambda: wd.optimizer("nesterov", 0.1, decay=wd.coupled(9.0)),
            r"multiplies weights by -0.71 in one step; choose a strength at most 5.26",
        ),
        (
            lambda: wd.compose(
                optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(0.1)),
                learning_rate=0.1,
                decay=wd.coupled(0.1),
            ),
            r"decays weights by itself, decay would be given twice",
        ),
    ],
)
def test_bad_input_is_named_with_its_remedy(call, message):
    with pytest.raises(wd.InputError, match=message):
        call()


@pytest.mark.parametrize(
    "core",
    [
        optax.identity(),
        optax.trace(0.9),
        optax.scale_by_adam(),
        optax.scale_by_lion(),
        optax.scale_by_yogi(),
        optax.scale_by_trust_ratio(),
        optax.normalize_by_update_norm(),
    ],
)
def test_true_cores_are_accepted(core):
    wd.compose(core, learning_rate=0.1, decay=wd.decoupled(0.1))


def test_a_core_that_cannot_be_tried_is_warned_of():
    picky = optax.adamw(1e-3, mask={"other": True})  # decays, but not this tree
    with pytest.warns(UserWarning, match="could not be tried on a small example"):
        wd.compose(picky, learning_rate=0.1)


def test_a_foreign_schedule_works_with_its_peak_said():
    foreign = optax.cosine_decay_schedule(0.1, 10)
    tx = wd.optimizer(
        "sgd", foreign, decay=wd.decoupled(0.2, times="schedule"), peak=0.1
    )
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, ONES), tx.init(ONES), ONES)
    np.testing.assert_allclose(updates["kernel"], -0.2, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "decay", "warns"),
    [
        ("sgd", wd.decoupled(0.01), True),
        ("sgd", wd.coupled(0.01), True),
        ("sgd", wd.decoupled(1.0), False),
        ("momentum", wd.coupled(0.001), True),
        ("momentum", wd.coupled(0.01), False),  # the buffer makes it ten times as much
        ("adam", wd.coupled(0.01), False),  # Adam rescales it
        ("sgd", wd.decoupled(1.0, where={"bias": 1, "kernel": 1e-4}), True),
    ],
)
def test_decay_lost_in_bfloat16_is_warned_of(name, decay, warns):
    """0.1·0.01 = 0.001 is under half an ulp of bfloat16 (2⁻⁸): weights stay put."""
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), ONES)
    tx = wd.optimizer(name, 0.1, decay=decay)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        state = tx.init(params)
    assert bool(caught) == warns
    if warns:
        assert "under half an ulp of bfloat16" in str(caught[0].message)
        zero = jax.tree.map(jnp.zeros_like, params)
        updates, _ = tx.update(zero, state, params)
        moved = optax.apply_updates(params, updates)
        np.testing.assert_array_equal(moved["kernel"], params["kernel"])


# --- scheme values ---------------------------------------------------------------------


def test_schemes_are_values():
    assert wd.coupled(0.1) == wd.coupled(0.1) != wd.coupled(0.2)
    assert len({wd.none(), wd.none(), wd.decoupled(0.1), wd.decoupled(0.1)}) == 2
    assert (
        str(wd.decoupled(0.1, times="corrected")) == "decoupled(0.1, times=corrected)"
    )


@pytest.mark.parametrize(
    ("decay", "rate", "gain", "per_step"),
    [
        (wd.none(), 0.1, 1.0, 0.0),
        (wd.coupled(5e-4), 0.1, 1.0, 5e-5),
        (wd.coupled(5e-4), 0.1, 10.0, 5e-4),
        (wd.penalized(5e-4, penalty="l2"), 0.1, 1.0, 1e-4),
        (
            wd.penalized(5e-4, penalty="l2_per_example", examples=32),
            0.1,
            1.0,
            1.5625e-6,
        ),
        (wd.decoupled(0.1), 0.01, None, 1e-3),
        (wd.decoupled(0.1, times="constant"), 0.01, None, 0.1),
        (wd.decoupled(0.1, times="schedule"), wd.linear(0.5, steps=100), None, 0.0505),
    ],
)
def test_shrink_is_the_mean_of_d_lambda(decay, rate, gain, per_step):
    got = wd.shrink(decay, rate, steps=100, gain=gain)
    assert got.per_step == pytest.approx(per_step, rel=1e-6)
    assert got.tau * got.per_step == pytest.approx(
        1 if per_step else np.nan, nan_ok=True
    )
    assert got.kept <= 1


def test_shrink_of_coupled_decay_under_adam_is_unknown():
    assert wd.shrink(wd.coupled(0.1), 0.1, steps=10, gain=None) is None
