"""Where outcomes are kept: the ledger, where there is one, and the watcher beside it."""

import time
from collections.abc import Sequence
from typing import Any

from jaxwd.data import Dataset
from jaxwd.lab.engines.drive import Ticket
from jaxwd.lab.engines.outcome import Outcome, Row, Watcher
from jaxwd.lab.grid import Member
from jaxwd.lab.provenance import run_key

_ENDED = ("finished", "diverged", "stopped")
_ABOUT = ("compile_seconds", "images_per_second", "engine")
_PATIENCE = 0.5
"""Seconds between two looks at members that another process holds."""


class Book:
    """The outcomes of a grid, by place; a `Recorder` for the driver.

    Args:
        members: the grid.
        data: what they are trained on.
        ledger: where rows and outcomes are kept, or None.
        watcher: told of everything.
        hardware: on which members run; default that of this process.
    """

    def __init__(
        self,
        members: Sequence[Member],
        data: Dataset,
        ledger: Any,
        watcher: Watcher,
        hardware: str | None = None,
    ) -> None:
        self.members, self.ledger, self.watcher = members, ledger, watcher
        self.outcomes: dict[int, Outcome] = {}
        self.elsewhere: list[Ticket] = []
        self.engine, self.compile_seconds = "", 0.0
        self.images = [_images(member, data) for member in members]
        self.keys: list[str] = []
        if ledger is None:
            return
        fingerprint = data.fingerprint()
        self.keys = [member_key(m, fingerprint, hardware) for m in members]
        with ledger.together():
            for key, (recipe, labels) in zip(self.keys, members, strict=True):
                said = dict(labels)
                ledger.add(
                    key,
                    recipe.to_dict(),
                    arm=str(said.get("arm", "")),
                    seed=recipe.seed,
                    labels=said,
                )
        for place in range(len(members)):
            self._look_up(place)

    # --- who is to be run ---------------------------------------------------------

    def tickets(self, places: Sequence[int]) -> list[Ticket]:
        """Return tickets of the members among `places` that have not ended."""
        return [
            Ticket(place, *self.members[place])
            for place in places
            if place not in self.outcomes
        ]

    def claimed(self, waiting: list[Ticket], count: int) -> list[Ticket]:
        """Take as many of the waiting as are free, and are ours from now on."""
        found: list[Ticket] = []
        while waiting and len(found) < count:
            asked = waiting[: count - len(found)]
            del waiting[: len(asked)]
            if self.ledger is None:
                return found + asked
            ours = set(self.ledger.claim([self.keys[t.place] for t in asked]))
            found += [t for t in asked if self.keys[t.place] in ours]
            self.elsewhere += [t for t in asked if self.keys[t.place] not in ours]
        return found

    def waited(self) -> list[Ticket]:
        """Return what other processes left undone, after waiting for what they do.

        A member that another process holds is looked up until it has ended there, or
        until its process is gone and it can be claimed.
        """
        while self.elsewhere:
            self.elsewhere = [t for t in self.elsewhere if not self._look_up(t.place)]
            free, self.elsewhere = self.elsewhere, []
            ours = self.claimed(free, len(free))
            if ours:
                return ours
            if self.elsewhere:
                time.sleep(_PATIENCE)
        return []

    # --- what the driver tells ----------------------------------------------------

    def rows(self, rows: Sequence[tuple[Ticket, Row]], seconds: float) -> None:
        """Write the epochs that ended together, in one transaction."""
        if self.ledger is not None and rows:
            self.ledger.epochs([(self.keys[t.place], row) for t, row in rows])
        self.watcher.rows([(t.place, row) for t, row in rows])
        self.watcher.ticked(seconds, len(rows))

    def ended(self, ticket: Ticket, outcome: Outcome) -> None:
        """Write how a member ended."""
        self.outcomes[ticket.place] = outcome
        if self.ledger is not None:
            key = self.keys[ticket.place]
            if outcome.status == "finished":
                self.ledger.finish(key, self._on_paper(ticket.place, outcome))
            elif outcome.status == "diverged":
                self.ledger.diverge(key, outcome.message, outcome.step)
            else:
                self.ledger.stop(key, outcome.message)
        self.watcher.ended(ticket.place, outcome, False)

    def compiled(self, engine: str, lanes: int, seconds: float) -> None:
        """Pass a compilation on."""
        self.compile_seconds += seconds
        self.watcher.compiled(engine, lanes, seconds)

    def says(self, message: str) -> None:
        """Pass a message on."""
        self.watcher.says(message)

    # --- on paper -----------------------------------------------------------------

    def _on_paper(self, place: int, outcome: Outcome) -> Row:
        seconds = max(outcome.seconds, 1e-9)
        return {
            **(outcome.final or {}),
            "compile_seconds": self.compile_seconds / len(self.members),
            "images_per_second": self.images[place] / seconds,
            "engine": self.engine,
        }

    def _look_up(self, place: int) -> bool:
        """Take over how a member ended at an earlier start or elsewhere."""
        key = self.keys[place]
        run = self.ledger.run(key)
        if run is None or run.status not in _ENDED:
            return False
        recipe, labels = self.members[place]
        final = None
        if run.status == "finished":
            final = {k: v for k, v in run.outcome.items() if k not in _ABOUT}
        curve = list(self.ledger.curve(key))
        seconds = curve[-1]["seconds"] if curve else 0.0
        message, step = run.message or "", run.step
        outcome = Outcome(
            recipe, labels, curve, final, message, step, run.status, seconds
        )
        self.outcomes[place] = outcome
        self.watcher.ended(place, outcome, True)
        return True


def member_key(member: Member, fingerprint: str, hardware: str | None = None) -> str:
    """Return the ledger's name for a member on data with this fingerprint.

    The engine is no part of it: `auto` may choose another one at the next start, and
    what was finished stays finished.
    """
    return run_key(member.recipe, fingerprint, "grid", hardware)


def _images(member: Member, data: Dataset) -> int:
    recipe = member.recipe
    examples = recipe.train_examples or data.train.examples
    return recipe.steps_per_epoch(examples) * recipe.batch_size * recipe.epochs
