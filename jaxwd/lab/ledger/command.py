"""`jaxwd ledger show | export | merge`. None of them needs JAX."""

import pathlib
import sys
from dataclasses import dataclass
from typing import Literal

from tyro.conf import Positional

from jaxwd.errors import unknown
from jaxwd.flags import guarded, parse

USAGE = """usage: jaxwd ledger COMMAND

  show FILE                    runs by state and arm, the best of each, what made them
  export FILE --to OUT.csv     one row a run, or --epochs; also .json and .parquet
  merge OUT IN [IN ...]        the union of ledgers from several machines

FILE is a ledger, or a folder that holds ledger.sqlite.
"""


@dataclass(frozen=True)
class ShowWords:
    """Say what a ledger holds: runs by state and arm, the best of each, what made them.

    The best has the highest validation score, or the lowest loss where there is none.
    """

    file: Positional[pathlib.Path]
    """A ledger, or a folder that holds ledger.sqlite."""


@dataclass(frozen=True)
class ExportWords:
    """Write a ledger as a table: CSV, JSON or, with the extra `tables`, Parquet.

    Columns of a run: key, arm, seed, status, message, step, label.…, recipe.… by path,
    final.…; of an epoch: key, arm, seed, label.… and its metrics.
    """

    file: Positional[pathlib.Path]
    """A ledger, or a folder that holds ledger.sqlite."""
    to: pathlib.Path
    """Where to; the ending says how: .csv, .json, .parquet. Replaced if it is there."""
    epochs: bool = False
    """One row an epoch instead of one a run."""


@dataclass(frozen=True)
class MergeWords:
    """Write the union of ledgers into one, by key; the inputs stay as they are.

    A run that ended wins over one that has not. Different endings of one key are
    reported, and refused unless you say which to keep.
    """

    out: Positional[pathlib.Path]
    """A new ledger, or one that takes part and comes first."""
    inputs: Positional[tuple[pathlib.Path, ...]]
    """Ledgers, or folders that hold one."""
    conflicts: Literal["refuse", "first"] = "refuse"
    """first: of different endings of one run, keep that of the first ledger given."""


def command(words: list[str]) -> int:
    """Run one of the ledger's commands and return the exit code."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE, end="", file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        problem = unknown("ledger command", name, COMMANDS)
        print(f"error: {problem}", file=sys.stderr)
        return 2
    kind, work = COMMANDS[name]
    return guarded(lambda: work(parse(kind, f"jaxwd ledger {name}", "", rest)))


def _show(given: ShowWords) -> None:
    from rich.console import Console

    from jaxwd.lab.ledger import Ledger
    from jaxwd.lab.ledger.summary import summary

    with Ledger(given.file, readonly=True) as ledger:
        console = Console()
        for part in summary(ledger):
            console.print(part, highlight=False)


def _export(given: ExportWords) -> None:
    from jaxwd.lab.ledger import Ledger
    from jaxwd.lab.ledger.tables import export

    with Ledger(given.file, readonly=True) as ledger:
        count = export(ledger, given.to, epochs=given.epochs)
    print(f"{count:,} rows in {given.to}")


def _merge(given: MergeWords) -> None:
    from jaxwd.lab.ledger import merge

    done = merge(given.out, given.inputs, conflicts=given.conflicts)
    print(
        f"{given.out}: {done.runs:,} runs, {done.ended:,} ended, {done.taken:,} taken"
    )
    for key in done.conflicts:
        print(f"ended differently, the first given was kept: {key}")


COMMANDS = {
    "show": (ShowWords, _show),
    "export": (ExportWords, _export),
    "merge": (MergeWords, _merge),
}
