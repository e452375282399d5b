"""Every core × every scheme against NumPy, in narrow numbers, and on two devices.

Not a part of the gate, which runs the same over four cores: `./scripts/conformance`.
"""

import dataclasses

import helpers
import jax
import jax.numpy as jnp
import numpy as np
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


@pytest.mark.parametrize("scheme", test_schemes.ALL)
@pytest.mark.parametrize("core", CORES)
def test_trajectory_equals_the_numpy_rule(core, scheme, x64):
    decay, rule, *_ = test_schemes.ALL[scheme]
    params = helpers.start()
    tx = helpers.build(core, helpers.RATE, decay=decay)
    got = jax.jit(lambda p: helpers.descend(tx, p, decay))(params)
    cores = {leaf: rules.CORES[core]() for leaf in params}
    want, _ = scheme_rules.trajectory(
        rule, cores, params, test_schemes.gradient, helpers.etas(), helpers.ALPHA
    )
    for leaf in params:
        np.testing.assert_allclose(got[leaf], want[leaf], rtol=1e-5, atol=1e-8)


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
        own = decay
        if decay.kind in AXES:
            own = dataclasses.replace(decay, strength=strength)
        tx = wd.optimizer(core, helpers.RATE, decay=own)
        return helpers.descend(tx, helpers.start(np.float32), own, 20)["kernel"]

    strengths = jnp.array([0.0, 0.3])
    together = jax.pmap(one)(strengths)
    for i in range(2):
        np.testing.assert_allclose(
            together[i], jax.jit(one)(strengths[i]), rtol=2e-5, atol=2e-6
        )
