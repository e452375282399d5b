"""What kind of decay, how strong, on which leaves: the value `DecayScheme`."""

from dataclasses import dataclass, field
from typing import Literal

from jaxwd.errors import InputError, concrete, require, unknown
from jaxwd.masks import Rules, Where, kernels, rules
from jaxwd.penalties import PENALTIES
from jaxwd.schedules import ScalarOrSchedule

Kind = Literal["none", "penalized", "coupled", "decoupled"]
Times = Literal["lr", "schedule", "constant", "corrected"]
TIMES: tuple[Times, ...] = ("lr", "schedule", "constant", "corrected")


@dataclass(frozen=True)
class DecayScheme:
    """One decay scheme: a plain value, made by `none`, `penalized`, `coupled`, `decoupled`.

    It does nothing by itself: `jaxwd.compose` turns it into a part of an Optax chain,
    `jaxwd.penalties.of_scheme` into a term of the loss. It prints, compares,
    serialises, and hashes where its strength is a number.

    Attributes:
        kind: which constructor made it.
        strength: λ; its unit stands in the constructor's docstring.
        times: what multiplies λ in each step (only `decoupled`).
        where: rules that say which leaves decay.
        penalty: the written form of the penalty (only `penalized`).
        examples: m of the λ/(2m) form (only `penalized`).
    """

    kind: Kind
    strength: ScalarOrSchedule = 0.0
    times: Times | str = "lr"
    where: Rules = field(default=kernels)
    penalty: str = "half_l2"
    examples: int | None = None

    def __post_init__(self) -> None:
        require(f"{self.kind}: strength", self.strength, 0.0)
        if concrete(self.strength) == float("inf"):
            raise InputError(f"{self.kind}: strength=inf; give a finite number")
        if self.times not in TIMES:
            raise unknown("times", self.times, TIMES)
        if self.penalty not in PENALTIES:
            raise unknown("penalty", self.penalty, PENALTIES)
        if (self.penalty == "l2_per_example") != (self.examples is not None):
            raise InputError(
                f"penalized: examples={self.examples} with penalty={self.penalty!r}; "
                "l2_per_example needs examples=m, the other penalties take none"
            )
        if self.examples is not None:
            require("penalized: examples", self.examples, 1)

    @property
    def name(self) -> str:
        """Return the scheme's name with what multiplies λ: `decoupled lr`."""
        if self.kind == "decoupled":
            return f"decoupled {self.times}"
        if self.kind == "penalized" and self.penalty != "half_l2":
            return f"penalized {self.penalty}"
        return self.kind

    def __str__(self) -> str:
        if self.kind == "none":
            return "none"
        number = concrete(self.strength)
        strength = f"{number:g}" if number is not None else str(self.strength)
        extra = f", times={self.times}" if self.kind == "decoupled" else ""
        extra += f", {self.penalty}" if self.penalty != "half_l2" else ""
        extra += f", m={self.examples}" if self.examples is not None else ""
        return f"{self.kind}({strength}{extra})"


def none() -> DecayScheme:
    """No decay: θ' = θ − η_t·u(g). The control arm of every comparison.

    >>> print(none())
    none
    """
    return DecayScheme("none")


def penalized(
    strength: ScalarOrSchedule,
    *,
    where: Where = kernels,
    penalty: str = "half_l2",
    examples: int | None = None,
) -> DecayScheme:
    r"""L2 in the loss: θ' = θ − η_t·u(∇(L + ½λ‖θ‖²)).

    The penalty belongs to the objective, not to the optimizer: add
    `jaxwd.penalties.of_scheme(scheme, params)` to the loss you differentiate
    (`jaxwd.training` does so), and give the same scheme to `compose`, which then adds
    nothing. The reported data loss never contains it. Equals `coupled(λ)` for every
    optimizer as long as nothing (a clip) stands between loss and gradient.

    Args:
        strength: λ in units of loss per squared weight. Scalar, array or schedule.
            Multiplied by whatever the optimizer does to a gradient; per-step shrink
            at zero gradient is η_tλ for plain SGD and depends on the core otherwise.
        where: which leaves; default kernels only, biases and scales are exempt.
        penalty: the written form, a row of `jaxwd.penalties.PENALTIES`: `half_l2`
            ½λ‖θ‖² (default, gradient λθ), `l2` λ‖θ‖² (gradient 2λθ, Keras),
            `l2_per_example` λ/(2m)‖θ‖² (gradient λθ/m), `l1` λ‖θ‖₁.
        examples: m of the last L2 form, said aloud: batch size or size of the data.

    Raises:
        InputError: λ negative, NaN or infinite, unknown penalty, m missing.

    Source: Krogh and Hertz, A simple weight decay can improve generalization, 1991.

    >>> print(penalized(5e-4))
    penalized(0.0005)
    """
    return DecayScheme(
        "penalized",
        strength,
        where=rules(where),
        penalty=penalty,
        examples=examples,
    )


def coupled(strength: ScalarOrSchedule, *, where: Where = kernels) -> DecayScheme:
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

    Raises:
        InputError: λ negative, NaN or infinite.

    Do not compare it with `decoupled` at an equal λ: the units differ.

    >>> print(coupled(5e-4))
    coupled(0.0005)
    """
    return DecayScheme("coupled", strength, where=rules(where))


def decoupled(
    strength: ScalarOrSchedule,
    *,
    times: Times | str = "lr",
    where: Where = kernels,
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
              learning rate has reached 0. `optax.adafactor`, tfa's AdamW.
            - `"corrected"`: d_t = η_t²/α. AdamC (Defazio, Why gradients rapidly
              increase near the end of training, 2025), timm's optimizers ending in c.
              Meant for weights that feed a normalisation.
        where: which leaves; default kernels only.

    Raises:
        InputError: λ negative, NaN or infinite, unknown `times`. `compose` raises
            where the peak is needed and not known, or a step would flip the sign.

    >>> print(decoupled(0.1), decoupled(1e-4, times="schedule"))
    decoupled(0.1, times=lr) decoupled(0.0001, times=schedule)
    """
    return DecayScheme("decoupled", strength, times, rules(where))
