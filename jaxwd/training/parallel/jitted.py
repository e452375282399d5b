"""One program over the whole batch: XLA splits it by where its arguments lie."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh

from jaxwd.training.parallel.places import on_all


def alone(
    mesh: Mesh, function: Callable, donate: int | None, arguments: tuple
) -> Callable:
    """Compile for one device."""
    del mesh
    again = () if donate is None else donate
    return jax.jit(function, donate_argnums=again).lower(*arguments).compile()


def sharded(
    mesh: Mesh, function: Callable, donate: int | None, arguments: tuple
) -> Callable:
    """Compile for all; the first result lies where the donated argument lay."""
    if donate is None:
        return _read_only(mesh, function, arguments).compile()

    def in_two(*given: Any) -> tuple[Any, tuple]:
        first, *rest = function(*given)
        return first, tuple(rest)

    where = jax.tree.map(lambda x: x.sharding, arguments[donate])
    compiled = (
        jax.jit(in_two, donate_argnums=donate, out_shardings=(where, on_all(mesh)))
        .lower(*arguments)
        .compile()
    )
    return Joined(compiled)


def spread_weights(
    mesh: Mesh, function: Callable, donate: int | None, arguments: tuple
) -> Callable:
    """Compile as `sharded`; what only reads the weights gathers them one by one.

    XLA's CPU scheduler starts all that can start, so every layer would be gathered
    before the first is used; GPU and TPU compilers watch the memory by themselves.
    """
    if donate is not None:
        return sharded(mesh, function, donate, arguments)
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    return _read_only(mesh, function, arguments).compile(_ONE_BY_ONE if on_cpu else {})


_ONE_BY_ONE = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}


def _read_only(mesh: Mesh, function: Callable, arguments: tuple) -> Any:
    return jax.jit(function, out_shardings=on_all(mesh)).lower(*arguments)


class Joined:
    """A compiled function that gives (first, rest), called as one that gives all."""

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled

    def __call__(self, *given: Any) -> tuple:
        """Call it."""
        first, rest = self.compiled(*given)
        return first, *rest

    def memory_analysis(self) -> Any:
        """Return XLA's account of the bytes that each device needs."""
        return self.compiled.memory_analysis()
