"""Ask a transformation: what update does it give to these weights and this gradient?

Everything measured here rests on one trick. The update of a step is split into the
part that changes its sign with the weights and the part that does not,

    U(g, θ) = odd + even,    odd = ½(U(g, θ) − U(g, −θ)),

and decay is the odd part: −shrink·θ. Steps of the optimizer itself, momenta that start
off zero and noise with a fixed key are even, and drop out.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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

    def step(
        self, weights: Tree, gradient: Tree, *, state: Any, step: int
    ) -> tuple[Tree, Any]:
        """Return the update of one step with the clock at `step`, and the state after.

        Several in a row with the same `step` and weights are steps at which time, rate
        and weights stand still, and only what the state remembers goes on.
        """
        return self._step(weights, gradient, self.clock.at(state, step), step)

    def pair(self, scale: Any = 1.0, start: Any = None) -> "Pair":
        """Return two runs side by side, one with θ and one with −θ.

        Args:
            scale: θ is multiplied by it; a number, or one for each leaf.
            start: the same for the weights at `init`; default `scale`.
        """
        start = scale if start is None else start
        scale, start = np.asarray(scale), np.asarray(start)
        states = (self.init(self.scaled(start)), self.init(self.scaled(-start)))
        return Pair(self, (self.scaled(scale), self.scaled(-scale)), states)

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

    def _step(self, weights: Tree, gradient: Tree, state: Any, step: int) -> Any:
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
            _, state = self._step(self.weights, self.gradient, state, 0)
            calls += 1
            if calls > _MOST_CALLS:
                raise InputError(f"no step was made in {_MOST_CALLS} micro-steps")
            if not within_a_step(state):
                states.append(state)
        return calls // 3, find_clock(states)

    def _find_rest(self) -> tuple[Tree, bool]:
        """Return the gradient to measure decay at: zero, unless zero gives NaN."""
        zero = jax.tree.map(jnp.zeros_like, self.gradient)
        state, finite = self.state, True
        for _ in range(3):
            update, state = self.step(self.weights, zero, state=state, step=0)
            finite &= all(np.isfinite(x).all() for x in jax.tree.leaves(update))
        if finite:
            return zero, True
        small = jax.tree.map(
            lambda g: g * jnp.asarray(1e-3, g.dtype) if sample.is_real(g) else g,
            self.gradient,
        )
        return small, False


@dataclass(frozen=True)
class Pair:
    """A run with θ and the same run with −θ, standing at some step.

    Attributes:
        probe: the transformation.
        weights: θ and −θ.
        states: the state of each run.
    """

    probe: Probe
    weights: tuple[Tree, Tree]
    states: tuple[Any, Any]

    def step(self, gradient: Tree, *, step: int) -> tuple[Tree, Tree, "Pair"]:
        """Return both updates of one step, and the pair after it."""
        both = [
            self.probe.step(w, gradient, state=s, step=step)
            for w, s in zip(self.weights, self.states, strict=True)
        ]
        (up, after_up), (down, after_down) = both
        return up, down, replace(self, states=(after_up, after_down))

    def odd(self, gradient: Tree, *, step: int) -> tuple[Parts, "Pair"]:
        """Return the odd part of one step's update, and the pair after it."""
        up, down, after = self.step(gradient, step=step)
        return odd_part(up, down), after

    def without_weights(self) -> "Pair":
        """Return the pair with weights 0 from here on: what is left is memory."""
        return replace(self, weights=jax.tree.map(jnp.zeros_like, self.weights))
