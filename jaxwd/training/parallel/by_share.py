"""The step on each device's share of the batch; the step itself averages by name."""

from collections.abc import Callable

import jax
from jax.sharding import Mesh, PartitionSpec


def shared(
    mesh: Mesh, function: Callable, donate: int | None, arguments: tuple
) -> Callable:
    """Compile by `shard_map`; each argument is cut as it lies.

    Replication is not tracked (`check_vma=False`): with tracking, gradients of weights
    that all devices hold would arrive summed already, and the step averages them.
    """
    mapped = jax.shard_map(
        function,
        mesh=mesh,
        in_specs=jax.tree.map(lambda x: x.sharding.spec, arguments),
        out_specs=PartitionSpec(),
        check_vma=False,
    )
    again = () if donate is None else donate
    return jax.jit(mapped, donate_argnums=again).lower(*arguments).compile()
