"""Who may write a run: claims, atomic between processes, and their giving back."""

import contextlib
import hashlib
import os
import pathlib
import sqlite3
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

from jaxwd.errors import InputError
from jaxwd.lab.ledger.holder import keep_beating, this_process
from jaxwd.lab.ledger.reading import ENDED, SEALED, Reader, open_here
from jaxwd.lab.ledger.refusals import in_plain_words, patiently
from jaxwd.lab.ledger.values import Row, lasting, packed, seal

SEAL = f"UPDATE run SET seal = seal({SEALED}) WHERE id = ?"

_NOT_OURS = {
    "running": "is held by another process",
    "finished": "has finished",
    "diverged": "has diverged",
    "stopped": "was stopped",
}


class Claims(Reader):
    """Transactions and claims; `Ledger` adds what is written under them."""

    def __init__(
        self,
        path: str | os.PathLike,
        readonly: bool,
        patience: float,
        provenance: Mapping[str, Any] | None,
    ) -> None:
        super().__init__(path, readonly, patience)
        self._provenance = None if provenance is None else dict(provenance)
        self._id, self._process = uuid.uuid4().hex[:16], os.getpid()
        self._beating: threading.Event | None = None
        self._lock = threading.RLock()
        open_here.add(self._id)
        weakref.finalize(self, open_here.discard, self._id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back what was claimed and not ended, and close the file.

        Who held runs is forgotten: a ledger that is mailed names no machine but by what
        its runs were made by.
        """
        if self._id not in open_here:  # closed already
            return
        try:
            if self._beating is not None and os.getpid() == self._process:
                with self.together():
                    self.release()
                    self._db.execute("DELETE FROM holder WHERE id = ?", (self._id,))
        finally:
            if self._beating is not None:
                self._beating.set()
            self._db.close()
            open_here.discard(self._id)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Make everything written in the block one transaction: all of it or nothing.

        Other processes wait meanwhile, so nothing slow belongs into it.
        """
        if os.getpid() != self._process:
            raise InputError(
                f"{self.path} was opened before this process was forked; open it anew"
            )
        with self._lock, in_plain_words(self.path, self._patience):
            if self._db.in_transaction:
                yield
                return
            try:
                patiently(lambda: self._db.execute("BEGIN IMMEDIATE"), self._patience)
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def claim(self, keys: Iterable[str]) -> list[str]:
        """Return those of `keys` that are now this ledger's to run, from their start.

        They have not ended and no other living process holds them; atomic between
        processes. What this ledger holds already is returned again.
        """
        self._about()  # may take a second, so before others have to wait
        lives: dict[str | None, bool] = {None: False, self._id: False}
        with self.together():
            taken: list[tuple[str, int]] = []
            for key in dict.fromkeys(keys):
                number, status, owner = self._find(key)
                if status in ENDED:
                    continue
                if owner not in lives:
                    lives[owner] = self._lives(owner)
                if not lives[owner]:
                    taken.append((key, number))
            if taken:
                self._hold([number for _, number in taken])
        return [key for key, _ in taken]

    def release(self, keys: Iterable[str] | None = None) -> None:
        """Give claims back; the runs wait again, without the epochs begun.

        Args:
            keys: default all that this ledger holds.
        """
        with self.together():
            if keys is None:
                mine = "SELECT id FROM run WHERE owner = ?"
                back = self._db.execute(mine, (self._id,)).fetchall()
            else:
                found = map(self._find, dict.fromkeys(keys))
                back = [(number,) for number, _, owner in found if owner == self._id]
            self._db.executemany("DELETE FROM epoch WHERE run = ?", back)
            self._db.executemany(
                "UPDATE run SET status = 'waiting', owner = NULL, provenance = NULL "
                "WHERE id = ?",
                back,
            )
            self._db.executemany(SEAL, back)

    # --- inside ---------------------------------------------------------------------

    def _find(self, key: str) -> tuple[int, str, str | None]:
        found = self._db.execute(
            "SELECT id, status, owner FROM run WHERE key = ?", (key,)
        ).fetchone()
        if found is None:
            raise InputError(f"run {key} is not in {self.path}; add it first")
        return found

    def _held(self, key: str) -> int:
        """Return the row of a run that is this ledger's to write, claimed if free."""
        number, status, owner = self._find(key)
        if owner == self._id:
            return number
        if status == "waiting":
            self._hold([number])
            return number
        raise InputError(
            f"run {key} {_NOT_OURS[status]}, so nothing is written to it; claim runs "
            "before you run them"
        )

    def _hold(self, numbers: Sequence[int]) -> None:
        """Make runs this process's own, from their start."""
        me = this_process(self._id)
        self._db.execute("INSERT OR REPLACE INTO holder VALUES (?,?,?,?,?,?)", me)
        made_by = self._noted(self._about())
        rows = [(number,) for number in numbers]
        self._db.executemany("DELETE FROM epoch WHERE run = ?", rows)
        self._db.executemany(
            "UPDATE run SET status = 'running', owner = ?, provenance = ? WHERE id = ?",
            [(self._id, made_by, number) for number in numbers],
        )
        self._db.executemany(SEAL, rows)
        if self._beating is None:  # the first claim also sweeps
            self._db.execute(
                "DELETE FROM holder WHERE id NOT IN (SELECT owner FROM run WHERE "
                "owner IS NOT NULL)"
            )
            self._beating = keep_beating(_beat(self.path, self._id))
            weakref.finalize(self, self._beating.set)

    def _noted(self, made_by: Row) -> int:
        """Return the row of what runs are made by; equal but for the time is one row."""
        content = packed(made_by)
        digest = hashlib.sha256(packed(lasting(made_by)).encode()).hexdigest()
        self._db.execute(
            "INSERT OR IGNORE INTO provenance (digest, content, seal) VALUES (?, ?, ?)",
            (digest, content, seal(content)),
        )
        found = self._db.execute(
            "SELECT id FROM provenance WHERE digest = ?", (digest,)
        )
        return found.fetchone()[0]

    def _about(self) -> Row:
        if self._provenance is None:
            from jaxwd.lab.provenance import provenance

            self._provenance = provenance()
        return self._provenance


def _beat(path: pathlib.Path, name: str) -> Callable[[], None]:
    """Return what renews a holder's heartbeat, without keeping its ledger alive."""

    def beat() -> None:
        renew = "UPDATE holder SET heartbeat = ? WHERE id = ?"
        with contextlib.suppress(sqlite3.Error):  # locked, perhaps; the next will do
            address = f"{path.absolute().as_uri()}?mode=rw"  # never make a file anew
            made = sqlite3.connect(address, uri=True, timeout=1, isolation_level=None)
            with contextlib.closing(made):
                made.execute(renew, (time.time(), name))

    return beat
