"""SQLite's errors in plain words: in the way, damaged, refused, or the system's."""

import contextlib
import pathlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from jaxwd.errors import InputError

T = TypeVar("T")

_IN_THE_WAY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_REFUSED = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)
_SYSTEM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM)


def damaged(path: pathlib.Path, detail: str) -> InputError:
    """Return the error for a file that is not what was written."""
    detail = " ".join(detail.removeprefix("*** in database main ***").split())
    return InputError(
        f"{path} is damaged ({detail}); it was left as it is: take a copy from before, "
        "or move it away to start anew"
    )


def patiently(action: Callable[[], T], patience: float) -> T:
    """Do it, again while another process is in the way.

    SQLite itself waits in most cases, but not while a log is set up or recovered.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return action()
        except sqlite3.OperationalError as error:
            if code(error) not in _IN_THE_WAY or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


@contextlib.contextmanager
def in_plain_words(path: pathlib.Path, patience: float) -> Iterator[None]:
    """Turn SQLite's errors into one line that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        number = code(error)
        if number in _IN_THE_WAY:
            raise InputError(
                f"{path} has been locked by another process for {patience:g} seconds; "
                "end that process (a database browser, a backup), then start again"
            ) from error
        if number in _DAMAGED or isinstance(error, sqlite3.DataError):
            raise damaged(path, str(error)) from error
        if number in _REFUSED:
            raise InputError(
                f"{path} cannot be opened or written ({error}); look at its permissions "
                "or give another name"
            ) from error
        if number in _SYSTEM:
            raise OSError(f"{path}: {error}") from error
        raise


def code(error: sqlite3.Error) -> int:
    """Return SQLite's primary code of an error."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
