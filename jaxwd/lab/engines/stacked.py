"""Lanes stacked in one array for each leaf, moved on by one compiled program."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxwd.lab.engines import lifts
from jaxwd.lab.engines.interface import Epoch, Job, host
from jaxwd.lab.engines.programs import LIFTS, abstract_numbers, for_lanes, programs
from jaxwd.training import Recipe, State


class Stacked:
    """Lanes with a first axis on every array; `how` is a row of `LIFTS`."""

    def __init__(self, how: str, job: Job, width: int) -> None:
        self.job, self.width, self.how = job, width, how
        self.over_devices = LIFTS[how][1]
        self.seeds = np.zeros(width, np.uint32)
        self.numbers = jax.tree.map(
            lambda x: np.zeros((width, *x.shape), x.dtype),
            abstract_numbers(job.group.also, job.group.drops),
        )
        self.states: Any = None
        began = time.perf_counter()
        self.programs = programs(
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
        given = (self.states.measured, self.states.model_state)
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
