"""Trainings one after another, each by exactly one of the processes at work."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from jaxwd.errors import Diverged, InputError
from jaxwd.lab.grid import ALSO
from jaxwd.lab.ledger import Ledger
from jaxwd.training import Recipe

Row = dict[str, Any]
POLL = 0.5
"""Seconds between two looks at runs that another process is at."""
FLUSH = 0.5
"""Seconds between two writings of epochs; tiny trainings have hundreds a second."""


class Turn(NamedTuple):
    """A training that is wanted."""

    arm: str
    recipe: Recipe
    key: str

    @property
    def seed(self) -> int:
        """Return the recipe's seed."""
        return self.recipe.seed


class Ending(NamedTuple):
    """How a training ended: final metrics, or a message where it diverged."""

    outcome: Row | str
    curve: list[Row]
    reused: bool


class Watcher(Protocol):
    """What is told of the progress; see `jaxwd.lab.progress`."""

    def epoch(self, arm: str, seed: int, row: Row) -> None:
        """Learn of a finished epoch."""

    def done(self, arm: str, seed: int, outcome: Row | str, reused: bool) -> None:
        """Learn of a finished, diverged (a message) or reused run."""

    def waiting(self, runs: int) -> None:
        """Learn that only runs are left which another process is at."""


def endings(
    turns: Sequence[Turn],
    train: Callable[..., Any],
    ledger: Ledger | None,
    watcher: Watcher | None,
) -> Iterator[tuple[Turn, Ending]]:
    """Run what nobody ran yet and give every ending, reused ones among them.

    What another process is at comes last: it is waited for, and run here if that
    process is gone.

    Args:
        turns: in the order they are run.
        train: `function(recipe, on_epoch) → Result`.
        ledger: where runs are added, claimed and ended; without one all are run.
        watcher: told of every epoch and every ending.
    """
    if ledger is not None:
        _add(turns, ledger)
    left, begun_here = list(turns), set[str]()
    while left:
        elsewhere: list[Turn] = []
        for turn in left:
            ending = _ending(turn, train, ledger, watcher)
            if ending is None:
                elsewhere.append(turn)
                continue
            if not ending.reused:
                begun_here.add(turn.key)
            elif turn.key in begun_here:  # another arm with this very recipe
                ending = ending._replace(reused=False)
            if watcher is not None:
                watcher.done(turn.arm, turn.seed, ending.outcome, ending.reused)
            yield turn, ending
        if len(elsewhere) == len(left):
            if watcher is not None:
                watcher.waiting(len(elsewhere))
            time.sleep(POLL)
        left = elsewhere


def _add(turns: Sequence[Turn], ledger: Ledger) -> None:
    """Add every run once, with the names of all arms whose recipe it has."""
    by_key: dict[str, list[Turn]] = {}
    for turn in turns:
        by_key.setdefault(turn.key, []).append(turn)
    with ledger.together():
        for key, (first, *others) in by_key.items():
            recipe = first.recipe.to_dict()
            labels = {ALSO: [turn.arm for turn in others]} if others else {}
            ledger.add(key, recipe, arm=first.arm, seed=first.seed, labels=labels)


def _ending(
    turn: Turn,
    train: Callable[..., Any],
    ledger: Ledger | None,
    watcher: Watcher | None,
) -> Ending | None:
    """Run one training or take its ending; None while another process is at it."""
    if ledger is None or ledger.claim([turn.key]):
        return _trained(turn, train, ledger, watcher)
    found = ledger.run(turn.key)
    if found is None or not found.ended:
        return None
    if found.status == "stopped":
        raise InputError(
            f"{turn.arm}, seed {turn.seed} was stopped early in {ledger.path} "
            f"({found.message}); give another --out to run it to its end"
        )
    if found.outcome is None:
        return Ending(found.message, [], True)
    return Ending(found.outcome, ledger.curve(turn.key), True)


def _trained(
    turn: Turn,
    train: Callable[..., Any],
    ledger: Ledger | None,
    watcher: Watcher | None,
) -> Ending:
    pages = _Pages(turn.key, ledger)

    def on_epoch(row: Row) -> None:
        pages.add(row)
        if watcher is not None:
            watcher.epoch(turn.arm, turn.seed, row)

    try:
        result = train(turn.recipe, on_epoch)
    except Diverged as error:
        message, step = str(error), error.step
        pages.end(lambda ledger: ledger.diverge(turn.key, message, step))
        return Ending(message, [], False)
    except BaseException:
        if ledger is not None:
            ledger.release([turn.key])
        raise
    outcome = dict(result.final) | {
        "seconds": result.seconds,
        "compile_seconds": result.compile_seconds,
        "images_per_second": result.images_per_second,
    }
    pages.end(lambda ledger: ledger.finish(turn.key, outcome))
    return Ending(outcome, result.history, False)


class _Pages:
    """Epochs on their way to a ledger, written at most once in `FLUSH` seconds.

    What a kill takes of them is nothing lost: an unfinished run is begun anew.
    """

    def __init__(self, key: str, ledger: Ledger | None) -> None:
        self.key, self.ledger = key, ledger
        self.rows: list[tuple[str, Row]] = []
        self.written = time.monotonic()

    def add(self, row: Row) -> None:
        self.rows.append((self.key, row))
        if self.ledger is not None and time.monotonic() - self.written > FLUSH:
            self.ledger.epochs(self.rows)
            self.rows.clear()
            self.written = time.monotonic()

    def end(self, ending: Callable[[Ledger], None]) -> None:
        """Write the rest and how the run ended, as one transaction."""
        if self.ledger is not None:
            with self.ledger.together():
                self.ledger.epochs(self.rows)
                ending(self.ledger)
