"""Allocation: how λ is shared out over leaves, weights and steps. One row each.

An allocation returns a factor on λ for every leaf, a scalar or an array of its shape,
from the gradient of the data loss (after clipping) and the weights.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxwd.decay import auto_l2, spectrum
from jaxwd.decay.scheme import DecayScheme
from jaxwd.errors import require
from jaxwd.trees import Tree, count, sum_squares

Array = jax.Array


class Allocation(NamedTuple):
    """One row of `ALLOCATIONS`.

    Attributes:
        start: parameters → state at the first step.
        share: (state, g, θ, multipliers, **settings) → (tree of factors, new state).
            Trees are those of the leaves the chain holds.
        wants: what `share` asks for beside its settings: `value`, the loss that
            `update` was told, and `strength`, λ_t.
    """

    start: Callable[[Tree], Any]
    share: Callable[..., tuple[Tree, Any]]
    wants: tuple[str, ...] = ()


def _same(factor: Array, tree: Tree) -> Tree:
    return jax.tree.map(lambda _: factor, tree)


def _stable(
    state: tuple, g: Tree, x: Tree, multipliers: Tree, b2: Any, eps: Any
) -> tuple[Tree, tuple]:
    """1/√v̄, v̄ the bias-corrected average of the mean g² over all weights.

    The mean of Adam's v̂ over all weights is the average of mean g²: two scalars do.
    """
    steps, average = state
    steps = steps + 1
    average = b2 * average + (1 - b2) * sum_squares(g) / count(g)
    corrected = average / (1 - b2**steps)
    factor = jnp.where(corrected > 0, 1 / (jnp.sqrt(corrected) + eps), 0)
    return _same(factor, g), (steps, average)


def _awd(
    state: Array, g: Tree, x: Tree, multipliers: Tree, rate: Any
) -> tuple[Tree, Array]:
    decayed = jax.tree.map(lambda m, leaf: leaf if m else leaf * 0, multipliers, x)
    size = sum_squares(decayed)
    ratio = jnp.sqrt(sum_squares(g) / jnp.where(size > 0, size, 1))
    average = (1 - rate) * state + rate * jnp.where(size > 0, ratio, 0)
    return _same(average, g), average


def _adadecay(
    state: tuple, g: Tree, x: Tree, multipliers: Tree, steepness: Any
) -> tuple[Tree, tuple]:
    def factor(leaf: Array) -> Array:
        size = jnp.abs(leaf)
        spread = jnp.std(size)
        z = (size - jnp.mean(size)) / jnp.where(spread > 0, spread, 1)
        return 2 * jax.nn.sigmoid(steepness * z)

    return jax.tree.map(factor, g), state


ALLOCATIONS: dict[str, Allocation] = {
    "stable": Allocation(lambda _: (jnp.zeros([], jnp.int32), jnp.zeros([])), _stable),
    "awd": Allocation(lambda _: jnp.zeros([]), _awd),
    "adadecay": Allocation(lambda _: (), _adadecay),
    "alpha_decay": Allocation(spectrum.start, spectrum.share),
    "auto_l2": Allocation(auto_l2.start, auto_l2.share, ("value", "strength")),
}
"""Name → row."""


def stable(scheme: DecayScheme, *, b2: float = 0.999, eps: float = 1e-8) -> DecayScheme:
    """Stable weight decay: λ ← λ/√v̄, v̄ the mean of Adam's v̂ over all weights.

    AdamS is `stable(decoupled(λ))` over Adam. Decay then weakens where gradients are
    large, as L2 under SGD does relative to the step; multiplying the loss by c divides
    the decay by c. λ is of SGD's size, about 5e-4, not AdamW's.

    Nothing decays before the first gradient other than 0 has been seen.

    Args:
        scheme: `decoupled` or `coupled`.
        b2: β₂ of the average; give the core's own. Default 0.999, Adam's.
        eps: added to √v̄.

    Source: Xie et al., On the overlooked pitfalls of weight decay, 2023.

    Not for a λ copied from AdamW: divided by √v̄ it is far too large.

    Reference: pytorch_optimizer's `AdamS`; the authors'
    zeke-xie/stable-weight-decay-regularization.

    >>> from jaxwd import decoupled
    >>> print(stable(decoupled(5e-4)))
    decoupled(0.0005, times=lr, stable(b2=0.999, eps=1e-08))
    """
    require("stable: b2", b2, 0.0, 1.0)
    require("stable: eps", eps, 0.0)
    return DecayScheme.with_choice(scheme, "allocation", "stable", b2=b2, eps=eps)


def awd(scheme: DecayScheme, *, rate: float = 0.9) -> DecayScheme:
    """Adaptive weight decay: λ_t = λ‖g‖/‖θ‖, smoothed λ̄ ← (1 − `rate`)λ̄ + `rate`·λ_t.

    Keeps the ratio of the decay's gradient to the loss's at λ. ‖g‖ is over all leaves,
    ‖θ‖ over those that decay. The paper's is `awd(coupled(λ))`; λ about 0.02.

    Args:
        scheme: `coupled` or `decoupled`.
        rate: weight of the newest ratio; Default 0.9.

    Source: Ghiasi et al., Improving robustness with adaptive weight decay, 2023.

    Not for runs whose gradients grow without bound: decay grows with them.

    Reference: none by the authors was found; read in a reimplementation.

    >>> from jaxwd import coupled
    >>> print(awd(coupled(0.02)))
    coupled(0.02, awd(rate=0.9))
    """
    require("awd: rate", rate, 0.0, 1.0)
    return DecayScheme.with_choice(scheme, "allocation", "awd", rate=rate)


def adadecay(scheme: DecayScheme, *, steepness: float = 4.0) -> DecayScheme:
    """AdaDecay: λ_i = λ·2σ(αz_i), z = |g| standardised within its leaf.

    Weights with large gradients decay up to twice λ, those with small ones towards 0.

    Args:
        scheme: `coupled` (the paper's) or `decoupled`.
        steepness: α of the sigmoid; 4 is the paper's.

    Source: Nakamura and Hong, Adaptive weight decay for deep neural networks, 2019.

    Not for batches so small that |g| is mostly noise: λ is then shared out at
    random.

    Reference: none public was found.

    >>> from jaxwd import coupled
    >>> print(adadecay(coupled(5e-4)))
    coupled(0.0005, adadecay(steepness=4.0))
    """
    require("adadecay: steepness", steepness, 0.0)
    return DecayScheme.with_choice(
        scheme, "allocation", "adadecay", steepness=steepness
    )
