"""A folder of checkpoints on disk: its mark, its lock, what is whole and what is not.

    FOLDER/jaxwd-checkpoints.json    whose folder this is, and its format
    FOLDER/lock                      held by the process that writes here
    FOLDER/250/checkpoint.json       recipe, progress, versions, sizes and sums of files
    FOLDER/250/state/…               the arrays

A checkpoint is written as `250.writing` and gets its name by one rename, when all of it
is there and on the disk itself, where a power cut leaves it.
"""

import contextlib
import json
import os
import pathlib
import shutil
from typing import IO

from jaxwd.errors import InputError
from jaxwd.training.checkpoint_seal import FORMAT, PAPER, require_known, seal_of, sealed

try:
    import fcntl
except ImportError:  # Windows: nobody can be told from a process that is gone
    fcntl = None

MARK, LOCK, ARRAYS = "jaxwd-checkpoints.json", "lock", "state"
WRITING, OLD, GONE = ".writing", ".old", ".gone"


def require_ours(folder: pathlib.Path) -> None:
    """Raise unless the folder is missing, empty, or holds checkpoints of a known format.

    Raises:
        InputError: a file, a folder of something else, or a newer format.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"checkpoints={folder} is a file; give the name of a folder")
    mark = folder / MARK
    if not mark.exists():
        there = sorted(path.name for path in folder.iterdir() if path.name != LOCK)
        if there and there != [MARK + WRITING]:
            raise InputError(
                f"{folder} holds files but no checkpoints of jaxwd ({there[0]}, …); it "
                "was left as it is: give an empty folder or a new name"
            )
        return
    try:
        found = json.loads(mark.read_text(encoding="utf-8"))
        written, seal = found["format"], found.get("seal")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # a damaged mark is written anew; each checkpoint says its own format
    if seal is None or seal == seal_of(json.dumps(written)):
        require_known(mark, written)


def prepare(folder: pathlib.Path) -> IO[str] | None:
    """Make the folder ours, clear what a killed process left; return the lock held.

    None where the file system or the machine knows no locks; then nothing is cleared.

    Raises:
        InputError: as `require_ours`; another process is at it; it cannot be written.
    """
    require_ours(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = _locked(folder)
        mark = {"format": FORMAT, "seal": seal_of(json.dumps(FORMAT))}
        write(folder / MARK, json.dumps(mark) + "\n")
    except OSError as error:
        raise InputError(
            f"checkpoints={folder} cannot be written ({error.strerror})"
        ) from None
    if held is not None:
        _clear(folder)
    return held


def _locked(folder: pathlib.Path) -> IO[str] | None:
    if fcntl is None:
        return None
    file = (folder / LOCK).open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        who = file.read().strip() or "another"
        file.close()
        raise InputError(
            f"process {who} is writing checkpoints to {folder}; wait for it or give "
            "another folder"
        ) from None
    except OSError:  # a file system without locks
        file.close()
        return None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _clear(folder: pathlib.Path) -> None:
    """Remove what was half written or half removed when its process was killed."""
    for path in folder.iterdir():
        whole = folder / path.stem
        if path.suffix == OLD and not whole.exists():
            path.rename(whole)  # killed between the two renames of `commit`
        elif path.suffix in (WRITING, OLD, GONE):
            remove(path)


def steps_in(folder: pathlib.Path) -> list[int]:
    """Return the steps of the checkpoints that are there, in order."""
    names = [path.name for path in folder.iterdir() if path.name.isdecimal()]
    return sorted(int(name) for name in names if name == str(int(name)))


def write(path: pathlib.Path, text: str) -> None:
    """Write a file whole or not at all."""
    half = path.with_name(path.name + WRITING)
    half.write_text(text, encoding="utf-8")
    _on_disk(half)
    half.replace(path)


def _on_disk(path: pathlib.Path) -> None:
    """Wait until a file, or what a folder lists, would outlive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: pathlib.Path) -> None:
    """Remove a file or a folder; what cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def commit(writing: pathlib.Path, paper: str) -> None:
    """Seal a checkpoint that is written but for its paper, and give it its name.

    Args:
        writing: its folder as yet.
        paper: a JSON object, to which the sums of the files are added.
    """
    paper = sealed(paper, writing)
    for path in writing.rglob("*"):
        _on_disk(path)
    write(writing / PAPER, paper)
    _on_disk(writing)
    final = writing.with_name(writing.name.removesuffix(WRITING))
    old = final.with_name(final.name + OLD)
    if final.exists():
        final.rename(old)
    writing.rename(final)
    _on_disk(final.parent)
    remove(old)


def prune(folder: pathlib.Path, keep: int) -> None:
    """Remove all checkpoints but the newest `keep`; each vanishes by one rename."""
    for step in steps_in(folder)[:-keep]:
        gone = folder / f"{step}{GONE}"
        with contextlib.suppress(OSError):  # it stays, and is tried again at the next
            (folder / str(step)).rename(gone)
            remove(gone)


def set_aside(folder: pathlib.Path, step: int) -> str:
    """Rename a broken checkpoint, so that it does not count; return what becomes of it."""
    name = f"broken-{step}"
    remove(folder / name)
    (folder / str(step)).rename(folder / name)
    left = steps_in(folder)
    instead = f"trying {left[-1]} instead" if left else "none is left, starting anew"
    return f"kept as {name}, {instead}"


def in_plain_words(
    error: BaseException, step: int, folder: pathlib.Path
) -> BaseException:
    """Return what a person is told of a save that failed."""
    return OSError(
        f"checkpoint {step} could not be written to {folder}: {brief(error)}; earlier "
        "ones are as they were"
    )


def brief(error: BaseException) -> str:
    """Return the first line of what an error says."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return said.strip().splitlines()[0]
