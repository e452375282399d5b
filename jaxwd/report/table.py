"""One table as plain cells: drawn in a terminal, or written as Markdown."""

from dataclasses import dataclass

import rich.box
import rich.cells
import rich.table
import rich.text


@dataclass(frozen=True)
class Table:
    """A heading, column names, rows of text and what the columns mean.

    Attributes:
        title: the heading.
        columns: one name for each cell of a row.
        rows: cells as text.
        note: what the columns mean, below the table on a page.
        optional: columns a narrow terminal leaves out, the first of them first.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    optional: tuple[str, ...] = ()

    def markdown(self) -> str:
        """Return the table as GitHub Markdown, first column left, others right."""

        def line(cells: tuple[str, ...]) -> str:
            return "| " + " | ".join(map(escaped, cells)) + " |"

        rule = "|" + "|".join([" :-- "] + [" --: "] * (len(self.columns) - 1)) + "|"
        table = "\n".join([line(self.columns), rule, *map(line, self.rows)])
        return "\n\n".join(x for x in (f"## {self.title}", table, self.note) if x)

    def rich(self, width: int = 10_000) -> rich.table.Table:
        """Return the table for a terminal of `width` columns."""
        drawn = rich.table.Table(
            title=self.title,
            title_justify="left",
            title_style="bold",
            box=rich.box.SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1, 0, 0),
            show_edge=False,
        )
        kept = self._fitting(width)
        for i in kept:
            # What is still too wide is broken, and nothing is cut off.
            side = "right" if i else "left"
            name = self.columns[i]
            drawn.add_column(name, justify=side, no_wrap=not i, overflow="fold")
        for row in self.rows:
            drawn.add_row(*(rich.text.Text(row[i]) for i in kept))
        return drawn

    def _fitting(self, width: int) -> list[int]:
        """Return the columns to draw: optional ones go until the rest fits."""
        widths = [
            max(rich.cells.cell_len(row[i]) for row in (self.columns, *self.rows))
            for i in range(len(self.columns))
        ]
        kept = list(range(len(self.columns)))
        for name in self.optional:
            if sum(widths[i] + 2 for i in kept) - 2 <= width:
                break
            kept.remove(self.columns.index(name))
        return kept


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is: no tables, no HTML."""
    return text.replace("|", "\\|").replace("<", "&lt;")
