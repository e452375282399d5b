"""The decay of any scheme as a transformation: anchor, penalty, allocation, gate.

    u ← u + factor·m·λ_t·share·∇R(θ − a)

for each leaf with multiplier m. Plain decay, c·λθ, is Optax's own
`add_decayed_weights`; all the rest is `add_pull`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxwd.decay import anchors
from jaxwd.decay.allocation import ALLOCATIONS
from jaxwd.decay.gates import GATES
from jaxwd.decay.placement import Chain
from jaxwd.decay.scheme import DecayScheme
from jaxwd.errors import InputError
from jaxwd.penalties.table import PENALTIES
from jaxwd.schedules import ScalarOrSchedule, value_at
from jaxwd.trees import Tree


class PullState(NamedTuple):
    """Step counter, and what the anchor and the allocation remember."""

    count: jax.Array
    anchor: Any
    allocation: Any


def product(a: ScalarOrSchedule, b: ScalarOrSchedule) -> ScalarOrSchedule:
    """Return a·b, a schedule as soon as one of them is."""
    if callable(a) or callable(b):
        return lambda step: value_at(a, step) * value_at(b, step)
    return a * b


def enter(scheme: DecayScheme, factor: ScalarOrSchedule, *, sign: float = 1) -> Chain:
    """Return the transformations that add `factor`·λ·∇R to what passes through.

    `sign` is −1 where steps pass (−η_t·u) and 1 where gradients or directions do.
    """
    if scheme.is_plain:
        return add_decay(scheme, product(factor, scheme.gradient_factor))
    return (add_pull(scheme, factor, sign),)


def add_decay(scheme: DecayScheme, factor: ScalarOrSchedule) -> Chain:
    """Return `add_decayed_weights(factor·m·λ)` for each multiplier m of the rules."""

    def on_level(level: float) -> optax.GradientTransformation:
        strength = product(product(factor, level), scheme.strength)

        def mask(tree: Any) -> Any:
            # `init` checked the rules on the whole tree; Optax may hold a part of it.
            multipliers = scheme.where.multipliers(tree, strict=False)
            return jax.tree.map(lambda m: m == level, multipliers)

        return optax.add_decayed_weights(strength, mask=mask)

    return tuple(on_level(level) for level in scheme.where.levels())


def add_pull(
    scheme: DecayScheme, factor: ScalarOrSchedule, sign: float
) -> optax.GradientTransformationExtraArgs:
    """Return the transformation for schemes that Optax has no part for."""
    slope = PENALTIES[scheme.penalty].gradient
    settings = dict(scheme.settings)
    share = scheme.allocation and ALLOCATIONS[scheme.allocation.name]

    def init(params: Tree) -> PullState:
        multipliers = scheme.where.multipliers(params, strict=False)
        return PullState(
            jnp.zeros([], jnp.int32),
            anchors.start(scheme, multipliers, params),
            share.start(params) if share else (),
        )

    def update(
        updates: Tree,
        state: Any,
        params: Tree | None = None,
        *,
        raw_gradient: Tree | None = None,
        value: Any = None,
        **_: Any,
    ) -> Any:
        params = given(params)
        multipliers = scheme.where.multipliers(params, strict=False)
        strength = value_at(product(factor, scheme.strength), state.count)
        told = {"value": value, "strength": value_at(scheme.strength, state.count)}
        offset, anchor = anchors.offsets(scheme, multipliers, state.anchor, params)
        grads = updates if raw_gradient is None else raw_gradient
        held = (state.allocation, grads, params, multipliers)
        factors, memory = _shares(scheme, *held, told)

        def leaf(m: float, u: Any, x: Any, g: Any, f: Any) -> Any:
            if not m:
                return u
            d, r = _gated(scheme, sign * u, slope(x, **settings), x, g)
            return sign * d + m * strength * f * r

        pulled = jax.tree.map(leaf, multipliers, updates, offset, grads, factors)
        return pulled, PullState(state.count + 1, anchor, memory)

    return optax.GradientTransformationExtraArgs(init, update)


def _shares(
    scheme: DecayScheme,
    state: Any,
    grads: Tree,
    params: Tree,
    multipliers: Tree,
    told: dict[str, Any],
) -> tuple[Tree, Any]:
    if scheme.allocation is None:
        return jax.tree.map(lambda _: 1.0, grads), state
    row, settings = ALLOCATIONS[scheme.allocation.name], scheme.allocation.settings
    wanted = {name: told[name] for name in row.wants}
    return row.share(state, grads, params, multipliers, **dict(settings), **wanted)


def _gated(scheme: DecayScheme, d: Any, r: Any, x: Any, g: Any) -> tuple[Any, Any]:
    if scheme.gate is None:
        return d, r
    return GATES[scheme.gate.name](d, r, x, g, **dict(scheme.gate.settings))


def given(params: Tree | None) -> Tree:
    """Return the parameters; say so where `update` was called without them."""
    if params is None:
        raise InputError(
            "decay needs the parameters: call tx.update(gradients, state, params)"
        )
    return params


def with_gradient(
    chain: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """Tell every part of `chain` the gradient that came in, as `raw_gradient`."""
    inner = optax.with_extra_args_support(chain)

    def update(updates: Tree, state: Any, params: Any = None, **extra: Any) -> Any:
        return inner.update(updates, state, params, raw_gradient=updates, **extra)

    return optax.GradientTransformationExtraArgs(inner.init, update)
