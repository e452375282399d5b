"""Tell decoupled from coupled, adaptive, anchored: what kind of decay a leaf gets.

With D(g, θ) for the odd part of the update (see `answers`):

| question                                              | yes           | no          |
|-------------------------------------------------------|---------------|-------------|
| D(0, 2θ) = 2·D(0, θ) and D(0, θ) = −shrink·θ?         | proportional  | L1-like, …  |
| D(g, θ) = D(0, θ), over several steps?                | indifferent   | by gradient |
| is D gone in the step after θ has become 0?           | decoupled     | coupled     |

Plain SGD makes no difference between coupled and decoupled, nor does this table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxwd.probe.answers import Probe
from jaxwd.probe.parts import along, dots, even_part, gaps, norms, shares
from jaxwd.probe.trials import (
    STEPS,
    beside_gradient,
    eps_of,
    gain,
    proportional_part,
    pull_to_start,
)

_STEADY = ("decoupled", "coupled")  # kinds whose shrink is a number
_NARROW_EPS = 1e-4  # coarser types (bfloat16, float16) get coarser tolerances


class Signs(NamedTuple):
    """The yes and no of one leaf."""

    responds: bool
    proportional: bool
    indifferent: bool
    remembers: bool
    anchored: bool


KINDS: tuple[tuple[str, Callable[[Signs], bool]], ...] = (
    ("anchored", lambda s: not s.responds and s.anchored),
    ("none", lambda s: not s.responds),
    ("by gradient", lambda s: not s.indifferent),
    ("not ∝ θ", lambda s: not s.proportional),
    ("coupled", lambda s: s.remembers),
    ("decoupled", lambda s: True),
)
"""Kind → what must hold; the first that does is the leaf's. "by gradient" is decay
that an adaptive core, a norm, a clip or a gate makes depend on the gradient."""


@dataclass(frozen=True)
class Nature:
    """What kind of decay one leaf gets.

    Attributes:
        kind: a row of `KINDS`.
        gain: shrink in the long run over that of the first step, 1 unless decay is
            stored in a momentum; NaN where that does not settle.
        proportional: whether D(0, θ) = −shrink·θ.
        at_rest: the shrink of a first step at zero gradient.
        beside_gradient: ⟨D(g), D(0)⟩/⟨D(0), D(0)⟩; 1 for decoupled decay, ½ for
            cautious decay, about 0 for coupled decay in Adam.
        beside: shrink a step of a second, proportional decay, found beside one that an
            adaptive core bounds; 0 where there is none.
        to_anchor: shrink a step of the distance to a reference kept in the state.
        climbs: the update points along the gradient, not against it.
        kept_still: share of the weights that rounding keeps where they are.
    """

    kind: str
    gain: float
    proportional: bool
    at_rest: float
    beside_gradient: float
    beside: float
    to_anchor: float
    climbs: bool
    kept_still: float


def natures(probe: Probe, step: int) -> list[Nature]:
    """Return the nature of every leaf, probed with the clock at `step`."""
    theta, pair = probe.weights, probe.pair()
    leaves = jax.tree.leaves(theta)
    ulp = np.array([eps_of(x) for x in leaves])
    narrow = ulp > _NARROW_EPS
    tolerance = np.where(narrow, 0.05, 2e-3)

    series, sizes, at_rest = [], [], []
    for _ in range(STEPS):
        part, pair = pair.odd(probe.rest, step=step)
        at_rest = at_rest or part
        sizes.append(np.asarray(norms(part)))
        series.append(np.asarray(shares(part, theta), float))
    size, largest, series = sizes[0], np.max(sizes, axis=0), np.array(series)
    emptied, _ = pair.without_weights().odd(probe.rest, step=step)
    memory = np.asarray(norms(emptied))

    straight = np.asarray(gaps(at_rest, along(theta, series[0]))) <= tolerance * size
    straight &= size > 0
    doubled, _ = probe.pair(2.0).odd(probe.rest, step=step)
    linear = np.asarray(gaps(doubled, at_rest, 2.0)) <= tolerance * 2 * size
    proportional = straight & linear

    up, down, _ = probe.pair().step(probe.gradient, step=step)
    stride = even_part(up, down)
    reach = np.asarray(norms(stride))
    times = reach / np.where(size > 0, size, 1.0)
    indifferent, ratio = beside_gradient(probe, step, proportional, straight, times)
    beside = proportional_part(probe, step)
    pulled = pull_to_start(probe, step)
    uphill = np.asarray(dots(stride, jax.tree.leaves(probe.gradient)))
    lengths = reach * np.asarray(norms(jax.tree.leaves(probe.gradient)))

    # Less than an ulp of the weights is rounding, unless it lies along them.
    least = np.where(straight, 1e-14, 4 * ulp) * np.asarray(norms(leaves))
    kinds, gains = [], np.ones(len(leaves))
    for i in range(len(leaves)):
        signs = Signs(
            responds=bool(largest[i] > least[i] or not indifferent[i]),
            proportional=bool(proportional[i]),
            indifferent=bool(indifferent[i]),
            remembers=bool(memory[i] > 1e-4 * largest[i]),
            anchored=bool(pulled[i] > 0),
        )
        kinds.append(next(name for name, holds in KINDS if holds(signs)))
        if kinds[i] == "coupled":
            gains[i] = gain(series[:, i], 0.1 if narrow[i] else 0.01)
    still = np.asarray(_kept_still(theta, at_rest, np.nan_to_num(gains, nan=1.0)))
    return [
        Nature(
            kind,
            gain=float(gains[i]),
            proportional=bool(proportional[i]),
            at_rest=float(series[0][i]),
            beside_gradient=float(ratio[i]),
            beside=float(beside[i]) if kind == "by gradient" else 0.0,
            to_anchor=float(pulled[i]) if kind == "anchored" else 0.0,
            climbs=bool(uphill[i] > 0.1 * lengths[i] > 0),
            kept_still=float(still[i]) if kind in _STEADY else 0.0,
        )
        for i, kind in enumerate(kinds)
    ]


@jax.jit
def _kept_still(weights: Any, decay: Any, gains: Any) -> Any:
    """Return the share of each leaf's weights that decay leaves as they are."""

    def share(w: Any, update: Any, gain: Any) -> Any:
        same = (w + gain * update).astype(w.dtype) == w
        return jnp.sum(same & (w != 0)) / jnp.maximum(jnp.sum(w != 0), 1)

    leaves = jax.tree.leaves(weights)
    return jnp.stack([share(*each) for each in zip(leaves, decay, gains, strict=True)])
