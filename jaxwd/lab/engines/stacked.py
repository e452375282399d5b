"""Lanes stacked in one array for each leaf, moved on by one compiled program."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxwd.lab.engines import lifts
from jaxwd.lab.engines.interface import Epoch, Job, host
from jaxwd.training import Recipe, State
from jaxwd.training.program import Arrays, functions
from jaxwd.training.recipe import Numbers

Lift = Callable[[lifts.One], lifts.Many]
LIFTS: dict[str, tuple[Lift, bool]] = {
    "map": (lifts.mapped, False),
    "vmap": (lifts.batched, False),
    "devices": (lifts.spread(lifts.mapped), True),
    "devices+vmap": (lifts.spread(lifts.batched), True),
}
"""Name → the lift, and whether it spreads lanes over devices."""


class Stacked:
    """Lanes with a first axis on every array; `how` is a row of `LIFTS`."""

    def __init__(self, how: str, job: Job, width: int) -> None:
        self.job, self.width, self.how = job, width, how
        self.over_devices = LIFTS[how][1]
        self.seeds = np.zeros(width, np.uint32)
        self.numbers = jax.tree.map(
            lambda x: np.zeros((width, *x.shape), x.dtype),
            _numbers(job.group.also, job.group.drops),
        )
        self.states: Any = None
        began = time.perf_counter()
        self.programs = _programs(
            how,
            width,
            for_lanes(job.group.structure, how, jax.default_backend()),
            job.group.also,
            job.group.drops,
            job.task,
            job.outputs,
            job.shapes,
            job.limit,
        )
        where = lifts.shared_sharding(self.over_devices)
        self.arrays = jax.device_put(job.arrays, where)
        self.programs.compile("start", "epoch", "validation")
        self.compile_seconds = time.perf_counter() - began

    @property
    def needs(self) -> int:
        """Return the most bytes that one of its programs takes beside the data."""
        return self.programs.needs

    def enter(
        self, fresh: Mapping[int, Recipe], resumed: Mapping[int, tuple[Recipe, State]]
    ) -> None:
        """Put members into lanes; the others keep what they have."""
        recipes = dict(fresh) | {lane: recipe for lane, (recipe, _) in resumed.items()}
        for lane, recipe in recipes.items():
            self.seeds[lane] = recipe.seed
            for own, value in zip(
                jax.tree.leaves(self.numbers),
                jax.tree.leaves(self.job.group.numbers(recipe)),
                strict=True,
            ):
                own[lane] = value
        if self.states is None or fresh:
            started = self._call("start", (), fresh)[1]
            if self.states is None or len(fresh) == self.width:
                self.states = started
            else:
                self._overwrite({lane: host_lane(started, lane) for lane in fresh})
        self._overwrite({lane: state for lane, (_, state) in resumed.items()})

    def epoch(self, indices: Sequence[int | None]) -> Epoch:
        """Train the lanes together."""
        awake = [lane for lane, index in enumerate(indices) if index is not None]
        now = np.array([index or 0 for index in indices], np.int32)
        self.states, got = self._call("epoch", self.states, awake, now)
        losses, scores, info = host(got)
        return Epoch(losses, scores, info._asdict(), self.final("validation", awake))

    def leave(self, lanes: Sequence[int]) -> dict[int, State]:
        """Return the states of lanes on the host."""
        states = host(self.states)
        return {lane: host_lane(states, lane) for lane in lanes}

    def final(self, part: str, lanes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return loss and score of lanes on a split."""
        given = (self.states.params, self.states.model_state)
        self.compile_seconds += self.programs.compile(part)
        _, got = self.programs(part, (), given, self._mask(lanes), self.arrays)
        return host(got)

    def _call(self, name: str, kept: Any, awake: Any, *given: Any) -> Any:
        lanes = (self.seeds, self.numbers, *given)
        return self.programs(name, kept, lanes, self._mask(awake), self.arrays)

    def _mask(self, lanes: Sequence[int]) -> np.ndarray:
        mask = np.zeros(self.width, bool)
        mask[list(lanes)] = True
        return mask

    def _overwrite(self, states: Mapping[int, Any]) -> None:
        if not states:
            return
        whole = jax.tree.map(np.array, self.states)
        for lane, state in states.items():
            for all_, one in zip(
                jax.tree.leaves(whole), jax.tree.leaves(state), strict=True
            ):
                all_[lane] = one
        self.states = jax.device_put(whole, lifts.lanes_sharding(self.over_devices))


def host_lane(states: Any, lane: int) -> Any:
    """Return one lane of stacked states, on the host."""
    return jax.tree.map(lambda x: np.array(x[lane]), states)


def for_lanes(structure: Recipe, how: str, backend: str) -> Recipe:
    """Return the structure with convolutions that suit many weights at once.

    Off the CPU a single run convolves with `lax.conv`, which `vmap` over weights turns
    into a grouped convolution; patches times a matrix become a product of stacks.
    """
    options = dict(structure.model_options)
    if how.endswith("vmap") and backend != "cpu" and structure.model == "cnn":
        options.setdefault("conv", "im2col")
    return dataclasses.replace(structure, model_options=options)


@dataclass
class _Programs:
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


def _numbers(also: tuple[str, ...], drops: bool) -> Numbers:
    """Return the shapes of a member's numbers."""
    number = jax.ShapeDtypeStruct((), jnp.float32)
    more = dict.fromkeys(also, number) or ()
    return Numbers(number, number, number if drops else None, more)


@functools.lru_cache(maxsize=32)
def _programs(
    how: str,
    width: int,
    structure: Recipe,
    also: tuple[str, ...],
    drops: bool,
    task: str,
    outputs: int,
    shapes: Arrays,
    limit: int | None,
) -> _Programs:
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
    numbers = _numbers(also, drops)
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
        models = stack((state.params, state.model_state))
        found[part] = (lift(evaluate(part)), (), ((), models, mask, shared))
    return _Programs(over_devices, found)
