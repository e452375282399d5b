"""The paper of a checkpoint: sums of all its files, and a sum of itself."""

import json
import pathlib
import zlib
from collections.abc import Iterator
from typing import Any

from jaxwd.errors import InputError

FORMAT = 2
"""1: each array by itself; 2: the small ones together. Both are read."""
PAPER = "checkpoint.json"
_PIECE = 1 << 20


class Broken(Exception):
    """A checkpoint that is not what was written; says what is wrong with it."""


def require_known(path: pathlib.Path, written: Any) -> None:
    """Raise `InputError` where a newer version wrote the file."""
    if isinstance(written, int) and written > FORMAT:
        raise InputError(
            f"{path} was written by a newer jaxwd (format {written}, this one reads up "
            f"to {FORMAT}); upgrade jaxwd or give another folder"
        )


def sealed(paper: str, writing: pathlib.Path) -> str:
    """Return what `PAPER` holds: a JSON object with the sums of the files beside it."""
    paper = f'{paper[:-1]}, "files": {json.dumps(dict(_sums(writing)))}}}'
    return f'{{"seal": {seal_of(paper)}, "paper": {paper}}}'


def seal_of(text: str) -> int:
    """Return the sum under which a text stands."""
    return zlib.crc32(text.encode())


def read(checkpoint: pathlib.Path) -> dict[str, Any]:
    """Return the paper of a checkpoint whose files are all as they were written.

    Raises:
        Broken: damaged, cut short, or no checkpoint of jaxwd.
        InputError: a newer format.
    """
    try:
        found = json.loads((checkpoint / PAPER).read_text(encoding="utf-8"))
        paper, sealed = found["paper"], found["seal"]
    except FileNotFoundError:
        raise Broken(f"it has no {PAPER}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise Broken(f"{PAPER} cannot be read") from None
    if sealed != seal_of(json.dumps(paper)):
        raise Broken(f"{PAPER} was altered")
    require_known(checkpoint, paper["format"])
    if str(paper["step"]) != checkpoint.name:
        raise Broken(f"it was step {paper['step']} when it was written")
    try:
        there = dict(_sums(checkpoint))
    except OSError as error:
        raise Broken(f"a file cannot be read ({error.strerror})") from None
    for name, (size, total) in paper["files"].items():
        if name not in there:
            raise Broken(f"{name} is missing")
        if there[name][0] != size:
            raise Broken(f"{name} has {there[name][0]} bytes of {size}")
        if there[name][1] != total:
            raise Broken(f"{name} was altered")
    return paper


def _sums(checkpoint: pathlib.Path) -> Iterator[tuple[str, list[int]]]:
    """Return size and CRC-32 of each file but the paper itself."""
    for path in sorted(checkpoint.rglob("*")):
        name = path.relative_to(checkpoint).as_posix()
        if path.is_file() and not name.startswith(PAPER):
            size = total = 0
            with path.open("rb") as file:
                while piece := file.read(_PIECE):
                    size, total = size + len(piece), zlib.crc32(piece, total)
            yield name, [size, total]
