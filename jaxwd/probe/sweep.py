"""The shrink of every leaf over a run: probed at many steps, the clock set to each."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxwd.probe.answers import Probe
from jaxwd.probe.parts import gaps, norms, odd_part, shares
from jaxwd.trees import count

_WORK = 2e7  # weights × probes: a second or less on one core
_FEWEST, _MOST = 33, 257
_WARM_STEPS = 2
_LARGE = 1_000_000  # weights; below, compiling costs more than it saves


@dataclass(frozen=True)
class Sweep:
    """What was measured at some steps of a run.

    Attributes:
        steps: the steps probed, increasing, shape (probes,).
        shrink: 1 − θ'/θ at zero gradient, shape (probes, leaves).
        stride: how far a gradient of size 1 moves a leaf, decay apart, same shape.
    """

    steps: np.ndarray
    shrink: np.ndarray
    stride: np.ndarray

    def liveliest(self) -> np.ndarray:
        """Return the step to look at closely, for each leaf: where it decays most.

        Leaves without decay are looked at where the others are, or where gradients move
        most. Of steps about equal it is the last one: at step 0 some cores do what they
        never do again (NovoGrad's first moment is not an average yet).
        """
        common = _last_high(self.shrink if np.any(self.shrink) else self.stride)
        return np.array(
            [
                self.steps[_last_high(column[:, None]) if column.any() else common]
                for column in self.shrink.T
            ]
        )

    def over(self, steps: int) -> np.ndarray:
        """Return the shrink at all steps of the run, shape (steps, leaves)."""
        t = np.arange(steps)
        return np.stack(
            [np.interp(t, self.steps, column) for column in self.shrink.T], axis=1
        )

    def at(self, step: int) -> np.ndarray:
        """Return the shrink at one of the probed steps, shape (leaves,)."""
        return self.shrink[int(np.flatnonzero(self.steps == step)[0])]


def _last_high(seen: np.ndarray) -> int:
    """Return the last row that is nearly as large as the largest."""
    most = np.abs(np.nan_to_num(seen)).max(axis=1)
    return int(np.flatnonzero(most >= 0.99 * most.max())[-1])


def steps_to_probe(
    probe: Probe, steps: int | None, step: int, probes: int | None
) -> np.ndarray:
    """Return which steps to probe: all of a short run of a small model, else some."""
    if not probe.clock.zero:
        return np.array([step])  # no counter: every step is like this one
    if steps is None:
        # A look ahead, so that a warm-up from 0 does not pass for an idle optimizer.
        return np.unique(step + np.array([0, 1, 10, 100, 1000, 10_000]))
    if probes is None:
        size = max(1, count(probe.weights) * probe.calls)
        probes = int(np.clip(_WORK / size, _FEWEST, _MOST))
    grid = np.linspace(0, steps - 1, min(probes, steps)).round().astype(int)
    return np.unique(np.append(grid, step))


def sweep(probe: Probe, steps: np.ndarray) -> Sweep:
    """Probe a transformation at these steps, each from its start, weights held still."""
    theta, pair, warm = probe.weights, probe.pair(), probe.state
    # Some cores need a first gradient before they move (GaLore's projection).
    for t in range(_WARM_STEPS):
        _, warm = probe.step(theta, probe.gradient, state=warm, step=t)

    def look(weights: Any, rest: Any, gradient: Any, states: Any, t: Any) -> Any:
        up, _ = probe.step(weights[0], rest, state=states[0], step=t)
        down, _ = probe.step(weights[1], rest, state=states[1], step=t)
        moved, _ = probe.step(weights[0], gradient, state=states[2], step=t)
        return shares(odd_part(up, down), weights[0]), _beyond(moved, up)

    if count(theta) > _LARGE and probe.calls == 1:
        look = jax.jit(look)  # large updates are summed up where they are made
    states = (*pair.states, warm)
    seen = []
    for t in steps:
        at = look(pair.weights, probe.rest, probe.gradient, states, int(t))
        # One at a time: collectives of many steps at once lock XLA's CPU devices.
        seen.append(jax.block_until_ready(at))
    shrink, stride = zip(*seen, strict=True)
    return Sweep(steps, np.array(shrink, np.float64), np.array(stride, np.float64))


def _beyond(moved: Any, rest: Any) -> Any:
    """Return how far a leaf moves beyond its decay; rounding counts as nothing."""
    a, b = jax.tree.leaves(moved), jax.tree.leaves(rest)
    gap = gaps(a, b)
    return jnp.where(gap <= 1e-6 * norms(b), 0.0, gap)
