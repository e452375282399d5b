"""Checks under transformations of programs: traced λ, one trace, vmap, scan."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxwd.probe.answers import Probe
from jaxwd.testing.case import Case
from jaxwd.testing.report import Outcome


def traced_strength(case: Case) -> Outcome:
    """λ as an input of a compiled program, 0 included, gives the same updates."""
    compiled = jax.jit(lambda strength: case.update(case.rate, strength))
    return _same(
        [
            (compiled(jnp.float32(strength)), case.update(case.rate, strength))
            for strength in (case.strength, 0.0, 2 * case.strength)
        ],
    )


def one_trace(case: Case) -> Outcome:
    """One compilation serves all λ and all learning rates."""
    traces = []

    @jax.jit
    def program(rate: Any, strength: Any) -> Any:
        traces.append(None)
        return case.update(rate, strength)

    for rate in (case.rate, 2 * case.rate):
        for strength in (0.0, case.strength):
            program(jnp.float32(rate), jnp.float32(strength))
    said = f"{len(traces)} for 4 pairs of λ and learning rate"
    return Outcome("pass" if len(traces) == 1 else "FAIL", said)


def mapped_strength(case: Case) -> Outcome:
    """`vmap` over λ gives what a loop gives."""
    strengths = jnp.array([0.0, case.strength, 2 * case.strength], jnp.float32)
    got = jax.vmap(lambda strength: case.update(case.rate, strength))(strengths)
    pairs = [
        (
            jax.tree.map(lambda x, i=i: x[i], got),
            case.update(case.rate, float(strength)),
        )
        for i, strength in enumerate(strengths)
    ]
    return _same(pairs)


def scheduled_strength(case: Case) -> Outcome:
    """λ as a function of the step."""
    try:
        tx = case.make(case.rate, lambda step: case.strength / (1 + step))
        probe: Probe = case.probe(tx)
        shrink = [case.shrink_of(probe, t)[case.main] for t in (0, 1)]
    except Exception as error:
        cause = error.__cause__ or error
        return Outcome("note", f"refused: {type(cause).__name__}")
    ratio = shrink[0] / shrink[1] if shrink[1] else float("inf")
    follows = abs(ratio - 2) < 1e-2
    said = "followed" if follows else f"not followed: λ/2 gives 1/{ratio:.3g} of it"
    return Outcome("note", said)


def scan(case: Case) -> Outcome:
    """Five steps in `lax.scan`: the state keeps its structure, weights stay finite."""
    tx = case.make(case.rate, case.strength)
    weights, gradient = case.plain.weights, case.plain.gradient

    def step(carry: Any, _: Any) -> Any:
        params, state = carry
        updates, state = tx.update(gradient, state, params, **case.extra_args)
        return (optax.apply_updates(params, updates), state), None

    carry = weights, tx.init(weights)
    (params, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, length=5))(carry)
    finite = all(np.isfinite(x).all() for x in jax.tree.leaves(params))
    return Outcome(
        "pass" if finite else "FAIL",
        "5 steps, all finite" if finite else "weights are not finite after 5 steps",
    )


def _same(pairs: list[tuple[Any, Any]]) -> Outcome:
    """Return whether updates are equal but for rounding, and how far apart they are."""
    largest = 0.0
    for got, want in pairs:
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            scale = max(float(np.abs(b).max(initial=0.0)), 1e-30)
            gap = np.abs(np.asarray(a, float) - np.asarray(b, float)).max(initial=0.0)
            largest = max(largest, float(gap) / scale)
    good = largest < 1e-4  # NaN is not good either
    return Outcome("pass" if good else "FAIL", f"{largest:.1e} apart, relatively")


CHECKS = {
    "λ traced, 0 too": traced_strength,
    "one trace under jit": one_trace,
    "vmap over λ": mapped_strength,
    "λ a schedule": scheduled_strength,
    "steps in lax.scan": scan,
}
"""Name → check."""
