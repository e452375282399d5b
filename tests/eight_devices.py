"""The same step under every layout, on eight devices; test_parallel.py runs this file.

By itself: `JAX_NUM_CPU_DEVICES=8 pytest tests/eight_devices.py`.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_trees_close

import jaxwd as wd
from jaxwd.losses import task
from jaxwd.probe import sample
from jaxwd.training import LAYOUTS, Batch, Recipe, State, make_step
from jaxwd.training.arrays import Stats, arrays_of
from jaxwd.training.functions import functions, order_of
from jaxwd.training.parallel import layout
from jaxwd.training.program import compile_program
from jaxwd.training.step import Hyper

SPREAD = [name for name in LAYOUTS if name != "single"]
BY_SHARE = [name for name, row in LAYOUTS.items() if row.by_share]
CLOSE = {"rtol": 1e-5, "atol": 1e-6}
"""Sums are taken in another order: some units in float32's last place, per step."""


def recipe(**changes):
    usual = {
        "dataset": "digits",
        "model": "mlp",
        "model_options": {"hidden": (16,)},
        "train_examples": 200,
        "epochs": 1,
        "batch_size": 16,
    }
    return Recipe(**(usual | changes))


RECIPES = {
    "sgd, coupled": recipe(optimizer="momentum", decay=wd.coupled(0.01)),
    "adam, decoupled": recipe(
        optimizer="adam", learning_rate=0.003, decay=wd.decoupled(0.5)
    ),
    "penalized, clipped": recipe(
        decay=wd.penalized(0.01), clip="global_norm", clip_at=0.5
    ),
    "cautious": recipe(
        optimizer="lion", learning_rate=0.001, decay=wd.cautious(wd.decoupled(0.5))
    ),
    "norms of whole leaves": recipe(
        optimizer="lamb", learning_rate=0.01, decay=wd.norm_ball(1.5)
    ),
    "in parts, with an average": recipe(
        optimizer="adam",
        learning_rate=0.003,
        decay=wd.decoupled(0.5),
        accumulate=2,
        average=0.9,
    ),
    "labels changed, recomputed": recipe(label_noise=0.3, remat="elementwise"),
}
# All recipes by one layout of either kind; the others are compiled in the same way.
PAIRS = [(how, name) for how in ("shard_map", "fsdp") for name in RECIPES] + [
    (how, name)
    for how in ("sharded", "pmap")
    for name in ("adam, decoupled", "in parts, with an average")
]


@pytest.fixture(scope="module")
def digits():
    return wd.load("digits").take(200)


def compiled(recipe, data, how):
    """Return layout, arrays, numbers, root and the start, compiled pieces apart."""
    spread = layout(how, recipe.batch_size)
    arrays = spread.place(arrays_of(data))
    numbers = spread.place(jax.tree.map(jnp.float32, recipe.numbers()))
    root = spread.place(jax.random.key(recipe.seed))
    pure = functions(
        recipe.structure(),
        data.task,
        data.outputs,
        data.train.examples,
        axis=spread.axis,
        local=spread.local,
        devices=spread.devices,
    )
    state = spread.abstract_state(jax.eval_shape(pure.init, root, numbers, arrays))
    start = spread.once(pure.init, root, numbers, arrays, out=state)
    return spread, pure, start(root, numbers, arrays), (numbers, root, arrays)


def an_epoch(recipe, data, how):
    """Return state, losses, scores and Info behind one epoch."""
    spread, pure, state, (numbers, root, arrays) = compiled(recipe, data, how)
    given = (state, numbers, root, spread.place(jnp.int32(0)), arrays)
    return spread.spread(pure.epoch, 0, *given)(*given)


@functools.cache
def on_one_device(name):
    return an_epoch(RECIPES[name], wd.load("digits").take(200), "single")


def test_eight_devices_are_there():
    assert jax.device_count() == 8


# --- one step, every layout -----------------------------------------------------------


@pytest.mark.parametrize(("how", "name"), PAIRS)
def test_every_layout_equals_one_device(how, name, digits):
    """State, losses, scores and the whole report: norms, penalty, the decay's share."""
    assert_trees_close(
        an_epoch(RECIPES[name], digits, how), on_one_device(name), **CLOSE
    )


@pytest.mark.parametrize("how", ["sharded", "fsdp"])
def test_one_program_over_the_batch_draws_one_dropout_mask(how, digits):
    dropping = recipe(dropout=0.5)
    alone, spread = (an_epoch(dropping, digits, h) for h in ("single", how))
    assert_trees_close(spread, alone, **CLOSE)


class Normed(nn.Module):
    axis_name: Any = None

    @nn.compact
    def __call__(self, x, train):
        x = nn.Dense(16)(x.reshape(len(x), -1))
        x = nn.BatchNorm(use_running_average=not train, axis_name=self.axis_name)(x)
        return nn.Dense(10)(nn.relu(x))


@pytest.mark.parametrize("how", ["shard_map", "pmap", "fsdp"])
def test_batch_norms_take_the_moments_of_the_whole_batch(how, digits):
    """Each device has 2 rows of 16: their own moments would be far from the batch's."""
    chosen = recipe(
        model=wd.from_linen(Normed()), model_options={}, decay=wd.coupled(0.01)
    )
    alone, spread = (an_epoch(chosen, digits, h) for h in ("single", how))
    assert_trees_close(spread, alone, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("how", BY_SHARE)
def test_batch_norms_that_know_no_axis_are_refused(how, digits):
    class Alone(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.BatchNorm(use_running_average=not train)(x.reshape(len(x), -1))
            return nn.Dense(10)(x)

    chosen = recipe(model=wd.from_linen(Alone()), model_options={})
    with pytest.raises(wd.InputError, match=f"{how}.*use layout='sharded' or 'fsdp'"):
        wd.run(chosen, digits, layout=how)


@pytest.mark.parametrize("how", BY_SHARE)
def test_counters_and_marks_of_a_model_are_no_means(how, digits):
    """A state of integers, truths and floats; each device would count the same."""
    inner = wd.models.by_name("mlp", classes=10, hidden=(16,))

    def init(*given):
        start = {"count": jnp.int32(0), "began": False, "mean": jnp.float32(0)}
        return inner.init(*given)[0], jax.tree.map(jnp.asarray, start)

    def apply(params, state, inputs, *, train, dropout_rate=0.0, key=None):
        outputs, _ = inner.apply(params, {}, inputs, train=train, key=key)
        new = {
            "count": state["count"] + 1,
            "began": jnp.bool_(True),
            "mean": inputs.mean(),
        }
        return outputs, (new if train else state)

    model = wd.Model("counting", init, apply, False, "", lambda axis: model)
    chosen = recipe(model=model, model_options={})
    state = an_epoch(chosen, digits, how)[0].model_state
    assert (int(state["count"]), bool(state["began"])) == (12, True)
    last = order_of(jax.random.key(0), 0, 200)[176:192]
    rows = (digits.train.inputs[last] - digits.mean) / digits.std
    np.testing.assert_allclose(state["mean"], rows.mean(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("how", ["shard_map"])
def test_weights_rounded_by_chance_round_alike(how, digits):
    """Two steps: rounding by other chances would tell many weights apart.

    Kernels, that is: biases start at 0, where a gradient's own last bits are seen.
    """
    chosen = recipe(precision="bfloat16_stochastic", decay=wd.decoupled(0.5))
    few = digits.take(32)
    alone, spread = (an_epoch(chosen, few, h)[0].params for h in ("single", how))
    same = [
        np.asarray(alone[layer]["kernel"] == spread[layer]["kernel"]).mean()
        for layer in alone
    ]
    assert min(same) > 0.8, same


@pytest.mark.parametrize("how", BY_SHARE)
def test_every_device_draws_a_mask_of_its_own(how):
    """What the step averages is the mean of eight masks, each from its folded key."""

    def apply(params, state, inputs, *, train, dropout_rate=0.0, key=None):
        mask = wd.dropout.sample_mask(key, inputs.shape, dropout_rate)
        return inputs @ params["kernel"], {"mask": mask.astype(jnp.float32)}

    spread = layout(how, 16)
    model, tx = wd.Model("probe", lambda *a: None, apply), wd.optimizer("sgd", 0.1)
    hyper = Hyper(0.1, wd.none(), 0.5)
    step = make_step(model, task("regression"), tx, hyper, axis=spread.axis)
    params = {"kernel": jnp.ones((64, 1))}
    state = State(jnp.int32(0), params, {"mask": jnp.zeros((2, 64))}, tx.init(params))
    state = spread.place_state(state)
    raw = Batch(np.ones((16, 64), np.float32), np.zeros((16, 1), np.float32))
    batch = spread.place_batch(raw, axis=0)
    key = spread.place(jax.random.key(3))
    given = (state, batch, key)
    after, _ = spread.spread(step, 0, *given)(*given)
    keys = [jax.random.fold_in(jax.random.key(3), i) for i in range(8)]
    masks = np.array([wd.dropout.sample_mask(k, (2, 64), 0.5) for k in keys])
    assert len({mask.tobytes() for mask in masks}) == 8
    np.testing.assert_allclose(after.model_state["mask"], masks.mean(0))


@pytest.mark.parametrize("how", SPREAD)
def test_batches_from_elsewhere_give_an_epoch_of_the_same_order(how, digits):
    """`steps` on batches that were read outside, each device with its own rows."""
    name = "adam, decoupled"
    chosen = RECIPES[name]
    spread, pure, state, (numbers, root, arrays) = compiled(chosen, digits, how)
    rows = order_of(jax.random.key(chosen.seed), 0, 200)[:192].reshape(12, 16)
    raw = Batch(digits.train.inputs[rows], digits.train.targets[rows])
    batches = spread.place_batch(raw)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), raw)
    for given, said in zip(
        jax.tree.leaves(batches),
        jax.tree.leaves(spread.abstract_batch(shapes)),
        strict=True,
    ):
        assert given.sharding == said.sharding
        assert given.shape == said.shape
        assert {s.data.size for s in given.addressable_shards} == {given.size // 8}
    stats = Stats(arrays.mean, arrays.scale)
    given = (state, numbers, root, batches, stats)
    got = spread.spread(pure.steps, 0, *given)(*given)
    assert_trees_close(got, on_one_device(name), **CLOSE)


@pytest.mark.parametrize("how", SPREAD)
def test_every_example_of_a_split_counts_once(how, digits):
    """Splits of 269, 5 and 200 examples over 8 devices: none divides but the last."""
    few = wd.data.Split(*(x[:5] for x in digits.validation))
    data = wd.Dataset(**(vars(digits) | {"validation": few}))
    chosen = recipe()
    spread, _, state, (_, _, arrays) = compiled(chosen, data, how)
    program = compile_program(
        chosen.structure(), data.task, 10, spread, spread.abstract(arrays)
    )
    model = wd.models.by_name("mlp", classes=10, hidden=(16,))
    for part in ("train", "validation", "test"):
        split = getattr(data, part)
        loss, score = program.evaluate[part](
            state.params,
            state.model_state,
            getattr(arrays, part),
            arrays.mean,
            arrays.scale,
        )
        inputs = (np.asarray(split.inputs, np.float32) - data.mean) / data.std
        host = spread.on_host(state.params)
        outputs, _ = model.apply(host, {}, jnp.asarray(inputs), train=False)
        right = np.asarray(outputs.argmax(-1)) == split.targets
        losses = np.asarray(task(data.task).loss(outputs, jnp.asarray(split.targets)))
        assert score.item() == pytest.approx(right.mean(), abs=1e-7)
        assert loss.item() == pytest.approx(losses.astype(float).mean(), rel=1e-6)


def test_parts_of_a_batch_that_do_not_divide_name_the_nearest(digits):
    """Those named are taken: they divide over the devices and into the parts."""
    with pytest.raises(
        wd.InputError,
        match="batch_size=50 does not divide over 8 devices in 5 parts each; nearest: "
        "40 or 80",
    ):
        wd.run(recipe(batch_size=50, accumulate=5), digits, layout="sharded")
    assert layout("sharded", 80, parts=5).devices == 8


# --- a model larger than one device ---------------------------------------------------

WIDE = recipe(
    model_options={"hidden": (512, 512)},
    optimizer="adam",
    learning_rate=0.001,
    decay=wd.decoupled(0.1),
)


def bytes_on_each(tree):
    """Return the bytes that each device holds of a tree, counted shard by shard."""
    held = dict.fromkeys(jax.devices(), 0)
    for leaf in jax.tree.leaves(tree):
        for shard in leaf.addressable_shards:
            held[shard.device] += shard.data.nbytes
    return list(held.values())


def test_fsdp_keeps_an_eighth_of_weights_and_optimizer_state_on_each_device(digits):
    spread, pure, state, (numbers, root, arrays) = compiled(WIDE, digits, "fsdp")
    whole = sum(x.nbytes for x in jax.tree.leaves(state))
    before = bytes_on_each(state)
    assert max(before) < 1.01 * whole / 8
    given = (state, numbers, root, spread.place(jnp.int32(0)), arrays)
    epoch = spread.spread(pure.epoch, 0, *given)
    after = epoch(*given)[0]
    assert bytes_on_each(after) == before
    assert jax.tree.map(lambda x: x.sharding, after) == jax.tree.map(
        lambda x: x.sharding, spread.abstract_state(after)
    )


@pytest.mark.parametrize(("depth", "rows", "parts"), [(4, 16, 1), (8, 512, 8)])
def test_fsdp_needs_less_memory_than_the_weights_alone(depth, rows, parts):
    """XLA's own account for each device: what it is given, data apart, and what it uses.

    Of an epoch that is weights, Adam's two moments and all between them; of an
    evaluation, 256 rows at a time, weights and activations: all layers at once would
    be as much as the weights.
    """
    data = wd.load("digits").take(1024)
    chosen = recipe(
        model_options={"hidden": (512,) * depth},
        train_examples=1024,
        optimizer="adam",
        batch_size=rows,
        accumulate=parts,
    )
    spread = layout("fsdp", rows, parts=parts)
    arrays = spread.place(arrays_of(data))
    program = compile_program(
        chosen.structure(), data.task, 10, spread, spread.abstract(arrays)
    )
    weights = 4 * (64 * 512 + 512 * 512 * (depth - 1) + 512 * 10)
    account = program.epoch.memory_analysis()
    held = account.argument_size_in_bytes - sum(
        x.nbytes for x in jax.tree.leaves(arrays)
    )
    assert held == pytest.approx(3 * weights / 8, rel=0.05)
    assert held + account.temp_size_in_bytes < weights
    evaluation = program.evaluate["test"].memory_analysis()
    activations = 4 * 256 * 512
    assert evaluation.temp_size_in_bytes < weights / 8 + 4 * activations


def test_explain_masks_and_diagnostics_take_sharded_trees(digits):
    spread, _, state, _ = compiled(WIDE, digits, "fsdp")
    kernels = [layer["kernel"] for layer in state.params.values()]
    assert not any(kernel.is_fully_replicated for kernel in kernels)
    host = spread.on_host(state.params)
    tx = wd.optimizer("adam", 0.01, decay=wd.decoupled(0.1))
    assert str(wd.explain(tx, state.params)) == str(wd.explain(tx, host))
    muon, small = wd.optimizer("muon", 0.01, decay=wd.decoupled(0.1)), jnp.eye(16)
    there = spread.place_state({"kernel": small})
    assert not there["kernel"].is_fully_replicated
    assert str(wd.explain(muon, there)) == str(wd.explain(muon, {"kernel": small}))
    for given, drawn in zip(
        *map(jax.tree.leaves, (state.params, sample.gradient(state.params))),
        strict=True,
    ):
        assert drawn.sharding == given.sharding
    assert str(wd.mask_report(wd.kernels, state.params)) == str(
        wd.mask_report(wd.kernels, host)
    )
    balance = functools.partial(wd.balance, learning_rate=0.01, strength=0.1)
    turned = jax.tree.map(lambda x: 0.01 * (1 + x[..., ::-1]), state.params)
    assert_trees_close(
        jax.jit(balance)(state.params, turned, turned),
        balance(host, *(spread.on_host(turned),) * 2),
        rtol=1e-4,
    )


@pytest.mark.parametrize("how", ["shard_map", "fsdp"])
def test_a_whole_run_reports_what_one_device_reports(how, digits):
    alone, spread = (
        wd.run(recipe(epochs=2), digits, layout=h) for h in ("single", how)
    )
    assert_trees_close(spread.params, alone.params, **CLOSE)
    for x, y in zip(alone.history, spread.history, strict=True):
        for key in x.keys() - {"seconds"}:
            assert x[key] == pytest.approx(y[key], rel=1e-4), key
