"""`explain` on plain Optax code as people write it: what it says, and every trap."""

import io
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxwd as wd
from jaxwd import cli
from jaxwd.probe import findings

PARAMS = {
    "dense": {
        "kernel": 0.1 * jax.random.normal(jax.random.key(0), (8, 4)),
        "bias": jnp.zeros(4),
    },
    "norm": {"scale": jnp.ones(4)},
}
NAMES = ("dense/bias", "dense/kernel", "norm/scale")
KERNEL = {"dense": {"kernel": True, "bias": False}, "norm": {"scale": False}}


def matrices(params):
    """The usual mask, as a function of the parameters."""
    return jax.tree.map(lambda x: x.ndim > 1, params)


def nothing(params):
    return jax.tree.map(lambda x: False, params)


def row(explanation, name="dense/kernel"):
    return next(r for r in explanation.rows if r.name == name)


def codes(explanation):
    return [w.code for w in explanation.warnings]


def told(explanation, code):
    return next(w for w in explanation.warnings if w.code == code)


# --- what kind of decay, and how much ---

RATE, LAMBDA = 1e-2, 0.1
# transformation, kind, shrink a step
KINDS = {
    "adamw": (optax.adamw(RATE, weight_decay=LAMBDA), "decoupled", 1e-3),
    "lion": (optax.lion(RATE, weight_decay=LAMBDA), "decoupled", 1e-3),
    "adafactor": (optax.adafactor(RATE, weight_decay_rate=0.01), "decoupled", 0.01),
    "muon": (optax.contrib.muon(RATE, weight_decay=LAMBDA), "decoupled", 1e-3),
    "sgdw": (
        optax.chain(
            optax.trace(0.9),
            optax.add_decayed_weights(LAMBDA),
            optax.scale_by_learning_rate(RATE),
        ),
        "decoupled",
        1e-3,
    ),
    "plain sgd": (
        optax.chain(optax.add_decayed_weights(LAMBDA), optax.sgd(RATE)),
        "decoupled",  # and coupled: for plain SGD they are one and the same
        1e-3,
    ),
    "momentum": (
        optax.chain(optax.add_decayed_weights(LAMBDA), optax.sgd(RATE, 0.9)),
        "coupled",
        1e-2,  # 1/(1 − 0.9) times as much, once the buffer is full
    ),
    "nesterov": (
        optax.chain(optax.add_decayed_weights(LAMBDA), optax.sgd(RATE, 0.9, True)),
        "coupled",
        1e-2,
    ),
    "novograd": (optax.novograd(RATE, weight_decay=LAMBDA), "coupled", 1e-2),
    "momo": (optax.contrib.momo(0.5, weight_decay=LAMBDA), "decoupled", 0.05 / 1.05),
    "adam, L2": (
        optax.chain(optax.add_decayed_weights(LAMBDA), optax.adam(RATE)),
        "by gradient",
        None,
    ),
    "clip after decay": (
        optax.chain(
            optax.add_decayed_weights(LAMBDA),
            optax.clip_by_global_norm(1.0),
            optax.sgd(RATE),
        ),
        "by gradient",
        None,
    ),
    "clip before decay": (
        optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.add_decayed_weights(LAMBDA),
            optax.sgd(RATE),
        ),
        "decoupled",
        1e-3,
    ),
    "lamb": (optax.lamb(RATE, weight_decay=LAMBDA), "by gradient", None),
    "lars": (optax.lars(RATE, weight_decay=LAMBDA), "by gradient", None),
    "adadelta": (optax.adadelta(RATE, weight_decay=LAMBDA), "by gradient", None),
    "adagrad, tiny L2": (
        optax.chain(optax.add_decayed_weights(1e-7), optax.adagrad(RATE)),
        "by gradient",
        None,
    ),
    "adamw, tiny": (optax.adamw(RATE, weight_decay=1e-9), "decoupled", 1e-11),
    "adam": (optax.adam(RATE), "none", None),
    "dog": (optax.contrib.dog(0.1, weight_decay=LAMBDA), "by gradient", None),
    "yogi starts off zero": (optax.yogi(RATE), "none", None),
    "noise": (optax.noisy_sgd(RATE, key=0), "none", None),
    "new weights minus old": (optax.contrib.madgrad(RATE), "none", None),
    "weights kept thrice": (optax.contrib.schedule_free_sgd(RATE), "none", None),
    "momo without": (optax.contrib.momo(RATE), "none", None),
    "cocob": (optax.contrib.cocob(), "none", None),
    "prodigy": (optax.contrib.prodigy(), "none", None),
    "dog without": (optax.contrib.dog(), "none", None),
    "adafactor without": (optax.adafactor(RATE), "none", None),
    "lamb without": (optax.lamb(RATE), "none", None),
    "fromage": (optax.fromage(RATE), "decoupled", 1 - (1 + RATE**2) ** -0.5),
    "mechanize": (  # its λ enters the step size that it learns, and no weight
        optax.contrib.mechanize(optax.sgd(RATE), weight_decay=LAMBDA),
        "none",
        None,
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_kind_and_shrink_of_optax_code(name):
    tx, kind, shrink = KINDS[name]
    explained = wd.explain(tx, PARAMS, steps=50, extra_args={"value": 1.0})
    got = row(explained)
    assert got.kind == kind
    if kind == "none":
        assert {r.kind for r in explained.rows} == {"none"}
    assert got.decays == (kind != "none")
    if shrink is None:
        assert got.mean is got.now is got.half_life is None
    else:
        assert got.now == pytest.approx(shrink, rel=1e-3)
        assert got.mean == pytest.approx(shrink, rel=1e-3)


@pytest.mark.parametrize("name", ["adam", "momentum", "lion"])
@pytest.mark.parametrize("times", ["lr", "schedule", "constant", "corrected"])
def test_numbers_over_a_schedule_are_those_of_the_scheme(name, times):
    """What is measured by probing equals what the formulas of `wd.shrink` say."""
    rate = wd.cosine(0.02, steps=200, warmup=20)
    decay = wd.decoupled(0.1 if times != "constant" else 0.003, times=times)
    got = row(wd.explain(wd.optimizer(name, rate, decay=decay), PARAMS))
    want = wd.shrink(decay, rate, steps=200)
    assert want is not None
    assert got.mean == pytest.approx(want.per_step, rel=1e-4)
    assert got.tau == pytest.approx(want.tau, rel=1e-4)
    assert got.tau_over_run == pytest.approx(want.tau_over_run, rel=1e-4)
    assert got.kept == pytest.approx(want.kept, rel=1e-3)
    assert got.half_life == pytest.approx(
        np.log(0.5) * 200 / np.log(want.kept), rel=1e-3
    )


def test_coupled_momentum_counts_the_whole_buffer_over_the_schedule():
    rate, decay = wd.linear(0.1, steps=100), wd.coupled(0.01)
    got = row(wd.explain(wd.optimizer("momentum", rate, decay=decay), PARAMS))
    want = wd.shrink(decay, rate, steps=100, gain=10.0)
    assert want is not None
    assert got.mean == pytest.approx(want.per_step, rel=1e-3)


@given(
    rate=st.floats(2.0**-13, 0.5, width=32),
    strength=st.floats(2.0**-13, 1.0, width=32),
    scale=st.sampled_from([1e-3, 1.0, 30.0]),
)
def test_adamw_shrinks_by_rate_times_strength_whatever_the_numbers(
    rate, strength, scale
):
    params = {"w": scale * jnp.arange(1.0, 5.0)}
    tx = optax.adamw(rate, weight_decay=strength)
    got = wd.explain(tx, params, learning_rate=rate).rows[0]
    assert got.kind == "decoupled"
    assert got.now == pytest.approx(rate * strength, rel=1e-4)
    assert got.strength == pytest.approx(strength, rel=1e-3)


@pytest.mark.parametrize(
    ("tx", "rate", "strength", "power", "words"),
    [
        ("adamw", "schedule", 0.1, 1.0, "shrink ∝ η"),
        ("adamw", "number", 0.1, None, "T = 100 steps"),
        ("adafactor", "schedule", 0.1, 0.0, "shrink apart from η"),
        ("corrected", "schedule", 0.1, 2.0, "shrink ∝ η²"),
    ],
)
def test_strength_and_power_of_the_rate_are_measured_where_the_rate_is_given(
    tx, rate, strength, power, words
):
    eta = optax.cosine_decay_schedule(0.01, 100) if rate == "schedule" else 0.01
    made = {
        "adamw": lambda: optax.adamw(eta, weight_decay=0.1),
        "adafactor": lambda: optax.adafactor(eta, weight_decay_rate=0.1),
        "corrected": lambda: optax.chain(
            optax.scale_by_adam(),
            optax.add_decayed_weights(lambda t: 0.1 * eta(t) / 0.01),
            optax.scale_by_learning_rate(eta),
        ),
    }[tx]()
    got = wd.explain(made, PARAMS, steps=100, learning_rate=eta)
    assert row(got).strength == pytest.approx(strength, rel=1e-3)
    assert got.power == power
    assert words in got.summary
    assert row(wd.explain(made, PARAMS, steps=100)).strength is None


def test_half_life_in_epochs_and_the_step_called_now():
    rate = wd.linear(0.1, steps=100)
    tx = wd.optimizer("sgd", rate, decay=wd.decoupled(0.1))
    got = row(wd.explain(tx, PARAMS, steps_per_epoch=20, step=50))
    assert got.now == pytest.approx(0.005, rel=1e-4)
    assert got.half_life_epochs == pytest.approx(got.half_life / 20)


def test_a_run_of_unknown_length_has_no_mean():
    got = wd.explain(optax.adamw(1e-2, weight_decay=0.1), PARAMS)
    assert got.steps is None
    assert row(got).mean is row(got).tau_over_run is None
    assert row(got).now == pytest.approx(1e-3, rel=1e-4)
    assert row(got).half_life == pytest.approx(np.log(2) / 1e-3, rel=1e-3)


def test_a_warm_up_from_zero_is_no_idle_optimizer():
    rate = optax.warmup_cosine_decay_schedule(0.0, 1e-2, 50, 200)
    tx = optax.adamw(rate, weight_decay=0.1, mask=matrices)
    got = wd.explain(tx, PARAMS)  # not even the length of the run is said
    assert row(got).now == 0
    assert row(got).decays
    assert codes(got) == []


def test_leaves_that_decay_at_different_times_are_each_looked_at_then():
    early, late = ((lambda t: 0.1 * (t < 10)), (lambda t: 0.1 * (t >= 60)))
    tx = optax.partition(
        {
            "early": optax.adamw(1e-2, weight_decay=early),
            "late": optax.adamw(1e-2, weight_decay=late),
            "never": optax.adam(1e-2),
        },
        {"dense": {"kernel": "early", "bias": "late"}, "norm": {"scale": "never"}},
    )
    got = wd.explain(tx, PARAMS, steps=100)
    assert {r.name: r.kind for r in got.rows} == {
        "dense/kernel": "decoupled",
        "dense/bias": "decoupled",
        "norm/scale": "none",
    }
    assert row(got).mean == pytest.approx(1e-4, rel=1e-3)
    assert row(got, "dense/bias").mean == pytest.approx(4e-4, rel=1e-3)


# --- which leaves, by which rule ---


def test_leaves_and_rules_of_chains_made_here():
    decay = wd.decoupled(0.2, where={"norm/.*": 0.5, ".*kernel": 1.0})
    got = wd.explain(wd.optimizer("adam", 0.1, decay=decay), PARAMS, steps=10)
    assert [(r.rule, r.strength, r.decays) for r in got.rows] == [
        (None, None, False),
        (".*kernel", 0.2, True),
        ("norm/.*", 0.1, True),
    ]
    assert row(got, "norm/scale").mean == pytest.approx(0.01, rel=1e-4)
    assert row(got).label == "decoupled lr"
    assert got.summary.startswith("decays 2 of 3 leaves, 36 of 40 parameters")


def test_the_penalty_of_a_penalized_chain_is_counted():
    """It stands in the loss, so the transformation alone does not show it."""
    decay = wd.penalized(0.5, penalty="l2")
    tx = wd.optimizer("sgd", 0.01, decay=decay)
    got = wd.explain(tx, PARAMS, steps=10)
    assert row(got).mean == pytest.approx(0.01 * 2 * 0.5, rel=1e-4)
    assert row(got).label == "penalized l2"
    one = wd.penalized(0.5, penalty="l1")
    got = wd.explain(wd.optimizer("sgd", 0.01, decay=one), PARAMS, steps=10)
    assert row(got).kind == "not ∝ θ"
    assert codes(got) == ["not proportional"]


def test_a_chain_is_still_an_ordinary_transformation():
    tx = wd.optimizer("adam", 0.1, decay=wd.decoupled(0.1))
    init, update = tx
    assert isinstance(tx, optax.GradientTransformationExtraArgs)
    assert (init, update) == (tx.init, tx.update)
    assert tx.about.decay == wd.decoupled(0.1)
    assert hash(tx) == hash((init, update))
    assert jax.tree.structure(tx).num_leaves == 2
    got = wd.explain(optax.chain(tx, optax.identity()), PARAMS, steps=10)
    assert row(got).label == "decoupled"  # measured; the chain around it knows nothing


def test_a_recipe_is_explained_with_its_models_weights():
    recipe = wd.Recipe(
        dataset="digits",
        model="mlp",
        train_examples=320,
        epochs=2,
        optimizer="momentum",
        learning_rate=0.1,
        schedule="linear",
        decay=wd.coupled(0.01),
    )
    got = wd.explain(recipe)
    assert (got.steps, got.steps_per_epoch) == (20, 10)
    kernels = [r for r in got.rows if r.name.endswith("kernel")]
    want = recipe.shrink(320)
    assert want is not None
    assert kernels
    for r in kernels:
        assert r.mean == pytest.approx(want.per_step, rel=1e-3)
        assert r.label == "coupled"


# --- traps ---

FREEZE_BY_ZERO = optax.chain(
    optax.masked(optax.set_to_zero(), KERNEL), optax.adamw(1e-2, weight_decay=0.1)
)
FREEZE = optax.partition(
    {"train": optax.adamw(1e-2, weight_decay=0.1), "stop": optax.set_to_zero()},
    {"dense": {"kernel": "stop", "bias": "train"}, "norm": {"scale": "train"}},
)
# transformation, code, leaves, words of the warning
TRAPS = {
    "inject_hyperparams calls a mask with the step": (
        optax.inject_hyperparams(optax.adamw)(1e-2, weight_decay=0.1, mask=matrices),
        "nothing decays",
        (),
        "name it in static_args",
    ),
    "a mask that matches nothing": (
        optax.adamw(1e-2, weight_decay=0.1, mask=nothing),
        "nothing decays",
        (),
        "the chain holds a mask, and it selects no leaf",
    ),
    "no decay at all": (optax.adam(1e-2), "nothing decays", (), "nothing decays"),
    "muon's other leaves": (
        optax.contrib.muon(1e-2, weight_decay=0.1),
        "left to adam",
        ("dense/bias", "norm/scale"),
        "adam_weight_decay, 0 by default",
    ),
    "set_to_zero before adamw": (
        FREEZE_BY_ZERO,
        "frozen but decays",
        ("dense/kernel",),
        "freeze with optax.partition",
    ),
    "frozen for good": (FREEZE, "frozen", ("dense/kernel",), "no gradient moves it"),
    "adamw after add_decayed_weights": (
        optax.chain(optax.add_decayed_weights(1e-4), optax.adamw(1e-2)),
        "decays twice",
        NAMES,
        "1e-06 a step",
    ),
    "L2 through adam": (
        optax.chain(optax.add_decayed_weights(1e-4), optax.adam(1e-2)),
        "depends on the gradient",
        NAMES,
        "next to nothing is left of it",
    ),
    "lamb": (
        optax.lamb(1e-2, weight_decay=0.1),
        "depends on the gradient",
        NAMES,
        "It is 0.01 without a gradient",
    ),
    "decay after the sign was changed": (
        optax.chain(optax.adam(1e-2), optax.add_decayed_weights(0.01)),
        "grows",
        NAMES,
        "must stand before scale_by_learning_rate",
    ),
    "masked leaves what it leaves out to the raw gradient": (
        optax.masked(optax.adamw(1e-2, weight_decay=0.1), KERNEL),
        "climbs",
        ("dense/bias", "norm/scale"),
        "raw gradient",
    ),
    "adafactor goes on at rate 0": (
        optax.adafactor(optax.linear_schedule(1e-2, 0.0, 50), weight_decay_rate=0.01),
        "decays at learning rate 0",
        NAMES,
        "goes on at learning rate 0 (step 99)",
    ),
    "prodigy and zero": (
        optax.contrib.prodigy(weight_decay=0.1),
        "NaN at zero gradient",
        (),
        "gives NaN",
    ),
    "an estimated step": (
        optax.contrib.dadapt_adamw(weight_decay=0.1),
        "grows with an estimate",
        (),
        "are of its start",
    ),
    "too strong": (
        optax.adamw(1.0, weight_decay=1.5),
        "flips signs",
        NAMES,
        "changes its sign",
    ),
    "under half an ulp of float32": (
        optax.adamw(1e-3, weight_decay=1e-6),
        "lost in rounding",
        NAMES,
        "in float32 it is under half an ulp",
    ),
    "schedule-free": (
        optax.contrib.schedule_free_adamw(1e-2, weight_decay=0.1),
        "does not settle",
        NAMES,
        "are of a first step",
    ),
}


@pytest.mark.parametrize("name", TRAPS)
def test_trap_is_told(name):
    tx, code, leaves, words = TRAPS[name]
    got = wd.explain(tx, PARAMS, steps=100)
    found = told(got, code)
    assert found.leaves == leaves
    assert words in found.text
    assert str(found).split()[0] in " ".join(str(got).split())


HARMLESS = {
    "adamw with a mask": optax.adamw(1e-2, weight_decay=0.1, mask=matrices),
    "inject_hyperparams done right": optax.inject_hyperparams(
        optax.adamw, static_args="mask"
    )(1e-2, weight_decay=0.1, mask=matrices),
    "a mask as a tree": optax.inject_hyperparams(optax.adamw)(
        1e-2, weight_decay=0.1, mask=KERNEL
    ),
    "coupled SGD": optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.add_decayed_weights(5e-4, mask=matrices),
        optax.sgd(0.1, momentum=0.9),
    ),
    "micro-steps": optax.MultiSteps(optax.adamw(1e-2, weight_decay=0.1), 4),
    "apply_if_finite": optax.apply_if_finite(optax.adamw(1e-2, weight_decay=0.1), 3),
    "jaxwd": wd.optimizer("adam", 1e-2, decay=wd.decoupled(0.1)),
    "jaxwd, none": wd.optimizer("adam", 1e-2, decay=wd.none()),
    "jaxwd, frozen": wd.optimizer(
        "adam", 1e-2, decay=wd.decoupled(0.1), frozen="norm/.*"
    ),
    "jaxwd, warm-up": wd.optimizer(
        "adam",
        wd.cosine(1e-2, steps=100, warmup=10),
        decay=wd.decoupled(1e-3, times="constant"),
    ),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_nothing_is_told_where_nothing_is_wrong(name):
    got = wd.explain(HARMLESS[name], PARAMS, steps=100)
    assert codes(got) == []


def test_a_core_that_prepares_itself_at_the_first_step_is_not_idle_later():
    """GaLore makes its projection at step 0; a state set to step 50 would lack it."""
    tx = optax.contrib.galore(1e-2, rank=2, weight_decay=0.1)
    params = {"kernel": PARAMS["dense"]["kernel"]}
    assert codes(wd.explain(tx, params, steps=100)) == []


@pytest.mark.parametrize(
    ("rate", "strength", "lost"), [(1e-3, 0.1, True), (0.1, 0.1, False)]
)
def test_decay_lost_in_bfloat16(rate, strength, lost):
    """ηλ = 1e-4 is under half an ulp (2⁻⁹ to 2⁻⁸); ηλ = 1e-2 is above."""
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), PARAMS)
    got = wd.explain(optax.adamw(rate, weight_decay=strength), params)
    assert ("lost in rounding" in codes(got)) == lost
    assert row(got).kind == "decoupled"
    assert row(got).dtype == "bfloat16"
    assert row(got).now == pytest.approx(rate * strength, rel=0.01)


def test_momentum_carries_coupled_decay_over_the_ulp():
    """λη = 1e-3 is lost in bfloat16, ten times as much in a full buffer is not."""
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), PARAMS)
    decay = optax.add_decayed_weights(0.01)
    plain = wd.explain(optax.chain(decay, optax.sgd(0.1)), params)
    buffered = wd.explain(optax.chain(decay, optax.sgd(0.1, 0.9)), params)
    assert codes(plain) == ["lost in rounding"]
    assert codes(buffered) == []


def test_a_leaf_without_gradient_in_a_real_batch_is_told():
    gradients = jax.tree.map(jnp.ones_like, PARAMS)
    gradients["norm"]["scale"] = jnp.zeros(4)
    tx = optax.adamw(1e-2, weight_decay=0.1)
    got = wd.explain(tx, PARAMS, gradients=gradients)
    assert told(got, "frozen but decays").leaves == ("norm/scale",)


# --- decay of other forms ---


def custom(rule):
    """A stateless transformation: update = rule(gradient, weight)."""
    return optax.stateless(lambda g, p: jax.tree.map(rule, g, p))


def test_a_gate_shows_as_half_beside_a_random_gradient():
    cautious = custom(lambda g, p: -0.1 * (g + 0.1 * p * (g * p >= 0)))
    got = row(wd.explain(cautious, PARAMS))
    assert got.kind == "by gradient"
    assert got.at_rest == pytest.approx(0.01, rel=1e-4)
    assert got.beside_gradient == pytest.approx(0.5, rel=1e-3)


def test_decay_that_comes_with_the_gradient_only():
    got = wd.explain(custom(lambda g, p: -0.1 * (g + 0.1 * jnp.abs(g) * p)), PARAMS)
    assert row(got).kind == "by gradient"
    found = told(got, "depends on the gradient")
    assert "There is none without a gradient" in found.text


@pytest.mark.parametrize("strength", [1e-2, 1e-6])
def test_l1_is_not_proportional_however_small(strength):
    got = wd.explain(custom(lambda g, p: -(10 * g + strength * jnp.sign(p))), PARAMS)
    assert {r.kind for r in got.rows} == {"not ∝ θ"}
    assert row(got).now is None


def to_start(pull, rate=0.1):
    """Decay of the distance to the weights at `init`, as L2-SP has it."""

    def update(updates, state, params):
        return jax.tree.map(
            lambda g, p, p0: g + pull * (p - p0), updates, params, state
        ), state

    anchor = optax.GradientTransformation(lambda params: params, update)
    return optax.chain(optax.trace(0.9), anchor, optax.scale_by_learning_rate(rate))


def test_decay_towards_the_start_shows_its_pull():
    got = row(wd.explain(to_start(0.2), PARAMS))
    assert got.kind == "anchored"
    assert got.now == pytest.approx(0.02, rel=1e-4)


# --- any tree, any state ---


def test_micro_steps_are_put_together_to_one_step():
    got = wd.explain(
        optax.MultiSteps(
            optax.adamw(optax.linear_schedule(0.1, 0.0, 10), weight_decay=0.1), 4
        ),
        PARAMS,
        steps=10,
    )
    assert got.calls == 4
    assert "4 micro-steps a step" in got.summary
    assert row(got).now == pytest.approx(0.01, rel=1e-4)
    assert row(got).mean == pytest.approx(0.1 * 0.1 * 0.55, rel=1e-3)


def test_shapes_will_do_for_parameters():
    shapes = jax.eval_shape(lambda: PARAMS)
    got = wd.explain(optax.adamw(1e-2, weight_decay=0.1), shapes)
    assert [r.now for r in got.rows] == pytest.approx([1e-3] * 3, rel=1e-4)


def test_leaves_that_hold_no_real_numbers_do_not_decay():
    params = {"w": jnp.ones(3), "steps": jnp.zeros((), jnp.int32)}
    got = wd.explain(optax.adamw(1e-2, weight_decay=0.1, mask={"w": True, "steps": False}),
                     params)  # fmt: skip
    assert {r.name: r.decays for r in got.rows} == {"steps": False, "w": True}


def test_one_array_is_a_tree_too():
    got = wd.explain(optax.adamw(1e-2, weight_decay=0.1), jnp.ones(3))
    assert str(got).splitlines()[1].startswith("(the array)")


def test_nnx_and_equinox_like_trees_have_readable_names():
    from flax import nnx

    state = nnx.state(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), nnx.Param)
    got = wd.explain(optax.adamw(1e-2, weight_decay=0.1), state)
    assert [r.name for r in got.rows] == ["bias", "kernel"]


def test_explaining_changes_nothing():
    tx = optax.adamw(1e-2, weight_decay=0.1)
    before = jax.tree.map(np.array, PARAMS)
    first, second = wd.explain(tx, PARAMS, steps=20), wd.explain(tx, PARAMS, steps=20)
    assert first == second
    jax.tree.map(np.testing.assert_array_equal, before, PARAMS)


# --- reading it ---

MANY = {
    f"a_block_with_a_long_name_{i}": {
        "self_attention": {"query_projection": {"kernel": jnp.ones((16, 16)),
                                                "bias": jnp.zeros(16)}},
    }
    for i in range(12)
}  # fmt: skip


def test_text_is_terse_and_at_most_80_wide():
    tx = wd.optimizer("adam", wd.cosine(1e-3, steps=1000), decay=wd.decoupled(0.1))
    lines = str(wd.explain(tx, MANY, steps_per_epoch=100)).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) == 4  # a line for twelve equal kernels, one for their biases
    assert "×12" in lines[1]


@pytest.mark.parametrize("name", TRAPS)
def test_text_of_every_trap_is_at_most_80_wide(name):
    got = str(wd.explain(TRAPS[name][0], PARAMS, steps=100))
    assert max(map(len, got.splitlines())) <= 80


def test_json_holds_every_leaf():
    tx = wd.optimizer("adam", wd.cosine(1e-3, steps=1000), decay=wd.decoupled(0.1))
    got = wd.explain(tx, MANY)
    back = json.loads(json.dumps(got.to_dict()))
    assert len(back["rows"]) == 24
    assert back["rows"][1]["name"].endswith("query_projection/kernel")
    assert back["rows"][1]["mean"] == got.rows[1].mean
    assert back["summary"] == got.summary
    assert back["steps"] == 1000


def test_markdown_and_rich_show_the_same_numbers():
    from rich.console import Console

    tx = optax.contrib.muon(1e-2, weight_decay=0.1)
    got = wd.explain(tx, PARAMS, steps=100)
    assert "| dense/kernel | 8×4 | decoupled | 0.001 |" in got.table().markdown()
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(got.rich(80))
    drawn = console.export_text()
    assert "adam_weight_decay" in drawn
    assert max(len(line.rstrip()) for line in drawn.splitlines()) <= 80


def test_findings_name_at_most_three_leaves():
    names = tuple("abcde")
    assert str(findings.Finding("x", names, "text")) == "a, b, c and 2 more: text"


# --- bad input ---


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((None, PARAMS), {}, "is no Optax transformation"),
        ((optax.adamw(0.1),), {}, "explain needs the parameters"),
        ((optax.adamw(0.1), PARAMS), {"steps": 0}, "steps=0 is not allowed"),
        ((optax.adamw(0.1), PARAMS), {"step": -1}, "step=-1 is not allowed"),
        ((optax.adamw(0.1), PARAMS), {"probes": 1}, "probes=1 is not allowed"),
        ((optax.adamw(0.1), {"n": jnp.arange(3)}), {}, "no floating-point leaf"),
        ((optax.adamw(0.1), {"w": jnp.array([jnp.nan])}), {}, "'w' holds NaN"),
        ((optax.adamw(0.1), PARAMS), {"gradients": {"w": jnp.ones(3)}}, "other leaves"),
        ((wd.Recipe(),), {"steps": 10}, "a recipe says itself how many steps"),
        ((optax.contrib.momo(), PARAMS), {}, "extra_args={'value': 1.0}"),
        ((optax.adamw(0.1, mask={"x": True}), PARAMS), {}, "another structure"),
        ((wd.optimizer("sgd", 0.1, decay=wd.coupled(0.1, where="krenel")), PARAMS), {},
         "matches no leaf"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(arguments, options, message):
    with pytest.raises(wd.InputError, match=message.replace("{", "\\{")) as caught:
        wd.explain(*arguments, **options)
    assert "\n" not in str(caught.value)


# --- the command ---

FLAGS = ["--dataset", "digits", "--model", "mlp", "--optimizer", "adam", "--decay",
         "decoupled", "--strength", "0.1", "--learning-rate", "1e-3", "--schedule",
         "cosine", "--epochs", "4"]  # fmt: skip


def test_command_prints_the_table(capsys):
    assert cli.main(["explain", *FLAGS]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "decoupled(0.1, times=lr)" in lines[0]
    kernel = next(line for line in lines if line.startswith("dense1/kernel"))
    assert "decoupled lr  0.1  0.0001  5.03e-05" in kernel
    assert lines[-1].endswith("shrink ∝ η")


def test_command_prints_json(capsys):
    assert cli.main(["explain", *FLAGS, "--json", "--step", "7"]) == 0
    got = json.loads(capsys.readouterr().out)
    assert got["recipe"]["optimizer"] == "adam"
    assert got["step"] == 7
    assert {row["kind"] for row in got["rows"]} == {"none", "decoupled"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "3"], "--seeds has no effect here"),
        (["--dropout", "0.1"], "--dropout has no effect here"),
        (["--step", "-1"], "--step=-1 is not allowed"),
        (["--optimizer", "adm"], "did you mean 'adam'"),
        (["--decay", "decoupled", "--strength", "99"], "multiplies weights by"),
    ],
)
def test_bad_flags_are_one_line(words, message, capsys):
    assert cli.main(["explain", "--dataset", "digits", "--model", "mlp", *words]) == 2
    assert message in capsys.readouterr().err


def test_help_of_the_command_needs_no_jax():
    code = (
        "import sys; from jaxwd.cli import main\n"
        "try: main(['explain', '--help'])\n"
        "except SystemExit: pass\n"
        "assert 'jax' not in sys.modules"
    )
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert got.returncode == 0, got.stderr
    assert "--strength" in got.stdout


def test_a_recipe_whose_decay_follows_the_loss_is_explained_too():
    recipe = wd.Recipe(model="mlp", decay=wd.auto_l2(wd.coupled(0.1)), epochs=1)
    assert "kernel" in str(wd.explain(recipe))
