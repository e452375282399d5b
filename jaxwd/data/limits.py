"""What files from elsewhere may ask for: no links, nothing that grows without end."""

import os
import pathlib
from collections.abc import Container
from typing import Any

import numpy as np

from jaxwd.errors import InputError

PICTURES = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that are decoded, by content; others may start programs (EPS) or hang."""
LARGE = 2**24
"""Pixels from which on pictures are decoded one at a time: each takes 200 MB and more."""
_SHOWN = 5


def refuse_odd_files(folder: pathlib.Path, suffixes: Container[str]) -> None:
    """Raise where pictures are links, which may lead anywhere, or no ordinary files.

    Reading a pipe or a device would wait for ever or never end. Folders may be no links
    either; hidden files and those with other endings are left alone.
    """
    links, odd = [], []
    for file in sorted(folder.rglob("*")):
        if any(part.startswith(".") for part in file.relative_to(folder).parts):
            continue
        if file.suffix.lower() not in suffixes and not file.is_dir():
            continue
        if file.is_symlink():
            links.append(f"{file} → {os.readlink(file)}")
        elif not (file.is_file() or file.is_dir()):
            odd.append(str(file))
    for what, found, remedy in (
        ("symbolic link(s)", links, "put the files themselves there"),
        ("pipe(s) or device(s)", odd, "remove them"),
    ):
        if found:
            named = "; ".join(found[:_SHOWN])
            more = "; …" if len(found) > _SHOWN else ""
            raise InputError(
                f"folder:{folder} holds {len(found)} {what}: {named}{more}; {remedy}"
            )


def require_room(what: str, size: int) -> None:
    """Raise where `size` bytes are more than the memory that is free."""
    free = free_memory()
    if free is not None and size > free:
        raise InputError(
            f"{what} take {size / 1e9:,.1f} GB of memory and {free / 1e9:,.1f} GB are "
            "free; give a smaller --image-size or less data"
        )


def free_memory() -> int | None:
    """Return the bytes of memory that are free, or None where nobody says."""
    try:
        lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
        said = dict(line.split(":", 1) for line in lines)
        return int(said["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return None


def members(opened: Any, size: int) -> dict[str, np.ndarray]:
    """Return the arrays of an opened `.npz`, none larger than the file itself.

    Raises:
        ValueError: a member that is packed, or that says it is larger than it is:
            jaxwd writes neither. No object is ever unpickled.

    Args:
        opened: what `numpy.load` returned for an `.npz`.
        size: bytes of the file.
    """
    found = opened.zip.infolist()
    if any(x.compress_size != x.file_size for x in found):
        raise ValueError("a packed member; jaxwd writes them as they are")
    if sum(x.file_size for x in found) > size:
        raise ValueError("members that say they are larger than the file")
    for member in found:
        with opened.zip.open(member) as file:
            _check_header(file, member.file_size)
    return {name: opened[name] for name in opened.files}


def _check_header(file: Any, size: int) -> None:
    """Raise unless shape and dtype of an array make exactly the bytes that follow."""
    major, _ = version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array of version {major}, which jaxwd does not write")
    read = (
        np.lib.format.read_array_header_1_0
        if major == 1
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("Python objects, which are never unpickled")
    count = 1
    for length in shape:  # Python's integers do not overflow
        count *= length
    if file.tell() + count * dtype.itemsize != size or min(shape, default=0) < 0:
        raise ValueError("an array that says it is larger or smaller than it is")
