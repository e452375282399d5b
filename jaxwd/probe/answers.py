"""Ask a transformation: what update does it give to these weights and this gradient?

Everything measured here rests on one trick. The update of a step is split into the
part that changes its sign with the weights and the part that does not,

    U(g, θ) = odd + even,    odd = ½(U(g, θ) − U(g, −θ)),

and decay is the odd part: −shrink·θ. Steps of the optimizer itself, momenta that start
off zero and noise with a fixed key are even, and drop out.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxwd.errors import InputError
from jaxwd.probe import sample
from jaxwd.probe.clock import Clock, find_clock, within_a_step
from jaxwd.probe.parts import Parts, odd_part
from jaxwd.trees import Tree

_MOST_CALLS = 4096  # micro-steps of one step before we give up counting
Penalty = Callable[[Tree, Any], jax.Array]


class Probe:
    """A transformation under test, with the weights and gradient it is tried on.

    Attributes:
        weights: θ; the parameters, with numbers where they were zero.
        gradient: g; size 1 a weight, at right angles to θ.
        rest: g = 0, or a small gradient where zero gives NaN (`rest_is_zero` says).
        clock: the step counters of the state.
        calls: update calls that make one step; more than 1 under `MultiSteps`.
        state: the state at the start.
    """

    def __init__(
        self,
        tx: Any,
        params: Tree,
        *,
        extra_args: Mapping[str, Any] | None = None,
        penalty: Penalty | None = None,
    ) -> None:
        if not hasattr(tx, "init") or not hasattr(tx, "update"):
            raise InputError(
                f"tx={tx!r} is no Optax transformation; give one such as "
                "optax.adamw(1e-3), wd.optimizer(…) or a Recipe"
            )
        self._tx, self._extra, self._penalty = tx, dict(extra_args or {}), penalty
        self.weights = sample.weights(params)
        if not any(map(sample.is_real, jax.tree.leaves(self.weights))):
            raise InputError("params hold no floating-point leaf, so nothing can decay")
        self.gradient = sample.gradient(self.weights)
        self._update = jax.jit(self._one_call)
        self.state = self.init(self.weights)
        self.calls, self.clock = 1, Clock({})
        self.calls, self.clock = self._watch()
        self.rest, self.rest_is_zero = self._find_rest()

    # --- asking -------------------------------------------------------------------

    def run(
        self,
        weights: Tree,
        gradient: Tree,
        *,
        state: Any,
        step: int = 0,
        count: int = 1,
    ) -> tuple[list[Tree], Any]:
        """Return the updates of `count` steps in a row, and the state after them.

        Weights and clock stand still: the counters say `step` at each of the steps.
        """
        seen = []
        for _ in range(count):
            state = self.clock.at(state, step)
            update, state = self._step(gradient, state, weights, step)
            seen.append(update)
        return seen, state

    def pair(self, scale: Any = 1.0, start: Any = None) -> "Pair":
        """Return two runs side by side, one with θ and one with −θ.

        Args:
            scale: θ is multiplied by it; a number, or one for each leaf.
            start: the same for the weights at `init`; default `scale`.
        """
        start = scale if start is None else start
        sides = [
            (
                self.scaled(sign * np.asarray(scale)),
                self.scaled(sign * np.asarray(start)),
            )
            for sign in (1.0, -1.0)
        ]
        return Pair(self, [(w, self.init(s)) for w, s in sides])

    def scaled(self, scale: Any) -> Tree:
        """Return the weights times a number, or times one number for each leaf."""
        leaves, treedef = jax.tree.flatten(self.weights)
        factors = np.broadcast_to(np.asarray(scale, np.float64), (len(leaves),))
        return treedef.unflatten(
            [
                (leaf * jnp.asarray(c, leaf.dtype)) if sample.is_real(leaf) else leaf
                for leaf, c in zip(leaves, factors, strict=True)
            ]
        )

    def init(self, weights: Tree) -> Any:
        """Return the state at the start, with these weights."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the report says it for each leaf
            return self._guard(self._tx.init, weights)

    # --- how ----------------------------------------------------------------------

    def _one_call(self, gradient: Tree, state: Any, weights: Tree, step: Any) -> Any:
        if self._penalty is not None:
            more = jax.grad(self._penalty)(weights, step)
            gradient = jax.tree.map(jnp.add, gradient, more)
        return self._tx.update(gradient, state, weights, **self._extra)

    def _step(self, gradient: Tree, state: Any, weights: Tree, step: int) -> Any:
        total = None
        for _ in range(self.calls):
            update, state = self._guard(self._update, gradient, state, weights, step)
            total = update if total is None else jax.tree.map(jnp.add, total, update)
        return total, state

    def _guard(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            with jax.debug_key_reuse(False):  # the same state is asked many questions
                return function(*arguments)
        except InputError:
            raise
        except Exception as error:
            said = (str(error).strip().splitlines() or [""])[0]
            raise InputError(
                f"the transformation cannot be probed: {type(error).__name__}: {said}; "
                "it may need keyword arguments, as in extra_args={'value': 1.0}, or "
                "parameters of another structure"
            ) from error

    def _watch(self) -> tuple[int, Clock]:
        """Count the calls of a step and find the counters, over three steps."""
        states, state, calls = [self.state], self.state, 0
        while len(states) < 4:
            _, state = self._step(self.gradient, state, self.weights, 0)
            calls += 1
            if calls > _MOST_CALLS:
                raise InputError(f"no step was made in {_MOST_CALLS} micro-steps")
            if not within_a_step(state):
                states.append(state)
        return calls // 3, find_clock(states)

    def _find_rest(self) -> tuple[Tree, bool]:
        """Return the gradient to measure decay at: zero, unless zero gives NaN."""
        zero = jax.tree.map(jnp.zeros_like, self.gradient)
        seen, _ = self.run(self.weights, zero, state=self.state, count=3)
        if all(np.isfinite(x).all() for x in map(np.asarray, jax.tree.leaves(seen))):
            return zero, True
        small = jax.tree.map(
            lambda g: g * jnp.asarray(1e-3, g.dtype) if sample.is_real(g) else g,
            self.gradient,
        )
        return small, False


class Pair:
    """The same steps with θ and with −θ."""

    def __init__(self, probe: Probe, sides: list[tuple[Tree, Any]]) -> None:
        self._probe, self._sides = probe, sides

    def updates(self, gradient: Tree, *, step: int, count: int = 1) -> list[list[Tree]]:
        """Return the updates of `count` steps from the start, one list a side."""
        return [
            self._probe.run(w, gradient, state=s, step=step, count=count)[0]
            for w, s in self._sides
        ]

    def odd(self, gradient: Tree, *, step: int, count: int = 1) -> list[Parts]:
        """Return the odd part of each step's update."""
        up, down = self.updates(gradient, step=step, count=count)
        return [odd_part(a, b) for a, b in zip(up, down, strict=True)]

    def after(self, gradient: Tree, *, step: int, count: int) -> "Pair":
        """Return the pair as it stands after `count` steps."""
        return Pair(
            self._probe,
            [
                (w, self._probe.run(w, gradient, state=s, step=step, count=count)[1])
                for w, s in self._sides
            ],
        )

    def without_weights(self) -> "Pair":
        """Return the pair with weights 0 from here on: what is left is memory."""
        return Pair(
            self._probe, [(jax.tree.map(jnp.zeros_like, w), s) for w, s in self._sides]
        )
