"""Trajectories of torch 2.13, committed as a fixture: same numbers to 1e-12."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxwd as wd

FIXTURE = np.load(pathlib.Path(__file__).parent / "fixtures/torch_trajectories.npz")
CASES = [name for name in FIXTURE.files if "/" in name]
SCHEMES = {
    "none": lambda s: wd.none(),
    "coupled": wd.coupled,
    "decoupled": wd.decoupled,
}

# Where Optax's own form differs from torch's, and by how much at least on this problem.
# RAdam's differs only in where ε stands.
DIFFERENT = {
    "adagrad": 1e-4,
    "rmsprop": 1e-1,
    "nadam": 1e-2,
    "radam": 1e-9,
    "amsgrad": 1e-1,
}


def ours(name, scheme):
    """Return our trajectory on the fixture's problem, in float64."""
    rates = jnp.asarray(FIXTURE["rates"])
    h, z = jnp.asarray(FIXTURE["curvature"]), jnp.asarray(FIXTURE["noise"])
    decay = SCHEMES[scheme](float(FIXTURE["strength"]))
    tx = wd.optimizer(
        name, lambda step: rates[step], decay=decay, peak=float(FIXTURE["peak"])
    )
    params = {"kernel": jnp.asarray(FIXTURE["start"])}

    def step(carry, t):
        params, state = carry
        grads = {"kernel": h * (params["kernel"] - 1.0) + z[t]}
        updates, state = tx.update(grads, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        return (params, state), params["kernel"]

    start = (params, tx.init(params))
    _, path = jax.jit(lambda c: jax.lax.scan(step, c, jnp.arange(len(rates))))(start)
    return np.concatenate([FIXTURE["start"][None], path])


def test_the_fixture_covers_every_torch_row():
    rows = {n.removeprefix("torch.") for n in wd.OPTIMIZERS if n.startswith("torch.")}
    for scheme in ("none", "coupled"):
        assert {c.split("/")[0] for c in CASES if c.endswith("/" + scheme)} == rows
    with_decoupled = {c.split("/")[0] for c in CASES if c.endswith("/decoupled")}
    assert with_decoupled == {"adam", "amsgrad", "nadam", "radam"}


@pytest.mark.parametrize("case", CASES)
def test_torch_rows_follow_torch(case, x64):
    name, scheme = case.split("/")
    got = ours(f"torch.{name}", scheme)
    np.testing.assert_allclose(got, FIXTURE[case], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("case", CASES)
def test_optax_rows_follow_torch_exactly_where_the_table_says_so(case, x64):
    name, scheme = case.split("/")
    gap = np.abs(ours(name, scheme) - FIXTURE[case]).max()
    assert gap > DIFFERENT[name] if name in DIFFERENT else gap < 1e-14
