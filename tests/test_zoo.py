"""ResNet-18, WideResNet, ViT and GPT: their sizes, what decays in them, what they do."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxwd as wd
from jaxwd.data import Split
from jaxwd.lab import product, run_many
from jaxwd.losses import task
from jaxwd.models import MODELS, by_name
from jaxwd.models.products import conv_as_product
from jaxwd.training.parallel import AXIS
from jaxwd.training.step import Batch, Hyper, State, make_step

IMAGE, IDS = (8, 8, 1), (16,)
TINY = {
    "resnet18": {"blocks": (1,), "width": 4},
    "wrn": {"depth": 10, "width": 2, "widen": 2},
    "vit": {"depth": 1, "width": 8, "heads": 2, "pool": "token"},
    "gpt": {"depth": 1, "width": 8, "heads": 2},
}


def key(seed=0):
    return jax.random.key(seed)


def abstract(name, shape=None, classes=10, **options):
    """Return the shapes of a model's parameters and state; nothing is computed."""
    model = by_name(name, classes=classes, **options)
    dtype = jnp.int32 if name == "gpt" else jnp.float32
    shape = shape or (IDS if name == "gpt" else IMAGE)
    example = jax.ShapeDtypeStruct(shape, dtype)
    return jax.eval_shape(lambda k, x: model.init(k, x, 0.0), key(), example)


def count(name, shape=None, **options):
    params, _ = abstract(name, shape, **options)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def filled(name, seed=0, **options):
    """Return parameters and state of normal numbers: kernels whose norms have 1/fan_in.

    Drawn by NumPy, since compiling JAX's draws takes longer than all that follows.
    """
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        kind = path[-1].key
        if kind in ("scale", "var"):
            return np.ones(leaf.shape, np.float32)
        if kind in ("bias", "mean"):
            return np.zeros(leaf.shape, np.float32)
        fan_in = math.prod(leaf.shape[:-1])
        return rng.normal(0, fan_in**-0.5, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, abstract(name, **options))


@functools.cache
def little(name):
    """Return a few examples that the model `name` can train on."""
    data = wd.load("pydoc", context=16) if name == "gpt" else wd.load("digits")
    held = Split(*(x[:32] for x in data.validation))
    return dataclasses.replace(data.take(128), validation=held, test=held)


# --- sizes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "options", "parameters"),
    [
        ("resnet18", (224, 224, 3), {"classes": 1000}, 11_689_512),
        ("resnet18", (32, 32, 3), {"classes": 10}, 11_173_962),
        ("resnet18", (32, 32, 3), {"classes": 10, "norm": "group"}, 11_173_962),
        ("wrn", (32, 32, 3), {"depth": 28, "widen": 10}, 36_479_194),  # 36.5 M
        ("wrn", (32, 32, 3), {"depth": 16, "widen": 4}, 2_748_890),  # 2.7 M
        (
            "vit",  # S/16
            (224, 224, 3),
            {"classes": 1000, "patch": 16, "width": 384, "depth": 12, "heads": 6}
            | {"pool": "token"},
            22_050_664,
        ),
        (
            "gpt",  # GPT-2 small
            (1024,),
            {"classes": 50257, "width": 768, "depth": 12, "heads": 12},
            124_439_808,
        ),
    ],
)
def test_parameters_are_as_many_as_published(name, shape, options, parameters):
    assert count(name, shape, **options) == parameters


def test_what_options_add_and_take():
    tied, own = (count("gpt", classes=50, tied=tied) for tied in (True, False))
    assert own - tied == 50 * 128  # a kernel of its own, no bias
    learned = count("vit", positions="learned")
    assert learned - count("vit", positions="sincos2d") == 4 * 64  # four patches
    assert count("vit", pool="token") - learned == 2 * 64  # the token, its position
    assert abstract("resnet18", norm="group")[1] == {}
    assert set(abstract("resnet18", norm="batch")[1]) == {"batch_stats"}


# --- what decays --------------------------------------------------------------------

SPARED = {
    "resnet18": {"scale", "bias"},
    "wrn": {"scale", "bias"},
    "vit": {"scale", "bias", "cls", "pos_embedding"},
    "gpt": {"scale", "bias", "embedding", "pos_embedding"},
}
DECAYED = {"resnet18": 4, "wrn": 11, "vit": 8, "gpt": 6}  # kernels


def decayed(where, params):
    rows = wd.mask_report(where, params).rows
    return {row.name: bool(row.multiplier) for row in rows}


@pytest.mark.parametrize("name", TINY)
def test_kernels_decay_and_nothing_else_does(name):
    found = decayed(wd.kernels, abstract(name, **TINY[name])[0])
    spared = {leaf.rsplit("/")[-1] for leaf, on in found.items() if not on}
    assert spared == SPARED[name]
    assert sum(found.values()) == DECAYED[name]
    assert all(leaf.endswith("kernel") for leaf, on in found.items() if on)


def test_masks_by_axes_take_what_they_should_not():
    """Flax's attention has biases (heads, width/heads): names are safer than axes."""
    found = decayed(wd.matrices, abstract("vit", **TINY["vit"])[0])
    assert found["block1/attention/query/bias"]
    assert found["pos_embedding"] and found["cls"]
    assert not found["block1/attention/out/bias"]


def test_embeddings_decay_when_they_are_named():
    params = abstract("gpt", **TINY["gpt"])[0]
    found = decayed("(.*/)?(kernel|embedding)", params)
    assert found["token/embedding"]
    assert not found["pos_embedding"]


@pytest.mark.parametrize("name", TINY)
def test_explain_agrees_with_the_mask(name):
    params = abstract(name, **TINY[name])[0]
    tx = wd.optimizer("sgd", 0.1, decay=wd.decoupled(0.1))
    told = {row.name: row.decays for row in wd.explain(tx, params, steps=9).rows}
    assert told == decayed(wd.kernels, params)


SCALE_FREE = {
    # All convolutions feed a norm; the output layer does not.
    ("resnet18", "batch"): {
        *("conv1/kernel", "stage1_block1/conv1/kernel"),
        "stage1_block1/conv2/kernel",
    },
    ("resnet18", "group"): {
        *("conv1/kernel", "stage1_block1/conv1/kernel"),
        "stage1_block1/conv2/kernel",
    },
    # Norms first: what is added to the sum of residuals is not free. The first
    # convolution is, since the first shortcut stands behind a norm as well.
    ("wrn", "batch"): {
        *("conv1/kernel", "stage1_block1/conv1/kernel"),
        *("stage2_block1/conv1/kernel", "stage3_block1/conv1/kernel"),
    },
    ("vit", None): {f"block1/attention/{part}/kernel" for part in ("query", "key")},
}


@pytest.mark.parametrize(("name", "norm"), SCALE_FREE)
def test_kernels_that_feed_a_norm_are_found(name, norm):
    options = TINY[name] | ({"norm": norm} if norm else {"qk_norm": True})
    model = by_name(name, classes=3, **options)
    x = np.random.default_rng(1).normal(size=(6, *IMAGE)).astype(np.float32)
    params, state = filled(name, classes=3, **options)
    run = lambda p: model.apply(p, state, x, train=True, key=key(2))[0]  # noqa: E731
    # Not 10⁻³: tiny layers have variances near the norms' ε.
    where = wd.scale_free(run, params, tolerance=3e-3)
    names = {rule.pattern.replace("\\", "") for rule in where.table}
    kernels = {n for n in names if n.endswith("kernel")}
    assert kernels == SCALE_FREE[name, norm]


# --- training -----------------------------------------------------------------------


def grid_over_decay(name, engine):
    """Train a model with no and with strong decay."""
    recipe = wd.Recipe(
        model=name,
        model_options=TINY[name],
        optimizer="adam",
        learning_rate=0.02,
        decay=wd.decoupled(0.0),
        batch_size=16,
        epochs=20,
    )
    grid = product(recipe, {"decay.strength": (0.0, 5.0)})
    rows = run_many(grid, little(name), engine=engine, splits=())
    assert {row.status for row in rows} == {"finished"}
    return rows


@pytest.mark.parametrize("name", ["resnet18", "vit", "gpt"])  # wrn: tests/heavy
def test_a_grid_over_decay_trains_in_one_program(name):
    rows = grid_over_decay(name, "map")
    _, times = np.unique(little(name).train.targets, return_counts=True)
    entropy = -np.sum(times / times.sum() * np.log(times / times.sum()))
    # Below what the frequencies alone give: the inputs were made use of.
    assert rows[0].history[-1]["running_loss"] < 0.95 * entropy
    norms = [row.history[-1]["param_norm"] for row in rows]
    assert norms[1] < norms[0]


def test_running_statistics_are_those_of_each_member_of_a_grid():
    """`vmap` stacks the state of batch norms lane by lane, as `map` takes it in turn."""
    by_engine = [grid_over_decay("resnet18", engine) for engine in ("map", "vmap")]
    # After the first epoch: a training carries roundings on.
    first = [[r.history[0]["validation_loss"] for r in rows] for rows in by_engine]
    losses = np.array(first)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
    assert abs(losses[0, 0] - losses[0, 1]) > 1e-3


@pytest.mark.parametrize(
    ("how", "name"), [("pmap", "resnet18"), ("shard_map", "resnet18"), ("pmap", "wrn")]
)
def test_batch_norm_takes_its_statistics_from_all_devices(how, name):
    """A step on shares of a batch is the step on the batch: weights and statistics.

    Relative tolerance 2·10⁻⁴ after one step of a float32 network on numbers near 1.
    """
    devices = jax.device_count()
    model = by_name(name, classes=3, **TINY[name])
    assert model.over_axis is not None
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4 * devices, *IMAGE)).astype(np.float32)
    x += np.repeat(np.arange(devices), 4)[:, None, None, None]  # devices differ
    whole = Batch(jnp.asarray(x), jnp.asarray(np.arange(len(x)) % 3))
    tx = wd.optimizer("sgd", 0.1)
    params, model_state = filled(name, classes=3, **TINY[name])
    state = State(jnp.int32(0), params, model_state, tx.init(params))

    def step(model, axis):
        hyper = Hyper(0.1, wd.none(), 0.0)
        made = make_step(model, task("classification"), tx, hyper, axis=axis)
        return lambda batch: made(state, batch, key())[0]

    def spread(model):
        if how == "pmap":
            shares = jax.tree.map(lambda a: a.reshape(devices, 4, *a.shape[1:]), whole)
            run = jax.pmap(step(model, AXIS), axis_name=AXIS, out_axes=None)
            return run(shares)
        data, everywhere = jax.P(AXIS), jax.P()
        mesh = jax.make_mesh(
            (devices,), (AXIS,), axis_types=(jax.sharding.AxisType.Auto,)
        )
        run = jax.shard_map(
            step(model, AXIS),
            mesh=mesh,
            in_specs=data,
            out_specs=everywhere,
            check_vma=False,
        )
        return jax.jit(run)(whole)

    alone, together = jax.jit(step(model, None))(whole), spread(model.over_axis(AXIS))
    for part in ("params", "model_state"):
        want, got = getattr(alone, part), getattr(together, part)
        for a, b in zip(jax.tree.leaves(want), jax.tree.leaves(got), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
    if how == "shard_map":  # without the axis each device knows its own share only
        apart = spread(model).model_state["batch_stats"]["norm1"]["var"]
        other = alone.model_state["batch_stats"]["norm1"]["var"]
        assert np.abs(apart / other - 1).max() > 0.01


def test_only_modules_with_an_axis_name_average_over_devices():
    import flax.linen as nn

    assert wd.from_linen(nn.BatchNorm(use_running_average=False)).over_axis
    assert wd.from_linen(nn.Dense(3)).over_axis is None
    assert by_name("vit", classes=3).over_axis is None
    assert by_name("mlp", classes=3).over_axis is None


# --- what they compute --------------------------------------------------------------


def test_a_later_character_changes_no_earlier_output():
    model = by_name("gpt", classes=20, **TINY["gpt"])
    ids = jnp.arange(16, dtype=jnp.int32)[None]
    params, state = filled("gpt", classes=20, **TINY["gpt"])
    run = jax.jit(lambda x: model.apply(params, state, x, train=False)[0])
    before, after = run(ids), run(ids.at[0, 9].set(19))
    np.testing.assert_array_equal(before[:, :9], after[:, :9])
    assert (before[:, 9:] != after[:, 9:]).any(-1).all()
    shorter = run(ids[:, :5])
    np.testing.assert_allclose(shorter, before[:, :5], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["resnet18", "wrn", "vit", "gpt"])
def test_dropout_acts_while_training_only_and_its_rate_may_be_traced(name):
    model = by_name(name, classes=5, **TINY[name])
    x = jnp.ones((2, *IMAGE)) if name != "gpt" else jnp.ones((2, *IDS), jnp.int32)
    params, state = filled(name, classes=5, **TINY[name])
    run = jax.jit(
        lambda rate, seed: model.apply(
            params, state, x, train=True, dropout_rate=rate, key=key(seed)
        )[0]
    )
    assert model.takes_dropout
    np.testing.assert_array_equal(run(0.0, 1), run(0.0, 2))
    assert (run(0.5, 1) != run(0.5, 2)).any()


def test_inner_kernels_of_a_gpt_start_smaller_the_deeper_it_is():
    model = by_name("gpt", classes=20, depth=2, width=64, heads=2)
    init = jax.jit(lambda k: model.init(k, jnp.zeros(4, jnp.int32), 0.0)[0]["block2"])
    block = init(key())
    assert float(block["dense1"]["kernel"].std()) == pytest.approx(0.02, rel=0.05)
    assert float(block["dense2"]["kernel"].std()) == pytest.approx(0.01, rel=0.05)
    out = float(block["attention"]["out"]["kernel"].std())
    assert out == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize(
    ("side", "stride", "padding"),
    [
        (3, 1, ((1, 1), (1, 1))),
        (3, 2, ((1, 1), (1, 1))),
        (1, 2, ((0, 0), (0, 0))),
        (5, 2, ((2, 2), (2, 2))),
        (2, 2, "VALID"),
        (3, 2, "SAME"),
    ],
)
def test_convolution_as_a_product_is_the_convolution(side, stride, padding):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 9, 8, 3)).astype(np.float32)
    kernel = rng.normal(size=(side, side, 3, 4)).astype(np.float32)
    order = ("NHWC", "HWIO", "NHWC")

    def outcome(convolve):
        def total(x, kernel):
            y = convolve(x, kernel, (stride, stride), padding, dimension_numbers=order)
            return jnp.sum(jnp.sin(y)), y

        return jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(x, kernel)

    got = outcome(conv_as_product)
    want = outcome(jax.lax.conv_general_dilated)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


# --- mistakes -----------------------------------------------------------------------

MISTAKES = [
    (
        "resnet18",
        {"widths": 3},
        IMAGE,
        r"'resnet18' does not take widths=3; it takes bl",
    ),
    ("resnet18", {"blocks": 2}, IMAGE, r"blocks=2 is not allowed; give numbers as in"),
    ("resnet18", {"norm": "layer"}, IMAGE, r"unknown norm 'layer'.*batch, group"),
    ("resnet18", {"conv": "fft"}, IMAGE, r"unknown convolution 'fft'"),
    ("resnet18", {}, (10,), r"resnet18: inputs of shape \(1, 10\); give images"),
    ("wrn", {"depth": 17}, IMAGE, r"depth=17 is not 6n \+ 4; nearest: 16 or 22"),
    ("wrn", {}, (10,), r"wrn: inputs of shape"),
    ("vit", {"patch": 3}, IMAGE, r"8×8 do not divide .* 3×3; patch may be 1, 2, 4, 8"),
    ("vit", {"heads": 5}, IMAGE, r"width=64 does not divide over heads=5"),
    ("vit", {"pool": "max"}, IMAGE, r"unknown pool 'max'"),
    ("vit", {}, (10,), r"vit: inputs of shape"),
    ("gpt", {}, (10,), r"gpt: inputs of shape \(1, 10\) and dtype float32; give whole"),
    ("gpt", {"init": "hee"}, (10,), r"unknown initializer 'hee'"),
]


@pytest.mark.parametrize(("name", "options", "shape", "message"), MISTAKES)
def test_mistakes_are_errors_in_one_line(name, options, shape, message):
    with pytest.raises(wd.InputError, match=message) as caught:
        model = by_name(name, classes=10, **options)
        model.init(key(), jnp.ones(shape), 0.0)
    assert "\n" not in str(caught.value)


def test_a_longer_text_than_there_are_positions_is_an_error():
    model = by_name("gpt", classes=20, **TINY["gpt"])
    params, _ = jax.eval_shape(
        lambda k: model.init(k, jnp.zeros(16, jnp.int32), 0.0), key()
    )
    with pytest.raises(wd.InputError, match=r"17 characters; its positions end at 16"):
        jax.eval_shape(
            lambda p: model.apply(p, {}, jnp.zeros((1, 17), jnp.int32), train=False),
            params,
        )


def test_recipes_know_the_table_of_models():
    for name in MODELS:
        assert wd.Recipe(model=name).model == name
    with pytest.raises(wd.InputError, match="unknown model 'resnet'"):
        wd.Recipe(model="resnet")
