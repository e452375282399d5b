"""Looking into a ledger: runs, curves, provenance, and all of it as one text."""

import os
import pathlib
import sqlite3
from dataclasses import dataclass
from typing import Any

from jaxwd.lab.ledger import tables
from jaxwd.lab.ledger.file import (
    PATIENCE,
    connect,
    damaged,
    in_plain_words,
    ledger_file,
)
from jaxwd.lab.ledger.holder import Holder
from jaxwd.lab.ledger.values import Row, lasting, packed, seal, timeless, unpacked

ENDED = ("finished", "diverged", "stopped")
STATUSES = ("waiting", "running", *ENDED)
CELLS = "key, recipe, arm, seed, labels, status, outcome, message, step"
SEALED = f"{CELLS}, id, provenance"
open_here: set[str] = set()
"""Names of the ledgers this process has open; a fork's are its parent's."""


@dataclass(frozen=True)
class Run:
    """One run, as the ledger holds it.

    Attributes:
        key: its name: recipe, data, versions, code and hardware make it.
        recipe: as `Recipe.to_dict` gives it.
        arm: which alternative of a comparison it belongs to, if any.
        seed: root of its random draws.
        labels: what was varied, by path.
        status: `waiting`, `running`, `finished`, `diverged` or `stopped`.
        outcome: final metrics where it finished.
        message: why it diverged or was stopped.
        step: first step with a loss that is not finite.
    """

    key: str
    recipe: Row
    arm: str
    seed: int
    labels: Row
    status: str
    outcome: Row | None
    message: str
    step: int | None

    @property
    def ended(self) -> bool:
        """Say whether nothing is left to do."""
        return self.status in ENDED

    @property
    def arms(self) -> list[str]:
        """Return its arm and those that share the run, since their recipe is equal."""
        return [self.arm, *self.labels.get("also", ())]


def _sound(run: Run) -> bool:
    """Say whether every field is of its kind, whoever wrote the file."""
    return (
        all(isinstance(x, str) for x in (run.key, run.arm, run.message))
        and isinstance(run.seed, int)
        and isinstance(run.step, int | None)
        and isinstance(run.recipe, dict)
        and isinstance(run.labels, dict)
        and isinstance(run.outcome, dict | None)
        and run.status in STATUSES
        and (run.outcome is not None or run.status != "finished")
        and all(_plain(x) for x in (run.outcome or {}).values())
    )


def _plain(value: object) -> bool:
    return isinstance(value, str | int | float | None)


class Reader:
    """What can be asked of a ledger; `Ledger` adds writing to it."""

    def __init__(
        self, path: str | os.PathLike, readonly: bool, patience: float = PATIENCE
    ) -> None:
        self.path: pathlib.Path = ledger_file(path)
        self._patience = patience
        self._db: sqlite3.Connection = connect(
            self.path, readonly=readonly, patience=patience
        )
        try:
            self.runs()  # verifies their seals
        except BaseException:
            self._db.close()
            raise

    def run(self, key: str) -> Run | None:
        """Return one run, or None where its key is unknown."""
        found = self._runs("WHERE key = ?", key)
        return found[0] if found else None

    def runs(self) -> list[Run]:
        """Return all runs, in the order they were added."""
        return self._runs("ORDER BY id")

    def curve(self, key: str) -> list[Row]:
        """Return the metrics of a run's epochs, in order."""
        with in_plain_words(self.path, self._patience):
            found = self._db.execute(
                "SELECT e.run, e.epoch, e.metrics, e.seal FROM epoch AS e "
                "JOIN run ON run.id = e.run WHERE run.key = ? ORDER BY e.epoch",
                (key,),
            ).fetchall()
        for *cells, sealed in found:
            self._verify(cells, sealed, f"epoch {cells[1]} of run {key}")
        rows = self._rows([metrics for _, _, metrics, _ in found], f"run {key}")
        if [row.get("epoch") for row in rows] != [epoch for _, epoch, _, _ in found]:
            raise damaged(self.path, f"run {key} has metrics of other epochs")
        return rows

    def provenance(self, key: str | None = None) -> list[Row]:
        """Return what runs were made by: of one run, or of all, each once."""
        with in_plain_words(self.path, self._patience):
            found = self._db.execute(
                "SELECT id, content, seal FROM provenance WHERE id IN (SELECT provenance "
                "FROM run WHERE key = ? OR ? IS NULL) ORDER BY id",
                (key, key),
            ).fetchall()
        for number, content, sealed in found:
            self._verify([content], sealed, f"provenance {number}")
        return self._rows([content for _, content, _ in found], "provenance")

    def abandoned(self) -> list[str]:
        """Return the keys of runs that a process began and left when it was killed."""
        with in_plain_words(self.path, self._patience):
            found = self._db.execute(
                "SELECT key, owner FROM run WHERE status = 'running' ORDER BY id"
            ).fetchall()
            return [key for key, owner in found if not self._lives(owner)]

    def canonical(self) -> str:
        """Return all that does not depend on time or on interruptions, as text.

        One line a run, by key: state, final metrics and every epoch, without seconds,
        beside what it was made by, without time, command and the worker's name.
        """
        lines = []
        for run in sorted(self.runs(), key=lambda run: run.key):
            made_by = [
                lasting(x, "command", "worker") for x in self.provenance(run.key)
            ]
            line = vars(run) | {
                "outcome": timeless(run.outcome),
                "provenance": made_by,
                "epochs": [timeless(row) for row in self.curve(run.key)],
            }
            lines.append(packed(line))
        return "\n".join(lines)

    def rows(self, *, epochs: bool = False) -> list[Row]:
        """Return one flat row a run, or an epoch; see `jaxwd.lab.ledger.tables`."""
        return tables.rows(self, epochs=epochs)

    def frame(self, *, epochs: bool = False) -> Any:
        """Return `rows` as a pandas DataFrame; needs pandas."""
        return tables.needed("pandas").DataFrame(self.rows(epochs=epochs))

    def polars(self, *, epochs: bool = False) -> Any:
        """Return `rows` as a polars DataFrame; needs polars."""
        columns = tables.columns(self.rows(epochs=epochs))
        return tables.needed("polars").DataFrame(columns, strict=False)

    def _lives(self, owner: str | None) -> bool:
        """Say whether the process, and in this process the ledger, is still there."""
        found = self._db.execute(
            "SELECT id, host, place, CAST(pid AS INTEGER), started, "
            "CAST(heartbeat AS REAL) FROM holder WHERE id = ?",
            (owner,),
        )
        row = found.fetchone()
        if row is None:
            return False
        holder = Holder(*row)
        mine = holder.pid == os.getpid() and holder.lives()
        return owner in open_here if mine else holder.lives()

    def _runs(self, where: str, *values: object) -> list[Run]:
        with in_plain_words(self.path, self._patience):
            found = self._db.execute(
                f"SELECT {SEALED}, seal FROM run {where}", values
            ).fetchall()
        made = []
        for *cells, sealed in found:
            self._verify(cells, sealed, f"run {cells[0]}")
            key, recipe, arm, seed, labels, status, outcome, message, step, *_ = cells
            try:
                run = Run(
                    *(key, unpacked(recipe), arm, seed, unpacked(labels), status),
                    *(unpacked(outcome), message, step),
                )
            except (ValueError, RecursionError):
                raise damaged(self.path, f"run {key} holds no JSON") from None
            if not _sound(run):
                raise damaged(self.path, f"run {key} holds values of another kind")
            made.append(run)
        return made

    def _rows(self, texts: list[str], what: str) -> list[Row]:
        """Return JSON objects; a seal says who wrote them, not that they are sound."""
        try:
            rows = list(map(unpacked, texts))
        except (TypeError, ValueError, RecursionError):
            raise damaged(self.path, f"{what} holds no JSON") from None
        if not all(isinstance(row, dict) for row in rows):
            raise damaged(self.path, f"{what} holds values of another kind")
        return rows

    def _verify(self, cells: list, sealed: int, what: str) -> None:
        if seal(*cells) != sealed:
            raise damaged(self.path, f"{what} is not what was written")
