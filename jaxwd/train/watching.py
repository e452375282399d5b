"""What a long training shows, and where it is asked whether to go on."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from jaxwd.train.stopping import Stopping


def kept_in(
    folder: pathlib.Path,
    keep: int,
    every: int,
    stopping: Stopping,
    say: Callable[..., None],
) -> Any:
    """Return checkpoints that say when training begins and where it goes on.

    An epoch behind which somebody wants to stop is kept, whatever `every` says.

    Orbax and JAX are loaded here, when they are needed.
    """
    from jaxwd.training.checkpoints import Checkpoints

    class Kept(Checkpoints):
        fresh = False

        def latest(self, *given: Any) -> Any:
            saved = super().latest(*given)
            stopping.training = stopping.begun = True
            if saved is not None:
                done = len(saved.progress["history"])
                say(f"going on behind epoch {done}, step {saved.step}")
            return saved

        def due(self, epoch: int, epochs: int) -> bool:
            self.fresh = super().due(epoch, epochs) or stopping.wanted()
            return self.fresh

        def old(self, row: dict[str, float]) -> bool:
            """Say whether an epoch was trained before this start."""
            found = self.restored
            return found is not None and row["epoch"] <= len(found.progress["history"])

    return Kept(
        folder, keep=keep, every=every, says=lambda words: say(f"note: {words}")
    )


@contextlib.contextmanager
def epochs(recipe: Any, score: str, console: Any) -> Iterator[Any]:
    """Yield a watcher: a bar with the time left, or a line now and then."""
    from jaxwd.lab.progress import epochs_bar

    bar = epochs_bar(console)
    watcher = Watcher(bar, recipe.epochs, score)
    if not console.is_terminal:
        yield watcher
        return
    with bar:
        yield watcher


class Watcher:
    """Draws, and ends the training where somebody asked for it."""

    every = 2.0
    """Seconds between two lines where nothing is drawn."""

    def __init__(self, bar: Any, epochs: int, score: str) -> None:
        self.bar, self.epochs, self.score = bar, epochs, score
        self.task = bar.add_task("compiling", total=epochs)
        self.stopping: Stopping = Stopping()
        self.kept: Any = None
        self.said = float("-inf")

    def epoch(self, arm: str, seed: int, row: dict[str, float]) -> None:
        """Draw an epoch; those before a stop count, and say nothing of the speed."""
        score = f"validation {self.score} {row[f'validation_{self.score}']:.4f}"
        self.bar.update(self.task, description=score)
        if self.kept.old(row):
            self.bar.reset(self.task, total=self.epochs, completed=row["epoch"])
            return
        self.bar.update(self.task, completed=row["epoch"])
        last = row["epoch"] == self.epochs
        if not self.bar.console.is_terminal and (
            last or row["seconds"] - self.said >= self.every
        ):
            self.said = row["seconds"]
            self.bar.console.print(
                f"epoch {row['epoch']} of {self.epochs}: loss {row['running_loss']:.4f}, "
                f"{score}, {row['seconds']:.1f} s",
                highlight=False,
            )
        if self.kept.fresh and not last:
            self.stopping.check()

    def done(self, arm: str, seed: int, outcome: Any, reused: bool) -> None:
        """Learn that it ended."""
        self.stopping.training = False

    def waiting(self, runs: int) -> None:
        """Say that another process is at it."""
        self.bar.console.print("another process is at this training; waiting for it")
