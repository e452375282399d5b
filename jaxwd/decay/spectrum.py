"""AlphaDecay: λ by the tail of each matrix's spectrum."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxwd.decay.scheme import DecayScheme
from jaxwd.errors import InputError, require
from jaxwd.trees import Tree

Array = jax.Array


def alpha_decay(
    scheme: DecayScheme, *, every: int = 500, low: float = 2 / 3, high: float = 3.0
) -> DecayScheme:
    """AlphaDecay: less decay for matrices whose spectrum has a heavy tail.

    Every `every` steps, for each decayed leaf with two axes or more (flattened to
    in × out): Hill's α = 1 + n/Σ ln(λ_i/λ_n) over the n larger half of the eigenvalues
    of WᵀW; the leaf with the smallest α gets `low`·λ, the one with the largest
    `high`·λ, the others by linear interpolation. Leaves with one axis keep λ.

    Args:
        scheme: `decoupled` or `coupled`.
        every: steps between two looks at the spectra; each costs an eigenvalue
            decomposition a leaf. 500 is the authors'.
        low: factor of the smallest α; 2/3 in the authors' command line.
        high: factor of the largest α; 3 there.

    Source: He et al., AlphaDecay, 2025; hed-ucas/AlphaDecay.

    Not for small matrices, whose few eigenvalues give no tail exponent, nor where a
    decomposition of each matrix costs more than it may.

    Reference: hed-ucas/AlphaDecay.

    >>> from jaxwd import decoupled
    >>> print(alpha_decay(decoupled(0.1), every=100, low=0.5, high=1.5))
    decoupled(0.1, times=lr, alpha_decay(every=100, low=0.5, high=1.5))
    """
    require("alpha_decay: every", every, 1, whole=True)
    require("alpha_decay: low", low, 0.0)
    require("alpha_decay: high", high, 0.0)
    if high < low:
        raise InputError(f"alpha_decay: low={low} is above high={high}; swap them")
    return DecayScheme.with_choice(
        scheme, "allocation", "alpha_decay", every=every, low=low, high=high
    )


def hill_alpha(x: Array) -> Array:
    """Return Hill's estimate of the tail exponent of the spectrum of XᵀX, a scalar.

    >>> values = jnp.linspace(0.01, 1.0, 100) ** -1.0  # eigenvalues i^−1: α = 2
    >>> hill_alpha(jnp.diag(jnp.sqrt(values))).round(2).item()
    2.0...
    """
    matrix = x.reshape(-1, x.shape[-1])
    eigenvalues = jnp.linalg.svd(matrix, compute_uv=False) ** 2  # falling
    tail = eigenvalues[: max(1, eigenvalues.size // 2)]
    spread = jnp.sum(jnp.log(tail / jnp.maximum(tail[-1], 1e-30)))
    return 1 + tail.size / jnp.maximum(spread, 1e-12)


def start(params: Tree) -> tuple[Array, Tree]:
    """Return the counter and factors of 1."""
    return jnp.zeros([], jnp.int32), jax.tree.map(lambda _: jnp.ones([]), params)


def share(
    state: tuple[Array, Tree],
    g: Tree,
    x: Tree,
    multipliers: Tree,
    every: int,
    low: Any,
    high: Any,
) -> tuple[Tree, tuple[Array, Tree]]:
    """Look at the spectra every `every` steps; in between the factors stay."""
    count, factors = state
    leaves, shape = jax.tree.flatten(x)
    rows = zip(shape.flatten_up_to(multipliers), leaves, strict=True)
    looked = [i for i, (m, leaf) in enumerate(rows) if m and leaf.ndim > 1]

    def look(old: list[Array]) -> list[Array]:
        alphas = jnp.stack([hill_alpha(leaves[i]) for i in looked])
        span = alphas.max() - alphas.min()
        place = (alphas - alphas.min()) / jnp.where(span > 0, span, 1)
        found = jnp.where(span > 0, low + place * (high - low), 1.0)
        new = list(old)
        for i, factor in zip(looked, found, strict=True):
            new[i] = factor.astype(old[i].dtype)
        return new

    flat = shape.flatten_up_to(factors)
    if looked:
        flat = jax.lax.cond(count % every == 0, look, lambda old: old, flat)
    factors = shape.unflatten(flat)
    return factors, (count + 1, factors)
