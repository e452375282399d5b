"""One convention of λ: what a step takes off a weight, as two integers and a factor.

A step takes d_t·θ off a weight without gradient. Where decay stands beside the step,

    d_t = λ · f · α^p · s_t^k      η_t = α·s_t, peak α, schedule s_t ∈ [0, 1]

so a convention is two small integers and, for some, a factor f. Where decay stands in
the gradient, c·λ·θ is added to it and what becomes of that is the optimizer's affair:
only for SGD is it d_t = η_t·c·λ/(1 − μ). Times (τ, half-life) name d itself.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from jaxwd.guide.setting import Setting

Kind = Literal["step", "gradient", "sign", "time"]


@dataclass(frozen=True)
class Clock:
    """How a time names d: value in steps → d, and back."""

    rate: Callable[[float], float]
    value: Callable[[float], float]


TAU = Clock(lambda tau: 1.0 / tau, lambda d: 1.0 / d if d else math.inf)
"""d = 1/τ."""

HALF_LIFE = Clock(
    lambda h: -math.expm1(-math.log(2.0) / h),
    lambda d: (
        -math.log(2.0) / math.log1p(-d) if 0 < d < 1 else (0.0 if d else math.inf)
    ),
)
"""(1 − d)^h = ½."""


def lasting_gain(momentum: float) -> float:
    """1/(1 − μ): what momentum μ, Nesterov's too, makes of a gradient that lasts."""
    return 1.0 / (1.0 - momentum)


@dataclass(frozen=True)
class Convention:
    """One row of the table.

    Attributes:
        name: the word used here.
        kind: `step` beside the step, `gradient` in loss or gradient, `sign` (L1, a
            pull of constant size), or `time`.
        takes: what a step takes off, per weight, with {λ} for the number; for
            `gradient` and `sign` what is added to the gradient.
        source: who defined it or does it.
        jaxwd: how to write it in jaxwd, with {λ} for the number; empty where it
            cannot be written as one scheme.
        aliases: the words used elsewhere → the optimizer they say, or None.
        alpha: p, the power of the peak learning rate (`step`).
        shape: k, the power of the schedule (`step`).
        factor: f of `step`, c of `gradient`.
        needs: what the factor cannot do without.
        in_loss: a term of the loss, so that a gradient clip acts on it too.
        clock: of `time` rows; they are in epochs where they need the sizes.
    """

    name: str
    kind: Kind
    takes: str
    source: str
    jaxwd: str = ""
    aliases: dict[str, str | None] = field(default_factory=dict)
    alpha: int = 0
    shape: int = 0
    factor: Callable[[Setting], float] = lambda setting: 1.0
    needs: tuple[str, ...] = ()
    in_loss: bool = False
    clock: Clock | None = None

    @property
    def optimizers(self) -> str:
        """Return for which optimizers the row is defined: `SGD`, or `any`.

        Decay in the gradient of any other than SGD is defined too, but takes off what
        the data makes of it.
        """
        return "SGD" if "momentum" in self.needs else "any"

    def text(self, symbol: str) -> str:
        """Return `takes` with the number's symbol filled in."""
        return self.takes.replace("{λ}", symbol)
