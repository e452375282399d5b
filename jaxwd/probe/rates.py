"""What the shrink says about λ and η, where the learning rate is known."""

import numpy as np

from jaxwd.errors import concrete
from jaxwd.probe.natures import Nature
from jaxwd.probe.subject import Subject
from jaxwd.probe.sweep import Sweep
from jaxwd.schedules import value_at


def _rates(subject: Subject, measured: Sweep) -> np.ndarray | None:
    """Return η_t at the probed steps; None where it is not known or is traced."""
    rate = subject.learning_rate
    if rate is None or (not callable(rate) and concrete(rate) is None):
        return None
    return np.array([float(value_at(rate, int(t))) for t in measured.steps])


def measured_power(
    subject: Subject, measured: Sweep, kinds: list[Nature]
) -> float | None:
    """Return p of shrink ∝ η^p over the schedule, None where η does not change."""
    eta = _rates(subject, measured)
    sure = [i for i, n in enumerate(kinds) if n.kind in ("decoupled", "coupled")]
    if eta is None or not sure:
        return None
    shrink = np.abs(measured.shrink[:, sure]).max(axis=1)
    known = (eta > 1e-3 * eta.max()) & (shrink > 0)
    if known.sum() < 3 or np.ptp(eta[known]) < 0.05 * eta.max():
        return None
    slope = float(np.polyfit(np.log(eta[known]), np.log(shrink[known]), 1)[0])
    return round(slope, 3) + 0.0


def measured_strength(
    subject: Subject, measured: Sweep, i: int, power: float | None
) -> float | None:
    """Return λ as measured: the shrink over what the schedule multiplies it by."""
    eta = _rates(subject, measured)
    if eta is None or not (measured.shrink[:, i] != 0).any():
        return None
    k = int(np.argmax(np.abs(measured.shrink[:, i])))
    per_unit = {0: 1.0, 1: eta[k], 2: eta[k] ** 2 / eta.max()}
    d = per_unit.get(1 if power is None else round(power), 0.0)
    # Rounded to what float32 can carry.
    return float(f"{measured.shrink[k, i] / d:.5g}") if d > 0 else None
