"""Cores that estimate more than moments: Sophia the curvature, Prodigy the distance."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxwd.errors import InputError

Tree = Any


def sophia(
    *,
    b1: Any = 0.965,
    b2: Any = 0.99,
    eps: Any = 1e-8,
    gamma: Any = 0.01,
    clip_threshold: Any = 1.0,
    update_interval: Any = 10,
    seed: int = 0,
    hessian_diagonal_fn: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """U = clip(m̂/max(γh, ε), ±c), h averages the Hessian's diagonal every k-th step.

    Hutchinson's estimate r·(Hr), r random signs, needs the loss itself: call
    `tx.update(grads, state, params, obj_fn=lambda params: loss(params, batch))`. What
    `obj_fn` contains is what is curved: with the data loss alone `penalized` equals
    `coupled`, with the penalty in it h grows by λ and the steps get shorter. Over
    several devices the estimate must be averaged, and this one is not.
    Source: Liu et al., Sophia, 2023; with normal r where Optax has signs.

    Args:
        b1: of the momentum m.
        b2: of the average h; only every k-th step counts in it.
        eps: ε, below which γh counts as ε: an uncertain curvature gives a full step.
        gamma: γ.
        clip_threshold: c; None for no clip.
        update_interval: k.
        seed: of the random signs.
        hessian_diagonal_fn: another estimate, as a transformation; see
            `optax.contrib.sophia`. It says itself which arguments it needs.

    Raises:
        InputError: at `update`, without `obj_fn`.
    """
    own = hessian_diagonal_fn is None
    if own:
        hessian_diagonal_fn = optax.contrib.hutchinson_estimator_diag_hessian(
            jax.random.PRNGKey(seed)
        )
    # Optax shows the core only within its alias: without decay and rate, turned round.
    alias = optax.contrib.sophia(
        1.0,
        b1,
        b2,
        eps,
        weight_decay=0.0,
        gamma=gamma,
        clip_threshold=clip_threshold,
        update_interval=update_interval,
        hessian_diagonal_fn=hessian_diagonal_fn,
    )
    core = optax.chain(alias, optax.scale(-1.0))

    def update(
        updates: Tree,
        state: Any,
        params: Tree | None = None,
        **extra: Any,
    ) -> tuple[Tree, Any]:
        if own and extra.get("obj_fn") is None:
            raise InputError(
                "sophia: obj_fn=None, and its Hessian estimate needs the loss; call "
                "update(grads, state, params, obj_fn=lambda params: loss(params, batch))"
            )
        return core.update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(core.init, update)


class ProdigyState(NamedTuple):
    """Optax's state of Prodigy, and that of the decay inside it."""

    estimate: Any
    decay: Any


def prodigy(
    decay: optax.GradientTransformation,
    *,
    b1: Any = 0.9,
    b2: Any = 0.999,
    b3: Any = None,
    eps: Any = 1e-8,
    estim_lr0: Any = 1e-6,
    estim_lr_coef: Any = 1.0,
) -> optax.GradientTransformationExtraArgs:
    """U = d_t·c_t·(m/(√v + d_tε) + λθ inside), d_t a growing estimate of ‖θ₀ − θ*‖.

    c_t = √(1 − β₂ᵗ)/(1 − β₁ᵗ). Inside (Optax's place) decay is multiplied by the
    estimate, which begins at `estim_lr0`; beside the core it is not, so λ is in units
    of 1/η_t as for every core, with an η_t near 1.

    The learning rate stands outside. `optax.contrib.prodigy` also weights the sums
    behind d_t by it: the same while it stays constant, and not when it moves. So its
    `safeguard_warmup`, which takes the learning rate out of one of the sums, has
    nothing to do here. Before the first gradient that is not zero Optax's d becomes
    NaN; here it stays. Source: Mishchenko and Defazio, Prodigy, 2023.
    """
    inner = optax.contrib.prodigy(
        1.0, (b1, b2), b3, eps, estim_lr0, estim_lr_coef, weight_decay=0.0
    )
    decay = optax.with_extra_args_support(decay)

    def init(params: Tree) -> ProdigyState:
        return ProdigyState(inner.init(params), decay.init(params))

    def update(
        updates: Tree, state: Any, params: Tree | None = None, **extra: Any
    ) -> tuple[Tree, ProdigyState]:
        held = state.estimate
        got: Any = inner.update(updates, held, params)
        step, new = got
        t = held.count + 1
        d = held.estim_lr * jnp.sqrt(1 - b2**t) / (1 - b1**t)
        d = jnp.asarray(d, held.estim_lr.dtype)
        # Before the first gradient Optax divides 0/0; nothing moves then, and d stays.
        begun = optax.tree.norm(new.grad_sum, ord=1) != 0
        step = jax.tree.map(lambda s: jnp.where(begun, s, 0), step)
        new = new._replace(estim_lr=jnp.where(begun, new.estim_lr, held.estim_lr))
        none = jax.tree.map(jnp.zeros_like, step)
        decayed, beside = decay.update(none, state.decay, params, **extra)
        u = jax.tree.map(lambda s, w: d * w - s, step, decayed)
        return u, ProdigyState(new, beside)

    return optax.GradientTransformationExtraArgs(init, update)
