"""How much a scheme shrinks a weight: per step, and over the run, comparable by all."""

from dataclasses import dataclass

import jax
import numpy as np

from jaxwd.decay.rules import MULTIPLIERS, RULES, Known
from jaxwd.decay.scheme import DecayScheme
from jaxwd.errors import concrete
from jaxwd.schedules import ScalarOrSchedule, peak_of


@dataclass(frozen=True)
class Shrink:
    """What pure decay (zero gradient) does to a weight over a run of T steps.

    With an anchor, to a weight's distance from it (`to_norm`: of the leaf's length).

    Attributes:
        per_step: mean over the run of 1 − θ'/θ; λ times its multiplier.
        tau: τ = 1/per_step, the time constant in steps; infinite without decay.
        tau_over_run: τ/T. Near 0.1 to 1 decay acts within the run; far above 1 the
            run ends before decay shows.
        kept: Π(1 − shrink_t), the share of a weight that is left at the end.
    """

    per_step: float
    tau: float
    tau_over_run: float
    kept: float


def shrink(
    scheme: DecayScheme,
    learning_rate: ScalarOrSchedule,
    *,
    steps: int,
    gain: float | None = 1.0,
    peak: float | None = None,
) -> Shrink | None:
    """Return the realised shrink over `steps` steps, None where it is core-dependent.

    Args:
        scheme: any scheme of `jaxwd`.
        learning_rate: a number or a schedule.
        steps: T, the length of the run.
        gain: what the core makes of a constant gradient: 1 for SGD, 1/(1−μ) with
            momentum, None for adaptive cores, whose coupled decay has no fixed rate.
        peak: α of a foreign schedule.

    >>> from jaxwd import coupled
    >>> shrink(coupled(5e-4), 0.1, steps=2000)
    Shrink(per_step=5e-05, tau=20000.0, tau_over_run=10.0, kept=0.904...)
    """
    t = np.arange(steps)
    strength = _over(scheme.strength, t)
    eta = _over(learning_rate, t)
    if strength is None or eta is None:
        return None
    alpha = concrete(peak_of(learning_rate, peak))
    if not alpha and MULTIPLIERS[scheme.times].needs_peak:
        return None
    if scheme.gate is not None:  # open or shut as the data will have it
        return None
    rate = RULES[scheme.kind].shrink(scheme, Known(eta, alpha, strength, gain))
    if rate is None:
        return None
    rate = np.broadcast_to(rate, (steps,)).astype(np.float64)
    mean = float(rate.mean())
    tau = 1.0 / mean if mean > 0 else float("inf")
    kept = float(np.exp(np.log1p(-rate).sum())) if (rate < 1).all() else 0.0
    return Shrink(round(mean, 15), round(tau, 6), round(tau / steps, 9), kept)


def _over(value: ScalarOrSchedule, t: np.ndarray) -> np.ndarray | None:
    """Return a number or schedule at all steps; None where it is traced."""
    if callable(value):
        return np.asarray(jax.vmap(value)(t), np.float64)
    number = concrete(value)
    return None if number is None else np.full(t.shape, number)
