"""One table as plain cells: drawn in a terminal, or written as Markdown."""

from dataclasses import dataclass

import rich.box
import rich.markup
import rich.table


@dataclass(frozen=True)
class Table:
    """A heading, column names, rows of text and what the columns mean."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def markdown(self) -> str:
        """Return the table as GitHub Markdown, first column left, others right."""

        def line(cells: tuple[str, ...]) -> str:
            return "| " + " | ".join(map(escaped, cells)) + " |"

        rule = "|" + "|".join([" :-- "] + [" --: "] * (len(self.columns) - 1)) + "|"
        table = "\n".join([line(self.columns), rule, *map(line, self.rows)])
        return "\n\n".join(x for x in (f"## {self.title}", table, self.note) if x)

    def rich(self) -> rich.table.Table:
        """Return the table for a terminal."""
        drawn = rich.table.Table(
            title=self.title,
            title_justify="left",
            title_style="bold",
            box=rich.box.SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1, 0, 0),
            show_edge=False,
        )
        for i, column in enumerate(self.columns):
            # A narrow terminal breaks cells, but cuts nothing off.
            side = "right" if i else "left"
            drawn.add_column(column, justify=side, no_wrap=not i, overflow="fold")
        for row in self.rows:
            drawn.add_row(*(rich.markup.escape(cell) for cell in row))
        return drawn


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is: no tables, no HTML."""
    return text.replace("|", "\\|").replace("<", "&lt;")
