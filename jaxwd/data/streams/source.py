"""Examples by row number: read when they are asked for, and not kept."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from jaxwd.data import checks
from jaxwd.data.splits import Split
from jaxwd.errors import InputError

Decode = Callable[[Any], tuple[Any, Any]]
BLOCK = 1024
"""Rows read at once where a whole split is gone through."""


class Source:
    """One split with random access. Subclasses give `__len__` and `read`.

    Attributes:
        name: how messages call it.
    """

    name: str = "source"

    def __len__(self) -> int:
        raise NotImplementedError

    def read(self, rows: np.ndarray) -> Split:
        """Return these rows, in this order, as stacked inputs and targets."""
        raise NotImplementedError

    def targets(self) -> np.ndarray:
        """Return every target, for splits by class; a few bytes an example."""
        parts = [self.read(rows).targets for rows in blocks(len(self))]
        return np.concatenate(parts)

    @property
    def examples(self) -> int:
        """Return the number of examples, as a `Split` does."""
        return len(self)

    def __getitem__(self, row: int) -> dict[str, np.ndarray]:
        found = self.read(np.array([row]))
        return {"inputs": found.inputs[0], "targets": found.targets[0]}


def blocks(examples: int, size: int = BLOCK) -> Iterator[np.ndarray]:
    """Return all row numbers in stored order, `size` at a time."""
    for start in range(0, examples, size):
        yield np.arange(start, min(start + size, examples))


class Held(Source):
    """A split that is in memory already."""

    def __init__(self, split: Split, name: str = "arrays") -> None:
        self.name = name
        self.split = Split(np.asarray(split.inputs), np.asarray(split.targets))

    def __len__(self) -> int:
        return self.split.examples

    def read(self, rows: np.ndarray) -> Split:
        """Return these rows, in this order."""
        return Split(self.split.inputs[rows], self.split.targets[rows])

    def targets(self) -> np.ndarray:
        """Return every target."""
        return self.split.targets


class Rows(Source):
    """Some rows of another source, under numbers of their own."""

    def __init__(self, source: Source, rows: np.ndarray, name: str | None = None):
        self.name = source.name if name is None else name
        self.source, self.rows = source, np.asarray(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, rows: np.ndarray) -> Split:
        """Return these rows, in this order."""
        return self.source.read(self.rows[rows])

    def targets(self) -> np.ndarray:
        """Return every target."""
        return self.source.targets()[self.rows]


class Records(Source):
    """Anything with `len` and `[row]`, one record an example.

    TFDS data sources, lists, other people's classes; `__getitems__(rows)` is used where
    there is one. A record is a dict with `image` or `inputs`, and `label`, `target` or
    `targets`.

    >>> source = Records([{"inputs": [1.0, 2.0], "label": 1}] * 3)
    >>> source.read(np.array([2, 0])).inputs.shape
    (2, 2)
    """

    def __init__(self, records: Any, name: str = "records") -> None:
        if not hasattr(records, "__len__") or not hasattr(records, "__getitem__"):
            raise InputError(
                f"{name}: a {type(records).__name__} has no len() and [row]; give a "
                "source with random access"
            )
        self.name, self.records = name, records

    def __len__(self) -> int:
        return len(self.records)

    def read(self, rows: np.ndarray) -> Split:
        """Return these rows, in this order."""
        return stacked(self.name, self.fetch(rows), rows)

    def fetch(self, rows: np.ndarray) -> list[Any]:
        """Return the records; one that cannot be read is named."""
        numbers = rows.tolist()  # plain integers: other people's classes ask for them
        many = getattr(self.records, "__getitems__", None)
        try:
            return list(many(numbers)) if many else [self.records[r] for r in numbers]
        except InputError:
            raise
        except Exception as error:
            raise self._broken(numbers, error) from None

    def _broken(self, numbers: list[int], error: Exception) -> InputError:
        """Return the error of the first record that fails when read alone."""
        at = f"rows {numbers[0]} to {numbers[-1]}"
        for number in numbers:
            try:
                self.records[number]
            except Exception as own:
                at, error = f"record {number}", own
                break
        why = " ".join(str(error).split())[:300] or type(error).__name__
        return InputError(f"{self.name}: {at} cannot be read ({why})")


_INPUTS, _TARGETS = ("image", "inputs"), ("label", "target", "targets")


def stacked(name: str, records: list[Any], rows: np.ndarray) -> Split:
    """Return records of one shape as arrays."""
    pairs = [(_field(name, r, _INPUTS), _field(name, r, _TARGETS)) for r in records]
    shapes = [np.shape(x) for x, _ in pairs]
    for row, shape in zip(rows.tolist(), shapes, strict=True):
        if shape != shapes[0]:
            raise InputError(
                f"{name}: row {row} has the shape {shape}, row {rows[0]} "
                f"{shapes[0]}; give image_size to bring pictures to one"
            )
    inputs, targets = zip(*pairs, strict=True)
    return Split(np.stack(inputs), np.stack(targets))


def _field(name: str, record: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        if key in record:
            return record[key]
    raise InputError(
        f"{name}: a record has {', '.join(map(str, record))}; it needs "
        f"{' or '.join(keys)}"
    )


class Checked(Source):
    """A source whose every read is held to the shape and range of its stream.

    What `jaxwd.load` checks once over a whole set is checked batch by batch here: finite
    inputs, labels in range, one shape.
    """

    def __init__(self, source: Source, task: str, classes: int, shape: Any) -> None:
        self.name, self.source = source.name, source
        self.task, self.classes, self.shape = task, classes, shape
        self._rows = len(source)

    def __len__(self) -> int:
        return self._rows

    def read(self, rows: np.ndarray) -> Split:
        """Return these rows, in this order."""
        raw = self.source.read(rows)
        try:
            split = Split(*checks.checked(self.name, *raw, self.task, self.classes))
        except InputError:
            for row, x, y in zip(rows, *raw, strict=True):  # which one was it?
                where = f"{self.name} row {row}"
                checks.checked(where, x[None], y[None], self.task, self.classes)
            raise
        if self.shape is not None and split.inputs.shape[1:] != self.shape:
            raise InputError(
                f"{self.name}: rows of shape {split.inputs.shape[1:]}, the training's "
                f"first has {self.shape}; bring them to one (image_size for pictures)"
            )
        return split

    def targets(self) -> np.ndarray:
        """Return every target."""
        return self.source.targets()
