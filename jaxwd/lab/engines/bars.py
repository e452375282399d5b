"""Live progress of a grid: one bar with time left, best so far, members alive."""

import contextlib
import time
from collections.abc import Iterator, Sequence

from rich.console import Console

from jaxwd.lab.engines.outcome import Outcome, Row, Silent
from jaxwd.lab.grid import Member
from jaxwd.lab.progress import diverged, epochs_bar

_SECONDS = 10.0
"""Between two lines where no bar is drawn."""


class Bar(Silent):
    """A `Watcher` that draws, and counts what a summary needs.

    Attributes:
        compilations: (engine, lanes, seconds) of each.
        seconds: wall time of all epochs, compilation left out.
        epochs: how many there were, members together.
        reused: members that had ended at an earlier start.
    """

    def __init__(self, members: Sequence[Member], score: str, console: Console) -> None:
        self.members, self.score, self.console = members, score, console
        self.compilations: list[tuple[str, int, float]] = []
        self.seconds, self.epochs, self.reused = 0.0, 0, 0
        self.groups, self.engines = 0, list[str]()
        self.ends: dict[str, int] = {}
        self.best: tuple[float, int] | None = None
        self.seen: dict[int, int] = {}
        self.alive, self.said_at = len(members), time.perf_counter()
        self.bar = epochs_bar(console)
        self.task = self.bar.add_task("compiling", total=None)

    def begins(self, members: int, epochs: int, groups: int) -> None:
        """Set the bar's length."""
        self.groups, self.alive = groups, members
        self.bar.update(self.task, total=epochs)

    def compiled(self, engine: str, lanes: int, seconds: float) -> None:
        """Note a compilation."""
        self.compilations.append((engine, lanes, seconds))

    def chosen(self, engine: str, timings: dict[str, float]) -> None:
        """Say which engine was chosen, and by what."""
        self.engines.append(engine)
        if timings:
            told = ", ".join(f"{k} {v:.3g}" for k, v in timings.items())
            self.says(f"engine {engine}: ms a step and member by engine: {told}")

    def says(self, message: str) -> None:
        """Print a line above the bar."""
        self.console.print(message, highlight=False)

    def rows(self, rows: Sequence[tuple[int, Row]]) -> None:
        """Move the bar, and note the best score so far."""
        for place, row in rows:
            self.seen[place] = row["epoch"]
            value = row[f"validation_{self.score}"]
            if self.best is None or value > self.best[0]:
                self.best = (value, place)
        self.bar.update(self.task, advance=len(rows), description=str(self))

    def ticked(self, seconds: float, epochs: int) -> None:
        """Add up the wall time."""
        self.seconds += seconds
        self.epochs += epochs

    def ended(self, place: int, outcome: Outcome, reused: bool) -> None:
        """Count an end; take the epochs that will not come off the bar's length."""
        self.alive -= 1
        self.reused += reused
        self.ends[outcome.status] = self.ends.get(outcome.status, 0) + 1
        total = self.bar.tasks[0].total or 0
        left = outcome.recipe.epochs - self.seen.get(place, 0)
        self.bar.update(self.task, total=total - left, description=str(self))
        if reused:
            return
        if outcome.status == "diverged":
            said = f"{self.members[place]}: {outcome.message}"
            self.console.print(diverged(said), highlight=False)
        elif not self.console.is_terminal:
            now = time.perf_counter()
            if not self.alive or now > self.said_at + _SECONDS:
                self.said_at = now
                done = len(self.members) - self.alive
                self.says(f"{done} of {len(self.members)} ended; {self}")

    def __str__(self) -> str:
        said = f"{self.alive} alive"
        if self.ends.get("diverged"):
            said += f", {self.ends['diverged']} diverged"
        if self.best is not None:
            value, place = self.best
            said += (
                f", best validation {self.score} {value:.4f} ({self.members[place]})"
            )
        return said


@contextlib.contextmanager
def bar(members: Sequence[Member], score: str, console: Console) -> Iterator[Bar]:
    """Draw the progress of a grid while the block runs."""
    drawn = Bar(members, score, console)
    if not console.is_terminal:
        yield drawn
        return
    with drawn.bar:
        yield drawn
