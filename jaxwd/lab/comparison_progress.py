"""Live progress of a comparison: one bar for trials and final runs, with time left."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from jaxwd.lab.progress import diverged, epochs_bar
from jaxwd.lab.statistics import interval
from jaxwd.lab.tuning import TRIAL

Row = dict[str, Any]


class Phase:
    """A `Watcher` of one phase; what is drawn belongs to the whole comparison."""

    def __init__(self, whole: "ComparisonProgress", tuning: bool) -> None:
        self.whole, self.tuning = whole, tuning

    def epoch(self, arm: str, seed: int, row: Row) -> None:
        """Move the bar by one epoch."""
        self.whole.bar.update(self.whole.task, advance=1, description=arm)

    def done(self, arm: str, seed: int, outcome: Row | str, reused: bool) -> None:
        """Note a run that ended."""
        self.whole.ended(arm, seed, outcome, reused, self.tuning)

    def waiting(self, runs: int) -> None:
        """Say that another process is at what is left."""
        self.whole.console.print(f"waiting for {runs} runs of another process")


class ComparisonProgress:
    """What is drawn: each arm's trials, best so far, seeds; and one bar."""

    def __init__(
        self,
        arms: list[str],
        runs: int,
        epochs: int,
        score: str,
        console: Console,
    ) -> None:
        self.console, self.score, self.epochs = console, score, epochs
        self.best = dict.fromkeys(arms, -math.inf)
        self.tried = dict.fromkeys(arms, 0)
        self.scores: dict[str, list[float]] = {arm: [] for arm in arms}
        self.runs = 0
        self.tuning, self.final = Phase(self, True), Phase(self, False)
        self.bar = epochs_bar(console)
        self.task = self.bar.add_task("compiling", total=runs * epochs)

    def __rich__(self) -> Group:
        table = Table(box=None, pad_edge=False)
        for head in ("arm", "trials", "best", "seeds", f"validation {self.score}"):
            table.add_column(head, justify="left" if head == "arm" else "right")
        for arm, scores in self.scores.items():
            best, mean = self.best[arm], interval(scores).mean if scores else math.nan
            table.add_row(
                arm,
                str(self.tried[arm]),
                "" if math.isinf(best) else f"{best:.4f}",
                str(len(scores)),
                "" if math.isnan(mean) else f"{mean:.4f}",
            )
        return Group(table, self.bar)

    def ended(
        self, name: str, seed: int, outcome: Row | str, reused: bool, tuning: bool
    ) -> None:
        """Note a run that ended; print a line where nothing is drawn live."""
        self.runs += 1
        # A reused or diverged run has not moved the bar through all of its epochs.
        done = max(self.bar.tasks[0].completed, self.runs * self.epochs)
        self.bar.update(self.task, completed=done)
        arm = name.rsplit(TRIAL, 1)[0] if tuning else name
        if tuning:
            self.tried[arm] += 1
        if isinstance(outcome, str):
            self.console.print(diverged(f"{name}, seed {seed}: {outcome}"))
            return
        score = outcome[f"validation_{self.score}"]
        if tuning:
            self.best[arm] = max(self.best[arm], score)
        else:
            self.scores[arm].append(score)
        if not self.console.is_terminal:
            how = "reused" if reused else f"{outcome['seconds']:.1f} s"
            self.console.print(
                f"{name}, seed {seed}: validation {self.score} {score:.4f}, {how}"
            )


@contextlib.contextmanager
def comparison_progress(
    arms: list[str],
    runs: int,
    epochs: int,
    score: str,
    console: Console,
) -> Iterator[ComparisonProgress]:
    """Draw the progress of a comparison of `runs` trainings while the block runs."""
    drawn = ComparisonProgress(arms, runs, epochs, score, console)
    if not console.is_terminal:
        yield drawn
        return
    with Live(drawn, console=console, refresh_per_second=4):
        yield drawn
