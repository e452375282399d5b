"""One optimizer under test: how it is made, and what it is tried on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxwd.probe.answers import Probe
from jaxwd.probe.parts import norms, shares
from jaxwd.trees import Tree, named_leaves

Make = Callable[[Any, Any], Any]
"""(learning rate, strength) → transformation; the rate may be a schedule."""

LAST_STEP = 8  # of the schedule η → 0 that powers are measured over


@dataclass(frozen=True)
class Case:
    """An optimizer under test.

    Attributes:
        make: (learning rate, strength) → transformation.
        params: what it is tried on.
        rate: η.
        strength: λ.
        extra_args: what its `update` needs beside gradients.
    """

    make: Make
    params: Tree
    rate: float
    strength: float
    extra_args: Mapping[str, Any]

    def probe(self, tx: Any) -> Probe:
        """Return a probe of a transformation, on this case's parameters."""
        return Probe(tx, self.params, extra_args=self.extra_args)

    @cached_property
    def plain(self) -> Probe:
        """Return the probe of the optimizer at η and λ."""
        return self.probe(self.make(self.rate, self.strength))

    @cached_property
    def shrink(self) -> np.ndarray:
        """Return the shrink of a first step at η and λ, shape (leaves,)."""
        return self.shrink_of(self.plain)

    @property
    def names(self) -> list[str]:
        """Return the leaves' names."""
        return [name for name, _ in named_leaves(self.params)]

    @property
    def main(self) -> int:
        """Return the leaf that decays most."""
        return int(np.argmax(np.abs(self.shrink)))

    @property
    def main_only(self) -> Tree:
        """Return a mask that is True at the main leaf."""
        leaves, treedef = jax.tree.flatten(self.params)
        return treedef.unflatten([i == self.main for i in range(len(leaves))])

    def shrink_of(self, probe: Probe, step: int = 0) -> np.ndarray:
        """Return the shrink of a first step at the clock's `step`."""
        part, _ = probe.pair().odd(probe.rest, step=step)
        return np.asarray(shares(part, probe.weights), np.float64)

    def odd_share(self, probe: Probe) -> float:
        """Return how large the odd part of the update is, against the weights."""
        part, _ = probe.pair().odd(probe.rest, step=0)
        sizes = norms(part) / norms(jax.tree.leaves(probe.weights))
        return float(np.asarray(sizes).max())

    def update(self, rate: Any, strength: Any) -> Tree:
        """Return the second update for this case's weights and gradient."""
        tx = self.make(rate, strength)
        weights, gradient = self.plain.weights, self.plain.gradient
        state = tx.init(weights)
        _, state = tx.update(gradient, state, weights, **self.extra_args)
        return tx.update(gradient, state, weights, **self.extra_args)[0]


def sample(shapes: Any) -> Tree:
    """Return float32 weights of these shapes, none of them near 0."""
    rng = np.random.default_rng(0)

    def draw(shape: Any) -> Any:
        size = rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape)
        return jnp.asarray(size, jnp.float32)

    return jax.tree.map(draw, shapes, is_leaf=_is_shape)


def _is_shape(node: Any) -> bool:
    return isinstance(node, tuple) and all(isinstance(n, int) for n in node)
