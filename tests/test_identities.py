"""The named equalities between schemes, and with Optax's own aliases."""

import functools

import helpers
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxwd as wd

KERNELS = wd.kernels.mask


def path(tx, decay=None, steps=60, dtype=np.float32):
    decay = wd.none() if decay is None else decay
    run = jax.jit(lambda p: helpers.descend(tx, p, decay, steps))
    return run(helpers.start(dtype))


@pytest.mark.parametrize("name", helpers.OPTIMIZERS)
def test_penalized_equals_coupled_for_every_core(name, x64):
    a, b = wd.penalized(0.05), wd.coupled(0.05)
    helpers.assert_trees_close(
        path(helpers.build(name, helpers.RATE, decay=a), a, dtype=np.float64),
        path(helpers.build(name, helpers.RATE, decay=b), b, dtype=np.float64),
        rtol=1e-9,
        atol=1e-12,
    )


@pytest.mark.parametrize("name", helpers.OPTIMIZERS)
def test_coupled_equals_decoupled_for_plain_sgd_only(name):
    a, b = wd.coupled(0.3), wd.decoupled(0.3)
    one = path(helpers.build(name, helpers.RATE, decay=a))
    other = path(helpers.build(name, helpers.RATE, decay=b))
    gap = np.abs(np.asarray(one["kernel"] - other["kernel"])).max()
    if name in ("sgd", "torch.sgd"):
        assert gap < 1e-6
    else:
        assert gap > 1e-4


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "lion"])
def test_schedule_decay_equals_decoupled_decay_of_strength_over_peak(name):
    a = wd.decoupled(0.01, times="schedule")
    b = wd.decoupled(0.01 / helpers.ALPHA)
    helpers.assert_trees_close(
        path(wd.optimizer(name, helpers.RATE, decay=a)),
        path(wd.optimizer(name, helpers.RATE, decay=b)),
        rtol=1e-6,
    )


def test_all_multipliers_agree_at_learning_rate_one():
    paths = [
        path(wd.optimizer("adam", 1.0, decay=wd.decoupled(0.1, times=times)))
        for times in ("lr", "schedule", "constant", "corrected")
    ]
    for other in paths[1:]:
        helpers.assert_trees_close(paths[0], other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scheme", [s for s in helpers.SCHEMES if "coupled" in s])
@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "lion"])
def test_strength_zero_is_no_decay_bit_for_bit(name, scheme):
    decay = helpers.SCHEMES[scheme][2](0.0)
    helpers.assert_trees_equal(
        path(wd.optimizer(name, helpers.RATE, decay=decay), decay),
        path(wd.optimizer(name, helpers.RATE)),
    )


def test_penalty_forms_collapse_on_their_gradient():
    """λ‖θ‖², ½(2λ)‖θ‖² and (2λm)/(2m)‖θ‖² are one and the same training."""
    same = [
        wd.penalized(0.02, penalty="l2"),
        wd.penalized(0.04),
        wd.penalized(0.04 * 32, penalty="l2_per_example", examples=32),
        wd.coupled(0.04),
    ]
    paths = [path(wd.optimizer("adam", helpers.RATE, decay=d), d) for d in same]
    for other in paths[1:]:
        helpers.assert_trees_close(paths[0], other, rtol=2e-5, atol=2e-6)


ALIASES = {
    "adamw": (
        lambda rate: optax.adamw(rate, weight_decay=0.1, mask=KERNELS),
        functools.partial(wd.optimizer, "adam", decay=wd.decoupled(0.1)),
    ),
    "adam": (optax.adam, functools.partial(wd.optimizer, "adam")),
    "sgd": (optax.sgd, functools.partial(wd.optimizer, "sgd")),
    "sgd momentum": (
        lambda rate: optax.sgd(rate, momentum=0.9),
        functools.partial(wd.optimizer, "momentum"),
    ),
    "sgd nesterov": (
        lambda rate: optax.sgd(rate, momentum=0.9, nesterov=True),
        functools.partial(wd.optimizer, "nesterov"),
    ),
    "nadamw": (
        lambda rate: optax.nadamw(rate, weight_decay=0.1, mask=KERNELS),
        functools.partial(wd.optimizer, "nadam", decay=wd.decoupled(0.1)),
    ),
    "adamaxw": (
        lambda rate: optax.adamaxw(rate, weight_decay=0.1, mask=KERNELS),
        functools.partial(wd.optimizer, "adamax", decay=wd.decoupled(0.1)),
    ),
    "lion": (
        lambda rate: optax.lion(rate, weight_decay=0.1, mask=KERNELS),
        functools.partial(wd.optimizer, "lion", decay=wd.decoupled(0.1)),
    ),
    "adadelta": (
        lambda rate: optax.adadelta(rate, 0.9, 1e-6, 0.1, KERNELS),
        functools.partial(wd.optimizer, "adadelta", decay=wd.coupled(0.1)),
    ),
    "adagrad": (optax.adagrad, functools.partial(wd.optimizer, "adagrad")),
    "rmsprop": (optax.rmsprop, functools.partial(wd.optimizer, "rmsprop")),
    "amsgrad": (optax.amsgrad, functools.partial(wd.optimizer, "amsgrad")),
    "radam": (optax.radam, functools.partial(wd.optimizer, "radam")),
    "adabelief": (optax.adabelief, functools.partial(wd.optimizer, "adabelief")),
    "yogi": (optax.yogi, functools.partial(wd.optimizer, "yogi")),
    "lamb": (
        lambda rate: optax.lamb(rate, weight_decay=0.1, mask=KERNELS),
        functools.partial(wd.optimizer, "lamb.inside", decay=wd.decoupled(0.1)),
    ),
    "lamb without decay": (optax.lamb, functools.partial(wd.optimizer, "lamb")),
    "novograd without decay": (
        optax.novograd,
        functools.partial(wd.optimizer, "novograd"),
    ),
    "adan": (
        lambda rate: optax.adan(rate, weight_decay=0.1, mask=KERNELS),
        functools.partial(wd.optimizer, "adan", decay=wd.decoupled(0.1)),
    ),
    "adopt": (optax.contrib.adopt, functools.partial(wd.optimizer, "adopt")),
    "ademamix": (
        lambda rate: optax.contrib.ademamix(rate, weight_decay=0.1, mask=KERNELS),
        functools.partial(wd.optimizer, "ademamix", decay=wd.decoupled(0.1)),
    ),
    "muon": (
        lambda rate: optax.contrib.muon(rate, weight_decay=0.1),
        functools.partial(
            wd.optimizer, "muon", decay=wd.decoupled(0.1, where=wd.by_ndim(vectors=0))
        ),
    ),
    "muon, vectors too": (
        lambda rate: optax.contrib.muon(
            rate, weight_decay=0.1, adam_weight_decay=0.05, consistent_rms=0.2
        ),
        functools.partial(
            wd.optimizer,
            "muon",
            consistent_rms=0.2,
            decay=wd.decoupled(0.1, where=wd.by_ndim(matrices=1.0, vectors=0.5)),
        ),
    ),
    "sophia": (
        lambda rate: optax.contrib.sophia(
            rate, weight_decay=0.1, weight_decay_mask=KERNELS
        ),
        functools.partial(wd.optimizer, "sophia", decay=wd.decoupled(0.1)),
    ),
}

# Aliases that have the learning rate inside: the same while it stays constant. A power
# of two moves through a product without rounding, so the bits can be compared.
RATE_INSIDE = {
    "lars": (
        lambda rate: optax.lars(rate, weight_decay=0.1, weight_decay_mask=KERNELS),
        functools.partial(wd.optimizer, "lars", decay=wd.coupled(0.1)),
        2.0**6,
    ),
    "adafactor": (
        lambda rate: optax.adafactor(
            rate, 2, weight_decay_rate=0.01, weight_decay_mask=KERNELS, momentum=0.9
        ),
        functools.partial(
            wd.optimizer,
            "adafactor",
            min_dim_size_to_factor=2,
            momentum=0.9,
            decay=wd.decoupled(0.01, times="constant"),
        ),
        2.0**-6,
    ),
    "prodigy": (
        optax.contrib.prodigy,
        functools.partial(wd.optimizer, "prodigy"),
        2.0**-1,
    ),
}


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize("rate", [0.01, helpers.RATE], ids=["constant", "schedule"])
def test_optax_alias_is_matched_exactly(alias, rate):
    theirs, ours = ALIASES[alias]
    helpers.assert_trees_equal(path(theirs(rate)), path(ours(rate)))


@pytest.mark.parametrize("alias", RATE_INSIDE)
def test_optax_alias_with_its_rate_inside_is_matched_at_a_constant_rate_only(alias):
    theirs, ours, rate = RATE_INSIDE[alias]
    helpers.assert_trees_equal(path(theirs(rate)), path(ours(rate)))
    moving = wd.one_cycle(rate, steps=60)
    a, b = path(theirs(moving))["kernel"], path(ours(moving))["kernel"]
    assert np.abs(np.asarray(a - b)).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "alias", "rate"),
    [
        ("lamb.inside", optax.lamb, helpers.RATE),
        ("novograd.inside", optax.novograd, helpers.RATE),
        ("prodigy.inside", optax.contrib.prodigy, 0.5),
    ],
)
def test_inside_is_where_optax_has_it(name, alias, rate, x64):
    decay = wd.decoupled(0.1, where=wd.everything)
    theirs = path(alias(rate, weight_decay=0.1), dtype=np.float64)
    ours = path(wd.optimizer(name, rate, decay=decay), dtype=np.float64)
    helpers.assert_trees_close(theirs, ours, rtol=1e-12, atol=1e-12)
    free = path(wd.optimizer(name, rate), dtype=np.float64)
    assert np.abs(free["bias"] - ours["bias"]).max() > 1e-3


# --- properties -----------------------------------------------------------------------

numbers = functools.partial(st.floats, allow_nan=False, width=32)


@given(strength=numbers(0.0, 1.0), rate=numbers(0.0, 1.0), weight=numbers(-4.0, 4.0))
def test_decoupled_shrink_factor_is_one_minus_rate_times_strength(
    strength, rate, weight
):
    params = {"kernel": jnp.full(2, weight)}
    tx = wd.optimizer(
        "adam", jnp.float32(rate), decay=wd.decoupled(jnp.float32(strength))
    )
    updates, _ = tx.update({"kernel": jnp.zeros(2)}, tx.init(params), params)
    want = weight * (1 - rate * strength)
    np.testing.assert_allclose(params["kernel"] + updates["kernel"], want, atol=2e-6)


@given(a=numbers(0.0, 0.5), b=numbers(0.0, 0.5))
def test_decoupled_decay_is_linear_in_strength(a, b):
    params = {"kernel": jnp.arange(1.0, 4.0)}

    def moved(strength):
        tx = wd.optimizer("adam", 0.1, decay=wd.decoupled(jnp.float32(strength)))
        return tx.update(params, tx.init(params), params)[0]["kernel"]

    np.testing.assert_allclose(
        moved(a) + moved(b), moved(a + b) + moved(0.0), rtol=1e-5, atol=1e-6
    )


@given(scale=numbers(0.0625, 16.0))
def test_decoupled_adam_is_scale_free_and_coupled_adam_is_not(scale):
    """With ε = 0, scaling the gradient changes nothing unless decay is coupled.

    Source: Zhuang et al., Understanding AdamW through proximal methods and
    scale-freeness, 2022.
    """

    run = jax.jit(scaled_adam, static_argnums=0)
    free, tied = run(wd.decoupled(0.1), scale), run(wd.coupled(0.5), scale)
    np.testing.assert_allclose(free, run(wd.decoupled(0.1), 1.0), rtol=1e-3, atol=1e-4)
    if not 0.5 < scale < 2:
        assert np.abs(tied - run(wd.coupled(0.5), 1.0)).max() > 1e-3


def scaled_adam(decay, factor):
    tx = wd.optimizer("adam", 0.01, decay=decay, eps=0.0)

    def gradient(params, t):
        return jax.tree.map(lambda g: factor * g, helpers.toy_gradient(params, t))

    start = helpers.start(np.float32)
    return helpers.descend(tx, start, decay, 20, gradient)["kernel"]
