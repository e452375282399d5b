"""Leaves that feed a normalisation are found by trying; jumps take an explicit key."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxwd as wd


class Normed(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), use_bias=False, name="conv")(x)
        x = nn.BatchNorm(use_running_average=False, name="norm")(x)
        x = nn.relu(x).reshape(x.shape[0], -1)
        x = nn.Dense(6, name="dense")(x)
        x = nn.LayerNorm(name="second")(nn.Dense(6, use_bias=False, name="free")(x))
        return nn.Dense(3, name="head")(x)


def normed():
    x = jax.random.normal(jax.random.key(1), (8, 6, 6, 1))
    variables = Normed().init(jax.random.key(0), x)

    def function(params):
        return Normed().apply(
            {"params": params, "batch_stats": variables["batch_stats"]},
            x,
            mutable=["batch_stats"],
        )[0]

    return function, variables["params"]


def test_leaves_that_feed_a_norm_are_found():
    where = wd.scale_free(*normed())
    # At init every bias is 0, so ReLU and `dense` pass a length on to `second`.
    assert str(where) == "conv/kernel, dense/kernel, free/kernel, norm/scale"


def test_a_bias_breaks_the_freedom():
    function, params = normed()
    params["dense"]["bias"] = jnp.arange(6.0)
    assert str(wd.scale_free(function, params)) == "conv/kernel, free/kernel"


def test_a_model_without_norms_says_what_to_do():
    with pytest.raises(wd.InputError, match="training mode"):
        wd.scale_free(lambda p: p["kernel"] * 2, {"kernel": jnp.ones(2)})


def test_it_is_a_where_like_any_other():
    function, params = normed()
    decay = wd.decoupled(0.1, times="corrected", where=wd.scale_free(function, params))
    tx = wd.optimizer("adam", 0.1, decay=decay)
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(zero, tx.init(params), params)
    moved = {k for k, v in updates.items() if np.any(v.get("kernel", 0))}
    assert moved == {"conv", "dense", "free"}


def test_by_depth_falls_towards_the_input():
    where = wd.by_depth(["a/kernel", "b/kernel", "c/kernel"], 0.5)
    params = {k: {"kernel": jnp.ones(2)} for k in "abc"}
    assert [x["kernel"] for x in where.multipliers(params).values()] == [0.25, 0.5, 1]


def test_shrink_and_perturb_has_the_moments_it_says_and_its_key_decides():
    params = {"kernel": jnp.full(20_000, 2.0), "bias": jnp.ones(3)}
    key = jax.random.key(0)
    jump = lambda: wd.shrink_and_perturb(  # noqa: E731
        jax.random.clone(key), params, keep=0.5, noise=0.1, where="kernel"
    )
    got = jump()
    assert float(got["kernel"].mean()) == pytest.approx(1.0, abs=0.005)
    assert float(got["kernel"].std()) == pytest.approx(0.1, rel=0.03)
    np.testing.assert_array_equal(got["bias"], params["bias"])
    np.testing.assert_array_equal(got["kernel"], jump()["kernel"])
    with pytest.raises(wd.InputError, match=r"keep=1.5 is not allowed"):
        wd.shrink_and_perturb(key, params, keep=1.5)
