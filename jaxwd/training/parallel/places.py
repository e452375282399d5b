"""Where arrays lie: on every device, batch by batch, or a part of each on every one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "data"


def mesh_of(count: int) -> Mesh:
    """Return the one-axis mesh of the first `count` devices, process after process.

    So the rows of a batch that a process holds are next to each other, and process p of
    n holds the p-th of n equal parts.
    """
    found = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
    return Mesh(np.array(found[:count]), (AXIS,), axis_types=(AxisType.Auto,))


def on_all(mesh: Mesh) -> NamedSharding:
    """Return the place of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh, axis: int) -> NamedSharding:
    """Return the place of arrays whose given axis is spread over the devices."""
    return NamedSharding(mesh, PartitionSpec(*(None,) * axis, AXIS))


def by_leaf(mesh: Mesh, shape: tuple[int, ...]) -> NamedSharding:
    """Return the place of a leaf of which each device keeps an equal part.

    The largest dimension that the devices divide is cut, the first of equal ones; a
    leaf without such a dimension, a bias of 10 on 8 devices, is kept whole by all.

    >>> mesh = mesh_of(1)
    >>> tuple(by_leaf(mesh, (3, 4)).spec), tuple(by_leaf(mesh, ()).spec)
    ((None, 'data'), ())
    """
    fit = [i for i, size in enumerate(shape) if size and size % mesh.size == 0]
    if not fit:
        return on_all(mesh)
    return split(mesh, max(fit, key=lambda i: (shape[i], -i)))


def put(value: Any, place: NamedSharding) -> jax.Array:
    """Return an array that every process has, or has a part of, at a place.

    Over several processes nothing is sent or compared: each cuts its own parts out.
    """
    held = isinstance(value, jax.Array) and not value.is_fully_addressable
    if held or jax.process_count() == 1:
        return jax.device_put(value, place)
    if isinstance(value, jax.Array) and jnp.issubdtype(
        value.dtype, jax.dtypes.prng_key
    ):
        mesh: Any = place.mesh
        data = put(jax.random.key_data(value), on_all(mesh))
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(value))
    whole = np.asarray(value)
    return jax.make_array_from_callback(whole.shape, place, lambda part: whole[part])


def put_rows(rows: Any, place: NamedSharding) -> jax.Array:
    """Return one array of the rows that each process has read."""
    if jax.process_count() == 1:
        return jax.device_put(rows, place)
    return jax.make_array_from_process_local_data(place, np.asarray(rows))
