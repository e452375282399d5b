"""Every core × every scheme against NumPy, in narrow numbers, and on two devices.

Not a part of the gate, which runs the same over four cores: `./scripts/conformance`.
"""

import dataclasses
import functools

import helpers
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rules
import scheme_rules
import test_schemes

import jaxwd as wd
from jaxwd.decay.scheme import AXES

# Rows that decay inside the core refuse what they cannot place, and rules for all leaves
# at once cannot be stepped leaf by leaf; test_cores.py has both.
CORES = [
    name
    for name, rule in rules.CORES.items()
    if not name.endswith(".inside") and not getattr(rule(), "whole", False)
]


def with_strength(decay, strength):
    """Return the scheme with another λ; those that hold norms have none."""
    return (
        dataclasses.replace(decay, strength=strength) if decay.kind in AXES else decay
    )


@pytest.mark.parametrize("scheme", test_schemes.ALL)
@pytest.mark.parametrize("core", CORES)
def test_one_program_for_all_strengths_follows_the_numpy_rule(core, scheme, x64):
    """120 steps of a moving rate under jit and vmap, λ traced and 0 among them."""
    decay, rule, *_ = test_schemes.ALL[scheme]
    params, traces = helpers.start(), []
    has_strength = decay.kind in AXES
    strengths = [0.0, decay.strength] if has_strength else [decay.strength]

    @jax.jit
    @jax.vmap
    def descend(strength):
        traces.append(1)
        own = with_strength(decay, strength)
        tx = helpers.build(core, helpers.RATE, decay=own)
        return helpers.descend(tx, params, own)

    descend(jnp.array(strengths) + 1.0)
    got = descend(jnp.array(strengths))
    assert len(traces) == 1
    for i, strength in enumerate(strengths):
        own = functools.partial(rule, lam=strength) if has_strength else rule
        cores = {leaf: rules.CORES[core]() for leaf in params}
        want, _ = scheme_rules.trajectory(
            own, cores, params, test_schemes.gradient, helpers.etas(), helpers.ALPHA
        )
        for leaf in params:
            np.testing.assert_allclose(got[leaf][i], want[leaf], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("scheme", test_schemes.ALL)
@pytest.mark.parametrize("core", ["momentum", "adam"])
def test_the_mask_decides_and_not_the_name(core, scheme):
    """The same tree under other names, with rules that say so: equal to the last bit."""
    decay, *_ = test_schemes.ALL[scheme]
    renamed = dataclasses.replace(decay, where=wd.rules({"block/w": 1.0, "block/v": 0}))
    names = {"kernel": "w", "bias": "v"}
    if decay.anchor and decay.anchor.name == "to_tree":
        pytest.skip("its tree has the names of the first one")
    if decay.kind == "penalized":
        pytest.skip("it enters through the loss, which has its own tests")
    params = helpers.start(np.float32)
    tx = wd.optimizer(core, helpers.RATE, decay=decay)
    want = jax.jit(lambda p: helpers.descend(tx, p, decay, 20))(params)
    other = wd.optimizer(core, helpers.RATE, decay=renamed)

    def step_by_names(params):
        back = {v: k for k, v in names.items()}

        def init(tree):
            return other.init({"block": {names[k]: x for k, x in tree.items()}})

        def update(grads, state, tree=None, **extra):
            grads, tree = (
                {"block": {names[k]: x for k, x in t.items()}} for t in (grads, tree)
            )
            updates, state = other.update(grads, state, tree, **extra)
            return {back[k]: x for k, x in updates["block"].items()}, state

        held = optax.GradientTransformationExtraArgs(init, update)
        return helpers.descend(held, params, wd.none(), 20)

    helpers.assert_trees_equal(jax.jit(step_by_names)(params), want)


@pytest.mark.parametrize("scheme", test_schemes.ALL)
@pytest.mark.parametrize("core", ["momentum", "adam", "lion"])
def test_narrow_gradients_with_wide_parameters_stay_wide(core, scheme):
    """bfloat16 gradients, float32 weights and state: near the float32 run, and float32."""
    decay, *_ = test_schemes.ALL[scheme]
    params = helpers.start(np.float32)
    tx = wd.optimizer(core, helpers.RATE, decay=decay)

    def narrow(theta, t):
        grads = helpers.toy_gradient(theta, t)
        return jax.tree.map(lambda g: g.astype(jnp.bfloat16).astype(jnp.float32), grads)

    got = helpers.descend(tx, params, decay, 40, narrow)
    want = helpers.descend(tx, params, decay, 40)
    for leaf in params:
        assert got[leaf].dtype == jnp.float32
        gap = np.abs(np.asarray(got[leaf] - want[leaf])).max()
        # Signed steps and shut gates are η large wherever rounding turns a sign.
        assert gap < (0.2 if core == "lion" or "tangent" in scheme else 0.05)


@pytest.mark.parametrize("scheme", test_schemes.ALL)
@pytest.mark.parametrize("core", ["sgd", "adam"])
def test_pmap_over_strengths_equals_each_alone(core, scheme):
    decay, *_ = test_schemes.ALL[scheme]

    def one(strength):
        own = with_strength(decay, strength)
        tx = wd.optimizer(core, helpers.RATE, decay=own)
        return helpers.descend(tx, helpers.start(np.float32), own, 20)["kernel"]

    strengths = jnp.array([0.0, 0.3])
    together = jax.pmap(one)(strengths)
    for i in range(2):
        np.testing.assert_allclose(
            together[i], jax.jit(one)(strengths[i]), rtol=2e-5, atol=2e-6
        )
