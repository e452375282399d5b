"""What stands in a ledger's cells: JSON in which NaN survives, and its seal."""

import json
import zlib
from typing import Any

Row = dict[str, Any]


def packed(value: Any) -> str:
    """Return a value as one line of JSON, with NaN and Infinity where they occur.

    Scalars of NumPy and JAX become Python's, with every bit of their value.

    >>> unpacked(packed({"loss": float("inf")}))
    {'loss': inf}
    """
    return json.dumps(value, default=_plain, separators=(",", ":"))


def unpacked(text: str | None) -> Any:
    """Return the value that `packed` wrote."""
    return None if text is None else json.loads(text)


def clean(text: str) -> str:
    """Return text that SQLite can hold; half a surrogate pair becomes `?`."""
    return str(text).encode("utf-8", "replace").decode()


def seal(*cells: object) -> int:
    """Return a checksum of cells; SQLite has none, and would read altered bytes."""
    return zlib.crc32(repr(cells).encode())


def timeless(values: Row | None) -> Row | None:
    """Return metrics without how long they took, the one thing that never repeats.

    >>> timeless({"loss": 1.0, "seconds": 2.0, "images_per_second": 3.0})
    {'loss': 1.0}
    """
    return values and {k: v for k, v in values.items() if "second" not in k}


def lasting(made_by: Row, *but: str) -> Row:
    """Return what runs were made by, without what differs from start to start."""
    return {k: v for k, v in made_by.items() if k not in ("time", *but)}


def _plain(value: Any) -> Any:
    for convert in ("tolist", "item"):
        if hasattr(value, convert):
            return getattr(value, convert)()
    raise TypeError(f"{value!r} cannot be kept in a ledger: it is no JSON value")
