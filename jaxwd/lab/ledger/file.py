"""Opening a ledger's file: made, recognised or refused.

The header is read before SQLite touches anything, so a foreign file stays as it is.
"""

import os
import pathlib
import sqlite3

from jaxwd.errors import InputError
from jaxwd.lab.ledger.refusals import code, damaged, in_plain_words, patiently
from jaxwd.lab.ledger.values import seal

FILE = "ledger.sqlite"
"""What a study calls it in its output folder."""
APPLICATION = int.from_bytes(b"jxwd")
VERSION = 1
PATIENCE = 30.0
"""Seconds to wait for another process that writes."""
_MAGIC = b"SQLite format 3\0"

SCHEMA = """
CREATE TABLE provenance (
    id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, content TEXT NOT NULL,
    seal INTEGER NOT NULL);
CREATE TABLE holder (
    id TEXT PRIMARY KEY, host TEXT NOT NULL, place TEXT NOT NULL, pid INTEGER NOT NULL,
    started TEXT NOT NULL, heartbeat REAL NOT NULL);
CREATE TABLE run (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, recipe TEXT NOT NULL,
    arm TEXT NOT NULL, seed INTEGER NOT NULL, labels TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'waiting', outcome TEXT,
    message TEXT NOT NULL DEFAULT '', step INTEGER,
    owner TEXT, provenance INTEGER REFERENCES provenance, seal INTEGER);
CREATE TABLE epoch (
    run INTEGER NOT NULL REFERENCES run, epoch INTEGER NOT NULL, metrics TEXT NOT NULL,
    seal INTEGER NOT NULL, PRIMARY KEY (run, epoch)) WITHOUT ROWID;
"""
TABLES = {statement.strip() for statement in SCHEMA.split(";\n")} - {""}


def ledger_file(path: str | os.PathLike) -> pathlib.Path:
    """Return the ledger's file: the path itself, or `ledger.sqlite` in a folder."""
    path = pathlib.Path(path)
    return path / FILE if path.is_dir() else path


def connect(
    path: pathlib.Path, *, readonly: bool = False, patience: float = PATIENCE
) -> sqlite3.Connection:
    """Return a connection to the ledger at `path`, made if it is not there.

    Raises:
        InputError: the file is foreign, newer or damaged, cannot be written, or is
            locked for longer than `patience` seconds; for `readonly`, is not there.
    """
    if readonly and not path.exists():
        raise InputError(f"there is no ledger at {path}")
    if not readonly:
        writable_folder(path.parent)
    _recognise(path)
    with in_plain_words(path, patience):
        try:
            made = _open(path, readonly, patience)
        except UnicodeDecodeError:  # SQLite's message quotes what it cannot make out
            raise damaged(path, "the list of its tables") from None
        except sqlite3.OperationalError as error:
            if code(error) == sqlite3.SQLITE_ERROR:
                raise damaged(path, str(error)) from error
            raise
        try:
            made.create_function("seal", -1, seal, deterministic=True)
            if readonly:
                made.execute("PRAGMA query_only = ON")
                patiently(lambda: _verify(path, made), patience)
            else:
                patiently(lambda: _make(made), patience)
                patiently(lambda: _verify(path, made), patience)
                patiently(lambda: _keep_log(made), patience)  # into a sound file only
        except BaseException:
            made.close()
            raise
    return made


def _recognise(path: pathlib.Path) -> None:
    """Refuse what is no ledger by its first bytes, without opening it in SQLite."""
    if not path.exists():
        return
    if not path.is_file():
        raise InputError(f"{path} is no file; give the name of a ledger")
    # A journal beside it: SQLite was killed while it made the file, and will mend it.
    if path.stat().st_size == 0 or path.with_name(path.name + "-journal").exists():
        return
    try:
        with path.open("rb") as file:
            head = file.read(100)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from None
    number = {at: int.from_bytes(head[at : at + 4]) for at in (60, 68)}
    if not head.startswith(_MAGIC) or number[68] != APPLICATION:
        kind = "an SQLite file of something else" if head.startswith(_MAGIC) else "none"
        raise InputError(
            f"{path} is no ledger of jaxwd ({kind}); it was left as it is: move it away "
            "or give another name"
        )
    if number[60] > VERSION:
        raise InputError(
            f"{path} was written by a newer jaxwd (format {number[60]}, this one reads "
            f"up to {VERSION}); upgrade jaxwd or give another name"
        )


def _open(path: pathlib.Path, readonly: bool, patience: float) -> sqlite3.Connection:
    """Open the file; where nothing can be written it is read as it stands.

    A reader that may write does: it is the last to close that takes the log away.
    """
    address = path.absolute().as_uri()
    modes = ["mode=rw", "mode=ro"] if readonly else ["mode=rwc"]
    if readonly and not path.with_name(path.name + "-wal").exists():
        modes.append("mode=ro&immutable=1")
    for mode in modes:
        made = sqlite3.connect(
            f"{address}?{mode}",
            uri=True,
            timeout=patience,
            isolation_level=None,
            check_same_thread=False,  # transactions are under a lock
        )
        # Damaged bytes are found by their seal, so they may be read as anything.
        made.text_factory = lambda text: text.decode("utf-8", "replace")
        try:
            patiently(lambda: made.execute("SELECT 1 FROM sqlite_schema"), patience)  # noqa: B023
            return made
        except sqlite3.OperationalError:
            made.close()
            if mode == modes[-1]:
                raise
        except BaseException:
            made.close()
            raise
    raise AssertionError


def _make(made: sqlite3.Connection) -> None:
    """Make the tables if there are none, before there is a log.

    So the header says whose file it is from its first page on, and a kill leaves an
    empty file or a whole ledger.
    """
    if made.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        return
    made.execute("BEGIN EXCLUSIVE")
    try:
        if not made.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            made.execute(f"PRAGMA application_id = {APPLICATION}")
            made.execute(f"PRAGMA user_version = {VERSION}")
            for statement in sorted(TABLES):
                made.execute(statement)
        made.execute("COMMIT")
    except BaseException:
        if made.in_transaction:
            made.execute("ROLLBACK")
        raise


def _keep_log(made: sqlite3.Connection) -> None:
    """Switch to a write-ahead log, in which a transaction is one append."""
    if made.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        made.execute("PRAGMA journal_mode = WAL")
    # A killed process loses nothing by this; a power cut the last moments, never more.
    made.execute("PRAGMA synchronous = NORMAL")


def _verify(path: pathlib.Path, made: sqlite3.Connection) -> None:
    """Refuse a file whose pages or runs are not what was written."""
    tables = {x for (x,) in made.execute("SELECT sql FROM sqlite_schema")}
    if not tables >= TABLES:
        raise damaged(path, "its tables are not those of a ledger")
    said = [x for (x,) in made.execute("PRAGMA integrity_check(1)")]
    if said != ["ok"]:
        raise damaged(path, said[0])
    if made.execute("PRAGMA foreign_key_check").fetchone():
        raise damaged(path, "epochs or provenance of no run")


def writable_folder(folder: pathlib.Path) -> pathlib.Path:
    """Return the folder, made if missing; raise where nothing can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"out={folder} is a file; give the name of a folder") from None
    except OSError as error:
        raise InputError(f"out={folder} cannot be made ({error.strerror})") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"out={folder} is not writable; give another folder")
    return folder
