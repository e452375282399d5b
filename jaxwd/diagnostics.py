"""Where each leaf stands in the equilibrium of gradient and decay, for the step's info."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxwd.decay.norms import ROTATIONS
from jaxwd.errors import unknown
from jaxwd.trees import Tree

Array = jax.Array
Scalar = Any


class Balance(NamedTuple):
    """One leaf in one step, all scalars. NaN where there is no prediction.

    Attributes:
        gradient_over_weight: ‖g‖/‖θ‖. Under SGD with decay it goes to √(2λ(1−μ)/η) in
            leaves that feed a norm: it grows as η falls, unless decay is corrected.
        rms: √(mean θ²).
        rms_predicted: √(η/2λ), of Adam with decoupled decay on noise.
        angle: between θ and θ', in radians.
        angle_predicted: √(2ηλc) in the equilibrium, c by the core (`ROTATIONS`).
    """

    gradient_over_weight: Array
    rms: Array
    rms_predicted: Array
    angle: Array
    angle_predicted: Array


def balance(
    params: Tree,
    grads: Tree,
    updates: Tree,
    *,
    learning_rate: Scalar,
    strength: Scalar,
    core: str = "adam",
    **hyper: float,
) -> Tree:
    """Return a `Balance` for every leaf, in the structure of `params`.

    A pure function to call beside `tx.update`, inside `jit` or not; what nobody reads of
    it is left out of the compiled program.

    Args:
        params: θ before the step.
        grads: g of the data loss.
        updates: θ' − θ, what `tx.update` returned.
        learning_rate: η_t of this step.
        strength: λ of the decay, in units of `decoupled(λ)` (`sgd`: coupled).
        core: whose law of the angle: `adam`, `sgd` with `momentum=`, `lion`.
        **hyper: b1, b2 or momentum of the core.

    Raises:
        InputError: a core without a law.

    Source: Kosson et al., Rotational equilibrium, 2024; van Laarhoven, L2
    regularization versus batch and weight normalization, 2017.

    >>> theta = {"kernel": jnp.array([3.0, 4.0])}
    >>> step = {"kernel": jnp.array([-0.04, 0.03])}
    >>> got = balance(theta, step, step, learning_rate=1e-3, strength=0.1)["kernel"]
    >>> f"{got.angle:.4f} {got.gradient_over_weight:.4f} {got.rms_predicted:.4f}"
    '0.0100 0.0100 0.0707'
    """
    if core not in ROTATIONS:
        raise unknown("core", core, ROTATIONS)
    angle = jnp.sqrt(2 * learning_rate * strength * ROTATIONS[core](**hyper))
    known = jnp.asarray(strength) > 0
    rms = jnp.sqrt(learning_rate / (2 * jnp.where(known, strength, 1)))
    rms = jnp.where(known & (core == "adam"), rms, jnp.nan)

    def leaf(x: Array, g: Array, u: Array) -> Balance:
        size, new = jnp.linalg.norm(x), x + u
        # From the chord, which stays exact where the cosine rounds to 1.
        units = x / size - new / jnp.linalg.norm(new)
        turned = 2 * jnp.arcsin(jnp.clip(jnp.linalg.norm(units) / 2, 0, 1))
        mean_square = jnp.mean(jnp.square(x))
        return Balance(
            jnp.linalg.norm(g) / size, jnp.sqrt(mean_square), rms, turned, angle
        )

    return jax.tree.map(leaf, params, grads, updates)
