"""What became of one member of a grid, and who is told while it runs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from jaxwd.lab.grid import Labels, Member
from jaxwd.training import Recipe

Row = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of one member.

    Attributes:
        recipe: what was run.
        labels: what was varied in the grid.
        history: one row of metrics for each epoch, as in `jaxwd.training.Result`.
        final: metrics at the end, as there; None unless finished.
        message: why it diverged or was stopped, "" where it finished.
        step: the first step with a loss that is not finite, where it diverged.
        status: `finished`, `diverged`, or `stopped` by successive halving.
        seconds: its share of the wall time, compilation left out.
    """

    recipe: Recipe
    labels: Labels
    history: list[Row]
    final: Row | None
    message: str
    step: int | None
    status: str
    seconds: float


class Watcher(Protocol):
    """What is told of the progress; `Silent` is one that listens to nothing."""

    def begins(self, members: int, epochs: int, groups: int) -> None:
        """Learn how many members, epochs in all and programs there are."""

    def compiled(self, engine: str, lanes: int, seconds: float) -> None:
        """Learn of a compilation: one for each structure and chunk size."""

    def chosen(self, engine: str, timings: dict[str, float]) -> None:
        """Learn which engine was chosen; milliseconds a step and member by engine."""

    def says(self, message: str) -> None:
        """Learn of something a person should know, such as a halved chunk."""

    def rows(self, rows: Sequence[tuple[int, Row]]) -> None:
        """Learn of finished epochs: (place of the member, its row)."""

    def ticked(self, seconds: float, epochs: int) -> None:
        """Learn what some epochs took together, compilation left out."""

    def ended(self, place: int, outcome: Outcome, reused: bool) -> None:
        """Learn how a member ended, or had ended at an earlier start."""


class Silent:
    """A watcher that does nothing; override what you want to know."""

    def begins(self, members: int, epochs: int, groups: int) -> None:
        """Do nothing."""

    def compiled(self, engine: str, lanes: int, seconds: float) -> None:
        """Do nothing."""

    def chosen(self, engine: str, timings: dict[str, float]) -> None:
        """Do nothing."""

    def says(self, message: str) -> None:
        """Do nothing."""

    def rows(self, rows: Sequence[tuple[int, Row]]) -> None:
        """Do nothing."""

    def ticked(self, seconds: float, epochs: int) -> None:
        """Do nothing."""

    def ended(self, place: int, outcome: Outcome, reused: bool) -> None:
        """Do nothing."""


class ForTwins:
    """Passes on what is said of trainings, to all members that share them.

    Epochs are told of the first only: they were trained once.

    Args:
        watcher: knows members by their places in the grid.
        members: the grid.
        twins: for each training, the places of its members.
    """

    def __init__(
        self,
        watcher: Watcher,
        members: Sequence[Member],
        twins: Sequence[Sequence[int]],
    ) -> None:
        self.watcher, self.members, self.twins = watcher, members, twins
        self.begins, self.compiled = watcher.begins, watcher.compiled
        self.chosen, self.says = watcher.chosen, watcher.says
        self.ticked = watcher.ticked

    def rows(self, rows: Sequence[tuple[int, Row]]) -> None:
        """Pass epochs on."""
        self.watcher.rows([(self.twins[number][0], row) for number, row in rows])

    def ended(self, place: int, outcome: Outcome, reused: bool) -> None:
        """Pass an ending on, to every member with its own labels."""
        for given in self.twins[place]:
            own = replace(outcome, labels=self.members[given].labels)
            self.watcher.ended(given, own, reused)
