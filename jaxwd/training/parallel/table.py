"""The layouts by name."""

from collections.abc import Callable
from typing import NamedTuple

from jax.sharding import Mesh

from jaxwd.training.parallel.by_share import shared
from jaxwd.training.parallel.jitted import alone, sharded, spread_weights
from jaxwd.training.parallel.pmap import folded, mapped

Compile = Callable[[Mesh, Callable, int | None, tuple], Callable]


class Row(NamedTuple):
    """One way to spread a step.

    Attributes:
        note: what it does, in a few words.
        compile: `(mesh, function, donated argument or None, abstract arguments)` →
            compiled function.
        several: whether more than one device can take part.
        by_share: the step sees its device's rows only and averages by name itself.
        by_leaf: each device keeps a part of each leaf of the state.
        fold: `(shape, axis, devices)` → the shape in which batches are taken.
        processes: whether more than one process can take part.
    """

    note: str
    compile: Compile
    several: bool = True
    by_share: bool = False
    by_leaf: bool = False
    fold: Callable[[tuple[int, ...], int, int], tuple[int, ...]] | None = None
    processes: bool = True


LAYOUTS: dict[str, Row] = {
    "single": Row("one device", alone, several=False, processes=False),
    "sharded": Row("jit: XLA splits the batch", sharded),
    "shard_map": Row("the step on each device's rows", shared, by_share=True),
    "pmap": Row(
        "the same, by JAX's older map", mapped, True, True, False, folded, False
    ),
    "fsdp": Row("jit: weights are spread as well", spread_weights, by_leaf=True),
}
