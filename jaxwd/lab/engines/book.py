"""Where outcomes are kept: the ledger, where there is one, and the watcher beside it."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jaxwd.data import Dataset
from jaxwd.lab.engines.drive import Ticket
from jaxwd.lab.engines.outcome import Outcome, Row, Watcher
from jaxwd.lab.engines.packed import Packed
from jaxwd.lab.grid import Member
from jaxwd.lab.provenance import run_key

_ENDED = ("finished", "diverged", "stopped")
_ABOUT = ("compile_seconds", "images_per_second", "engine")
_PATIENCE = 0.5
"""Seconds between two looks at members that another process holds."""
_HELD_BACK = 0.5
"""Seconds between two writings: rounds of tiny members are a hundred a second."""
MANY = 10_000
"""Members from which on their histories are packed."""


class Book:
    """The outcomes of a grid, by place; a `Recorder` for the driver.

    Epochs and endings of one round are one transaction, and so are rounds that end
    within half a second: what a kill takes of them begins anew, as what was under way.

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
        self.rows_due: list[tuple[str, Row]] = []
        self.ends_due: list[tuple[str, Outcome, Row]] = []
        self.written_at = time.monotonic()
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
        """Take in the epochs that ended together."""
        if self.ledger is not None:
            self.rows_due += [(self.keys[t.place], row) for t, row in rows]
        self.watcher.rows([(t.place, row) for t, row in rows])
        self.watcher.ticked(seconds, len(rows))

    def ended(self, ticket: Ticket, outcome: Outcome) -> None:
        """Take in how a member ended."""
        self._keep(ticket.place, outcome)
        if self.ledger is not None:
            final = self._on_paper(ticket.place, outcome)
            self.ends_due.append((self.keys[ticket.place], outcome, final))
        self.watcher.ended(ticket.place, outcome, False)

    def settle(self, *, now: bool = False) -> None:
        """Write what is due, if the last writing is long enough ago, or `now`."""
        if not now and time.monotonic() - self.written_at < _HELD_BACK:
            return
        rows, self.rows_due = self.rows_due, []
        ends, self.ends_due = self.ends_due, []
        if rows or ends:
            with self.ledger.together():
                self.ledger.epochs(rows)
                for key, outcome, final in ends:
                    self._end(key, outcome, final)
        self.written_at = time.monotonic()

    def _end(self, key: str, outcome: Outcome, final: Row) -> None:
        if outcome.status == "finished":
            self.ledger.finish(key, final)
        elif outcome.status == "diverged":
            self.ledger.diverge(key, outcome.message, outcome.step)
        else:
            self.ledger.stop(key, outcome.message)

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
        self._keep(place, outcome)
        self.watcher.ended(place, outcome, True)
        return True

    def _keep(self, place: int, outcome: Outcome) -> None:
        if len(self.members) >= MANY:
            packed: Any = Packed(outcome.history)
            outcome = replace(outcome, history=packed)
        self.outcomes[place] = outcome


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
