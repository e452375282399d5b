"""Decoded images on disk: written whole or not at all, read back or refused by name."""

import contextlib
import os
import pathlib
import tempfile
import zipfile
from collections.abc import Callable

import numpy as np

from jaxwd.data import limits
from jaxwd.errors import InputError

Arrays = dict[str, np.ndarray]
_NAMES = "names"
"""Of all arrays in the file: a damaged one may come without some of them."""


def home() -> pathlib.Path:
    """Return jaxwd's cache folder: `$JAXWD_CACHE`, or `jaxwd` in the user's cache."""
    chosen = os.environ.get("JAXWD_CACHE")
    if chosen:
        return pathlib.Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return pathlib.Path(base).expanduser() / "jaxwd"


def decoded(key: str, decode: Callable[[], Arrays]) -> Arrays:
    """Return the arrays under `key`, decoding and storing them the first time.

    Raises:
        InputError: the stored file is truncated or no array file; it is named.
    """
    path = home() / "decoded" / f"{key}.2.npz"
    if path.exists():
        return _read(path)
    arrays = decode()
    _write(path, arrays)
    return arrays


def _read(path: pathlib.Path) -> Arrays:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("one array, not several under names")
            arrays = limits.members(file, path.stat().st_size)
            if arrays.keys() != {*arrays.pop(_NAMES).tolist()}:
                raise ValueError("arrays are missing")
            return arrays
    except _DAMAGED as error:
        raise InputError(
            f"cache file {path} cannot be read ({error}); delete it, and it is made anew"
        ) from None


_DAMAGED = (
    OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError,
    RuntimeError,  # encrypted, or packed in a way that is not ours
)  # fmt: skip


def _write(path: pathlib.Path, arrays: Arrays) -> None:
    """Write to a temporary name first, so a killed process leaves no half file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    except OSError:
        return  # a cache that cannot be written only costs time
    try:
        with os.fdopen(handle, "wb") as file:
            named = arrays | {_NAMES: np.array([*arrays])}
            np.savez(file, **named)  # type: ignore[arg-type]
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
