"""The compiled programs of one structure at one width, shared by all who ask again."""

import dataclasses
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from jaxwd.lab.engines import lifts
from jaxwd.training import Recipe, State
from jaxwd.training.arrays import Arrays
from jaxwd.training.functions import functions
from jaxwd.training.recipe import Numbers

Lift = Callable[[lifts.One], lifts.Many]
_CONVOLVE = ("cnn", "resnet18", "wrn")
LIFTS: dict[str, tuple[Lift, bool]] = {
    "map": (lifts.mapped, False),
    "vmap": (lifts.batched, False),
    "devices": (lifts.spread(lifts.mapped), True),
    "devices+vmap": (lifts.spread(lifts.batched), True),
}
"""Name → the lift, and whether it spreads lanes over devices."""


def for_lanes(structure: Recipe, how: str, backend: str) -> Recipe:
    """Return the structure with convolutions that suit many weights at once.

    Off the CPU a single run convolves with `lax.conv`, which `vmap` over weights turns
    into a grouped convolution; patches times a matrix become a product of stacks.
    """
    options = dict(structure.model_options)
    if how.endswith("vmap") and backend != "cpu" and structure.model in _CONVOLVE:
        options.setdefault("conv", "im2col")
    return dataclasses.replace(structure, model_options=options)


@dataclass
class Programs:
    """The compiled programs of one structure and width; compiled when first asked."""

    over_devices: bool
    functions: dict[str, tuple[Callable, tuple[int, ...], tuple]]
    compiled: dict[str, Any] = field(default_factory=dict)
    needs: int = 0

    def compile(self, *names: str) -> float:
        """Compile what is not yet; return the seconds it took."""
        began = time.perf_counter()
        for name in names:
            if name in self.compiled:
                continue
            function, donated, shapes = self.functions[name]
            made = jax.jit(function, donate_argnums=donated).lower(*shapes).compile()
            self.compiled[name] = made
            self.needs = max(self.needs, _bytes(made, shapes[-1]))
        return time.perf_counter() - began

    def __call__(self, name: str, kept: Any, given: Any, mask: Any, arrays: Any) -> Any:
        """Run a program of the table; see `lifts` for what it takes and returns."""
        self.compile(name)
        if self.over_devices:
            where = lifts.lanes_sharding(True)
            given, mask = jax.device_put((given, mask), where)
        return self.compiled[name](kept, given, mask, arrays)


def _bytes(compiled: Any, shared: Any) -> int:
    """Return the bytes a program takes beside the data; 0 where nobody says."""
    said = compiled.memory_analysis()
    if said is None:
        return 0
    data = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(shared))
    return (
        said.argument_size_in_bytes
        - data
        + said.output_size_in_bytes
        - said.alias_size_in_bytes
        + said.temp_size_in_bytes
    )


def abstract_numbers(also: tuple[str, ...], drops: bool) -> Numbers:
    """Return the shapes of a member's numbers."""
    number = jax.ShapeDtypeStruct((), jnp.float32)
    more = dict.fromkeys(also, number) or ()
    return Numbers(number, number, number if drops else None, more)


@functools.lru_cache(maxsize=32)
def programs(
    how: str,
    width: int,
    structure: Recipe,
    also: tuple[str, ...],
    drops: bool,
    task: str,
    outputs: int,
    shapes: Arrays,
    limit: int | None,
) -> Programs:
    """Return the programs of a structure at one width; the same arguments reuse them."""
    lift, over_devices = LIFTS[how]
    pure = functions(structure, task, outputs, shapes.train.examples, limit=limit)

    def start(kept: Any, given: Any, arrays: Arrays) -> tuple[Any, State]:
        seed, numbers = given
        return kept, pure.init(jax.random.key(seed), numbers, arrays)

    def epoch(state: State, given: Any, arrays: Arrays) -> tuple[State, tuple]:
        seed, numbers, index = given
        root = jax.random.key(seed)
        state, *out = pure.epoch(state, numbers, root, index, arrays)
        return state, tuple(out)

    def evaluate(part: str) -> lifts.One:
        def one(kept: Any, given: Any, arrays: Arrays) -> tuple[Any, tuple]:
            split = getattr(arrays, part)
            return kept, pure.evaluate(*given, split, arrays.mean, arrays.scale)

        return one

    def stack(tree: Any) -> Any:
        where = lifts.lanes_sharding(over_devices)
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((width, *x.shape), x.dtype, sharding=where),
            tree,
        )

    where = lifts.shared_sharding(over_devices)
    shared = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), shapes
    )
    numbers = abstract_numbers(also, drops)
    member = (jax.ShapeDtypeStruct((), jnp.uint32), numbers)
    state = jax.eval_shape(start, (), member, shapes)[1]
    index = jax.ShapeDtypeStruct((), jnp.int32)
    mask = stack(jax.ShapeDtypeStruct((), jnp.bool_))
    found: dict[str, tuple[Callable, tuple[int, ...], tuple]] = {
        # Starts are drawn lane by lane, so that they are those of single runs.
        "start": (
            LIFTS["devices" if over_devices else "map"][0](start),
            (),
            ((), stack(member), mask, shared),
        ),
        "epoch": (
            lift(epoch),
            (0,),
            (stack(state), stack((*member, index)), mask, shared),
        ),
    }
    for part in ("validation", "train", "test"):
        models = stack((state.measured, state.model_state))
        found[part] = (lift(evaluate(part)), (), ((), models, mask, shared))
    return Programs(over_devices, found)
