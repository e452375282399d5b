"""The tables every decay test runs over: optimizers × schemes, and one toy problem."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import rules
import rules_more

import jaxwd as wd

OPTIMIZERS = tuple(rules.CORES)
INSIDE = tuple(name for name in OPTIMIZERS if name.endswith(".inside"))
BESIDE = tuple(name for name in OPTIMIZERS if name not in INSIDE)

# (kind, times): how each scheme is made from a strength.
SCHEMES = {
    "none": ("none", "lr", lambda strength, **kw: wd.none()),
    "penalized": ("penalized", "lr", wd.penalized),
    "coupled": ("coupled", "lr", wd.coupled),
} | {
    f"decoupled-{times}": (
        "decoupled",
        times,
        lambda strength, times=times, **kw: wd.decoupled(strength, times=times, **kw),
    )
    for times in ("lr", "schedule", "constant", "corrected")
}

# What a core refuses, and the words it must say.
REFUSED = {
    (name, f"decoupled-{times}"): (
        rf"optimizer '{name}' does not take decoupled\(.*, times={times}\): inside the "
        rf"core only the learning rate .* use .*times='lr'.* or optimizer "
        rf"'{name.removesuffix('.inside')}', which decays beside the core"
    )
    for name in INSIDE
    for times in ("schedule", "constant", "corrected")
}

STEPS = 120
ALPHA = 0.02
RATE = wd.one_cycle(ALPHA, steps=STEPS)  # rises and falls, so no constant hides a bug


def etas():
    """Return η_t of every step, as the chain sees them."""
    return np.asarray(RATE(jnp.arange(STEPS)))


SHAPES = {"kernel": (3, 2), "bias": (2,)}


def start(dtype=np.float64):
    """Return parameters with one decayed and one exempt leaf."""
    rng = np.random.default_rng(1)
    return {k: jnp.asarray(rng.normal(size=s), dtype) for k, s in SHAPES.items()}


def curvatures():
    rng = np.random.default_rng(2)
    return {k: rng.uniform(0.5, 2.0, s) for k, s in SHAPES.items()}


def noise():
    """Return a fixed disturbance of every step's gradient, per leaf."""
    rng = np.random.default_rng(3)
    return {k: rng.normal(0, 0.3, (STEPS, *s)) for k, s in SHAPES.items()}


def toy_gradient(params, t):
    """∇ of Σ ½h(θ − 1)² plus a fixed disturbance: never zero, never the same."""
    h, z = curvatures(), noise()
    return {k: h[k] * (params[k] - 1.0) + jnp.asarray(z[k])[t] for k in params}


def toy_loss(params):
    """Return the toy problem's loss without its disturbance, for its curvature."""
    h = curvatures()
    return sum((0.5 * h[k] * (params[k] - 1.0) ** 2).sum() for k in params)


def toy_value(grads):
    """Return what is handed over as the loss: noisy, lower where gradients are small."""
    return jnp.square(grads.get("kernel", 1.0)).sum()


EXTRA = {"obj_fn": toy_loss, "value": 1.0}
"""What some cores and schemes ask of `update` beside the gradient; all others ignore it."""


def build(name, rate, **settings):
    """Return the optimizer `name` with the hyperparameters that the toy problem needs."""
    return wd.optimizer(name, rate, **rules_more.HYPER.get(name, {}), **settings)


def oracle(name, kind, times, strength, params):
    """Return every leaf's trajectory by the NumPy rule; kernels alone decay."""
    leaves = {k: np.asarray(v) for k, v in params.items()}
    h, z = curvatures(), noise()
    decays = {k: np.full(v.shape, float(k == "kernel")) for k, v in leaves.items()}
    if getattr(rules.CORES[name](), "whole", False):  # the rule sees all leaves at once
        h, z, decays, leaves = (
            {
                "": np.concatenate(
                    [t[k].reshape(*t[k].shape[:n], -1) for k in params], -1
                )
            }
            for t, n in ((h, 0), (z, 1), (decays, 0), (leaves, 0))
        )
    paths = {
        k: rules.trajectory(
            name,
            kind,
            times,
            strength,
            leaves[k],
            lambda theta, t, k=k: h[k] * (theta - 1.0) + z[k][t],
            etas(),
            ALPHA,
            decays[k],
        )
        for k in leaves
    }
    if "" not in paths:
        return paths
    ends = np.cumsum([np.size(v) for v in params.values()])[:-1]
    parts = np.split(paths[""], ends, axis=-1)
    return {
        k: part.reshape(-1, *v.shape)
        for (k, v), part in zip(params.items(), parts, strict=True)
    }


def descend(tx, params, decay, steps=STEPS, gradient=toy_gradient):
    """Return every leaf's trajectory under `tx`, penalties included in the gradient."""
    tx = optax.with_extra_args_support(tx)

    def step(carry, t):
        params, state = carry
        grads = gradient(params, t)
        if decay.kind == "penalized":
            extra = jax.grad(lambda p: wd.penalties.of_scheme(decay, p, t))(params)
            grads = jax.tree.map(jnp.add, grads, extra)
        extra = EXTRA | {"value": toy_value(grads)}
        updates, state = tx.update(grads, state, params, **extra)
        params = jax.tree.map(jnp.add, params, updates)
        return (params, state), params

    _, path = jax.lax.scan(step, (params, tx.init(params)), jnp.arange(steps))
    return jax.tree.map(lambda p0, p: jnp.concatenate([p0[None], p]), params, path)


def assert_trees_close(a, b, **tolerance):
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(
            np.asarray(x), np.asarray(y), **tolerance
        ),
        a,
        b,
    )


def assert_trees_equal(a, b):
    jax.tree.map(
        lambda x, y: np.testing.assert_array_equal(np.asarray(x), np.asarray(y)), a, b
    )
