"""Schedule-Free averaging: decay at y and at z against the NumPy rule and Optax."""

import helpers
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rules
import rules_more

import jaxwd as wd
from jaxwd.optimizers.schedule_free import WITHOUT_MOMENTUM

STEPS = 60
RATE = wd.constant(0.05, steps=STEPS, warmup=10)  # from 0: the first step stands still
EVALUATED = optax.contrib.schedule_free_eval_params

# The cores without momentum, in NumPy.
RULES = {name: rules.CORES[name] for name in WITHOUT_MOMENTUM} | {
    "adam": lambda: rules.Adam(b1=0.0),
    "amsgrad": lambda: rules.Amsgrad(b1=0.0),
    "radam": lambda: rules.Radam(b1=0.0),
    "torch.adam": lambda: rules.Adam(b1=0.0),
    "torch.amsgrad": lambda: rules.TorchAmsgrad(b1=0.0),
    "torch.radam": lambda: rules.TorchRadam(b1=0.0),
}
SCHEMES = {
    "none": (wd.none(), "y"),
    "penalized": (wd.penalized(0.3), "y"),
    "coupled": (wd.coupled(0.3), "y"),
    "decoupled at y": (wd.decoupled(0.3), "y"),
    "decoupled at z": (wd.decoupled(0.3), "z"),
}


def train(tx, params, decay, steps=STEPS):
    """Return the trajectories of y and of the average x."""

    def step(carry, t):
        y, state = carry
        grads = helpers.toy_gradient(y, t)
        if decay.kind == "penalized":
            extra = jax.grad(lambda p: wd.penalties.of_scheme(decay, p, t))(y)
            grads = jax.tree.map(jnp.add, grads, extra)
        updates, state = tx.update(grads, state, y)
        y = optax.apply_updates(y, updates)
        return (y, state), (y, EVALUATED(state, y))

    start = (params, tx.init(params))
    return jax.jit(lambda s: jax.lax.scan(step, s, jnp.arange(steps))[1])(start)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", WITHOUT_MOMENTUM)
def test_y_and_x_follow_the_numpy_rule(name, scheme, x64):
    decay, at = SCHEMES[scheme]
    params = helpers.start()
    tx = wd.schedule_free(name, RATE, decay=decay, decay_at=at)
    ys, xs = train(tx, params, decay)
    h, z = helpers.curvatures(), helpers.noise()
    for leaf in params:
        want_y, want_x = rules_more.schedule_free(
            RULES[name](),
            decay.kind,
            at,
            0.3 if leaf == "kernel" else 0.0,
            params[leaf],
            lambda theta, t, leaf=leaf: h[leaf] * (theta - 1.0) + z[leaf][t],
            np.asarray(RATE(jnp.arange(STEPS + 1))),
        )
        assert np.abs(want_y[-1] - want_y[0]).max() > 1e-3
        np.testing.assert_allclose(ys[leaf], want_y[1:], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(xs[leaf], want_x[1:], rtol=1e-6, atol=1e-8)


def test_the_average_may_be_weighted_and_mixed_otherwise(x64):
    params, (h, z) = helpers.start(), (helpers.curvatures(), helpers.noise())
    decay = wd.decoupled(0.3, where=wd.everything)
    tx = wd.schedule_free("sgd", RATE, decay=decay, b1=0.6, weight_lr_power=0.0)
    ys, xs = train(tx, params, decay)
    want_y, want_x = rules_more.schedule_free(
        rules.Sgd(),
        "decoupled",
        "y",
        0.3,
        params["kernel"],
        lambda theta, t: h["kernel"] * (theta - 1.0) + z["kernel"][t],
        np.asarray(RATE(jnp.arange(STEPS + 1))),
        b1=0.6,
        power=0.0,
    )
    np.testing.assert_allclose(ys["kernel"], want_y[1:], rtol=1e-9)
    np.testing.assert_allclose(xs["kernel"], want_x[1:], rtol=1e-9)


def test_decay_at_y_and_at_z_are_two_different_trainings():
    ys, zs = (
        train(wd.schedule_free("adam", RATE, decay=decay, decay_at=at), start, decay)
        for at in ("y", "z")
        for decay, start in [(wd.decoupled(0.3), helpers.start(np.float32))]
    )
    assert np.abs(ys[1]["kernel"] - zs[1]["kernel"]).max() > 1e-3
    helpers.assert_trees_equal(ys[1]["bias"], zs[1]["bias"])


@pytest.mark.parametrize("rate", [0.05, RATE], ids=["constant", "warmed"])
@pytest.mark.parametrize(
    ("name", "alias", "scheme"),
    [
        ("sgd", optax.contrib.schedule_free_sgd, wd.coupled),
        ("adam", optax.contrib.schedule_free_adamw, wd.decoupled),
    ],
)
def test_optax_alias_is_matched(name, alias, scheme, rate, x64):
    """Optax decays at y, every leaf; its Adam without momentum rounds otherwise."""
    params = helpers.start()
    decay = scheme(0.1, where=wd.everything)
    ours = train(wd.schedule_free(name, rate, decay=decay), params, decay)
    theirs = train(alias(rate, weight_decay=0.1), params, wd.none())
    helpers.assert_trees_close(ours, theirs, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("times", ["lr", "schedule", "constant", "corrected"])
@pytest.mark.parametrize("at", ["y", "z"])
def test_at_zero_gradient_z_loses_exactly_d_lambda_of_the_decayed_point(times, at, x64):
    """z' = z − d_t·λ·(y or z), for every multiplier; y and z part at the first step."""
    strength, alpha = 0.05, 0.2
    rate = wd.linear(alpha, steps=10)
    tx = wd.schedule_free(
        "adam", rate, decay=wd.decoupled(strength, times=times), decay_at=at
    )
    y = {"kernel": jnp.array([1.0, -2.0])}
    state = tx.init(y)
    y = {"kernel": jnp.array([3.0, 5.0])}  # as if y had gone elsewhere than z
    zero = jax.tree.map(jnp.zeros_like, y)
    for t in range(4):
        z = state.z["kernel"]
        decayed = y["kernel"] if at == "y" else z
        updates, state = tx.update(zero, state, y)
        y = optax.apply_updates(y, updates)
        d = rules.SHRINK[times](float(rate(t)), alpha)
        np.testing.assert_allclose(
            state.z["kernel"], z - d * strength * decayed, rtol=1e-9
        )


def test_an_adaptive_clip_looks_at_y():
    """The clip compares ‖g‖ with ‖θ‖, and gradients are taken at y."""
    tx = wd.schedule_free(
        "sgd",
        1.0,
        decay=wd.decoupled(0.1),
        decay_at="z",
        clip=wd.clip.adaptive(0.01),
    )
    params = {"kernel": jnp.ones((2, 1))}
    state = tx.init(params)
    far = {"kernel": 100 * jnp.ones((2, 1))}
    _, state = tx.update({"kernel": 10 * jnp.ones((2, 1))}, state, far)
    # g = 10 is clipped to 0.01·100 = 1, and z = 1 decays by 0.1.
    np.testing.assert_allclose(state.z["kernel"], 1 - 1 - 0.1, atol=1e-6)


def test_strength_and_learning_rate_may_be_traced():
    params = helpers.start(np.float32)

    def one(strength, rate):
        decay = wd.decoupled(strength)
        tx = wd.schedule_free("adam", rate, decay=decay, decay_at="z")
        return train(tx, params, decay, steps=5)

    together = jax.vmap(one)(jnp.array([0.0, 0.3]), jnp.array([0.1, 0.2]))
    alone = one(0.3, 0.2)
    helpers.assert_trees_close(
        jax.tree.map(lambda t: t[1], together), alone, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: wd.schedule_free("momentum", 0.1),
            r"unknown optimizer for schedule_free 'momentum'; .*choose from: .*adam",
        ),
        (
            lambda: wd.schedule_free("sgd", 0.1, momentum=0.9),
            r"optimizer 'sgd' does not take momentum=0.9",
        ),
        (
            lambda: wd.schedule_free("sgd", 0.1, b1=0.0),
            r"schedule_free: b1=0 is not al",
        ),
        (
            lambda: wd.schedule_free("sgd", 0.1, weigh_by="last"),
            r"unknown weigh_by 'last'; choose from: next, this",
        ),
        (
            lambda: wd.schedule_free("sgd", 0.1, decay_at="x"),
            r"unknown decay_at 'x'; choose from: y, z",
        ),
        (
            lambda: wd.schedule_free("sgd", 0.1, decay=wd.coupled(0.1), decay_at="z"),
            r"decay_at='z' with coupled\(0.1\), .* taken at y; use decay_at='y' or dec",
        ),
        (
            lambda: wd.schedule_free("sgd", 0.1, decay=wd.penalized(0.1), decay_at="z"),
            r"decay_at='z' with penalized\(0.1\)",
        ),
        (
            lambda: wd.schedule_free("sgd", 0.1, decay=wd.decoupled(20.0)),
            r"multiplies weights by -1 in one step",
        ),
        (
            lambda: wd.schedule_free("sgd", 0.1, decay=0.1),
            r"decay=0.1 is no scheme",
        ),
    ],
)
def test_bad_input_is_named_with_its_remedy(call, message):
    with pytest.raises(wd.InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_rule_that_matches_nothing_is_an_error_at_init():
    tx = wd.schedule_free("adam", 0.1, decay=wd.decoupled(0.1, where="kernal"))
    with pytest.raises(wd.InputError, match="'kernal' matches no leaf"):
        tx.init(helpers.start(np.float32))
