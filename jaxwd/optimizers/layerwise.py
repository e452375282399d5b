"""Cores that look at a whole leaf: LAMB, LARS, NovoGrad, Adafactor, Amos.

Each is written with its learning rate outside, so that η_t multiplies the direction
and nothing else. `decay` is the place inside the core where an `.inside` row lets λθ
enter; the plain rows have nothing there and decay beside the core.

| code base                            | λθ of LAMB | λθ of NovoGrad      |
|--------------------------------------|------------|---------------------|
| Optax; timm by default (LAMB)        | inside     | inside the momentum |
| Keras; pytorch_optimizer by default  | beside     |                     |
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxwd.trees import over


def lamb(
    decay: optax.GradientTransformation,
    *,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-6,
    eps_root: Any = 0.0,
) -> optax.GradientTransformation:
    """U = ‖θ‖/‖a‖·a with a = Adam's direction, plus λθ where decay is inside; by leaf.

    Inside, a leaf whose gradient is zero shrinks by η_t whatever λ is, since the ratio
    divides λ out again. Beside, it shrinks by η_tλ. The ratio is 1 where ‖θ‖ or ‖a‖ is
    zero. Source: You et al., Large batch optimization for deep learning, 2020.
    """
    return optax.chain(
        optax.scale_by_adam(b1, b2, eps, eps_root), decay, optax.scale_by_trust_ratio()
    )


def lars(
    *,
    momentum: Any = 0.9,
    nesterov: bool = False,
    trust_coefficient: Any = 1e-3,
    eps: Any = 0.0,
) -> optax.GradientTransformation:
    """U = the momentum of c‖θ‖/(‖g‖ + ε)·g; coupled decay puts g + λθ for g.

    Coupled decay inside the ratio is the paper's, with ‖g + λθ‖ below the line where
    the paper has ‖g‖ + λ‖θ‖. The learning rate stands behind the momentum, as torch's
    SGD has it; `optax.lars` and the paper multiply before, which is the same while it
    stays constant and not when it moves. A leaf of zeros has ratio 1, not c.
    Source: You et al., Large batch training of convolutional networks, 2017.
    """
    return optax.chain(
        optax.scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps),
        optax.trace(decay=momentum, nesterov=nesterov),
    )


def novograd(
    decay: optax.GradientTransformation,
    *,
    b1: Any = 0.9,
    b2: Any = 0.25,
    eps: Any = 1e-6,
    eps_root: Any = 0.0,
) -> optax.GradientTransformation:
    """U = m with m ← β₁m + g/(√v + ε), plus λθ inside; v averages ‖g‖² of the leaf.

    The sum has no factor 1 − β₁: inside, a leaf without gradient shrinks in the long
    run by η_tλ/(1 − β₁) a step. Source: Ginsburg et al., Stochastic gradient methods
    with layer-wise adaptive moments, 2019.
    """
    return optax.chain(
        # The normalised gradient alone, without momentum; Optax keeps it in its state.
        optax.scale_by_novograd(0.0, b2, eps, eps_root),
        decay,
        optax.trace(decay=b1),
    )


def adafactor(
    *,
    min_dim_size_to_factor: int = 128,
    decay_rate: Any = 0.8,
    decay_offset: Any = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: Any = 1.0,
    momentum: Any = None,
    eps: Any = 1e-30,
    factored: bool = True,
) -> optax.GradientTransformation:
    """U = max(RMS(θ), 10⁻³)·w/max(1, RMS(w)/c), w = g/√v; v of a matrix is factored.

    The learning rate stands behind all of it. `optax.adafactor` multiplies before the
    parameter's scale, which is the same, and before the momentum, which is not when it
    moves (default: no momentum). Its decay is `decoupled(λ, times="constant")`.
    Source: Shazeer and Stern, Adafactor, 2018.
    """
    parts = [
        optax.scale_by_factored_rms(
            factored, decay_rate, decay_offset, min_dim_size_to_factor, eps
        )
    ]
    if clipping_threshold is not None:
        parts.append(optax.clip_by_block_rms(clipping_threshold))
    if multiply_by_parameter_scale:
        parts.append(optax.scale_by_param_block_rms())
    if momentum is not None:
        parts.append(optax.ema(momentum, debias=False))
    return optax.chain(*parts)


class AmosCoreState(NamedTuple):
    """Step counter and the average of mean g² of every leaf."""

    count: jax.Array
    average: Any


def amos(*, b2: Any = 0.999) -> optax.GradientTransformation:
    """U = g/√v̂, v̂ the bias-corrected average of mean g², one number a leaf.

    The direction of Amos without its decay and without its η̃, which are
    `decay=jaxwd.amos()`. A leaf without gradient does not move. Source: Tian and
    Parikh, Amos, 2022.
    """

    def init(params: Any) -> AmosCoreState:
        zeros = jax.tree.map(
            lambda x: jnp.zeros((), jnp.promote_types(x.dtype, jnp.float32)), params
        )
        return AmosCoreState(jnp.zeros([], jnp.int32), zeros)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        count = state.count + 1
        average = jax.tree.map(
            lambda v, g: b2 * v + (1 - b2) * jnp.mean(jnp.square(g.astype(v.dtype))),
            state.average,
            updates,
        )
        scaled = jax.tree.map(
            lambda v, g: (g * jnp.sqrt(over(1 - b2**count, v))).astype(g.dtype),
            average,
            updates,
        )
        return scaled, AmosCoreState(count, average)

    return optax.GradientTransformation(init, update)
