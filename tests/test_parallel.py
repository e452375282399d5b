"""The same step under every layout: whole runs on two fake devices, then on eight."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_training import TINY, digits  # noqa: F401  # a fixture

import jaxwd as wd
from jaxwd.losses import task
from jaxwd.training.parallel import AXIS, LAYOUTS, layout
from jaxwd.training.step import Batch, Hyper, State, make_step

RECIPES = {
    "momentum, coupled, clipped": dataclasses.replace(
        TINY,
        optimizer="momentum",
        learning_rate=0.02,
        decay=wd.coupled(0.01),
        clip="global_norm",
    ),
    "penalized cnn": dataclasses.replace(
        TINY,
        model="cnn",
        model_options=(("channels", (4, 16)), ("hidden", (8,))),
        decay=wd.penalized(0.01),
    ),
}


def test_two_devices_are_there():
    assert jax.device_count() == 2


@pytest.mark.parametrize(
    ("how", "name"),
    [
        ("sharded", "penalized cnn"),
        ("fsdp", "penalized cnn"),
        ("shard_map", "momentum, coupled, clipped"),
        ("pmap", "momentum, coupled, clipped"),
    ],
)
def test_layouts_equal_one_device(how, name, digits):  # noqa: F811
    alone = wd.run(RECIPES[name], digits)
    spread = wd.run(RECIPES[name], digits, layout=how)
    for a, b in zip(
        jax.tree.leaves(alone.params), jax.tree.leaves(spread.params), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
    for x, y in zip(alone.history, spread.history, strict=True):
        for key in x.keys() - {"seconds"}:
            assert x[key] == pytest.approx(y[key], rel=1e-3, abs=1e-5), key


def test_sharded_dropout_equals_one_device(digits):  # noqa: F811
    """One program over the whole batch draws one mask over the whole batch."""
    recipe = dataclasses.replace(TINY, dropout=0.5)
    alone, spread = wd.run(recipe, digits), wd.run(recipe, digits, layout="sharded")
    for a, b in zip(
        jax.tree.leaves(alone.params), jax.tree.leaves(spread.params), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_pmap_draws_another_dropout_mask_on_every_device():
    """The average over devices is that of two masks, each from its folded key."""

    def apply(params, state, inputs, *, train, dropout_rate=0.0, key=None):
        mask = wd.dropout.sample_mask(key, inputs.shape, dropout_rate)
        return inputs @ params["kernel"], {"mask": mask.astype(jnp.float32)}

    model = wd.Model("probe", lambda *a: None, apply)
    step = make_step(
        model,
        task("regression"),
        wd.optimizer("sgd", 0.1),
        Hyper(0.1, wd.none(), 0.5),
        axis=AXIS,
    )
    params = {"kernel": jnp.ones((64, 1))}
    tx_state = wd.optimizer("sgd", 0.1).init(params)
    state = State(jnp.int32(0), params, {}, tx_state)
    batch = Batch(jnp.ones((2, 8, 64)), jnp.zeros((2, 8, 1)))

    def masks(batch):
        # Each device's own mask, drawn here as the step draws it before it averages.
        key = jax.random.fold_in(jax.random.key(0), jax.lax.axis_index(AXIS))
        own = wd.dropout.sample_mask(key, (8, 64), 0.5).astype(jnp.float32)
        after, _ = step(state, batch, jax.random.key(0))
        return own, after.model_state["mask"]

    own, averaged = jax.pmap(masks, axis_name=AXIS)(batch)
    assert (own[0] != own[1]).any()
    np.testing.assert_allclose(averaged[0], own.mean(0))


def test_pmap_with_dropout_trains(digits):  # noqa: F811
    recipe = dataclasses.replace(TINY, dropout=0.3, epochs=4)
    result = wd.run(recipe, digits, layout="pmap")
    assert result.history[-1]["running_loss"] < result.history[0]["running_loss"]
    again = wd.run(recipe, digits, layout="pmap")
    assert result.history[-1]["running_loss"] == again.history[-1]["running_loss"]


def test_running_means_are_averaged_over_devices():
    import flax.linen as nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.BatchNorm(use_running_average=not train, momentum=0.5)(
                x.reshape(len(x), -1)
            )
            return nn.Dense(10)(x)

    model, x = wd.from_linen(Net()), jnp.arange(16.0).reshape(2, 4, 2)
    params, model_state = model.init(jax.random.key(0), x[0, 0], 0.0)
    tx = wd.optimizer("sgd", 0.1)
    step = make_step(
        model, task("classification"), tx, Hyper(0.1, wd.none(), 0.0), axis=AXIS
    )
    state = State(jnp.int32(0), params, model_state, tx.init(params))
    batch = Batch(x, jnp.zeros((2, 4), jnp.int32))
    run = jax.pmap(lambda b: step(state, b, jax.random.key(0))[0], axis_name=AXIS)
    means = run(batch).model_state["batch_stats"]["BatchNorm_0"]["mean"]
    # momentum 0.5 from 0: half the mean over both devices' halves of the batch
    np.testing.assert_allclose(means[0], 0.5 * x.reshape(8, 2).mean(0), rtol=1e-5)
    np.testing.assert_array_equal(means[0], means[1])


def test_several_devices_of_a_layout_of_one_are_refused(digits):  # noqa: F811
    with pytest.raises(wd.InputError, match=r"devices=2: .*use layout='sharded' or"):
        wd.run(TINY, digits, devices=2)
    assert layout("single", 7, 1).devices == 1


def test_all_about_pmap_stands_in_one_file():
    package = pathlib.Path(wd.__file__).parent
    naming = {
        file.name for file in package.rglob("*.py") if "jax.pmap" in file.read_text()
    }
    assert naming == {"pmap.py"}


def test_a_batch_that_does_not_divide_names_the_nearest():
    with pytest.raises(wd.InputError, match="nearest: 6 or 8"):
        layout("pmap", 7, 2)
    with pytest.raises(wd.InputError, match="over 2 devices; nearest: 2$"):
        layout("sharded", 1, 2)


def test_layouts_place_without_moving_numbers():
    for how in LAYOUTS:
        spread = layout(how, 8)
        got = spread.place({"a": jnp.arange(3.0), "key": jax.random.key(1)})
        np.testing.assert_array_equal(got["a"], [0, 1, 2])


def test_the_flag_names_every_layout():
    text = pathlib.Path(wd.__file__).with_name("flags.py").read_text()
    said = text.split("layout: str = ")[1].split('"""')[1]
    for how in LAYOUTS:
        assert how in said


def test_every_layout_on_eight_devices():
    """Another process, since the number of devices is fixed when JAX starts."""
    here = pathlib.Path(__file__).parent
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
         str(here / "eight_devices.py")],
        cwd=here.parent, capture_output=True, text=True, timeout=900,
        env={k: v for k, v in os.environ.items() if "XDIST" not in k}
        | {"JAX_NUM_CPU_DEVICES": "8"},
    )  # fmt: skip
    assert told.returncode == 0, told.stdout[-6000:] + told.stderr[-2000:]
