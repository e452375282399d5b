"""The constructors: where decay enters, and what multiplies λ there."""

from typing import Any

from jaxwd.decay.scheme import DecayScheme
from jaxwd.masks import Where, kernels, rules
from jaxwd.schedules import ScalarOrSchedule


def none() -> DecayScheme:
    """No decay: θ' = θ − η_t·u(g). The control arm of every comparison.

    Not for an optimizer that decays by itself, which this does not switch off:
    `compose` refuses those.

    Reference: optimizers whose `weight_decay` is 0.

    >>> print(none())
    none
    """
    return DecayScheme("none")


def penalized(
    strength: ScalarOrSchedule,
    *,
    where: Where = kernels,
    penalty: str = "half_l2",
    **settings: Any,
) -> DecayScheme:
    r"""L2 in the loss: θ' = θ − η_t·u(∇(L + λR(θ))), R = ½‖θ‖².

    The penalty belongs to the objective, not to the optimizer: add
    `jaxwd.penalties.of_scheme(scheme, params)` to the loss you differentiate
    (`jaxwd.training` does so), and give the same scheme to `compose`, which then adds
    nothing. The reported data loss never contains it. Equals `coupled(λ)` for every
    optimizer as long as nothing (a clip) stands between loss and gradient.

    Args:
        strength: λ in units of loss per unit of R. Scalar, array or schedule.
            Multiplied by whatever the optimizer does to a gradient; per-step shrink
            at zero gradient is η_tλ for plain SGD and depends on the core otherwise.
        where: which leaves; default kernels only, biases and scales are exempt.
        penalty: the written form, a row of `jaxwd.penalties.PENALTIES`: `half_l2`
            ½λ‖θ‖² (default, gradient λθ), `l2` λ‖θ‖² (gradient 2λθ, Keras),
            `l2_per_example` λ/(2m)‖θ‖² (gradient λθ/m), `l1` λ‖θ‖₁, and others.
        **settings: of the penalty: `examples=m` of `l2_per_example`, said aloud (batch
            size or size of the data), `delta=` of `huber`, ….

    Raises:
        InputError: λ negative, NaN or infinite, unknown penalty, a setting missing.

    Source: Krogh and Hertz, A simple weight decay can improve generalization, 1991.

    Not for Adam and its kin where AdamW is meant, nor where gradients are clipped:
    the clip then holds the penalty down together with the loss.

    Reference: Flax's ImageNet example, Haiku, `keras.regularizers.L2` (2λ).

    >>> print(penalized(5e-4))
    penalized(0.0005)
    """
    return _with_penalty("penalized", strength, "lr", where, penalty, settings)


def coupled(
    strength: ScalarOrSchedule,
    *,
    where: Where = kernels,
    penalty: str = "half_l2",
    **settings: Any,
) -> DecayScheme:
    """L2 in the gradient: θ' = θ − η_t·u(g + λθ).

    Enters through `optax.add_decayed_weights` *before* the optimizer's core, so
    momentum accumulates it and Adam divides it by √v̂. This is `weight_decay` of
    torch's SGD, Adam, RMSprop, Adagrad and Adadelta.

    Args:
        strength: λ in units of gradient per weight, multiplied by whatever the
            optimizer does to a gradient. Per-step shrink at zero gradient: η_tλ for
            SGD, ηλ/(1−μ) for momentum μ once its buffer is full, core-dependent for
            adaptive cores. Scalar, array or schedule of the step.
        where: which leaves; default kernels only.
        penalty: λ∇R(θ) is added, R a row of `jaxwd.penalties.PENALTIES`.
        **settings: of the penalty.

    Raises:
        InputError: λ negative, NaN or infinite.

    Do not compare it with `decoupled` at an equal λ: the units differ.

    Not for adaptive cores where all weights shall decay alike: Adam divides λθ by
    √v̂, so weights with large gradients decay least.

    Source: Krogh and Hertz, A simple weight decay can improve generalization, 1991.

    Reference: `optax.add_decayed_weights` before the core; torch `SGD`, `Adam`.

    >>> print(coupled(5e-4))
    coupled(0.0005)
    """
    return _with_penalty("coupled", strength, "lr", where, penalty, settings)


def decoupled(
    strength: ScalarOrSchedule,
    *,
    times: str = "lr",
    where: Where = kernels,
    penalty: str = "half_l2",
    **settings: Any,
) -> DecayScheme:
    """Decay beside the step: θ' = θ − η_t·u(g) − d_t·λ·θ.

    Args:
        strength: λ; what it is multiplied by is `times`. Scalar, array or schedule.
        times: the multiplier d_t, with η_t = α·s_t, peak α and schedule s_t ∈ [0, 1]:

            - `"lr"`: d_t = η_t. λ in units of 1/learning rate. `optax.adamw`, torch
              and Keras AdamW. Changing the learning rate changes the decay. Default,
              because it is what most published values of λ mean.
            - `"schedule"`: d_t = s_t. λ is the shrink per step at the peak. The AdamW
              paper (Loshchilov and Hutter, 2019), big_vision.
            - `"constant"`: d_t = 1. λ is the shrink per step, always, also when the
              learning rate has reached 0. `optax.adafactor`, tfa's AdamW. With a
              schedule as λ, any decay over time.
            - `"corrected"`: d_t = η_t²/α. AdamC (Defazio, Why gradients rapidly
              increase near the end of training, 2025), timm's optimizers ending in c.
              Meant for weights that feed a normalisation.
            - `"lr_squared"`: d_t = η_t². PaLM (Chowdhery et al., 2022) with λ = 1.
        where: which leaves; default kernels only.
        penalty: θ is replaced by ∇R(θ), R a row of `jaxwd.penalties.PENALTIES`.
        **settings: of the penalty.

    Raises:
        InputError: λ negative, NaN or infinite, unknown `times`. `compose` raises
            where the peak is needed and not known, or a step would flip the sign.

    Not for rows of an embedding that few batches touch: they decay in every step.
    `cautious(…, ties="skip")` spares them.

    Source: Loshchilov and Hutter, Decoupled weight decay regularization, 2019, and
    those beside each multiplier.

    Reference: `optax.adamw`, torch `AdamW`; torch-optimi and timm for the other
    multipliers.

    >>> print(decoupled(0.1), decoupled(1e-4, times="schedule"))
    decoupled(0.1, times=lr) decoupled(0.0001, times=schedule)
    """
    return _with_penalty("decoupled", strength, times, where, penalty, settings)


def proximal(
    strength: ScalarOrSchedule,
    *,
    times: str = "lr",
    where: Where = kernels,
    penalty: str = "half_l2",
    **settings: Any,
) -> DecayScheme:
    """Decay as a proximal step: θ' = argmin_z d_tλ·R(z) + ½‖z − (θ − η_t·u(g))‖².

    For R = ½‖θ‖² this is θ' = (θ − η_t·u)/(1 + d_tλ), of which `decoupled` is the
    first-order approximation; it never flips a sign, however large d_tλ is. For
    `penalty="l1"`, `"elastic_net"` and `"group_lasso"` it makes exact zeros, which
    gradient steps on the penalty do not. `"p_norm"` divides by 1 + d_tλ|θ|^(p−2) at the
    weight before the step (pWD), which is stable for every p but no exact argmin; below
    p = 2 a weight that is exactly 0 stays there, so leave leaves that start at 0 out.

    Args:
        strength: λ, multiplied by `times` as in `decoupled`; d_tλ is the threshold of
            `l1` in units of weights. In the plain metric, not in Adam's: every weight
            has the same threshold.
        times: as in `decoupled`.
        where: which leaves; default kernels only.
        penalty: R, a row of `jaxwd.penalties.PENALTIES`; default ½‖θ‖².
        **settings: of the penalty.

    Raises:
        InputError: as `decoupled`; no λ is too large.

    Sources: Zhuang et al., Understanding AdamW through proximal methods, 2022; Adan
    (Xie et al., 2022); pWD (Outmezguine and Levi, Decoupled weight decay for any p
    norm, 2024); AdamHD for `huber` (2025).

    Not for thresholds that shall follow Adam's own step sizes: each weight has the
    same here.

    Reference: jaxopt's `prox` functions; timm's `Adan`.

    >>> print(proximal(0.1, penalty="l1"))
    proximal(0.1, times=lr, l1)
    """
    return _with_penalty("proximal", strength, times, where, penalty, settings)


def selective(
    strength: ScalarOrSchedule, *, where: Where = kernels, anchor: Any = None
) -> DecayScheme:
    """Selective projection: pull a step back that grows ‖θ − θ₀‖ against the gradient.

    Per leaf, with θ̃ = θ − η_t·u and r = max(‖θ̃ − θ₀‖ − ‖θ − θ₀‖, 0)/‖θ̃ − θ₀‖:
    where ⟨g, θ − θ₀⟩ > 0, θ' = θ̃ − λr(θ̃ − θ₀); elsewhere θ' = θ̃. For fine-tuning.

    Args:
        strength: λ, multiplied by nothing; 1 projects a growing step back to the old
            distance, 0 is no decay.
        where: which leaves; default kernels only. The test is made leaf by leaf.
        anchor: θ₀: default the weights at `init`; a tree of the parameters' structure;
            0 for low-rank adapters.

    Source: Tian et al., Rethinking weight decay for robust fine-tuning of foundation
    models, 2024 (SPD). `cautious` is its cousin weight by weight.

    Not for training from scratch: the start is no place to stay near to.

    Reference: GT-RIPL/Selective-Projection-Decay.

    >>> print(selective(1.0))
    selective(1, to_init)
    """
    from jaxwd.decay.anchors import to_init, to_tree

    scheme = DecayScheme("selective", strength, "constant", rules(where))
    if anchor is None:
        return to_init(scheme)
    return scheme if isinstance(anchor, int) else to_tree(scheme, anchor)


def _with_penalty(
    kind: str,
    strength: ScalarOrSchedule,
    times: str,
    where: Where,
    penalty: str,
    settings: dict[str, Any],
) -> DecayScheme:
    pairs = tuple(settings.items())
    return DecayScheme(kind, strength, times, rules(where), penalty, pairs)
