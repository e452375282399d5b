"""Cores that look at whole leaves, at the loss or at other steps, one by one."""

import dataclasses
import inspect
import warnings

import helpers
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rules
import rules_more

import jaxwd as wd
from jaxwd.decay.probe import reject_alias
from jaxwd.lab import Arm, run_study
from jaxwd.optimizers.table import lookup
from jaxwd.report import decay_table, write_report

SHAPES = {
    "tall": (5, 2),
    "wide": (2, 7),
    "square": (3, 3),
    "conv": (2, 2, 3, 4),
    "vector": (4,),
    "scalar": (),
}

# Name → hyperparameters, the NumPy rule with the same ones, the schemes to try.
WHOLE_LEAF = {
    "lamb": ({}, rules_more.Lamb),
    "lamb.inside": ({}, rules_more.Lamb),
    "lars": ({}, rules_more.Lars),
    "novograd": ({}, rules_more.Novograd),
    "novograd.inside": ({}, rules_more.Novograd),
    "amos": ({}, rules_more.Amos),
    "adafactor": (
        {"min_dim_size_to_factor": 3},
        lambda: rules_more.Adafactor(least=3),
    ),
    "muon": ({}, rules_more.Muon),
    "muon flattened": (
        {"flatten": True, "consistent_rms": 0.2},
        lambda: rules_more.Muon(flatten=True, rms=0.2),
    ),
}


@pytest.mark.parametrize("kind", ["none", "coupled", "decoupled"])
@pytest.mark.parametrize("case", WHOLE_LEAF)
def test_every_shape_of_leaf_follows_the_rule(case, kind, x64, monkeypatch):
    hyper, rule = WHOLE_LEAF[case]
    name, rate, steps = case.split()[0], wd.one_cycle(0.05, steps=30), 30
    monkeypatch.setitem(rules.CORES, name, rule)
    rng = np.random.default_rng(5)
    params = {k: jnp.asarray(rng.normal(size=s)) for k, s in SHAPES.items()}
    noise = {k: rng.normal(0, 0.5, (steps, *s)) for k, s in SHAPES.items()}
    decay = {
        "none": wd.none(),
        "coupled": wd.coupled(0.3, where=wd.everything),
        "decoupled": wd.decoupled(0.3, where=wd.everything),
    }[kind]

    def gradient(params, t):
        return {k: p - 1.0 + jnp.asarray(noise[k])[t] for k, p in params.items()}

    tx = wd.optimizer(name, rate, decay=decay, **hyper)
    got = jax.jit(lambda p: helpers.descend(tx, p, decay, steps, gradient))(params)
    etas = np.asarray(rate(jnp.arange(steps)))
    for leaf, start in params.items():
        want = rules.trajectory(
            name,
            kind,
            "lr",
            lambda t: 0.3,
            start,
            lambda theta, t, leaf=leaf: theta - 1.0 + noise[leaf][t],
            etas,
            0.05,
        )
        np.testing.assert_allclose(got[leaf], want, rtol=1e-6, atol=1e-9, err_msg=leaf)


@pytest.mark.parametrize("name", wd.OPTIMIZERS)
def test_every_row_is_a_core(name):
    """The probe of `compose` tries it and finds neither a learning rate nor decay."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reject_alias(wd.core(name))


@pytest.mark.parametrize("name", [n for n in wd.OPTIMIZERS if "torch." not in n])
def test_parameters_and_state_keep_their_precision(name):
    params = helpers.start(jnp.bfloat16)
    tx = wd.optimizer(name, 0.1, decay=wd.decoupled(0.5))

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(params, state, params, **helpers.EXTRA)
        return (jax.tree.map(jnp.add, params, updates), state), None

    jax.eval_shape(  # `scan` raises where what goes in and what comes out differ
        lambda p: jax.lax.scan(step, (p, tx.init(p)), None, 2), params
    )


@pytest.mark.parametrize("name", [n for n in rules_more.MORE if n != "sophia"])
def test_frozen_leaves_never_move(name):
    params = {"frozen": helpers.start(np.float32), "free": helpers.start(np.float32)}
    tx = wd.optimizer(name, 0.1, decay=wd.decoupled(0.5), frozen="frozen/.*")
    state = tx.init(params)
    for _ in range(2):
        updates, state = tx.update(params, state, params)
        params = optax.apply_updates(params, updates)
    helpers.assert_trees_equal(params["frozen"], helpers.start(np.float32))
    moved = params["free"]["kernel"] - params["frozen"]["kernel"]
    assert np.abs(moved).max() > 1e-8


@pytest.mark.parametrize("name", helpers.INSIDE)
def test_inside_without_decay_is_the_row_beside(name):
    rows = [wd.core(name), wd.core(name.removesuffix(".inside"))]
    params = helpers.start(np.float32)
    updates = [core.update(params, core.init(params), params)[0] for core in rows]
    helpers.assert_trees_equal(*updates)


@pytest.mark.parametrize("name", helpers.INSIDE)
def test_checks_of_the_shrink_are_left_out_where_nobody_knows_it(name):
    """Neither η·λ = 2 would flip signs inside the core, nor 1e-4 be lost in bfloat16."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for strength in (20.0, 1e-3):
            tx = wd.optimizer(name, 0.1, decay=wd.decoupled(strength))
            tx.init(helpers.start(jnp.bfloat16))


def zero_gradient_steps(name, strength, steps, rate=0.1, **hyper):
    """Return ‖θ'‖/‖θ‖ of each step with the gradient zero."""
    params = {"kernel": jnp.arange(1.0, 7.0).reshape(3, 2)}
    zero = jax.tree.map(jnp.zeros_like, params)
    tx = wd.optimizer(name, rate, decay=wd.decoupled(strength), **hyper)
    state, ratios = tx.init(params), []
    for _ in range(steps):
        updates, state = tx.update(zero, state, params)
        after = optax.apply_updates(params, updates)
        ratios.append(float(after["kernel"][0, 0] / params["kernel"][0, 0]))
        params = after
    return np.array(ratios)


@pytest.mark.parametrize("strength", [1e-4, 0.1, 0.9])
def test_lamb_divides_strength_out_where_decay_is_inside(strength, x64):
    np.testing.assert_allclose(
        zero_gradient_steps("lamb.inside", strength, 3), 1 - 0.1, rtol=1e-12
    )
    np.testing.assert_allclose(
        zero_gradient_steps("lamb", strength, 3), 1 - 0.1 * strength, rtol=1e-12
    )


def test_novograd_gathers_decay_in_its_momentum_where_it_is_inside(x64):
    """m ← 0.9m + λθ, so the shrink of a step rises from η_tλ to about η_tλ/(1 − 0.9)."""
    shrink = 1 - zero_gradient_steps("novograd.inside", 1e-4, 200)
    assert shrink[0] == pytest.approx(1e-5, rel=1e-9)
    assert shrink[-1] == pytest.approx(1e-4, rel=1e-2)


def test_prodigy_multiplies_decay_by_its_estimate_where_it_is_inside(x64):
    """At zero gradient d stays at its first guess, and no NaN comes of 0/0."""
    shrink = 1 - zero_gradient_steps("prodigy.inside", 0.1, 3, rate=1.0, estim_lr0=0.01)
    t = np.arange(1, 4)
    warm = np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    np.testing.assert_allclose(shrink, 0.1 * 0.01 * warm, rtol=1e-9)
    np.testing.assert_allclose(
        zero_gradient_steps("prodigy", 0.1, 3, rate=1.0), 0.9, rtol=1e-12
    )


def test_prodigy_does_not_hide_a_gradient_that_is_no_number():
    tx = wd.optimizer("prodigy", 1.0)
    params = {"kernel": jnp.ones(2)}
    updates, _ = tx.update({"kernel": jnp.full(2, jnp.nan)}, tx.init(params), params)
    assert np.isnan(updates["kernel"]).all()


def test_prodigy_finds_a_step_size_a_million_times_its_first_guess():
    """½‖θ − 1‖² from 0 with η = 1 and d₀ = 1e-6 nears its solution."""
    tx = wd.optimizer("prodigy", 1.0)

    @jax.jit
    def train(params):
        def step(carry, _):
            params, state = carry
            grads = jax.tree.map(lambda p: p - 1.0, params)
            updates, state = tx.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, tx.init(params)), None, 300)[0][0]

    np.testing.assert_allclose(train({"kernel": jnp.zeros(3)})["kernel"], 1.0, atol=0.1)


def test_adan_weights_the_difference_of_gradients_as_optax_does(x64):
    """Second step from g = 1, then 3: (1 − b2)·v, with 0.08 and not with 0.92."""
    tx, params = wd.core("adan", eps=0.0, eps_root=0.0), {"kernel": jnp.ones(1)}
    state = tx.init(params)
    for g in (1.0, 3.0):
        updates, state = tx.update({"kernel": jnp.full(1, g)}, state, params)
    m = (0.98 * 0.02 * 1 + 0.02 * 3) / (1 - 0.98**2)
    v = 0.08 * 2 / (1 - 0.92**2)
    n = (0.99 * 0.01 * 1 + 0.01 * (3 + 0.08 * 2) ** 2) / (1 - 0.99**2)
    want = (m + 0.08 * v) / np.sqrt(n)
    np.testing.assert_allclose(updates["kernel"], want, rtol=1e-12)


def test_adopt_takes_no_step_along_its_first_gradient():
    params = helpers.start(np.float32)
    tx = wd.optimizer("adopt", 0.1, decay=wd.decoupled(0.5))
    updates, _ = tx.update(params, tx.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.05 * params["kernel"], rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], 0)


def test_ademamix_takes_schedules_for_its_slow_average():
    grow = optax.linear_schedule(0.0, 5.0, 10)
    params = helpers.start(np.float32)
    tx = wd.core("ademamix", alpha=grow, b3=optax.linear_schedule(0.9, 0.9999, 10))
    plain = wd.core("adam")
    updates, _ = tx.update(params, tx.init(params), params)
    adam, _ = plain.update(params, plain.init(params), params)
    helpers.assert_trees_close(updates, adam, rtol=1e-6)  # alpha is 0 at first


# --- Muon -----------------------------------------------------------------------------


def test_muon_orthogonalises_matrices_and_leaves_the_rest_to_adam():
    rng = np.random.default_rng(0)
    params = {
        k: jnp.asarray(rng.normal(size=s), jnp.float32) for k, s in SHAPES.items()
    }
    tx = wd.core("muon")
    updates, _ = tx.update(params, tx.init(params), params)
    for leaf in ("tall", "wide", "square"):
        u = np.asarray(updates[leaf])
        scale = np.sqrt(max(1.0, u.shape[1] / u.shape[0]))
        singular = np.linalg.svd(u, compute_uv=False) / scale
        assert (singular > 0.6).all() and (singular < 1.3).all(), leaf
    nadam = wd.core("nadam")
    adam, _ = nadam.update(params, nadam.init(params), params)
    for leaf in ("conv", "vector", "scalar"):
        np.testing.assert_allclose(updates[leaf], adam[leaf], rtol=1e-6)


def test_two_strengths_are_named_and_printed():
    where = wd.by_ndim(matrices=1.0, vectors=0.1)
    assert str(where) == ".* (ndim ≥ 2), .* ×0.1"
    params = {"dense": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}}
    report = str(wd.mask_report(where, params))
    assert "dense/bias    (2,)    0.1  .*" in report
    assert "dense/kernel  (2, 2)  1    .* (ndim ≥ 2)" in report
    tx = wd.optimizer("muon", 0.1, decay=wd.decoupled(1.0, where=where))
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(zero, tx.init(params), params)
    np.testing.assert_allclose(updates["dense"]["kernel"], -0.1, rtol=1e-6)
    np.testing.assert_allclose(updates["dense"]["bias"], -0.01, rtol=1e-6)


def test_optax_muon_leaves_vectors_undecayed_by_default():
    """What `by_ndim(vectors=0)`, its default, says aloud."""
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    tx = optax.contrib.muon(0.1, weight_decay=1.0)
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(zero, tx.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.1, rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], 0)


# --- Sophia ---------------------------------------------------------------------------


def test_sophia_sees_the_curvature_of_what_it_is_given(x64):
    """The penalty in `obj_fn` adds λ to h of the leaves that decay."""
    decay = wd.penalized(0.5)

    def whole(params):
        return helpers.toy_loss(params) + wd.penalties.of_scheme(decay, params, 0)

    params = helpers.start()
    tx = wd.core("sophia", b2=0.0)
    curved = []
    for loss in (helpers.toy_loss, whole):
        _, state = tx.update(params, tx.init(params), params, obj_fn=loss)
        curved.append(optax.tree.get(state, "nu"))
    h = helpers.curvatures()
    np.testing.assert_allclose(curved[0]["kernel"], h["kernel"], rtol=1e-9)
    np.testing.assert_allclose(curved[1]["kernel"], h["kernel"] + 0.5, rtol=1e-9)
    np.testing.assert_allclose(curved[1]["bias"], h["bias"], rtol=1e-9)


def test_sophia_takes_another_estimate_of_the_curvature():
    ones = optax.stateless(lambda updates, _: jax.tree.map(jnp.ones_like, updates))
    tx = wd.core("sophia", hessian_diagonal_fn=ones)
    params = helpers.start(np.float32)
    _, state = tx.update(params, tx.init(params), params)
    np.testing.assert_allclose(optax.tree.get(state, "nu")["bias"], 0.01, rtol=1e-6)


def test_extra_arguments_reach_a_core_through_compose():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tx = wd.compose(
            wd.core("sophia"),
            learning_rate=0.1,
            decay=wd.decoupled(0.5),
            clip=wd.clip.global_norm(1.0),
        )
    params = helpers.start(np.float32)
    updates, _ = tx.update(params, tx.init(params), params, **helpers.EXTRA)
    want = -0.1 * (np.sign(params["kernel"]) + 0.5 * params["kernel"])
    np.testing.assert_allclose(updates["kernel"], want, rtol=1e-6)


# --- what is refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: wd.core("sophia").update(*[{"kernel": jnp.ones(2)}] * 3),
            r"sophia: obj_fn=None, .* call update\(.*obj_fn=lambda params: loss",
        ),
        (
            lambda: wd.optimizer("sophia", 0.1, frozen="bias"),
            r"'sophia' does not take frozen=bias: .* leave frozen leaves out of params",
        ),
        (
            lambda: wd.Recipe(optimizer="sophia"),
            r"optimizer='sophia' needs obj_fn= at every update, which a training",
        ),
        (
            lambda: wd.Recipe(
                optimizer="lamb.inside", decay=wd.decoupled(0.1, times="schedule")
            ),
            helpers.REFUSED["lamb.inside", "decoupled-schedule"],
        ),
        (lambda: wd.core("muon", beta=1.5), r"muon: beta=1.5 is not allowed"),
        (lambda: wd.core("adan", b3=-0.1), r"adan: b3=-0.1 is not allowed"),
        (
            lambda: wd.core("lars", decay_inside=True),
            r"'lars' does not take decay_inside=True; it takes momentum, nesterov, trust",
        ),
        (lambda: wd.by_ndim(matrices=-1.0), r"by_ndim: matrices=-1 is not allowed"),
    ],
)
def test_bad_input_is_named_with_its_remedy(call, message):
    with pytest.raises(wd.InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


# --- in a training --------------------------------------------------------------------


def test_a_study_does_not_guess_the_share_of_decay_inside_the_core(tmp_path):
    small = {"train_examples": 64, "epochs": 2, "model": "mlp", "learning_rate": 0.01}
    beside = wd.Recipe(optimizer="lamb", decay=wd.decoupled(0.1), **small)
    inside = dataclasses.replace(beside, optimizer="lamb.inside")
    assert beside.shrink(64).per_step == pytest.approx(1e-3)
    assert inside.shrink(64) is None
    arms = [Arm("beside", beside), Arm("inside", inside)]
    study = run_study(arms, range(2), wd.load("fashion_mnist_12k"))
    shares = [list(study.values(a.name, "decay_share").values()) for a in arms]
    assert (np.array(shares[0]) > 0).all() and np.isnan(shares[1]).all()
    table = decay_table(study).rows
    assert table[0][-1].endswith("%") and table[1][-1] == "?"
    assert (table[0][4], table[1][4]) == ("0.001", "by core")
    assert "by core" in write_report(study, tmp_path, mask="kernels").read_text()


def test_rows_have_the_defaults_that_optax_has():
    for name, alias in {
        "lamb": optax.lamb,
        "lars": optax.lars,
        "novograd": optax.novograd,
        "adafactor": optax.adafactor,
        "adan": optax.adan,
        "adopt": optax.contrib.adopt,
        "ademamix": optax.contrib.ademamix,
        "sophia": optax.contrib.sophia,
        "muon": optax.contrib.muon,
        "prodigy": optax.contrib.prodigy,
    }.items():
        theirs = inspect.signature(alias).parameters
        _, ours = lookup(name, {})
        renamed = {"b1": "adam_b1", "b2": "adam_b2", "eps_root": "adam_eps_root"}
        for key, value in ours.items():
            key = renamed.get(key, key) if name == "muon" else key
            if key in theirs and key != "hessian_diagonal_fn":
                assert value == theirs[key].default, (name, key)
