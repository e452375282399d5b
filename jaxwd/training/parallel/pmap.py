"""All about `jax.pmap`, JAX's older map over devices, kept because people know it.

`shard_map` computes the same and works over several processes; JAX keeps `pmap` in
maintenance.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxwd.training.parallel.places import AXIS, on_all, split


def mapped(
    mesh: Mesh, function: Callable, donate: int | None, arguments: tuple
) -> Callable:
    """Compile by `pmap`; weights have no axis of devices, before and after.

    Arguments have to lie on the devices already: `pmap` compiles again for those that
    do not, and warns where they are donated.
    """
    # One argument with an axis of devices there must be; the step reads its own index.
    numbers = jax.device_put(np.arange(mesh.size, dtype=np.int32), split(mesh, 0))
    spread = jax.pmap(
        lambda *given: function(*given[:-1]),
        axis_name=AXIS,
        in_axes=(*jax.tree.map(_device_axis, arguments), 0),
        out_axes=None,  # type: ignore[arg-type]  # the same on every device
        devices=list(mesh.devices.flat),
        donate_argnums=() if donate is None else donate,
    )
    compiled = spread.lower(*arguments, numbers).compile()
    return lambda *given: compiled(*given, numbers)


def folded(shape: tuple[int, ...], axis: int, devices: int) -> tuple[int, ...]:
    """Return the shape in which `pmap` takes a batch: an axis of devices before it.

    >>> folded((5, 32, 28, 28, 1), axis=1, devices=8)
    (5, 8, 4, 28, 28, 1)
    """
    return (*shape[:axis], devices, shape[axis] // devices, *shape[axis + 1 :])


def _device_axis(x: Any) -> int | None:
    if x.sharding == on_all(x.sharding.mesh):
        return None
    return x.sharding.spec.index(AXIS)
