"""Live progress of a study: one bar with time left, and the accuracies as they come."""

import contextlib
from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from jaxwd.lab.statistics import interval

Row = dict[str, Any]


def epochs_bar(console: Console) -> Progress:
    """Return a bar that counts epochs, with the time gone and the time left."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )


def diverged(message: str) -> Text:
    """Return the line that says a run diverged."""
    return Text.assemble(("diverged", "yellow"), f"  {message}")


class Progressing:
    """A `Watcher` that draws; on a terminal live, elsewhere one line a run."""

    def __init__(
        self, arms: list[str], runs: int, epochs: int, score: str, console: Console
    ) -> None:
        self.console, self.score, self.epochs = console, score, epochs
        self.last: dict[str, float] = {}
        self.said_waiting = False
        self.done_scores: dict[str, list[float]] = {arm: [] for arm in arms}
        self.bar = epochs_bar(console)
        self.task = self.bar.add_task("compiling", total=runs * epochs)

    def __rich__(self) -> Group:
        table = Table(box=None, pad_edge=False)
        for head in ("arm", "now", "done", f"validation {self.score}"):
            table.add_column(head, justify="left" if head == "arm" else "right")
        for arm, scores in self.done_scores.items():
            now = f"{self.last[arm]:.4f}" if arm in self.last else ""
            mean = f"{interval(scores).mean:.4f}" if scores else ""
            table.add_row(arm, now, str(len(scores)), mean)
        return Group(table, self.bar)

    def epoch(self, arm: str, seed: int, row: Row) -> None:
        """Move the bar by one epoch."""
        self.last[arm] = row[f"validation_{self.score}"]
        self.bar.update(self.task, advance=1, description=f"{arm}, seed {seed}")

    def done(self, arm: str, seed: int, outcome: Row | str, reused: bool) -> None:
        """Note the run's last score; print a line where nothing is drawn live."""
        self.last.pop(arm, None)
        if isinstance(outcome, str):
            self.console.print(diverged(f"{arm}, seed {seed}: {outcome}"))
        else:
            score = outcome[f"validation_{self.score}"]
            self.done_scores[arm].append(score)
            if not self.console.is_terminal:
                how = "reused" if reused else f"{outcome['seconds']:.1f} s"
                self.console.print(
                    f"{arm}, seed {seed}: validation {self.score} {score:.4f}, {how}"
                )
        # A reused or diverged run has not moved the bar through all of its epochs.
        finished = sum(map(len, self.done_scores.values()))
        task = self.bar.tasks[0]
        self.bar.update(
            self.task, completed=max(task.completed, finished * self.epochs)
        )

    def waiting(self, runs: int) -> None:
        """Say once that another process is at what is left."""
        if not self.said_waiting:
            self.said_waiting = True
            self.console.print(f"waiting for {runs} runs that another process is at")


@contextlib.contextmanager
def progress(
    arms: list[str], runs: int, epochs: int, score: str, console: Console
) -> Iterator[Progressing]:
    """Draw the progress of a study while the block runs."""
    drawn = Progressing(arms, runs, epochs, score, console)
    if not console.is_terminal:
        yield drawn
        return
    with Live(drawn, console=console, refresh_per_second=4):
        yield drawn
