"""The gallery's page: for every scheme the call, the equation, the picture, the source."""

import inspect
import pathlib
import re
from collections.abc import Iterable, Mapping

from gallery_parts.layouts import LAYOUTS
from gallery_parts.row import Row
from gallery_parts.rows import GALLERY
from gallery_parts.runs import (
    CURVATURES,
    MINIMUM,
    NOISE,
    PEAK,
    START,
    STARTS,
    STEPS,
    TAU_OVER_RUN,
    WEIGHTS,
    Paths,
    strength_said,
)

import jaxwd as wd

ROOT = pathlib.Path(__file__).parents[2]
OUT = ROOT / "experiments/results/gallery"


def _list(numbers: Iterable[float]) -> str:
    return ", ".join(f"{x:g}".replace("-", "−") for x in numbers)


HEAD = f"""# A picture of every scheme

`python scripts/gallery.py` draws this page. One run has T = {STEPS} steps and a cosine
learning rate from α = {PEAK:g} to 0. The axes are the same in all pictures.

1. **No gradient.** Weights {_list(WEIGHTS)} under Adam with a gradient of 0: what decay
   does alone. Dotted: the same λ at half the learning rate.
2. **½(x − 1)² + noise.** One weight from {_list([START])}, gradient x − 1 plus fixed
   noise of standard deviation {NOISE:g}, under SGD and Adam. Thin: without the scheme.
3. **Quadratic, Adam.** Two weights, minimum + at ({_list(MINIMUM)}), curvatures
   {_list(CURVATURES)}, flat axis at 30°, no noise, from
   {", ".join(f"({_list(start)})" for start in STARTS)}. Grey: without the scheme.

Strengths are such that τ/T = {TAU_OVER_RUN:g} at zero gradient wherever `wd.shrink` knows
it; τ is 1/mean shrink a step, with an anchor of the distance to it while it stands still.
The other shapes pull a weight (a group, a singular value) of size 1 as hard as
`wd.decoupled(0.443)` does, but for `soft_orthogonality`, which leaves 1 alone. Where λ
means something else, its number is chosen so that the scheme is seen. Unless said
otherwise the weights of a picture are the inputs of one output unit, a leaf of shape
(n, 1), and "with" and "without" are the scheme and `wd.none()`.
"""

PLANE_SAID = {"direction": "panel 3 has the loss 1 − cos(θ, θ*), θ* = (1, 0.5)"}


def page(results: Mapping[str, Paths] | None = None) -> str:
    """Return the page; with `results` (name → paths) also where the weights end."""
    parts = [HEAD, contents()]
    for axis, rows in GALLERY.items():
        parts.append(f"## {axis}\n")
        for row in rows:
            parts.append(section(row, (results or {}).get(row.name)))
    return "\n".join(parts)


def contents() -> str:
    """Return the table of contents, one line an axis."""
    lines = ["| axis | schemes |", "| :-- | :-- |"]
    for axis, rows in GALLERY.items():
        links = " · ".join(f"[{row.name}](#{slug(row.name)})" for row in rows)
        lines.append(f"| [{axis}](#{slug(axis)}) | {links} |")
    return "\n".join(lines) + "\n"


def slug(heading: str) -> str:
    """Return the anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def section(row: Row, paths: Paths | None) -> str:
    """Return one scheme's part of the page."""
    maker = getattr(wd, row.constructors[0])
    code = pathlib.Path(inspect.getfile(maker)).relative_to(ROOT)
    lines = [
        f"### {row.name}\n",
        f"`{row.call}` ([code](../../../{code}))\n",
        f"> {equation(row)}\n",
        f"![{row.name}]({row.file})\n",
        f"{row.see}\n",
        f"{caption(row)}\n",
    ]
    if paths is not None:
        lines.append(f"{ends(paths)}\n")
    if source(row):
        lines.append(f"Source: {source(row)}\n")
    return "\n".join(lines)


def equation(row: Row) -> str:
    """Return the docstring's first paragraphs and what the row adds to them."""
    paragraphs = _doc(row).split("\n\n")[: row.paragraphs]
    words = [re.sub(r"\s+", " ", text) for text in paragraphs]
    if row.equation:
        words.append(f"Here {row.equation}.")
    return "\n>\n> ".join(words)


def caption(row: Row) -> str:
    """Return the numbers of the picture."""
    words = [f"α = {PEAK:g}, T = {STEPS}", row.note]
    words.append(strength_said(row.call, row.layout))
    words.append(LAYOUTS[row.layout].said if row.layout != "unit" else "")
    words.append("" if row.plane == "ellipse" else PLANE_SAID[row.plane])
    return "; ".join(word for word in words if word) + "."


def ends(paths: Paths) -> str:
    """Return where the weights stand at the end."""
    whole, half = paths.free[:, -1, 0]
    points = ", ".join(f"({_two(x)}, {_two(y)})" for x, y in paths.plane[:, -1])
    return (
        f"After {STEPS} steps: weight 1 without gradient {_two(whole)}, at half the "
        f"learning rate {_two(half)}; ½(x − 1)² with SGD {_two(paths.sgd[-1])}, with "
        f"Adam {_two(paths.adam[-1])}; the plane {points}."
    )


def source(row: Row) -> str:
    """Return the row's source, or the one in the constructor's docstring, or nothing."""
    found = re.search(r"Sources?: (.*?)(?:\n\n|\Z)", _doc(row), re.DOTALL)
    text = row.source or (found[1] if found else "")
    return re.sub(r"\s+", " ", text)


def _doc(row: Row) -> str:
    return inspect.getdoc(getattr(wd, row.constructors[0])) or ""


def _two(number: float) -> str:
    return f"{round(float(number), 2) + 0.0:.2f}".replace("-", "−")
