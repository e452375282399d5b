"""Precision, accumulation, averaging, recomputation: the step stays the same step."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxwd as wd
from jaxwd.lab import product, run_many
from jaxwd.losses import task
from jaxwd.models import Model, by_name
from jaxwd.training.gradient import REMAT, objective_of
from jaxwd.training.on_paper import recipe_from
from jaxwd.training.precision import PRECISIONS, stochastic_round
from jaxwd.training.step import Arithmetic, Batch, Hyper, make_step, started

TINY = wd.Recipe(
    dataset="digits",
    model="mlp",
    model_options={"hidden": (16,)},
    optimizer="adam",
    learning_rate=0.01,
    decay=wd.decoupled(0.1),
    train_examples=192,
    epochs=2,
    batch_size=32,
)


def with_(**changes):
    return dataclasses.replace(TINY, **changes)


@pytest.fixture(scope="module")
def digits():
    return wd.load("digits")


def still(seen=None):
    """Return a model whose outputs do not depend on its weights: decay acts alone."""

    def apply(params, state, inputs, *, train, dropout_rate=0.0, key=None):
        del dropout_rate, key
        if seen is not None:
            seen[train] = (params["kernel"].dtype, inputs.dtype)
        return jnp.zeros((len(inputs), 1)), state

    return Model("still", lambda *_: ({}, {}), apply)


def stepper(model, arithmetic, tx, decay, axis=None, task_name="regression"):
    hyper = Hyper(0.1, decay, 0.0)
    kind = task(task_name)
    step = make_step(model, kind, tx, hyper, axis=axis, arithmetic=arithmetic)
    return lambda params, model_state={}: (
        jax.jit(step),
        started(params, model_state, tx, arithmetic),
    )


# --- rounding -----------------------------------------------------------------------


@given(
    st.floats(-(2.0**127), 2.0**127, width=32, allow_subnormal=False),
    st.integers(0, 2**32 - 1),
)
def test_stochastic_rounding_gives_a_neighbour_and_leaves_what_fits(x, seed):
    got = np.float32(stochastic_round(jnp.float32([x]), jax.random.key(seed))[0])
    bits = np.float32(x).view(np.uint32)
    toward_zero = (bits & np.uint32(0xFFFF0000)).view(np.float32)
    away = ((bits & np.uint32(0xFFFF0000)) + np.uint32(0x10000)).view(np.float32)
    assert got == toward_zero if bits % 65536 == 0 else got in (toward_zero, away)


def test_stochastic_rounding_is_right_in_the_mean_and_keeps_what_is_not_finite():
    n, x = 200_000, 1.0 + 0.3 * 2**-7  # three tenths of the way to the next bfloat16
    got = stochastic_round(jnp.full(n, x), jax.random.key(0)).astype(jnp.float32)
    up = float((got > 1.0).mean())
    assert abs(up - 0.3) < 4 * np.sqrt(0.3 * 0.7 / n)
    odd = jnp.array([jnp.inf, -jnp.inf, jnp.nan, 0.0])
    kept = stochastic_round(odd, jax.random.key(1)).astype(jnp.float32)
    np.testing.assert_array_equal(kept, odd)


# --- a decay that pure bfloat16 loses -------------------------------------------------

STEPS, SHRINK = 200, 0.1 * 0.01  # η·λ: a quarter of bfloat16's half spacing at 1
KEPT = {
    "float32": (1 - SHRINK) ** STEPS,
    "mixed": (1 - SHRINK) ** STEPS,
    "bfloat16": 1.0,
    "bfloat16_stochastic": (1 - SHRINK) ** STEPS,
}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("scheme", [wd.decoupled, wd.coupled], ids=["decoupled", "L2"])
def test_what_each_precision_keeps_of_a_small_decay(precision, scheme):
    """Pure bfloat16 keeps every weight as it was; the others shrink it by 18 %."""
    decay = scheme(0.01)
    tx = wd.optimizer("sgd", 0.1, decay=decay)
    make = stepper(still(), Arithmetic(precision), tx, decay)
    step, state = make({"kernel": jnp.ones((64, 64))})
    batch = Batch(jnp.zeros((2, 3)), jnp.zeros((2, 1)))
    for i in range(STEPS):
        state, info = step(state, batch, jax.random.fold_in(jax.random.key(0), i))
    mean = np.asarray(state.params["kernel"], np.float64).mean()
    bound = 2e-3 if precision == "bfloat16_stochastic" else 1e-5
    assert abs(mean - KEPT[precision]) < bound
    if precision != "bfloat16":  # what is reported is what happened
        assert abs(float(info.param_norm) / 64 - mean) < 2e-3


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_is_averaged_and_reported_is_what_is_held(precision):
    """Not the step before rounding: pure bfloat16 moves nothing and says so."""
    decay, beta = wd.decoupled(0.01), 0.5
    tx = wd.optimizer("sgd", 0.1, decay=decay)
    make = stepper(still(), Arithmetic(precision, average=beta), tx, decay)
    step, state = make({"kernel": jnp.ones((64, 64))})
    batch = Batch(jnp.zeros((2, 3)), jnp.zeros((2, 1)))
    mean = np.ones((64, 64))
    for i in range(5):
        before = np.asarray(state.params["kernel"], np.float32)
        state, info = step(state, batch, jax.random.fold_in(jax.random.key(0), i))
        held = np.asarray(state.params["kernel"], np.float32)
        mean = beta * mean + (1 - beta) * held
        np.testing.assert_allclose(
            info.update_norm, np.linalg.norm(held - before), rtol=1e-4
        )
    np.testing.assert_allclose(state.average["kernel"], mean, rtol=1e-6)


@pytest.mark.parametrize("average", [None, 0.9])
def test_weights_may_be_one_bare_array(average):
    state = started(jnp.ones(3), {}, optax.sgd(0.1), Arithmetic(average=average))
    np.testing.assert_array_equal(state.measured, jnp.ones(3))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_where_each_type_stands(precision):
    row, seen = PRECISIONS[precision], {}
    tx = wd.optimizer("adam", 0.1, decay=wd.decoupled(0.1))
    make = stepper(still(seen), Arithmetic(precision), tx, wd.decoupled(0.1))
    step, state = make({"kernel": jnp.ones((4, 4))})
    state, _ = step(
        state, Batch(jnp.zeros((2, 3)), jnp.zeros((2, 1))), jax.random.key(0)
    )
    assert state.params["kernel"].dtype == row.held
    assert seen[True] == (row.computed, row.computed)
    kept = {
        x.dtype
        for x in jax.tree.leaves(state.opt_state)
        if jnp.issubdtype(x.dtype, jnp.floating)
    }
    assert kept == {np.dtype("float32")}


def test_integers_are_never_made_short():
    """A character's number above 256 would be another one in bfloat16."""
    seen = {}
    make = stepper(still(seen), Arithmetic("mixed"), optax.sgd(0.1), wd.none())
    step, state = make({"kernel": jnp.ones((4, 4))})
    step(state, Batch(jnp.full((2, 3), 257), jnp.zeros((2, 1))), jax.random.key(0))
    assert seen[True][1] == jnp.int32


@pytest.mark.parametrize("precision", ["mixed", "bfloat16_stochastic"])
def test_a_training_in_short_numbers_learns_what_float32_learns(precision, digits):
    full = wd.run(with_(epochs=8), digits)
    short = wd.run(with_(epochs=8, precision=precision), digits)
    assert abs(full.final["test_loss"] - short.final["test_loss"]) < 0.05
    assert any((a != b).any() for a, b in zip(*map(leaves, (full, short)), strict=True))


def leaves(result):
    return [np.asarray(x, np.float32) for x in jax.tree.leaves(result.params)]


def test_a_decay_that_rounding_drops_is_said(digits):
    with pytest.warns(UserWarning, match=r"takes 0.001 of a weight a step .*'mixed'"):
        wd.run(with_(precision="bfloat16", epochs=1), digits)


# --- accumulation ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decay", "parts"),
    [(wd.decoupled(0.1), 32), (wd.coupled(0.01), 2), (wd.penalized(0.01), 4)],
    ids=str,
)
def test_parts_of_a_batch_give_the_step_of_the_whole(decay, parts, digits):
    whole = wd.run(with_(decay=decay), digits)
    split = wd.run(with_(decay=decay, accumulate=parts), digits)
    for a, b in zip(leaves(whole), leaves(split), strict=True):
        np.testing.assert_allclose(a, b, atol=3e-5)
    for name in ("running_loss", "penalty", "running_accuracy"):
        a, b = (r.history[-1][name] for r in (whole, split))
        assert a == pytest.approx(b, rel=1e-4)


def test_running_means_see_the_parts_in_turn():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            x = nn.BatchNorm(use_running_average=not train, momentum=0.5)(x)
            return nn.Dense(1)(x)

    model = wd.from_linen(Net())
    x = jnp.concatenate([jnp.ones((8, 4)), 3 * jnp.ones((8, 4))], 1).reshape(16, 4)
    params, model_state = model.init(jax.random.key(0), x[0], 0.0)
    make = stepper(model, Arithmetic(accumulate=2), optax.sgd(0.0), wd.none())
    step, state = make(params, model_state)
    state, _ = step(state, Batch(x, jnp.zeros((16, 1))), jax.random.key(0))
    # Parts are every second row: ones, then threes; means 0 → ½·1 → ½·½ + ½·3.
    got = state.model_state["batch_stats"]["BatchNorm_0"]["mean"]
    np.testing.assert_allclose(got, 1.75, rtol=1e-6)


def test_masks_of_parts_differ(digits):
    """With a rate of ½ two equal halves of a batch give unlike gradients in parts."""

    def apply(params, state, inputs, *, train, dropout_rate=0.0, key=None):
        keep = jax.random.bernoulli(key, 0.5, params["kernel"].shape)
        return inputs @ (params["kernel"] * keep), {"kept": keep}

    model = Model("masked", lambda *_: ({}, {}), apply)
    x = jnp.ones((4, 64))
    make = stepper(model, Arithmetic(accumulate=2), optax.sgd(1.0), wd.none())
    step, state = make({"kernel": jnp.ones((64, 1))}, {"kept": jnp.ones((64, 1), bool)})
    after, _ = step(state, Batch(x, jnp.zeros((4, 1))), jax.random.key(0))
    moved = np.asarray(after.params["kernel"]) != 1.0
    # Of two masks three quarters of the weights have a gradient, of one a half.
    assert 0.6 < moved.mean() < 0.9


# --- the average ----------------------------------------------------------------------


def test_the_average_is_the_recursion_and_is_what_is_measured(digits):
    beta, params = 0.9, {"kernel": jnp.ones((4, 4))}
    tx = wd.optimizer("sgd", 0.1, decay=wd.decoupled(0.5))
    make = stepper(still(), Arithmetic(average=beta), tx, wd.decoupled(0.5))
    step, state = make(params)
    theta = average = 1.0
    batch = Batch(jnp.zeros((2, 3)), jnp.zeros((2, 1)))
    for _ in range(20):
        state, _ = step(state, batch, jax.random.key(0))
        theta *= 1 - 0.05
        average = beta * average + (1 - beta) * theta
    np.testing.assert_allclose(state.average["kernel"], average, rtol=1e-5)
    np.testing.assert_allclose(state.params["kernel"], theta, rtol=1e-5)
    np.testing.assert_allclose(state.measured["kernel"], average, rtol=1e-5)


def test_a_training_with_an_average_moves_alike_and_measures_the_average(digits):
    plain, with_mean = (wd.run(with_(average=b), digits) for b in (None, 0.95))
    for a, b in zip(plain.history, with_mean.history, strict=True):
        assert a["running_loss"] == pytest.approx(b["running_loss"], rel=1e-5)
        assert a["validation_loss"] != b["validation_loss"]
    assert any((a != b).any() for a, b in zip(leaves(plain), leaves(with_mean)))  # noqa: B905


def test_weights_held_short_have_an_average_held_long():
    tx = optax.sgd(0.1)
    state = started({"w": jnp.ones(3)}, {}, tx, Arithmetic("bfloat16", average=0.9))
    assert (state.params["w"].dtype, state.average["w"].dtype) == (
        "bfloat16",
        "float32",
    )


# --- recomputation --------------------------------------------------------------------


def kept_between_passes(model, inputs, remat):
    """Return the bytes that the forward pass leaves for the backward pass."""
    params, state = model.init(jax.random.key(0), inputs[0], 0.1)
    hyper, row = Hyper(0.1, wd.none(), 0.1), PRECISIONS["float32"]
    kind = task("classification" if inputs.ndim == 4 else "language")
    objective = objective_of(model, kind, hyper, row, remat)
    batch = Batch(inputs, jnp.zeros(inputs.shape if inputs.ndim == 2 else 4, jnp.int32))

    def backward(params):
        def loss(p):
            return objective(p, state, jnp.int32(0), batch, jax.random.key(0))

        return jax.vjp(loss, params, has_aux=True)[1]

    return sum(
        x.size * x.dtype.itemsize
        for x in jax.tree.leaves(jax.eval_shape(backward, params))
    )


PICTURES, LETTERS = jnp.ones((4, 8, 8, 1)), jnp.ones((4, 32), jnp.int32)
DEEP = {
    "resnet18": ({"blocks": (2, 2), "width": 8}, PICTURES),
    "wrn": ({"depth": 16, "width": 4, "widen": 2}, PICTURES),
    "vit": ({"patch": 2, "width": 16, "depth": 4, "heads": 2}, PICTURES),
    "gpt": ({"width": 16, "depth": 4, "heads": 2}, LETTERS),
}


@pytest.mark.parametrize("name", DEEP)
def test_recomputing_keeps_less_between_the_passes(name):
    options, inputs = DEEP[name]
    whole, blocks = (by_name(name, classes=10, remat=r, **options) for r in (0, 1))
    everything = kept_between_passes(whole, inputs, None)
    assert kept_between_passes(whole, inputs, "elementwise") < 0.8 * everything
    assert kept_between_passes(blocks, inputs, "blocks") < 0.55 * everything


@pytest.mark.parametrize("remat", REMAT)
def test_recomputing_changes_no_gradient(remat):
    options = {"patch": 4, "width": 8, "depth": 1, "heads": 2, "hidden": 8}
    kind, inputs = (
        task("classification"),
        jax.random.normal(jax.random.key(1), (4, 8, 8, 1)),
    )
    batch = Batch(inputs, jnp.arange(4))
    found = []
    for way in (None, remat):
        model = by_name("vit", classes=4, remat=way == "blocks", **options)
        params, state = model.init(jax.random.key(0), inputs[0], 0.3)
        hyper, row = Hyper(0.1, wd.none(), 0.3), PRECISIONS["float32"]
        gradient = jax.jit(
            jax.grad(objective_of(model, kind, hyper, row, way), has_aux=True)
        )
        found.append(gradient(params, state, jnp.int32(0), batch, jax.random.key(2))[0])
    for a, b in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_blocks_are_those_of_models_that_have_them(digits):
    with pytest.raises(wd.InputError, match=r"'mlp' has no blocks; .*vit, gpt have"):
        wd.run(with_(remat="blocks"), digits)
    mine = wd.from_linen(nn.Dense(10))
    with pytest.raises(wd.InputError, match=r"blocks of Dense are its own"):
        wd.run(with_(model=mine, model_options=(), remat="blocks"), digits)


# --- grids, paper, errors -------------------------------------------------------------


@pytest.mark.parametrize("engine", ["map", "vmap"])
def test_a_grid_takes_all_of_it(engine, digits):
    recipe = with_(
        accumulate=2, average=0.9, precision="mixed", remat="elementwise", epochs=1
    )
    grid = product(recipe, {"decay.strength": (0.0, 0.3), "seed": range(2)})
    for outcome in run_many(grid, digits, engine=engine):
        alone = wd.run(outcome.recipe, digits)
        assert outcome.final is not None
        got, want = (x["validation_loss"] for x in (outcome.final, alone.final))
        assert got == pytest.approx(want, rel=2e-2 if engine == "vmap" else 1e-6)


def test_it_is_written_down_and_read_back():
    recipe = with_(accumulate=4, average=0.99, precision="mixed", remat="elementwise")
    assert recipe_from(recipe.to_dict()) == recipe
    assert "precision mixed" in str(recipe)
    assert "precision" not in str(TINY)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"precision": "fp16"}, "'fp16'.*bfloat16_stochastic, float32, mixed"),
        ({"accumulate": 5}, "accumulate=5 does not divide batch_size=32"),
        ({"accumulate": 0}, "accumulate=0"),
        ({"average": 1.0}, "average=1 "),
        ({"remat": "some"}, "'some'.*blocks, elementwise"),
    ],
)
def test_wrong_values_are_said(change, words):
    with pytest.raises(wd.InputError, match=words):
        with_(**change)
