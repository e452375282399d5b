"""Penalties of a tree of parameters, to be added to a loss and reported beside it."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxwd.errors import require
from jaxwd.masks import Where, kernels, rules
from jaxwd.penalties.table import PENALTIES, gram_gap, settings_of
from jaxwd.schedules import value_at
from jaxwd.trees import Tree

if TYPE_CHECKING:
    from jaxwd.decay.scheme import DecayScheme

Scalar = Any


def penalty(
    name: str,
    params: Tree,
    strength: Scalar,
    *,
    where: Where = kernels,
    anchor: Tree | None = None,
    **settings: Any,
) -> jax.Array:
    """Return λ·Σ m·R(θ − a) over the leaves the rules name, a scalar.

    Args:
        name: a row of `PENALTIES`.
        params: any pytree.
        strength: λ, in units of loss per unit of R.
        where: which leaves, and the multiplier m of each.
        anchor: the tree a that weights are pulled to; default 0. With pretrained
            weights and `half_l2` this is L2-SP (Li et al., 2018).
        **settings: of the row, such as `delta=` of `huber`.

    >>> penalty("huber", {"kernel": jnp.array([0.5, 3.0])}, 1.0, delta=1.0).item()
    2.625
    """
    require("strength", strength, 0.0)
    filled = dict(settings_of(name, settings))
    multipliers = rules(where).multipliers(params)
    offset = params if anchor is None else jax.tree.map(jnp.subtract, params, anchor)
    terms = jax.tree.map(
        lambda m, x: m * PENALTIES[name].value(x, **filled) if m else 0.0,
        multipliers,
        offset,
    )
    return strength * jnp.asarray(sum(jax.tree.leaves(terms)))


def l2(params: Tree, strength: Scalar, *, where: Where = kernels) -> jax.Array:
    """Return λ‖θ‖², a scalar; its gradient is 2λθ. Keras's `regularizers.L2`.

    >>> l2({"kernel": jnp.array([3.0, 4.0])}, 0.1).item()
    2.5
    """
    return penalty("l2", params, strength, where=where)


def half_l2(params: Tree, strength: Scalar, *, where: Where = kernels) -> jax.Array:
    """Return ½λ‖θ‖², a scalar; its gradient is λθ, torch's `weight_decay` λ.

    >>> half_l2({"kernel": jnp.array([3.0, 4.0])}, 0.1).item()
    1.25
    """
    return penalty("half_l2", params, strength, where=where)


def l2_per_example(
    params: Tree, strength: Scalar, *, examples: int, where: Where = kernels
) -> jax.Array:
    """Return λ/(2m)‖θ‖², a scalar, m = `examples`; its gradient is λθ/m.

    Say which m you mean. With the mini-batch (scikit-learn's MLP) decay depends on
    the batch size; with the data set it all but vanishes for large sets.

    >>> l2_per_example({"kernel": jnp.array([3.0, 4.0])}, 0.1, examples=5).item()
    0.25
    """
    return penalty("l2_per_example", params, strength, where=where, examples=examples)


def l1(params: Tree, strength: Scalar, *, where: Where = kernels) -> jax.Array:
    """Return λ‖θ‖₁, a scalar; its gradient is λ·sign θ, 0 at 0.

    Gradient steps on it do not make exact zeros; a proximal step does
    (`jaxwd.proximal(λ, penalty="l1")`).

    >>> l1({"kernel": jnp.array([3.0, -4.0])}, 0.5).item()
    3.5
    """
    return penalty("l1", params, strength, where=where)


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


def srip(
    key: jax.Array, params: Tree, strength: Scalar, *, where: Where = kernels
) -> jax.Array:
    """Return λ·Σ σ²(WᵀW − I), σ by one power iteration from a random start, a scalar.

    The spectral restricted isometry penalty on leaves with two axes or more. The start
    is drawn from `key`: give a fresh one in every step, as in
    `jax.random.fold_in(root, step)`. The authors' code squares σ, and so does this.
    Their λ falls from 0.1 to 0 over the run, while L2 rises.

    Source: Bansal et al., Can we gain more from orthogonality regularizations, 2018.

    >>> eye = {"kernel": jnp.eye(3)}
    >>> srip(jax.random.key(0), eye, 1.0).item()
    0.0
    """
    require("strength", strength, 0.0)
    multipliers = rules(where).multipliers(params)
    rows = zip(jax.tree.leaves(multipliers), jax.tree.leaves(params), strict=True)
    total = jnp.zeros(())
    for i, (m, leaf) in enumerate(rows):
        if m and leaf.ndim > 1:
            gap = gram_gap(leaf)
            start = jax.random.normal(jax.random.fold_in(key, i), gap.shape[:1])
            first = gap @ start
            length = jnp.linalg.norm(first)
            unit = first / jnp.where(length > 0, length, 1)
            total += m * jnp.sum(jnp.square(gap @ unit))
    return strength * total


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
    fixed function, so its penalty is 0; so is that of a scheme whose anchor or
    strength lives in the optimizer's state.
    """
    if scheme.kind not in ("penalized", "coupled") or scheme.has_state:
        return jnp.zeros(())
    return penalty(
        scheme.penalty,
        params,
        value_at(scheme.strength, step),
        where=scheme.where,
        anchor=scheme.fixed_anchor,
        **dict(scheme.settings),
    )
