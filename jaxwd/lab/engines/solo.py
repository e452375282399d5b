"""What a member's epoch takes alone: the other half of every speed-up that is printed."""

import time
from typing import NamedTuple

from jaxwd.data import Dataset
from jaxwd.lab.engines.groups import Group
from jaxwd.lab.engines.interface import Job
from jaxwd.lab.engines.loop import Loop
from jaxwd.training import Recipe


class SpeedUp(NamedTuple):
    """A grid's time beside that of its members one by one, compilation left out of both.

    Attributes:
        together: seconds an epoch and member in the grid.
        alone: the same for one member by itself.
        steps: of an epoch.
    """

    together: float
    alone: float
    steps: int

    def __str__(self) -> str:
        """Say it in a sentence, also where the grid is the slower one."""
        here, there = (1e3 * s / self.steps for s in (self.together, self.alone))
        return (
            f"speed-up over one by one: {self.alone / self.together:.2f} "
            f"({here:.3g} ms a step and member against {there:.3g}; measured on one "
            "member alone, for an epoch with its validation, compilation left out)"
        )


def alone(recipe: Recipe, data: Dataset, *, rounds: int = 2) -> tuple[float, int]:
    """Return the seconds of a recipe's epoch by itself, and its steps.

    The program of a single run is compiled, unless it was already, and run for
    `rounds` epochs behind one that is not counted; the quickest counts.
    """
    job = Job.of(Group(recipe.structure(), (), [0]), data)
    lanes = Loop(job, 1)
    lanes.enter({0: recipe}, {})
    took = []
    for _ in range(1 + rounds):
        began = time.perf_counter()
        lanes.epoch([0])
        took.append(time.perf_counter() - began)
    return min(took[1:]), job.steps
