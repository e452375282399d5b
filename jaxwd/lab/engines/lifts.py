"""From a function of one training to one of many: `map`, `vmap`, and over devices.

A function here takes (kept, given, shared) and returns (kept, out): `kept` and `given`
belong to one lane, `shared` to all. Its lifted form has a first axis of lanes on all
but `shared`, and one more argument that says which lanes are awake. A lane asleep keeps
what it has; what it gives out means nothing.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "grid"
One = Callable[[Any, Any, Any], tuple[Any, Any]]
Many = Callable[[Any, Any, jax.Array, Any], tuple[Any, Any]]


def mapped(one: One) -> Many:
    """Lane after lane inside one program; lanes asleep cost nothing.

    Each lane is computed by the instructions of a single run, so its bits are those.
    """

    def many(kept: Any, given: Any, awake: jax.Array, shared: Any) -> tuple[Any, Any]:
        def lane(row: tuple) -> tuple[Any, Any]:
            kept, given, on = row
            _, out = jax.eval_shape(one, kept, given, shared)

            def asleep(kept: Any, given: Any) -> tuple[Any, Any]:
                return kept, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), out)

            def awoken(kept: Any, given: Any) -> tuple[Any, Any]:
                return one(kept, given, shared)

            return jax.lax.cond(on, awoken, asleep, kept, given)

        return jax.lax.map(lane, (kept, given, awake))

    return many


def batched(one: One) -> Many:
    """All lanes in each instruction: products of matrices become products of stacks.

    Sums may be taken in another order than in a single run, so results equal its to
    rounding, and a training carries roundings on.
    """

    def many(kept: Any, given: Any, awake: jax.Array, shared: Any) -> tuple[Any, Any]:
        new, out = jax.vmap(one, (0, 0, None))(kept, given, shared)

        def choose(new: jax.Array, old: jax.Array) -> jax.Array:
            on = awake.reshape(-1, *(1 for _ in new.shape[1:]))
            return jnp.where(on, new, old)

        return jax.tree.map(choose, new, kept), out

    return many


def spread(many: Callable[[One], Many]) -> Callable[[One], Many]:
    """Return the lift over all devices, each of which lifts its share by `many`."""

    def lift(one: One) -> Many:
        return jax.shard_map(
            many(one),
            mesh=mesh(),
            in_specs=(*(PartitionSpec(AXIS) for _ in range(3)), PartitionSpec()),
            out_specs=PartitionSpec(AXIS),
            check_vma=False,
        )

    return lift


@functools.cache
def mesh() -> Mesh:
    """Return the one-axis mesh of all devices of this process."""
    devices = jax.local_devices()
    return jax.make_mesh(
        (len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices
    )


@functools.cache
def lanes_sharding(over_devices: bool) -> NamedSharding | None:
    """Return where lanes lie; None for one device."""
    return NamedSharding(mesh(), PartitionSpec(AXIS)) if over_devices else None


@functools.cache
def shared_sharding(over_devices: bool) -> NamedSharding | None:
    """Return where the data lies; None for one device."""
    return NamedSharding(mesh(), PartitionSpec()) if over_devices else None
