"""The same step on one device or many: `single`, `sharded` (jit) and `pmap`.

The only file that knows about devices. The batch is split, parameters are replicated.
Under `sharded` XLA sees one program over the whole batch, so its numbers are those of
one device to rounding; under `pmap` each device draws its own dropout mask.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxwd.errors import InputError, require, unknown

AXIS = "data"
LAYOUTS = ("single", "sharded", "pmap")


@dataclass(frozen=True)
class Layout:
    """How an epoch is spread over devices.

    Attributes:
        name: a row of `LAYOUTS`.
        devices: how many take part.
    """

    name: str
    devices: int

    @property
    def axis(self) -> str | None:
        """Return the axis name the step has to average over, if any."""
        return AXIS if self.name == "pmap" else None

    def mesh(self) -> Mesh:
        """Return the one-axis mesh of the devices that take part."""
        return jax.make_mesh(
            (self.devices,),
            (AXIS,),
            axis_types=(AxisType.Auto,),
            devices=jax.devices()[: self.devices],
        )

    def place(self, tree: Any) -> Any:
        """Put arrays where the epoch expects them, replicated."""
        if self.name == "single":
            return jax.device_put(tree)
        return jax.device_put(tree, self._everywhere())

    def local(self, rows: jax.Array) -> jax.Array:
        """Return this device's columns of the row numbers (steps, batch)."""
        if self.name == "sharded":
            spec = NamedSharding(self.mesh(), PartitionSpec(None, AXIS))
            return jax.lax.with_sharding_constraint(rows, spec)
        if self.name == "pmap":
            share = rows.shape[1] // self.devices
            start = jax.lax.axis_index(AXIS) * share
            return jax.lax.dynamic_slice_in_dim(rows, start, share, axis=1)
        return rows

    def abstract(self, tree: Any) -> Any:
        """Return shapes, dtypes and places of arrays, to compile for."""
        sharding = None if self.name == "single" else self._everywhere()
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
        )

    def once(self, function: Callable, *arguments: Any) -> Callable:
        """Compile a function that every device computes alike."""
        return jax.jit(function).lower(*arguments).compile()

    def spread(self, function: Callable, donate: int, *arguments: Any) -> Callable:
        """Compile a function whose batch is spread; argument `donate` is reused."""
        if self.name == "single":
            return jax.jit(function, donate_argnums=donate).lower(*arguments).compile()
        if self.name == "sharded":
            return (
                jax.jit(
                    function,
                    donate_argnums=donate,
                    out_shardings=self._everywhere(),
                )
                .lower(*arguments)
                .compile()
            )
        # pmap wants one argument with a device axis; the step reads its own index.
        mapped = jax.pmap(
            lambda *given: function(*given[:-1]),
            axis_name=AXIS,
            in_axes=(*(None for _ in arguments), 0),
            out_axes=None,
            devices=jax.devices()[: self.devices],
        )
        numbers = np.arange(self.devices)
        compiled = mapped.lower(*arguments, numbers).compile()
        return lambda *given: compiled(*given, numbers)

    def _everywhere(self) -> NamedSharding:
        return NamedSharding(self.mesh(), PartitionSpec())


def layout(name: str, batch_size: int, devices: int | None = None) -> Layout:
    """Return the layout `name` for a batch size.

    Raises:
        InputError: unknown name, more devices than there are, or a batch that they
            cannot share evenly.
    """
    if name not in LAYOUTS:
        raise unknown("layout", name, LAYOUTS)
    here = jax.device_count()
    if devices is not None:
        require("devices", devices, 1, here, whole=True)
    count = 1 if name == "single" else here if devices is None else devices
    if batch_size % count:
        low = batch_size // count * count
        nearest = " or ".join(str(n) for n in (low, low + count) if n)
        raise InputError(
            f"batch_size={batch_size} does not divide over {count} devices; nearest: "
            f"{nearest}"
        )
    return Layout(name, count)
