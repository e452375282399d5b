"""Three trials of a decay: beside a gradient, at huge weights, over several steps."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxwd.probe.answers import Probe
from jaxwd.probe.parts import dots, gaps, norms, odd_part, shares

STEPS = 8  # enough for adaptive cores to show, and to extrapolate a buffer's filling
_UNTIL_STILL = 200  # steps without gradient: 0.9²⁰⁰ of a momentum is left
_LEAST = 1e-14
_LARGEST_SCALE = 2.0**20
_FAR = np.array([1.0, 2.0, 4.0]) * 2.0**12  # θ so large that bounded answers saturate


def beside_gradient(
    probe: Probe, step: int, proportional: Any, straight: Any, ratio: Any
) -> tuple[Any, Any]:
    """Return whether D(g) = D(0) at every step, and their ratio at the last one.

    Args:
        probe: the transformation.
        step: where the clock stands.
        proportional: whether D(0, θ) is proportional to θ, for each leaf.
        straight: whether it lies along θ at all; what does not may be rounding.
        ratio: size of a step of the core over that of decay. Beside it a small decay
            drowns in rounding, so where decay is proportional to θ, it is tried with θ
            so large that both are of one size.
    """
    wanted = np.where(proportional, ratio, 1.0)
    wanted = np.clip(np.nan_to_num(wanted, nan=1.0), 1.0, _LARGEST_SCALE)
    scale = 2.0 ** np.round(np.log2(wanted))
    still = moved = probe.pair(scale)
    leaves = jax.tree.leaves(probe.weights)
    eps, weights = np.array([eps_of(x) for x in leaves]), np.asarray(norms(leaves))
    same, ratio = np.ones(len(scale), bool), np.ones(len(scale))
    for _ in range(STEPS):
        rest, still = still.odd(probe.rest, step=step)
        up, down, moved = moved.step(probe.gradient, step=step)
        odd = odd_part(up, down)
        signal = np.asarray(norms(rest))
        noise = 8 * eps * np.asarray(norms(jax.tree.leaves(up)))
        # Some cores return the difference of new and old weights, rounded like those.
        noise = noise + np.where(straight, 0.0, 4 * eps * weights)
        same &= np.asarray(gaps(odd, rest)) <= 0.05 * signal + noise
        square = np.where(signal > 0, np.float64(signal) ** 2, 1.0)
        ratio = np.where(signal > 0, np.asarray(dots(odd, rest)) / square, 1.0)
    return same, ratio


def pull_to_start(probe: Probe, step: int) -> Any:
    """Return the shrink of the distance to where the weights started, 0 without one.

    Weights put elsewhere by hand are drawn back also by optimizers that merely keep a
    copy of them (MADGRAD, schedule-free). So they must come back as fast from where
    the optimizer itself has taken them, once its momentum has died down.
    """
    moved, _ = probe.pair(2.0, start=1.0).odd(probe.rest, step=step)
    by_hand = np.asarray(shares(moved, probe.weights), float)
    if not np.any(np.abs(by_hand) > _LEAST):
        return np.zeros(len(by_hand))
    weights, state = probe.weights, probe.state
    gradients = [probe.gradient] * STEPS + [probe.rest] * _UNTIL_STILL
    for gradient in gradients:
        update, state = probe.step(weights, gradient, state=state, step=step)
        weights = optax.apply_updates(weights, update)
    update, _ = probe.step(weights, probe.rest, state=state, step=step)
    distance = jax.tree.map(jnp.subtract, weights, probe.weights)
    by_itself = np.asarray(shares(jax.tree.leaves(update), distance), float)
    agree = np.abs(by_itself - by_hand) <= 0.1 * np.abs(by_hand)
    return np.where(agree & (by_hand > _LEAST), by_hand, 0.0)


def proportional_part(probe: Probe, step: int) -> Any:
    """Return the shrink that stays when θ grows and bounded decay has saturated.

    What coupled decay does in Adam is bounded by η whatever θ is; a decoupled one
    beside it goes on growing with θ. p(c) = slope·c + bound tells them apart.
    """
    p = []
    for c in _FAR:
        part, _ = probe.pair(c).odd(probe.rest, step=step)
        p.append(np.asarray(shares(part, probe.weights), float))
    low, high = (p[1] - p[0]) / (_FAR[1] - _FAR[0]), (p[2] - p[1]) / (_FAR[2] - _FAR[1])
    bound = p[0] - low * _FAR[0]
    steady = np.abs(high - low) <= 0.02 * np.abs(low)
    both = steady & (low * _FAR[0] > 1e-4 * p[0]) & (bound > 1e-3 * p[0])
    return np.where(both, low, 0.0)


def gain(series: Any, tolerance: float = 0.01) -> float:
    """Return the limit of a growing series over its first term, NaN where unclear.

    A buffer fills geometrically, s_k = s_∞ − c·rᵏ, so three terms give r and s_∞, and
    the last one of the series says whether that was right.
    """
    a, b, c = series[0], series[1] - series[0], series[2] - series[1]
    if a == 0 or not np.isfinite(series).all():
        return float("nan")
    if abs(b) < 1e-6 * abs(a):
        return 1.0
    r = c / b
    if not 0 <= r < 1:
        return float("nan")
    limit = series[0] + b / (1 - r)
    foretold = limit - (limit - series[0]) * r ** (len(series) - 1)
    close = abs(foretold - series[-1]) <= tolerance * abs(series[-1])
    return float(limit / a) if close else float("nan")


def eps_of(leaf: Any) -> float:
    """Return the spacing of a leaf's type at 1."""
    real = jnp.issubdtype(leaf.dtype, jnp.floating)
    return float(jnp.finfo(leaf.dtype).eps) if real else 1e-7
