"""What an engine is: a row with a way to hold several trainings and to move them on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from jaxwd.data import Dataset
from jaxwd.lab.engines.groups import Group
from jaxwd.losses import task
from jaxwd.training import Recipe, State
from jaxwd.training.arrays import Arrays, arrays_of
from jaxwd.training.parallel import layout


@dataclass(frozen=True)
class Job:
    """What all lanes of one program share.

    Attributes:
        group: structure and paths of the inputs.
        arrays: the data, on the device.
        task: a row of `jaxwd.losses.TASKS`.
        outputs: number of model outputs.
        limit: only the first steps of an epoch, in a trial.
        splits: measured at the end of a training, beside validation.
    """

    group: Group
    arrays: Arrays
    task: str
    outputs: int
    limit: int | None = None
    splits: tuple[str, ...] = ("train", "test")

    @classmethod
    def of(cls, group: Group, data: Dataset) -> "Job":
        """Return the job of a group, with its share of the data on the device."""
        if group.structure.train_examples is not None:
            data = data.take(group.structure.train_examples)
        return cls(group, jax.device_put(arrays_of(data)), data.task, data.outputs)

    @property
    def steps(self) -> int:
        """Return the steps of an epoch."""
        steps = self.group.structure.steps_per_epoch(self.arrays.train.examples)
        return steps if self.limit is None else min(steps, self.limit)

    @property
    def score(self) -> str:
        """Return the name of the score."""
        return task(self.task).score_name

    @property
    def shapes(self) -> Arrays:
        """Return the arrays without their numbers, to compile for."""
        return layout("single", 1).abstract(self.arrays)


class Epoch(NamedTuple):
    """What an epoch of several lanes gave, on the host; the first axis is the lane.

    Attributes:
        losses: of every step, (lanes, steps).
        scores: likewise.
        info: name → (lanes,), those of the last step.
        validation: loss and score, (lanes,) each.
    """

    losses: np.ndarray
    scores: np.ndarray
    info: Mapping[str, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]


class Lanes(Protocol):
    """Several trainings held side by side; a lane is free, or holds one member.

    Attributes:
        width: how many.
        compile_seconds: what compiling took so far, about 0 where a program was reused.
    """

    width: int
    compile_seconds: float

    @property
    def needs(self) -> int:
        """Return the bytes it takes beside the data, as its compiler says; 0 unknown."""
        ...

    def enter(
        self, fresh: Mapping[int, Recipe], resumed: Mapping[int, tuple[Recipe, State]]
    ) -> None:
        """Put members into lanes: at their start, or where they were taken out."""

    def epoch(self, indices: Sequence[int | None]) -> Epoch:
        """Train every lane by one epoch, the one given; None leaves a lane alone."""
        ...

    def leave(self, lanes: Sequence[int]) -> dict[int, State]:
        """Return the states of lanes on the host."""
        ...

    def final(self, part: str, lanes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return loss and score of lanes on a split, (width,) each."""
        ...


@dataclass(frozen=True)
class Engine:
    """One row of the table.

    Attributes:
        name: how it is asked for.
        lanes: `(job, width) → Lanes`.
        widest: members → the most lanes that are of use.
        multiple: widths must be multiples of this.
        idle_is_free: whether a lane without a member costs nothing.
        fits: whether it is of use on these devices, for `auto`.
        note: what it is, in a line.
    """

    name: str
    lanes: Callable[[Job, int], Lanes]
    widest: Callable[[int], int] = lambda members: members
    multiple: Callable[[], int] = lambda: 1
    idle_is_free: bool = False
    fits: Callable[[], bool] = lambda: True
    note: str = ""

    def width(self, members: int, chunk: int | None) -> int:
        """Return how many lanes to make for so many members."""
        widest = min(members, self.widest(members), chunk or members)
        # Chunks of equal size: 65 members in lanes of 64 would leave 63 idle.
        chunks = -(-members // widest)
        even = -(-members // chunks)
        return -(-even // self.multiple()) * self.multiple()


def host(tree: Any) -> Any:
    """Return a tree of arrays as NumPy arrays."""
    return jax.tree.map(np.asarray, tree)
