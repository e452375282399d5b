"""The outcome of a suite of checks: rows of check, result and measured number."""

import textwrap
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from jaxwd.report.table import Table
    from jaxwd.testing.form import Form

Status = Literal["pass", "FAIL", "note"]
_WIDTH = 80


class DecayCheckFailed(AssertionError):
    """A check of an optimizer's decay did not pass; the message is the table."""


class Outcome(NamedTuple):
    """What a check says: its result and what was measured."""

    result: Status
    measured: str


@dataclass(frozen=True)
class Row:
    """One check.

    Attributes:
        check: its name.
        result: `pass`, `FAIL`, or `note` for what is neither right nor wrong.
        measured: what was seen, in a few words.
    """

    check: str
    result: Status
    measured: str


@dataclass(frozen=True)
class DecayReport:
    """What `check_decay` found; prints as a table.

    Attributes:
        name: of the optimizer.
        rows: one for each check.
        form: the numbers behind them, or None where nothing could be measured.
    """

    name: str
    rows: tuple[Row, ...]
    form: "Form | None"

    @property
    def failed(self) -> tuple[Row, ...]:
        """Return the rows that did not pass."""
        return tuple(row for row in self.rows if row.result == "FAIL")

    @property
    def ok(self) -> bool:
        """Say whether nothing failed."""
        return not self.failed

    def assert_ok(self, allow: Collection[str] = ()) -> None:
        """Raise unless everything passed.

        Args:
            allow: names of checks that may fail.

        Raises:
            DecayCheckFailed: a check failed.
        """
        unknown = set(allow) - {row.check for row in self.rows}
        if unknown:
            raise ValueError(f"no such checks: {', '.join(sorted(unknown))}")
        wrong = [row for row in self.failed if row.check not in allow]
        if wrong:
            said = "; ".join(f"{row.check}: {row.measured}" for row in wrong)
            raise DecayCheckFailed(f"{self.name}: {said}\n{self}")

    def table(self) -> "Table":
        """Return the rows as a `jaxwd.report.table.Table`, for Markdown and rich."""
        from jaxwd.report.table import Table

        cells = tuple((row.check, row.result, row.measured) for row in self.rows)
        return Table(f"Decay of {self.name}", ("check", "result", "measured"), cells)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "name": self.name,
            "ok": self.ok,
            "rows": [asdict(row) for row in self.rows],
            "form": None if self.form is None else asdict(self.form),
        }

    def __str__(self) -> str:
        width = max(len(row.check) for row in self.rows)
        lines = [f"decay of {self.name}"]
        for row in self.rows:
            head = f"{row.check.ljust(width)}  {row.result}  "
            lines += textwrap.wrap(
                row.measured,
                _WIDTH,
                initial_indent=head,
                subsequent_indent=" " * len(head),
            ) or [head.rstrip()]
        failed = ", ".join(row.check for row in self.failed)
        lines += textwrap.wrap(f"failed: {failed}" if failed else "passed", _WIDTH)
        return "\n".join(lines)
