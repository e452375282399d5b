"""Gates: when a weight decays at all. `cautious`, `tangent`; one row each.

A gate sees the optimizer's descent direction d (θ moves by −d), the pull r that decay
would add to it, and the weights, and returns both as they shall be.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxwd.decay.scheme import DecayScheme
from jaxwd.errors import require, unknown

Array = jax.Array

TIES: dict[str, Callable[[Array, Array], Array]] = {
    "decay": lambda d, x: d * x >= 0,
    "skip": lambda d, x: d * x > 0,
    "sign": lambda d, x: jnp.sign(d) == jnp.sign(x),
    "signbit": lambda d, x: jnp.signbit(d) == jnp.signbit(x),
}
"""`ties=` → when a weight decays. They differ only where d or θ is exactly 0."""


def _cautious(d: Array, r: Array, x: Array, g: Array, ties: str) -> tuple[Array, Array]:
    return d, jnp.where(TIES[ties](d, x), r, 0)


def _tangent(
    d: Array, r: Array, x: Array, g: Array, delta: Any, ratio: Any
) -> tuple[Array, Array]:
    if x.ndim < 2:
        return d, r

    def cosine_and_projection(axes: tuple[int, ...] | None) -> tuple[Array, Array]:
        def total(y: Array) -> Array:
            return jnp.sum(y, axis=axes, keepdims=True)

        eps = 1e-8
        size = jnp.sqrt(total(x * x)) + eps
        cosine = jnp.abs(total(g * x)) / (jnp.sqrt(total(g * g)) + eps) / size
        unit = x / size
        return jnp.max(cosine), d - unit * total(unit * d)

    # An output unit is the last axis in Flax; torch has it first.
    numbers = x.size // x.shape[-1], x.size
    by_unit = cosine_and_projection(tuple(range(x.ndim - 1)))
    by_layer = cosine_and_projection(None)
    unit_is, layer_is = (
        cosine < delta / math.sqrt(n)
        for (cosine, _), n in zip((by_unit, by_layer), numbers, strict=True)
    )
    projected = jnp.where(unit_is, by_unit[1], jnp.where(layer_is, by_layer[1], d))
    return projected, jnp.where(unit_is | layer_is, ratio, 1.0) * r


GATES: dict[str, Callable[..., tuple[Array, Array]]] = {
    "cautious": _cautious,
    "tangent": _tangent,
}
"""Name → function(d, r, θ − a, g, **settings) → (d, r), leaf by leaf."""


def cautious(scheme: DecayScheme, *, ties: str = "decay") -> DecayScheme:
    """Decay only where it does not work against the step: d_tλ·1[u⊙θ ≥ 0]⊙θ.

    The loss's own minima stay where they are, since there u pulls back whatever decay
    would take. On noise about half the weights decay at a time, so it is close to
    plain decay at λ/2: put `decoupled(λ/2)` beside it in a comparison.

    Args:
        scheme: a `decoupled` scheme.
        ties: what happens where u or θ is exactly 0 (rows of an embedding that no
            batch has touched): `"decay"`, u·θ ≥ 0, the paper's and default;
            `"skip"`, u·θ > 0, modded-nanogpt's; `"sign"`, equal signs, 0 being one;
            `"signbit"`, heavyball's.

    Source: Chen et al., Cautious weight decay, 2025. Not the cautious *optimizer*
    (timm's `caution`), which masks the step.

    Not for a comparison with plain decay at the same λ, see above.

    Reference: heavyball (`signbit`), pytorch_optimizer 3.9 (`decay`).

    >>> from jaxwd import decoupled
    >>> print(cautious(decoupled(0.1)))
    decoupled(0.1, times=lr, cautious(ties=decay))
    """
    if ties not in TIES:
        raise unknown("ties", ties, TIES)
    return DecayScheme.with_choice(scheme, "gate", "cautious", ties=ties)


def tangent(
    scheme: DecayScheme, *, delta: float = 0.1, ratio: float = 0.1
) -> DecayScheme:
    """AdamP and SGDP: u ← u − ⟨u, θ̂⟩θ̂ and λ ← `ratio`·λ, where θ looks scale-free.

    A leaf with two axes or more counts as scale-free while max |cos(g, θ)| < δ/√n,
    tried for every output unit (last axis, n inputs) and then for the leaf as a whole.
    There the radial part of the step is dropped, and decay is all that changes ‖θ‖. A
    gradient of 0 passes the test, so such a leaf decays by `ratio`·λ.

    Args:
        scheme: a `decoupled` scheme with anchor 0.
        delta: δ of the test; 0.1 is the paper's.
        ratio: multiplies λ where the test holds; 0.1 is the paper's, timm's registry
            takes 0.01.

    Source: Heo et al., AdamP, 2021; clovaai/adamp. SGDP there also divides λ by 1 − μ.

    Not for models without normalisations, where a gradient at right angles to the
    weights means nothing.

    Reference: clovaai/adamp; timm's `AdamP`, `SGDP`.

    >>> from jaxwd import decoupled
    >>> print(tangent(decoupled(0.01)))
    decoupled(0.01, times=lr, tangent(delta=0.1, ratio=0.1))
    """
    require("tangent: delta", delta, 0.0)
    require("tangent: ratio", ratio, 0.0)
    return DecayScheme.with_choice(scheme, "gate", "tangent", delta=delta, ratio=ratio)
