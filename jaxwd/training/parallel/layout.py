"""A layout: where a training's arrays lie and how its functions are compiled."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from jaxwd.training.parallel.places import (
    AXIS,
    by_leaf,
    mesh_of,
    on_all,
    put,
    put_rows,
    split,
)
from jaxwd.training.parallel.table import LAYOUTS, Row


@dataclass(frozen=True)
class Layout:
    """How a training is spread over devices; a value, made by `layout`.

    Attributes:
        name: a row of `LAYOUTS`.
        devices: how many take part, in all processes together.
    """

    name: str
    devices: int

    @property
    def row(self) -> Row:
        """Return the row of the table."""
        return LAYOUTS[self.name]

    @property
    def axis(self) -> str | None:
        """Return the axis name the step has to average over, if any."""
        return AXIS if self.row.by_share else None

    def mesh(self) -> Mesh:
        """Return the one-axis mesh of the devices that take part."""
        return mesh_of(self.devices)

    # --- where arrays lie ---------------------------------------------------------

    def place(self, tree: Any) -> Any:
        """Put arrays that every process has on every device, whole."""
        return self._put(tree, lambda _: on_all(self.mesh()))

    def place_state(self, state: Any) -> Any:
        """Put weights and optimizer state where the layout keeps them.

        Under `fsdp` each leaf is spread over the devices, see `by_leaf`; else whole.
        """
        return self._put(state, self._keeps)

    def place_batch(self, tree: Any, axis: int = 1) -> Any:
        """Put batches, of which this process has its own rows, on the devices.

        Args:
            tree: arrays on the host; `axis` counts the rows of this process, those of
                `share`, and every process gives as many.
            axis: that of the examples; 1 where a first axis counts steps.
        """
        if not self.row.several:
            return jax.device_put(tree)
        place, here = split(self.mesh(), axis), self.devices // self._processes()

        def put_one(x: Any) -> jax.Array:
            x = np.asarray(x)
            if self.row.fold is not None:
                x = x.reshape(self.row.fold(x.shape, axis, here))
            return put_rows(x, place)

        return jax.tree.map(put_one, tree)

    def share(self, size: int) -> slice:
        """Return which rows of a batch of `size` this process reads."""
        count = self._processes()
        own = size // count
        return slice(
            jax.process_index() % count * own, (jax.process_index() % count + 1) * own
        )

    def abstract(self, tree: Any) -> Any:
        """Return shapes, dtypes and places of what `place` gives, to compile for."""
        return self._shapes(tree, lambda _: on_all(self.mesh()))

    def abstract_state(self, state: Any) -> Any:
        """Return shapes, dtypes and places of what `place_state` gives."""
        return self._shapes(state, self._keeps)

    def abstract_batch(self, tree: Any, axis: int = 1) -> Any:
        """Return shapes, dtypes and places of what `place_batch` gives.

        The shapes given are those of whole batches, the rows of all processes.
        """
        fold = self.row.fold

        def folded(x: Any) -> jax.ShapeDtypeStruct:
            shape = x.shape if fold is None else fold(x.shape, axis, self.devices)
            return jax.ShapeDtypeStruct(shape, x.dtype)

        tree = jax.tree.map(folded, tree)
        return self._shapes(tree, lambda _: split(self.mesh(), axis))

    def on_host(self, tree: Any) -> Any:
        """Return arrays as NumPy's, whole; all processes have to ask together."""

        def one(x: jax.Array) -> np.ndarray:
            if not (x.is_fully_addressable or x.is_fully_replicated):
                x = jax.jit(lambda a: a, out_shardings=on_all(self.mesh()))(x)
            return np.asarray(x)

        return jax.tree.map(one, tree)

    def _keeps(self, leaf: Any) -> NamedSharding:
        mesh = self.mesh()
        return by_leaf(mesh, leaf.shape) if self.row.by_leaf else on_all(mesh)

    def _put(self, tree: Any, where: Callable[[Any], NamedSharding]) -> Any:
        if not self.row.several:
            return jax.device_put(tree)
        return jax.tree.map(lambda x: put(x, where(x)), tree)

    def _shapes(self, tree: Any, where: Callable[[Any], NamedSharding]) -> Any:
        def one(x: Any) -> jax.ShapeDtypeStruct:
            place = where(x) if self.row.several else None
            return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)

        return jax.tree.map(one, tree)

    def _processes(self) -> int:
        return jax.process_count() if self.row.several else 1

    # --- how functions are compiled -------------------------------------------------

    def local(self, rows: jax.Array) -> jax.Array:
        """Return this device's columns of row numbers (steps, batch) that all have."""
        if not self.row.several:
            return rows
        if not self.row.by_share:
            return jax.lax.with_sharding_constraint(rows, split(self.mesh(), 1))
        share = rows.shape[1] // self.devices
        start = jax.lax.axis_index(AXIS) * share
        return jax.lax.dynamic_slice_in_dim(rows, start, share, axis=1)

    def in_turn(self, weights: Any, turn: jax.Array) -> Any:
        """Return weights for one turn of a loop that does not change them.

        Under `fsdp` they are tied to the turn: else XLA would gather them all before
        the loop and keep them whole on every device.
        """
        if not self.row.by_leaf:
            return weights
        return jax.lax.optimization_barrier((weights, turn))[0]

    def once(self, function: Callable, *arguments: Any, out: Any = None) -> Callable:
        """Compile a function that every device computes alike.

        Args:
            function: a pure one, which does not average over `axis`.
            *arguments: abstract ones, from `abstract` and its kin.
            out: abstract results, for where they are to lie; default everywhere.
        """
        if not self.row.several:
            return jax.jit(function).lower(*arguments).compile()
        where = (
            on_all(self.mesh())
            if out is None
            else jax.tree.map(lambda x: x.sharding, out)
        )
        return jax.jit(function, out_shardings=where).lower(*arguments).compile()

    def spread(
        self, function: Callable, donate: int | None, *arguments: Any
    ) -> Callable:
        """Compile a function whose batch is spread.

        Args:
            function: pure; under `axis` it sees this device's rows and averages.
            donate: number of the argument whose memory is used again. The first result
                is its new value and lies where it lay. None: there is no such one.
            *arguments: abstract ones. Those from `abstract_batch` are cut before the
                function sees them; the function cuts others itself, by `local`.
        """
        return self.row.compile(self.mesh(), function, donate, arguments)
