"""One picture of the gallery, as a value."""

import re
from typing import NamedTuple


class Row(NamedTuple):
    """One picture.

    Attributes:
        name: the heading; the file is called after it.
        call: the line of code that makes the scheme, run as it stands.
        see: what is to be seen.
        note: what the call does not say by itself, for title and caption.
        equation: what the docstring's equation needs for this row.
        paragraphs: how many of the docstring's paragraphs hold the equation.
        source: where the constructor's docstring has none for this row.
        layout: row of `layouts.LAYOUTS`.
        plane: row of `runs.PLANES`.
        bound: radius and kind (`circle`, `square`) of what is drawn into the plane.
    """

    name: str
    call: str
    see: str
    note: str = ""
    equation: str = ""
    paragraphs: int = 1
    source: str = ""
    layout: str = "unit"
    plane: str = "ellipse"
    bound: tuple[float, str] | None = None

    @property
    def file(self) -> str:
        """Return the picture's name."""
        return self.name.replace(" ", "_") + ".png"

    @property
    def constructors(self) -> list[str]:
        """Return the public names in the call, the outermost first."""
        return re.findall(r"wd\.(\w+)\(", self.call)
