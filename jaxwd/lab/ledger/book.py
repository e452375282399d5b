"""The ledger itself: runs are added, claimed by one process, filled and ended."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from jaxwd.errors import InputError
from jaxwd.lab.ledger.claims import SEAL, Claims
from jaxwd.lab.ledger.file import PATIENCE
from jaxwd.lab.ledger.reading import Run
from jaxwd.lab.ledger.values import Row, clean, packed, seal, unpacked


class Ledger(Claims):
    """The ledger of a sweep, one SQLite file that processes and threads may share.

    Every call is one transaction: a process killed at any moment leaves whole ones.
    A run that was begun and not ended is begun anew by whoever claims it next. Do not
    share the file over a network between machines; give each its own and merge them.
    While a process has it open, `FILE-wal` beside it belongs to it.

    Args:
        path: the file, or a folder that holds `ledger.sqlite`; made if missing.
        provenance: what stands beside the runs this process begins; default is found
            out at the first claim (versions, commit, flags, hardware).
        readonly: only look; the file must be there.
        patience: seconds to wait while another process writes.

    Raises:
        InputError: a foreign, newer or damaged file (it is left as it is), one that
            cannot be written, or one that stays locked.

    >>> import tempfile
    >>> with Ledger(tempfile.mkdtemp() + "/my.sqlite", provenance={}) as ledger:
    ...     ledger.add("a", {"learning_rate": 0.1}, arm="plain", seed=0)
    ...     for key in ledger.claim(["a"]):
    ...         ledger.epochs([(key, {"epoch": 1, "validation_loss": 0.5})])
    ...         ledger.finish(key, {"test_loss": 0.25})
    ...     print(ledger.claim(["a"]), ledger.run("a").outcome)
    [] {'test_loss': 0.25}
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        provenance: Mapping[str, Any] | None = None,
        readonly: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        super().__init__(path, readonly, patience, provenance)

    def add(
        self,
        key: str,
        recipe: Mapping[str, Any],
        *,
        arm: str = "",
        seed: int = 0,
        labels: Mapping[str, Any] | None = None,
    ) -> None:
        """Note that a run is wanted; one that is there keeps its state.

        Its arm, seed and labels become those given last.

        Raises:
            InputError: the key stands for another recipe.
        """
        recipe_text = packed(dict(recipe))
        names = (clean(arm), int(seed), packed(dict(labels or {})))
        with self.together():
            self._db.execute(
                "INSERT OR IGNORE INTO run (key, recipe, arm, seed, labels) "
                "VALUES (?, ?, ?, ?, ?)",
                (key, recipe_text, *names),
            )
            number, there, *was, sealed = self._db.execute(
                "SELECT id, recipe, arm, seed, labels, seal FROM run WHERE key = ?",
                (key,),
            ).fetchone()
            if there != recipe_text and unpacked(there) != unpacked(recipe_text):
                raise InputError(
                    f"run {key} stands in {self.path} with another recipe; give a key "
                    "that tells them apart"
                )
            if sealed is None or was != list(names):
                self._db.execute(
                    "UPDATE run SET arm = ?, seed = ?, labels = ? WHERE id = ?",
                    (*names, number),
                )
                self._db.execute(SEAL, (number,))

    def epochs(self, rows: Iterable[tuple[str, Row]]) -> None:
        """Write the metrics of epochs, `(key, row)` each with its `row["epoch"]`."""
        with self.together():
            held: dict[str, int] = {}
            cells = []
            for key, row in rows:
                if "epoch" not in row:
                    raise InputError(f"a row of run {key} has no 'epoch': {row}")
                if key not in held:
                    held[key] = self._held(key)
                cell = (held[key], int(row["epoch"]), packed(row))
                cells.append((*cell, seal(*cell)))
            self._db.executemany("INSERT OR REPLACE INTO epoch VALUES (?,?,?,?)", cells)

    def made_by(self, keys: Iterable[str], more: Mapping[str, Any]) -> None:
        """Note beside runs held here what else made them, as on which worker."""
        made_by = self._about() | dict(more)
        with self.together():
            numbers = [self._held(key) for key in keys]
            noted = self._noted(made_by)
            self._db.executemany(
                "UPDATE run SET provenance = ? WHERE id = ?",
                [(noted, number) for number in numbers],
            )
            self._db.executemany(SEAL, [(number,) for number in numbers])

    def finish(self, key: str, outcome: Mapping[str, Any]) -> None:
        """Note a run's final metrics."""
        self._end(key, "finished", packed(dict(outcome)), "", None)

    def diverge(self, key: str, message: str, step: int | None = None) -> None:
        """Note that a run's loss stopped being finite, and at which step."""
        self._end(key, "diverged", None, message, step)

    def stop(self, key: str, message: str) -> None:
        """Note that a run was ended early on purpose, and why."""
        self._end(key, "stopped", None, message, None)

    def take(self, run: Run, curve: Iterable[Row], made_by: Row) -> None:
        """Put in an ended run of another ledger, over what stands here; see `merge`.

        Raises:
            InputError: a living process is at this run here.
        """
        with self.together():
            self.add(run.key, run.recipe, arm=run.arm, seed=run.seed, labels=run.labels)
            number, status, owner = self._find(run.key)
            if status == "running" and owner != self._id and self._lives(owner):
                raise InputError(
                    f"run {run.key} is held by another process in {self.path}; merge "
                    "when it has ended"
                )
            if status != "running" or owner != self._id:
                self._db.execute(
                    "UPDATE run SET status = 'running', owner = ? WHERE id = ?",
                    (self._id, number),
                )
            self._db.execute(
                "UPDATE run SET provenance = ? WHERE id = ?",
                (self._noted(made_by), number),
            )
            self._db.execute("DELETE FROM epoch WHERE run = ?", (number,))
            self.epochs((run.key, row) for row in curve)
            outcome = None if run.outcome is None else packed(run.outcome)
            self._end(run.key, run.status, outcome, run.message, run.step)

    def _end(
        self, key: str, status: str, outcome: str | None, message: str, step: Any
    ) -> None:
        step = None if step is None else int(step)
        with self.together():
            number = self._held(key)
            self._db.execute(
                "UPDATE run SET status = ?, outcome = ?, message = ?, step = ?, "
                "owner = NULL WHERE id = ?",
                (status, outcome, clean(message), step, number),
            )
            self._db.execute(SEAL, (number,))
