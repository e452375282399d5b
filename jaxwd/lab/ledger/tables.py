"""A ledger as one flat table: CSV, JSON, Parquet, pandas, polars.

Columns of a run: key, arm, seed, status, message, step, `label.…`, `recipe.…` by path
and `final.…`. Columns of an epoch: key, arm, seed, `label.…` and its metrics.
"""

import csv
import importlib
import json
import math
import os
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jaxwd.errors import InputError, unknown

if TYPE_CHECKING:
    from jaxwd.lab.ledger.reading import Reader, Run

Row = dict[str, Any]


def rows(ledger: "Reader", *, epochs: bool = False) -> list[Row]:
    """Return one flat row a run, or with `epochs` one an epoch, in the runs' order.

    A row has only the columns its run has; `columns` fills the others with None.
    """
    runs = ledger.runs()
    if not epochs:
        return [_of_run(run) for run in runs]
    return [
        _of_epoch(run) | row | _of_epoch(run)  # a metric never hides whose it is
        for run in runs
        for row in ledger.curve(run.key)
    ]


def columns(rows: list[Row]) -> dict[str, list[Any]]:
    """Return rows as columns of one type each, None where a row has no such value.

    >>> columns([{"a": 1}, {"a": 0.5, "b": "x"}])
    {'a': [1.0, 0.5], 'b': [None, 'x']}
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: _alike([row.get(name) for row in rows]) for name in names}


def export(ledger: "Reader", to: pathlib.Path, *, epochs: bool = False) -> int:
    """Write the table to `to`, whose ending says how; return the number of rows.

    Raises:
        InputError: an ending that is none of `FORMATS`, a folder that cannot be
            written, or Parquet without pyarrow.
    """
    write = FORMATS.get(to.suffix.lower())
    if write is None:
        raise unknown("format", to.suffix or to.name, FORMATS)
    if not to.absolute().parent.is_dir():
        raise InputError(f"--to {to}: there is no folder {to.absolute().parent}")
    if to.is_dir():
        raise InputError(f"--to {to} is a folder; give the name of a file")
    found = rows(ledger, epochs=epochs)
    half = to.with_name(f".{to.name}.{os.getpid()}")
    try:
        write(found, half)
        half.replace(to)
    finally:
        half.unlink(missing_ok=True)
    return len(found)


def flattened(path: str, value: Any) -> Row:
    """Return nested dicts, and options given as pairs, as one dict by dotted path."""
    if path.endswith("_options") and isinstance(value, list):
        value = dict(value)
    if not isinstance(value, dict):
        return {path: _cell(value)}
    flat: Row = {}
    for name, inner in value.items():
        flat |= flattened(f"{path}.{name}" if path else name, inner)
    return flat


def needed(package: str, extra: str = "") -> Any:
    """Return an optional package; say how to get it where it is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError:
        wanted = f"'jaxwd[{extra}]'" if extra else package
        raise InputError(
            f"this needs {package}, which is not installed: pip install {wanted}"
        ) from None


def _of_run(run: "Run") -> Row:
    row: Row = {"key": run.key, "arm": run.arm, "seed": run.seed}
    row |= {"status": run.status, "message": run.message, "step": run.step}
    row |= {f"label.{path}": _cell(value) for path, value in run.labels.items()}
    row |= flattened("recipe", {k: v for k, v in run.recipe.items() if k != "seed"})
    return row | flattened("final", run.outcome or {})


def _of_epoch(run: "Run") -> Row:
    row: Row = {"key": run.key, "arm": run.arm, "seed": run.seed}
    return row | {f"label.{path}": _cell(value) for path, value in run.labels.items()}


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _alike(values: list[Any]) -> list[Any]:
    """Return values of one type: numbers become floats beside floats, else all text."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1:
        return values
    kind = float if kinds == {int, float} else str
    return [None if value is None else kind(value) for value in values]


# --- formats ------------------------------------------------------------------------


def _csv(found: list[Row], path: pathlib.Path) -> None:
    """Comma-separated; floats with every digit, `NaN` and `inf` as all readers know."""
    names = list(dict.fromkeys(name for row in found for name in row))
    with path.open(
        "w", encoding="utf-8", errors="backslashreplace", newline=""
    ) as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for row in found:
            writer.writerow({k: "NaN" if v != v else v for k, v in row.items()})


def _json(found: list[Row], path: pathlib.Path) -> None:
    """A list of objects. JSON knows no NaN: "NaN" and "Infinity" stand as strings."""
    plain = [{name: _finite(value) for name, value in row.items()} for row in found]
    text = json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def _parquet(found: list[Row], path: pathlib.Path) -> None:
    """Typed columns; NaN and null are two things."""
    pyarrow = needed("pyarrow", "tables")
    parquet = needed("pyarrow.parquet", "tables")
    parquet.write_table(pyarrow.table(columns(found)), path)


def _finite(value: Any) -> Any:
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("-" * (value < 0) + "Infinity")


FORMATS: dict[str, Callable[[list[Row], pathlib.Path], None]] = {
    ".csv": _csv,
    ".json": _json,
    ".parquet": _parquet,
}
"""How a table is written, by the ending of its file."""
