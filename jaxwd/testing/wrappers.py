"""Checks under Optax's wrappers and in low precision."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxwd.probe.answers import Probe
from jaxwd.probe.parts import norms, odd_part, shares
from jaxwd.testing.case import Case
from jaxwd.testing.report import Outcome

_MICRO_STEPS = 3
_CLOSE = 1e-3


def multi_steps(case: Case) -> Outcome:
    """k micro-steps make one step, and one decay."""
    tx = optax.MultiSteps(_made(case), _MICRO_STEPS)
    got = case.shrink_of(case.probe(tx))[case.main]
    return _ratio(case, got, f"in {_MICRO_STEPS} micro-steps")


def masked(case: Case) -> Outcome:
    """Under `optax.masked` the chosen leaf decays and no other."""
    probe = case.probe(optax.masked(_made(case), case.main_only))
    return _only_main(case, case.shrink_of(probe))


def partition(case: Case) -> Outcome:
    """Under `optax.partition` the frozen leaves stay where they are."""
    labels = jax.tree.map(lambda on: "on" if on else "off", case.main_only)
    tx = optax.partition({"on": _made(case), "off": optax.set_to_zero()}, labels)
    return _only_main(case, case.shrink_of(case.probe(tx)))


def apply_if_finite(case: Case) -> Outcome:
    """A step with NaN in the gradient is left out, its decay too; the next one is not."""
    tx = optax.apply_if_finite(_made(case), 5)
    probe = case.probe(tx)
    broken = jax.tree.map(lambda g: g * jnp.nan, probe.gradient)
    up, down, after = probe.pair().step(broken, step=0)
    left_out = not any(map(np.any, jax.tree.leaves((up, down))))
    part, _ = after.odd(probe.rest, step=0)
    next_one = float(np.asarray(shares(part, probe.weights))[case.main])
    if not left_out:
        return Outcome("FAIL", "a NaN step moves weights")
    return _ratio(case, next_one, "after a NaN step without any")


def narrow_gradients(case: Case) -> Outcome:
    """bfloat16 gradients with float32 parameters: the decay keeps its precision."""
    tx, weights = _made(case), case.plain.weights
    rest = jax.tree.map(lambda g: g.astype(jnp.bfloat16), case.plain.rest)
    updates = []
    for sign in (1.0, -1.0):
        turned = jax.tree.map(lambda w, s=sign: s * w, weights)
        update, _ = tx.update(rest, tx.init(turned), turned, **case.extra_args)
        updates.append(update)
    got = odd_part(*updates)[case.main]
    want = case.plain.pair().odd(case.plain.rest, step=0)[0][case.main]
    off = float(norms([got - want])[0] / norms([want])[0])
    good = off < _CLOSE
    said = f"decay of float32 weights is {off:.1e} off, relatively"
    return Outcome("pass" if good else "FAIL", said)


def narrow_weights(case: Case) -> Outcome:
    """bfloat16 parameters: how much of the decay rounding lets through."""
    weights = jax.tree.map(lambda w: w.astype(jnp.bfloat16), case.plain.weights)
    tx = case.make(case.rate, case.strength)
    probe = Probe(tx, weights, extra_args=case.extra_args)
    update, _ = probe.step(weights, probe.rest, state=probe.state, step=0)
    moved = optax.apply_updates(weights, update)
    before, after = (
        jax.tree.leaves(weights)[case.main],
        jax.tree.leaves(moved)[case.main],
    )
    share = float(np.mean(np.asarray(before != after)))
    real = _shrink_in_numbers(before, after)
    said = f"{share:.0%} of the weights move; their mean shrink is {real:.3g}"
    return Outcome("note", said)


def _shrink_in_numbers(before: Any, after: Any) -> float:
    a, b = np.asarray(before, float), np.asarray(after, float)
    return float(1 - np.sum(a * b) / np.sum(a * a))


def _made(case: Case) -> Any:
    return case.make(case.rate, case.strength)


def _ratio(case: Case, got: float, words: str) -> Outcome:
    want = case.shrink[case.main]
    ratio = float(got) / want if want else float("nan")
    good = abs(ratio - 1) < _CLOSE
    return Outcome("pass" if good else "FAIL", f"{ratio:.4g} × the decay {words}")


def _only_main(case: Case, shrink: np.ndarray) -> Outcome:
    others = np.delete(shrink, case.main)
    leak = float(np.abs(others).max(initial=0.0))
    if leak > 0:
        return Outcome("FAIL", f"a leaf outside decays too, by {leak:.3g} a step")
    return _ratio(case, float(shrink[case.main]), "inside, none outside")


CHECKS = {
    "MultiSteps": multi_steps,
    "optax.masked": masked,
    "optax.partition": partition,
    "apply_if_finite": apply_if_finite,
    "bfloat16 gradients": narrow_gradients,
    "bfloat16 weights": narrow_weights,
}
"""Name → check."""
