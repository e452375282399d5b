"""Histories of a large grid, kept as plain numbers: a fifth of what dicts take."""

from array import array
from collections.abc import Iterator, Sequence
from typing import Any

_KINDS: dict[tuple, tuple] = {}
"""Names and types of a row, one object for all histories that have them."""


class Packed(Sequence):
    """Rows of metrics that are unpacked at each look; equal to the list they were.

    Rows of other names than the first, or with values that are no numbers, stay dicts.

    >>> rows = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": float("inf")}]
    >>> packed = Packed(rows)
    >>> packed == rows, packed[-1], len(packed)
    (True, {'epoch': 2, 'loss': inf}, 2)
    >>> Packed([{"a": 1}, {"b": "no number"}])[1]
    {'b': 'no number'}
    """

    __slots__ = ("_kind", "_values")

    def __init__(self, rows: Sequence) -> None:
        kind = tuple((k, type(v)) for k, v in rows[0].items()) if rows else ()
        same = all(tuple((k, type(v)) for k, v in row.items()) == kind for row in rows)
        if same and rows and all(one in (int, float) for _, one in kind):
            self._kind = _KINDS.setdefault(kind, kind)
            self._values: Any = array("d", [v for row in rows for v in row.values()])
        else:
            self._kind, self._values = (), list(rows)

    def __len__(self) -> int:
        return len(self._values) // max(len(self._kind), 1)

    def __getitem__(self, at: Any) -> Any:
        return list(self)[at]

    def __iter__(self) -> Iterator:
        if not self._kind:
            return iter(self._values)
        each = iter(self._values)
        return iter([{k: one(next(each)) for k, one in self._kind} for _ in self._rows])

    @property
    def _rows(self) -> range:
        return range(len(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]
