"""Muon: matrices step by an orthogonal matrix, all other leaves by Adam."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax.contrib import MuonDimensionNumbers
from optax.contrib import scale_by_muon as scale_by_orthogonal_momentum

Tree = Any


def scale_by_muon(
    *,
    beta: Any = 0.95,
    nesterov: bool = True,
    ns_steps: int = 5,
    consistent_rms: Any = None,
    flatten: bool = False,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
) -> optax.GradientTransformation:
    """U = s·NS(m) on matrices, NS(m) near UVᵀ of m = UΣVᵀ; Adam's direction elsewhere.

    Args:
        beta: of the momentum m, Nesterov's by default; Adam's too is Nesterov's then.
        nesterov: look one step ahead in both.
        ns_steps: Newton–Schulz iterations. Singular values end between 0.7 and 1.2,
            not at 1.
        consistent_rms: r gives s = r·√max(fan in, fan out), 0.2 to match Adam's steps
            (Liu et al., Muon is scalable for LLM training, 2025); None gives
            s = √max(1, fan out/fan in).
        flatten: take leaves with more than two axes for matrices as well, their last
            axis against all others (Flax's convolutions). By default they go to Adam,
            as in Optax; stacked layers (`nn.scan`) are no matrices either way.
        b1: of Adam, for the other leaves.
        b2: of Adam.
        eps: of both.
        eps_root: of Adam.

    Decay asks nothing of the kind of leaf: `where=` says how strong it is, and
    `by_ndim(matrices=1, vectors=0)` names both strengths. `optax.contrib.muon` has
    two arguments for it, and leaves all but the matrices undecayed by default.
    Source: Jordan et al., Muon, 2024.
    """

    def kind(leaf: Any) -> str:
        return "matrix" if leaf.ndim == 2 or (flatten and leaf.ndim > 2) else "other"

    def axes(tree: Tree) -> Tree:
        """Say of each matrix which axes it sums over, and which is its output."""
        return jax.tree.map(
            lambda x: MuonDimensionNumbers(tuple(range(x.ndim - 1)), x.ndim - 1), tree
        )

    def scaled(update: Any) -> Any:
        fan_in, fan_out = math.prod(update.shape[:-1]), update.shape[-1]
        if consistent_rms is None:
            return jnp.sqrt(jnp.maximum(1, fan_out / fan_in)) * update
        return jnp.sqrt(jnp.maximum(fan_in, fan_out)) * consistent_rms * update

    matrix = optax.chain(
        scale_by_orthogonal_momentum(
            beta=beta,
            ns_steps=ns_steps,
            eps=eps,
            nesterov=nesterov,
            weight_dimension_numbers=axes,
        ),
        optax.stateless(lambda updates, _: jax.tree.map(scaled, updates)),
    )
    other = optax.scale_by_adam(b1, b2, eps, eps_root, nesterov=nesterov)
    return optax.partition(
        {"matrix": matrix, "other": other}, lambda tree: jax.tree.map(kind, tree)
    )
