"""Penalties on weights as pure functions of parameters: L2 in its written forms, L1.

"λ = 0.0005" names a different amount of decay in each written form:

| form              | penalty        | gradient | equals torch `weight_decay` |
|-------------------|----------------|----------|-----------------------------|
| `l2`              | λ‖θ‖²          | 2λθ      | 2λ                          |
| `half_l2`         | ½λ‖θ‖²         | λθ       | λ                           |
| `l2_per_example`  | λ/(2m)‖θ‖²     | λθ/m     | λ/m                         |

With m = 32, a mini-batch, the first pulls 2m = 64 times as hard as the last.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxwd.errors import require
from jaxwd.masks import Where, kernels, rules
from jaxwd.schedules import value_at
from jaxwd.trees import Tree

if TYPE_CHECKING:
    from jaxwd.decay.scheme import DecayScheme

Scalar = Any


def _total(
    function: Callable[[Any], Any], params: Tree, strength: Scalar, where: Where
) -> jax.Array:
    """Return λ·Σ multiplier·function(leaf) over the leaves the rules name."""
    require("strength", strength, 0.0)
    multipliers = rules(where).multipliers(params)
    terms = jax.tree.map(
        lambda m, leaf: m * jnp.sum(function(leaf)) if m else 0.0, multipliers, params
    )
    return strength * jnp.asarray(sum(jax.tree.leaves(terms)))


def l2(params: Tree, strength: Scalar, *, where: Where = kernels) -> jax.Array:
    """Return λ‖θ‖², a scalar; its gradient is 2λθ. Keras's `regularizers.L2`.

    >>> l2({"kernel": jnp.array([3.0, 4.0])}, 0.1).item()
    2.5
    """
    return _total(jnp.square, params, strength, where)


def half_l2(params: Tree, strength: Scalar, *, where: Where = kernels) -> jax.Array:
    """Return ½λ‖θ‖², a scalar; its gradient is λθ, torch's `weight_decay` λ.

    >>> half_l2({"kernel": jnp.array([3.0, 4.0])}, 0.1).item()
    1.25
    """
    return 0.5 * _total(jnp.square, params, strength, where)


def l2_per_example(
    params: Tree, strength: Scalar, *, examples: int, where: Where = kernels
) -> jax.Array:
    """Return λ/(2m)‖θ‖², a scalar, m = `examples`; its gradient is λθ/m.

    Say which m you mean. With the mini-batch (scikit-learn's MLP) decay depends on
    the batch size; with the data set it all but vanishes for large sets.

    >>> l2_per_example({"kernel": jnp.array([3.0, 4.0])}, 0.1, examples=5).item()
    0.25
    """
    require("examples", examples, 1)
    return _total(jnp.square, params, strength, where) / (2 * examples)


def l1(params: Tree, strength: Scalar, *, where: Where = kernels) -> jax.Array:
    """Return λ‖θ‖₁, a scalar; its gradient is λ·sign θ, 0 at 0.

    Gradient steps on it do not make exact zeros; a proximal step does.

    >>> l1({"kernel": jnp.array([3.0, -4.0])}, 0.5).item()
    3.5
    """
    return _total(jnp.abs, params, strength, where)


def elastic_net(
    params: Tree, l1_strength: Scalar, l2_strength: Scalar, *, where: Where = kernels
) -> jax.Array:
    """Return λ₁‖θ‖₁ + ½λ₂‖θ‖², a scalar. Source: Zou and Hastie, 2005.

    >>> elastic_net({"kernel": jnp.array([3.0, -4.0])}, 0.5, 0.1).item()
    4.75
    """
    return l1(params, l1_strength, where=where) + half_l2(
        params, l2_strength, where=where
    )


class Penalty(NamedTuple):
    """One row of `PENALTIES`: the function, and c where its gradient is c·λ·θ."""

    function: Callable[..., jax.Array]
    gradient_factor: Callable[[int | None], float | None]


PENALTIES: dict[str, Penalty] = {
    "half_l2": Penalty(half_l2, lambda m: 1.0),
    "l2": Penalty(l2, lambda m: 2.0),
    "l2_per_example": Penalty(l2_per_example, lambda m: 1.0 / m if m else None),
    "l1": Penalty(l1, lambda m: None),
}
"""Written form → function and the factor c in ∇ = c·λ·θ (None where it has none)."""


def of_scheme(scheme: "DecayScheme", params: Tree, step: Scalar = 0) -> jax.Array:
    """Return what to add to the data loss for this scheme, a scalar.

    The penalty of `penalized`, and 0 for every other scheme: those enter through the
    optimizer, and a penalty beside it would decay twice.

    >>> from jaxwd import coupled, penalized
    >>> params = {"kernel": jnp.array([3.0, 4.0])}
    >>> of_scheme(penalized(0.1), params).item(), of_scheme(coupled(0.1), params).item()
    (1.25, 0.0)
    """
    if scheme.kind != "penalized":
        return jnp.zeros(())
    return reported(scheme, params, step)


def reported(scheme: "DecayScheme", params: Tree, step: Scalar = 0) -> jax.Array:
    """Return the penalty whose gradient the scheme adds, to stand beside the loss.

    `penalized` and `coupled` have one. Decoupled decay follows the gradient of no
    fixed function, so its penalty is 0.
    """
    if scheme.kind not in ("penalized", "coupled"):
        return jnp.zeros(())
    strength = value_at(scheme.strength, step)
    extra = {} if scheme.examples is None else {"examples": scheme.examples}
    function = PENALTIES[scheme.penalty].function
    return function(params, strength, where=scheme.where, **extra)
