"""What theory says of decay on noise, held to 2 %: norms, angles, and their reports."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxwd as wd

SHAPE = (64, 16)


def scale_free_noise(theta, key):
    """A gradient of a loss that does not feel ‖θ_j‖: tangent, of size 1/‖θ_j‖."""
    z = jax.random.normal(key, theta.shape) / np.sqrt(theta.shape[0])
    size = jnp.linalg.norm(theta, axis=0)
    unit = theta / size
    return (z - unit * jnp.sum(z * unit, axis=0)) / size


def pure_noise(theta, key):
    return jax.random.normal(key, theta.shape)


def equilibrium(tx, gradient, start, steps, **law):
    """Return means over the second half: ‖θ_j‖⁴, mean θ², angle² of a unit, balance."""

    def step(carry, key):
        params, state = carry
        grads = {"kernel": gradient(params["kernel"], key)}
        updates, state = tx.update(grads, state, params)
        new = optax.apply_updates(params, updates)
        a, b = params["kernel"], new["kernel"]
        sizes = jnp.linalg.norm(a, axis=0) * jnp.linalg.norm(b, axis=0)
        angle2 = jnp.mean(2 * (1 - jnp.sum(a * b, axis=0) / sizes))
        row = (
            jnp.mean(jnp.linalg.norm(a, axis=0) ** 4),
            jnp.mean(a**2),
            angle2,
            wd.balance(params, grads, updates, **law)["kernel"],
        )
        return (new, state), row

    keys = jax.random.split(jax.random.key(0), steps)
    params = {"kernel": start * jax.random.normal(jax.random.key(1), SHAPE)}
    _, rows = jax.jit(lambda c: jax.lax.scan(step, c, keys))((params, tx.init(params)))
    return jax.tree.map(lambda x: np.asarray(x)[steps // 2 :].mean(0), rows)


RATE, STRENGTH, MU = 0.05, 0.05, 0.9
# scheme, ‖θ‖⁴ and the square of the angle a step (van Laarhoven 2017; Kosson 2024)
LAWS = {
    "momentum, coupled": (
        wd.coupled(STRENGTH),
        RATE / (2 * STRENGTH * (1 - MU)),
        2 * RATE * STRENGTH / (1 + MU),
    ),
    "momentum, decoupled": (
        wd.decoupled(STRENGTH),
        RATE / (2 * STRENGTH * (1 - MU) ** 2),
        2 * RATE * STRENGTH * (1 - MU) / (1 + MU),
    ),
}


@pytest.mark.parametrize("name", LAWS)
def test_scale_free_weights_reach_the_norm_and_the_angle_of_their_law(name):
    decay, norm4, angle2 = LAWS[name]
    tx = wd.optimizer("momentum", RATE, decay=decay, momentum=MU)
    start = norm4**0.25 / np.sqrt(SHAPE[0])
    law = {"learning_rate": RATE, "strength": STRENGTH, "core": "sgd", "momentum": MU}
    got4, _, got2, _ = equilibrium(tx, scale_free_noise, start, 8000, **law)
    assert got4 == pytest.approx(norm4, rel=0.04)  # 2 % of ‖θ‖² is 4 % of ‖θ‖⁴
    assert got2 == pytest.approx(angle2, rel=0.04)


def test_adam_on_noise_has_the_rms_and_the_angle_that_balance_predicts():
    rate, strength = 0.002, 0.5
    tx = wd.optimizer("adam", rate, decay=wd.decoupled(strength))
    start = np.sqrt(rate / (2 * strength))
    law = {"learning_rate": rate, "strength": strength, "b1": 0.9}
    _, mean2, angle2, found = equilibrium(tx, pure_noise, start, 8000, **law)
    assert np.sqrt(mean2) == pytest.approx(np.sqrt(rate / (2 * strength)), rel=0.02)
    assert np.sqrt(angle2) == pytest.approx(found.angle_predicted, rel=0.02)
    assert found.rms == pytest.approx(found.rms_predicted, rel=0.02)
    assert found.angle == pytest.approx(found.angle_predicted, rel=0.02)


def test_corrected_decay_keeps_gradient_over_weight_flat_as_the_rate_falls():
    """Defazio 2025: plain decay lets ‖g‖ grow at the end of a cosine; η²/α does not."""
    steps, strength = 6000, 1.0

    def growth(times):
        rate = wd.cosine(0.02, steps=steps)
        decay = wd.decoupled(strength, times=times)
        tx = wd.optimizer("adam", rate, decay=decay)

        def step(carry, key):
            params, state = carry
            grads = {"kernel": scale_free_noise(params["kernel"], key)}
            updates, state = tx.update(grads, state, params)
            ratio = jnp.linalg.norm(grads["kernel"])
            return (optax.apply_updates(params, updates), state), ratio

        start = {"kernel": 0.1 * jax.random.normal(jax.random.key(1), SHAPE)}
        keys = jax.random.split(jax.random.key(0), steps)
        run = jax.jit(lambda c: jax.lax.scan(step, c, keys)[1])
        size = np.asarray(run((start, tx.init(start))))
        return size[int(0.9 * steps) : int(0.95 * steps)].mean() / (
            size[int(0.25 * steps) : int(0.3 * steps)].mean()
        )

    assert growth("lr") > 1.5
    assert growth("corrected") == pytest.approx(1.0, abs=0.05)


def test_decoupled_adam_is_free_of_the_gradient_s_scale_and_coupled_is_not(x64):
    """Zhuang et al. 2022: without ε, scaling each coordinate of g changes nothing."""
    scale = jnp.array([1e-3, 1.0, 50.0])

    def end(decay, scale):
        tx = wd.optimizer("adam", 0.01, decay=decay, eps=0.0)
        theta = {"kernel": jnp.array([1.0, -2.0, 0.5])}
        state = tx.init(theta)
        for key in jax.random.split(jax.random.key(0), 30):
            grads = {"kernel": scale * jax.random.normal(key, (3,))}
            updates, state = tx.update(grads, state, theta)
            theta = optax.apply_updates(theta, updates)
        return theta["kernel"]

    free, coupled = wd.decoupled(0.5), wd.coupled(0.5)
    np.testing.assert_allclose(end(free, scale), end(free, 1.0), rtol=1e-10)
    assert np.abs(end(coupled, scale) - end(coupled, 1.0)).max() > 0.05


def test_balance_costs_nothing_where_it_is_not_read():
    params = {"kernel": jnp.ones((8, 8))}
    tx = wd.optimizer("adam", 0.1, decay=wd.decoupled(0.1))

    def step(params, state, read):
        updates, state = tx.update(params, state, params)
        found = wd.balance(params, params, updates, learning_rate=0.1, strength=0.1)
        return updates, state, (found if read else None)

    compiled = {
        read: jax.jit(lambda p, s, read=read: step(p, s, read))
        .lower(params, tx.init(params))
        .compile()
        .cost_analysis()["flops"]
        for read in (True, False)
    }
    plain = jax.jit(lambda p, s: tx.update(p, s, p)).lower(params, tx.init(params))
    assert compiled[False] == plain.compile().cost_analysis()["flops"] < compiled[True]


def test_balance_says_what_it_cannot_predict():
    theta = {"kernel": jnp.ones(2)}
    said = {"learning_rate": 0.1, "strength": 0.0}
    assert np.isnan(wd.balance(theta, theta, theta, **said)["kernel"].rms_predicted)
    with pytest.raises(wd.InputError, match="did you mean 'adam'"):
        wd.balance(theta, theta, theta, core="adamm", **said)
