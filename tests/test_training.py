"""Training: a pure function of its recipe, one program for many, nothing silent."""

import dataclasses
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxwd as wd
from jaxwd.losses import cross_entropy, task
from jaxwd.training import functions as functions_room
from jaxwd.training.noise import noisy_labels
from jaxwd.training.program import compile_program
from jaxwd.training.share import decay_share
from jaxwd.training.step import Batch, Hyper, State, make_step

TINY = wd.Recipe(
    dataset="digits",
    model="mlp",
    model_options=(("hidden", (16,)),),
    train_examples=200,
    epochs=2,
    batch_size=16,
)


@pytest.fixture(scope="module")
def digits():
    return wd.load("digits")


def with_(**changes):
    return dataclasses.replace(TINY, **changes)


def same_params(a, b):
    return all(
        (x == y).all()
        for x, y in zip(
            jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True
        )
    )


def numbers(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


# --- purity -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "recipe",
    [
        TINY,
        with_(
            optimizer="adam", learning_rate=0.01, decay=wd.decoupled(0.1), dropout=0.5
        ),
        with_(model="cnn", model_options=(("channels", (4, 4)), ("hidden", (8,)))),
    ],
    ids=["sgd", "adam+decay+dropout", "cnn"],
)
def test_two_runs_of_one_recipe_are_identical_bit_for_bit(recipe, digits):
    a, b = wd.run(recipe, digits), wd.run(recipe, digits)
    assert same_params(a, b)
    assert numbers(a.history) == numbers(b.history)


def test_a_fresh_program_gives_the_same_bits(digits):
    recipe = with_(dropout=0.3, decay=wd.coupled(0.01))
    a = wd.run(recipe, digits)
    compile_program.cache_clear()
    jax.clear_caches()
    b = wd.run(recipe, digits)
    assert b.compile_seconds > 10 * 1e-3
    assert same_params(a, b)


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"dropout": 0.2}, {"learning_rate": 0.2}, {"label_noise": 0.2}],
)
def test_every_number_of_the_recipe_matters(change, digits):
    assert not same_params(wd.run(TINY, digits), wd.run(with_(**change), digits))


def test_arms_of_one_seed_share_start_and_order(digits):
    """So with λ = 0 a decayed arm and a plain one are the same run, to rounding."""
    a = wd.run(with_(decay=wd.coupled(0.0)), digits)
    b = wd.run(with_(), digits)
    for x, y in zip(jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


def test_label_noise_is_another_class_for_its_share_and_the_same_every_time():
    labels = np.random.default_rng(0).integers(0, 10, 20_000).astype(np.int32)
    some, more = (
        np.asarray(noisy_labels(jax.random.key(3), jnp.asarray(labels), 10, share))
        for share in (0.1, 0.3)
    )
    assert some.dtype == labels.dtype
    for noisy, share in ((some, 0.1), (more, 0.3)):
        assert abs((noisy != labels).mean() - share) < 0.01
        moved = (noisy - labels)[noisy != labels] % 10
        counts = np.bincount(moved, minlength=10)
        assert counts[0] == 0
        assert (abs(counts[1:] / moved.size - 1 / 9) < 0.02).all()
    np.testing.assert_array_equal(more[some != labels], some[some != labels])


def test_label_noise_is_learnt_and_measured_on_clean_labels(digits):
    """All labels wrong: the fit of clean labels falls under chance, the test's too."""
    wrong = wd.run(with_(label_noise=1.0, epochs=8), digits)
    assert wrong.final["train_accuracy"] < 0.1
    assert wrong.history[-1]["running_accuracy"] > 0.1


# --- one program for many ---------------------------------------------------------


def test_recipes_that_differ_in_numbers_share_one_program(digits, monkeypatch):
    built = []
    original = functions_room.make_step
    monkeypatch.setattr(
        functions_room,
        "make_step",
        lambda *a, **k: built.append(1) or original(*a, **k),
    )
    compile_program.cache_clear()
    for strength, rate, dropout, seed in [(0.1, 0.1, 0.0, 0), (0.0, 0.2, 0.5, 1)]:
        wd.run(
            with_(
                decay=wd.coupled(strength),
                learning_rate=rate,
                dropout=dropout,
                seed=seed,
            ),
            digits,
        )
    assert len(built) == 1
    wd.run(with_(decay=wd.decoupled(0.1)), digits)
    assert len(built) == 2


def test_numbers_as_inputs_give_what_constants_give(digits):
    """The traced program equals a plain Optax loop written out with numbers."""
    recipe = with_(epochs=1, decay=wd.coupled(0.01), optimizer="momentum")
    data = digits.take(200)
    result = wd.run(recipe, digits)
    model = wd.models.by_name("mlp", classes=10, hidden=(16,))
    root = jax.random.key(recipe.seed)
    mean, std = np.float32(data.mean), np.float32(data.std)
    x = (data.train.inputs.astype(np.float32) - mean) / std
    params, _ = model.init(jax.random.fold_in(root, 0), jnp.asarray(x[0]), 0.0)
    tx = optax.chain(
        optax.add_decayed_weights(0.01, mask=wd.kernels.mask),
        optax.trace(0.9),
        optax.scale(-recipe.learning_rate),
    )
    state = tx.init(params)
    order_key = jax.random.fold_in(jax.random.fold_in(root, 1), 0)
    order = jax.random.permutation(order_key, 200)[:192].reshape(12, 16)

    @jax.jit
    def step(params, state, rows):
        def loss(p):
            logits, _ = model.apply(p, {}, jnp.asarray(x)[rows], train=False)
            return cross_entropy(logits, jnp.asarray(data.train.targets)[rows]).mean()

        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    for rows in order:
        params, state = step(params, state, rows)
    for a, b in zip(
        jax.tree.leaves(result.params), jax.tree.leaves(params), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


# --- metrics ----------------------------------------------------------------------


def test_rows_hold_what_the_study_reports(digits):
    result = wd.run(with_(decay=wd.coupled(0.01)), digits)
    wanted = {
        "epoch",
        "step",
        "running_loss",
        "running_accuracy",
        "penalty",
        "param_norm",
        "grad_norm",
        "update_norm",
        "decay_share",
        "learning_rate",
        "validation_loss",
        "validation_accuracy",
        "seconds",
    }
    assert all(set(row) == wanted for row in result.history)
    assert set(result.final) == wanted | {
        f"{part}_{what}" for part in ("train", "test") for what in ("loss", "accuracy")
    }
    assert [row["epoch"] for row in result.history] == [1, 2]
    assert result.history[-1]["step"] == 24


@pytest.mark.parametrize("n", [1, 7, 255, 256, 257, 269])
def test_evaluation_counts_every_example_once(n, digits):
    """Ragged last batches neither repeat nor drop an example."""
    part = wd.data.Split(digits.test.inputs[:n], digits.test.targets[:n])
    data = dataclasses.replace(digits, test=part)
    result = wd.run(with_(epochs=1), data)
    used = data.take(200)
    x = (part.inputs.astype(np.float32) - np.float32(used.mean)) / np.float32(used.std)
    model = wd.models.by_name("mlp", classes=10, hidden=(16,))
    logits, _ = model.apply(result.params, {}, jnp.asarray(x), train=False)
    loss = cross_entropy(logits, jnp.asarray(part.targets)).mean()
    hits = float((np.asarray(logits).argmax(-1) == part.targets).mean())
    assert result.final["test_loss"] == pytest.approx(float(loss), rel=1e-4)
    assert result.final["test_accuracy"] == pytest.approx(hits, abs=1e-6)


def one_step(decay, rate=0.1, optimizer="sgd"):
    """Return the Info of one step with a known gradient, and the parameters before."""
    params = {"kernel": jnp.array([3.0, 4.0]), "bias": jnp.array([1.0])}
    model = wd.Model(
        "line",
        lambda *a: (params, {}),
        lambda p, s, x, **k: (x @ p["kernel"][:, None] + p["bias"], s),
    )
    tx = wd.optimizer(optimizer, rate, decay=decay)
    step = make_step(model, task("regression"), tx, Hyper(rate, decay, 0.0))
    batch = Batch(jnp.array([[1.0, 0.0]]), jnp.array([[0.0]]))
    state = State(jnp.int32(0), params, {}, tx.init(params))
    return step(state, batch, jax.random.key(0))


def test_data_loss_never_contains_the_penalty():
    """y = 3 + 1, so the data loss is 16 whatever the scheme; ½·0.5·25 stands beside."""
    for decay in (wd.none(), wd.coupled(0.5), wd.penalized(0.5), wd.decoupled(0.5)):
        _, info = one_step(decay)
        assert float(info.data_loss) == 16.0
        has_penalty = decay.kind in ("coupled", "penalized")
        assert float(info.penalty) == (6.25 if has_penalty else 0.0)


def test_norms_and_decay_share_are_what_they_say():
    """g = (8, 0 | 8): ‖g‖ = √128, ‖λθ‖ = 2.5, ‖d_tλθ‖ = 0.25 against ‖η_t g‖."""
    g, e = 128**0.5, 1e-5
    _, info = one_step(wd.none())
    assert float(info.param_norm) == pytest.approx(26**0.5, rel=e)
    assert float(info.grad_norm) == pytest.approx(g, rel=e)
    assert float(info.update_norm) == pytest.approx(0.1 * g, rel=e)
    assert float(info.decay_share) == 0
    for decay in (wd.coupled(0.5), wd.penalized(0.5)):
        _, info = one_step(decay)
        assert float(info.decay_share) == pytest.approx(2.5 / (2.5 + g), rel=e)
    _, info = one_step(wd.decoupled(0.5))
    assert float(info.decay_share) == pytest.approx(0.25 / (0.25 + 0.1 * g), rel=e)
    _, info = one_step(wd.decoupled(0.05, times="constant"))
    assert float(info.decay_share) == pytest.approx(0.25 / (0.25 + 0.1 * g), rel=e)


def test_decay_share_is_measured_behind_the_clip():
    """With ‖g‖ clipped to 0.1, λθ of norm 2.5 is nearly all of what enters the core."""
    params = {"kernel": jnp.array([3.0, 4.0])}
    grads = {"kernel": jnp.array([8.0, 0.0])}
    hyper = Hyper(0.1, wd.coupled(0.5), 0.0, wd.clip.global_norm(0.1))
    state = State(jnp.int32(0), params, {}, None)
    got = decay_share(hyper, state, grads, grads)
    assert float(got) == pytest.approx(2.5 / 2.6, rel=1e-4)


def test_model_state_and_step_counter_go_on():
    state, _ = one_step(wd.none())
    assert int(state.step) == 1


def test_regression_trains_on_a_table():
    recipe = wd.Recipe(
        dataset="friedman",
        model="mlp",
        epochs=30,
        learning_rate=0.02,
        clip="global_norm",
    )
    result = wd.run(recipe)
    assert result.final["test_negative_mse"] == pytest.approx(
        -result.final["test_loss"]
    )
    assert result.final["test_loss"] < 0.15  # targets have variance 1, noise about 0.04


def test_training_learns_the_digits(digits):
    result = wd.run(with_(train_examples=None, epochs=12), digits)
    assert result.final["test_accuracy"] > 0.93
    losses = [row["running_loss"] for row in result.history]
    assert losses[-1] < 0.3 * losses[0]


def test_dropout_and_strength_schedules_run(digits):
    recipe = with_(
        model_options=(("hidden", (16,)), ("init", "he_dropout")),
        dropout=wd.linear(0.5, steps=24),
        decay=wd.decoupled(wd.cosine(0.1, steps=24)),
        schedule="one_cycle",
    )
    result = wd.run(recipe, digits)
    assert np.isfinite(result.final["test_loss"])
    json.dumps(recipe.to_dict())


# --- what is refused --------------------------------------------------------------


def test_divergence_names_the_step_and_the_recipe(digits):
    with pytest.raises(wd.Diverged) as error:
        wd.run(with_(learning_rate=1e30, seed=3), digits)
    text = str(error.value)
    assert "at step" in text
    assert "(epoch 1, steps 0 to 11)" in text
    assert "lr 1e+30" in text
    assert "seed 3" in text


def test_weights_that_end_beyond_all_bounds_diverged_too(digits):
    """One step, whose loss was finite before it: what stands behind it is not."""
    with pytest.raises(wd.Diverged, match="at step 0 "):
        wd.run(
            with_(batch_size=48, train_examples=48, epochs=1, learning_rate=1e38),
            digits,
        )


def test_neighbours_of_a_diverged_run_are_untouched(digits):
    before = wd.run(TINY, digits)
    with pytest.raises(wd.Diverged):
        wd.run(with_(learning_rate=1e30), digits)
    assert same_params(before, wd.run(TINY, digits))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: with_(epochs=0), "epochs=0 is not allowed"),
        (lambda d: with_(batch_size=0), "batch_size=0 is not allowed"),
        (lambda d: with_(dropout=1.1), "dropout=1.1 is not allowed; give a number in"),
        (lambda d: with_(learning_rate=float("nan")), "learning_rate=nan"),
        (lambda d: with_(optimizer="adamm"), "did you mean 'adam'"),
        (lambda d: with_(schedule="cosin"), "did you mean 'cosine'"),
        (lambda d: with_(model="cnnn"), "did you mean 'cnn'"),
        (lambda d: with_(clip="globalnorm"), "did you mean 'global_norm'"),
        (lambda d: with_(optimizer_options=(("b1", 0.9),)), "does not take b1=0.9"),
        (lambda d: wd.run(with_(batch_size=201), d), "larger than the 200 training"),
        (lambda d: wd.run(with_(train_examples=10_000), d), "is more than the 1259"),
        (
            lambda d: wd.run(with_(decay=wd.decoupled(20.0)), d),
            "multiplies weights by -1 in one step",
        ),
        (
            lambda d: wd.run(with_(decay=wd.coupled(0.1, where="w")), d),
            "matches no leaf",
        ),
        (
            lambda d: wd.run(with_(model=wd.from_linen(Fixed()), dropout=0.5), d),
            "Fixed fixes its own dropout rates",
        ),
        (lambda d: wd.run(TINY, d, layout="pmapp"), "did you mean 'pmap'"),
        (
            lambda d: wd.run(TINY, d, layout="pmap", devices=3),
            "devices=3 is not allowed",
        ),
        (
            lambda d: wd.run(TINY, d, layout="pmap", devices=0),
            "devices=0 is not allowed",
        ),
        (lambda d: with_(epochs=1.5), "epochs=1.5 is not allowed; give a whole number"),
        (lambda d: with_(seed="a"), "seed='a' is not allowed; give a number"),
        (lambda d: with_(learning_rate=None), "learning_rate=None is not allowed"),
        (
            lambda d: with_(learning_rate=wd.cosine(1, steps=9)),
            "takes the peak; give the",
        ),
        (lambda d: with_(decay=0.1), "is no scheme; say which one"),
        (lambda d: with_(dropout=lambda t: 0.5), "a recipe is a value on paper"),
        (
            lambda d: with_(decay=wd.coupled(lambda t: 0.5)),
            "a recipe is a value on paper",
        ),
        (lambda d: with_(model_options="hidden"), "give pairs or a dict"),
        (
            lambda d: wd.run(with_(model=wd.from_linen(Flat()), model_options=()), d),
            r"model Flat: a batch of 1 gives outputs of shape \(1,\); the data asks",
        ),
        (
            lambda d: wd.run(
                wd.Recipe(dataset="friedman", model="mlp", label_noise=0.1)
            ),
            "friedman is a regression and has no labels to change",
        ),
        (lambda d: with_(label_noise=1.5), r"label_noise=1.5 is not allowed"),
        (
            lambda d: wd.run(with_(batch_size=15), d, layout="sharded"),
            "batch_size=15 does not divide over 2 devices; nearest: 14 or 16",
        ),
    ],
)
def test_mistakes_are_errors(call, message, digits):
    with pytest.raises(wd.InputError, match=message):
        call(digits)


class Fixed(nn.Module):
    """A module without a dropout argument."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(x.reshape(len(x), -1))


class Flat(nn.Module):
    """A module that forgot the axis of outputs."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(x.reshape(len(x), -1))[:, 0]


# --- recipes on paper -------------------------------------------------------------


def test_recipe_is_a_value_with_a_name():
    assert with_() == TINY
    assert hash(TINY) == hash(with_())
    assert TINY.digest() == with_().digest() != with_(seed=1).digest()
    assert json.loads(json.dumps(TINY.to_dict()))["decay"]["kind"] == "none"


def test_recipe_says_all_that_differs_from_the_usual():
    recipe = wd.Recipe(
        train_examples=100,
        model_options={"init": "he", "hidden": [64]},
        optimizer="momentum",
        optimizer_options={"momentum": 0.8},
        warmup=5,
        clip="global_norm",
        clip_at=0.5,
        decay=wd.penalized(0.1, penalty="l2_per_example", examples=32, where=".*"),
    )
    for part in (
        *("train_examples 100", "init=he hidden=(64,)", "momentum=0.8", "warmup 5"),
        *("clip global_norm", "clip_at 0.5", "examples=32", "where .*"),
    ):
        assert part in str(recipe), part
    assert hash(recipe) == hash(dataclasses.replace(recipe))


def test_recipe_takes_numpy_and_jax_numbers():
    recipe = with_(
        learning_rate=np.float32(0.1), seed=np.int64(3), dropout=jnp.float32(0)
    )
    json.dumps(recipe.to_dict())


def test_structure_forgets_numbers_and_keeps_the_rest():
    a = with_(decay=wd.coupled(0.1), dropout=0.5, learning_rate=0.3, seed=7)
    b = with_(decay=wd.coupled(0.2))
    assert a.structure() == b.structure()
    assert a.structure() != with_(decay=wd.decoupled(0.1)).structure()
    assert a.structure() != with_(decay=wd.coupled(0.1), epochs=3).structure()


def test_shrink_of_a_recipe_counts_its_steps():
    recipe = wd.Recipe(decay=wd.coupled(5e-4), epochs=20)
    got = recipe.shrink(8000)
    assert got.tau == pytest.approx(20_000)
    assert got.tau_over_run == pytest.approx(4.0)
    momentum = dataclasses.replace(recipe, optimizer="momentum")
    assert momentum.shrink(8000).tau_over_run == pytest.approx(0.4)
    assert dataclasses.replace(recipe, optimizer="adam").shrink(8000) is None
