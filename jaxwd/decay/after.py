"""Decay that acts on the finished step: θ' = f(θ̃, θ), θ̃ = θ − η_t·u."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxwd.decay import anchors
from jaxwd.decay.pull import given, product
from jaxwd.decay.scheme import DecayScheme
from jaxwd.penalties.table import PENALTIES
from jaxwd.schedules import ScalarOrSchedule, value_at
from jaxwd.trees import Tree, norm, over

Array = jax.Array


class Step(NamedTuple):
    """One leaf in the middle of a step, weights measured from the anchor.

    Attributes:
        proposed: θ̃ − a, where the optimizer wants to go.
        before: θ − a, where it stands.
        gradient: g of the data loss.
        amount: d_t·m·λ, a scalar.
    """

    proposed: Array
    before: Array
    gradient: Array
    amount: Array


class AfterState(NamedTuple):
    """Step counter and what the anchor remembers."""

    count: jax.Array
    anchor: Any


def after_step(
    scheme: DecayScheme, amount: ScalarOrSchedule, move: Callable[[Step], Array]
) -> optax.GradientTransformationExtraArgs:
    """Return the transformation that replaces θ̃ − a by `move(step)` on decayed leaves.

    Args:
        scheme: says which leaves, their anchor, and λ.
        amount: d_t, so that a leaf's amount is d_t·m·λ_t.
        move: step → θ' − a.
    """

    def init(params: Tree) -> AfterState:
        multipliers = scheme.where.multipliers(params, strict=False)
        held = anchors.start(scheme, multipliers, params)
        return AfterState(jnp.zeros([], jnp.int32), held)

    def update(
        updates: Tree,
        state: Any,
        params: Tree | None = None,
        *,
        raw_gradient: Tree | None = None,
        **_: Any,
    ) -> Any:
        params = given(params)
        multipliers = scheme.where.multipliers(params, strict=False)
        each = value_at(product(amount, scheme.strength), state.count)
        offset, anchor = anchors.offsets(scheme, multipliers, state.anchor, params)
        grads = updates if raw_gradient is None else raw_gradient

        def leaf(m: float, u: Array, x: Array, g: Array) -> Array:
            return move(Step(x + u, x, g, m * each)) - x if m else u

        moved = jax.tree.map(leaf, multipliers, updates, offset, grads)
        return moved, AfterState(state.count + 1, anchor)

    return optax.GradientTransformationExtraArgs(init, update)


def proximal_step(
    scheme: DecayScheme, amount: ScalarOrSchedule
) -> optax.GradientTransformationExtraArgs:
    """θ' − a = prox_{d_tλR}(θ̃ − a)."""
    prox, settings = PENALTIES[scheme.penalty].prox, dict(scheme.settings)
    assert prox is not None  # `DecayScheme` refuses penalties without one
    return after_step(
        scheme, amount, lambda s: prox(s.proposed, s.amount, s.before, **settings)
    )


def selective_step(
    scheme: DecayScheme, amount: ScalarOrSchedule
) -> optax.GradientTransformationExtraArgs:
    """θ' − a = (1 − λr)(θ̃ − a) where ⟨g, θ − a⟩ > 0, r the share of the growth."""

    def move(s: Step) -> Array:
        now, was = norm(s.proposed), norm(s.before)
        growth = jnp.clip(over(now - was, now), 0, 1)
        back = jnp.sum(s.gradient * s.before) > 0
        return s.proposed * (1 - jnp.where(back, s.amount * growth, 0))

    return after_step(scheme, amount, move)
