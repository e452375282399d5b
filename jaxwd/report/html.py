"""The report as one HTML file: no network, nothing beside it, nothing left out.

Everything a name could smuggle in is text: cells are escaped by the template, data is
JSON without `<`, and the page's policy lets no script run but the two it was made
with. Plotly draws; its bundle is packed, which keeps the file small enough to mail.
"""

import base64
import functools
import gzip
import hashlib
import importlib.resources
import json
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

from jaxwd.lab.study import Study
from jaxwd.report.chart_data import chart_data
from jaxwd.report.sheet import Sheet, sheet_of
from jaxwd.report.table import Table
from jaxwd.report.trials import Row

_NUMBER = re.compile(r"[<+\-−]?\.?\d|[–?]$|reference$")
_SCRIPTS = ("theme.js", "tables.js", "charts.js", "grids.js", "start.js")


def write_html(
    study: Study | None,
    runs: Sequence[Any],
    path: pathlib.Path,
    *,
    mask: str = "",
    curve: Callable[[str], Sequence[Row]] | None = None,
    title: str = "",
    about: Row | None = None,
) -> pathlib.Path:
    """Write the report of a study, of a sweep's runs or of both; return its path.

    Args:
        study: arms × seeds; None for a sweep alone.
        runs: members of a sweep, or trials of a tuning: `Run` or `Outcome`.
        path: the file to write.
        mask: which leaves decay, as text.
        curve: `key → rows`, for runs without a history of their own.
        title: of a sweep without a study.
        about: its `provenance()`; a study has its own.
    """
    sheet = sheet_of(study, runs, mask, curve=curve, title=title, about=about)
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(sheet), encoding="utf-8", errors="backslashreplace")
    return path


def page(sheet: Sheet) -> str:
    """Return the HTML text of a sheet."""
    import jinja2

    code = "\n".join(map(_asset, _SCRIPTS))
    plotly = _plotly()
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, loader=jinja2.FunctionLoader(_asset),
    )  # fmt: skip
    return environment.get_template("page.html").render(
        sheet=sheet,
        policy=_policy(code, plotly.decode()),
        style=_safe(_asset("page.css")),
        code=_safe(code),
        data=_safe(embedded(chart_data(sheet))),
        plotly=_packed(),
        plotly_licence=plotly[:300].decode().split("*/")[0].strip("/* \n"),
        sides=_sides,
        mask_is_table=isinstance(sheet.mask, Table),
    )


def embedded(value: Any) -> str:
    r"""Return JSON that may stand in a script element: no `<`, no line separators.

    >>> print(embedded({"name": "</script>"}))
    {"name":"\u003c/script>"}
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for letter in "<&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _sides(table: Table) -> list[str]:
    """Return for each column whether it holds numbers or words, for its alignment."""
    sides = []
    for i in range(len(table.columns)):
        cells = [row[i] for row in table.rows if row[i]]
        numbers = sum(bool(_NUMBER.match(cell)) for cell in cells)
        sides.append("number" if i and 2 * numbers >= len(cells) else "word")
    return sides


def _policy(*scripts: str) -> str:
    """Return the page's policy: these scripts and no others, and no network at all."""
    hashes = (
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for script in scripts
    )
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _asset(name: str) -> str:
    folder = importlib.resources.files("jaxwd.report") / "assets"
    return (folder / name).read_text(encoding="utf-8")


@functools.cache
def _plotly() -> bytes:
    file = importlib.resources.files("plotly") / "package_data" / "plotly.min.js"
    return file.read_bytes()


@functools.cache
def _packed() -> str:
    return base64.b64encode(gzip.compress(_plotly(), 9, mtime=0)).decode()


def _safe(text: str) -> Any:
    """Mark text of our own, or JSON made safe, as not to be escaped."""
    import markupsafe

    return markupsafe.Markup(text)
