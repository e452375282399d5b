"""Pairs of .npy files, read row by row at its place in the file."""

import os
import pathlib
import weakref
from typing import Any

import numpy as np

from jaxwd.data.splits import Split
from jaxwd.data.streams.source import Source
from jaxwd.data.streams.stream import Stream, from_sources
from jaxwd.errors import InputError

_PREFIXES = {
    "train": ("train_", ""),
    "validation": ("validation_",),
    "test": ("test_",),
}


class NpyFile:
    """The rows of one .npy file.

    Read by position and not mapped: pages of a map count as the process's own memory,
    and a file that is cut short under a map ends the process with a bus error, which
    nothing can catch.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        try:
            head: Any = np.load(path, mmap_mode="r", allow_pickle=False)
            self._file = os.open(path, os.O_RDONLY)
        except (OSError, ValueError, EOFError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"{path} cannot be read as .npy ({why})") from None
        weakref.finalize(self, os.close, self._file)
        if not isinstance(head, np.memmap) or not head.ndim:
            raise InputError(
                f"{path} holds no rows; save an array (n, …) by numpy.save"
            )
        if not head.flags.c_contiguous:
            raise InputError(
                f"{path} is stored column by column (Fortran order); save "
                "numpy.ascontiguousarray of it"
            )
        self.shape, self.dtype = head.shape, head.dtype
        self._start = head.offset
        self._row = head.dtype.itemsize * int(np.prod(head.shape[1:]))

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return these rows; neighbours in one go."""
        first, n = int(rows[0]), len(rows)
        if np.array_equal(rows, np.arange(first, first + n)):
            found = self._at(first, n)
        else:
            found = b"".join([self._at(row, 1) for row in rows.tolist()])
        return np.frombuffer(found, self.dtype).reshape(n, *self.shape[1:])

    def _at(self, row: int, n: int) -> bytes:
        wanted, at = n * self._row, self._start + row * self._row
        found: list[bytes] = []
        while wanted:  # Linux gives 2 GiB at once at most
            try:
                found.append(os.pread(self._file, wanted, at))
            except OSError as error:
                raise InputError(
                    f"{self.path}: row {row} cannot be read ({error})"
                ) from None
            if not found[-1]:
                raise InputError(
                    f"{self.path} ends before row {row + n - 1}: it became shorter since "
                    "it was opened"
                )
            wanted, at = wanted - len(found[-1]), at + len(found[-1])
        return found[0] if len(found) == 1 else b"".join(found)


class NpyPair(Source):
    """A split in two .npy files: inputs and targets."""

    def __init__(self, name: str, inputs: pathlib.Path, targets: pathlib.Path) -> None:
        self.name = name
        self.inputs, self._targets = NpyFile(inputs), NpyFile(targets)
        if len(self.inputs) != len(self._targets):
            raise InputError(
                f"{name}: {len(self.inputs)} inputs in {inputs.name} but "
                f"{len(self._targets)} targets in {targets.name}; give as many"
            )

    def __len__(self) -> int:
        return len(self.inputs)

    def read(self, rows: np.ndarray) -> Split:
        """Return these rows, in this order."""
        return Split(self.inputs.read(rows), self._targets.read(rows))

    def targets(self) -> np.ndarray:
        """Return every target."""
        return self._targets.read(np.arange(len(self)))

    @property
    def task(self) -> str:
        """Return the task that the targets' type tells."""
        if not np.issubdtype(self._targets.dtype, np.integer):
            return "regression"
        whole = np.issubdtype(self.inputs.dtype, np.integer)
        sequences = whole and len(self.inputs.shape) == len(self._targets.shape) == 2
        return "language" if sequences else "classification"


def npy_stream(path: str, **options: Any) -> Stream:
    """Return the stream of a folder with `train_inputs.npy` and `train_targets.npy`.

    `validation_…` and `test_…` beside them are taken as those splits; without any,
    `inputs.npy` and `targets.npy` are the one pair. Inputs are images uint8 (n, height,
    width[, channels]) or floats; targets are integer labels (n,) or floats
    (n[, outputs]), which makes it a regression. Integers (n, length) on both sides are
    sequences and what follows each of their elements: a language.
    """
    folder = pathlib.Path(path).expanduser()
    parts: dict[str, NpyPair] = {}
    for part, prefixes in _PREFIXES.items():
        for prefix in prefixes:
            pair = [folder / f"{prefix}{side}.npy" for side in ("inputs", "targets")]
            there = [file.exists() for file in pair]
            if part not in parts and all(there):
                parts[part] = NpyPair(f"npy:{path} {part}", *pair)
            elif any(there) and not all(there):
                lack = pair[there.index(False)]
                raise InputError(f"npy:{path}: {lack.name} is missing beside its pair")
    if "train" not in parts:
        what = "has no" if folder.is_dir() else "is no folder; it needs"
        raise InputError(
            f"npy:{path} {what} train_inputs.npy and train_targets.npy (or inputs.npy "
            "and targets.npy)"
        )
    return from_sources(
        f"npy:{path}", parts, task=parts["train"].task, source=f"{folder}", **options
    )
