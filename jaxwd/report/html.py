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
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from jaxwd.lab.study import Study
from jaxwd.report.grids import Grids, HeatMap, Line, Point, ticks
from jaxwd.report.sheet import PANELS, Curve, Sheet, sheet_of
from jaxwd.report.table import Table
from jaxwd.report.trials import Row, unit

_REMARKS = {"test": " (not for choosing)"}
_SCRIPTS = ("theme.js", "tables.js", "charts.js", "grids.js", "start.js")


def write_html(
    study: Study | None,
    runs: Sequence[Any],
    path: pathlib.Path,
    *,
    mask: str = "",
    curve: Callable[[str], Sequence[Row]] | None = None,
    title: str = "",
) -> pathlib.Path:
    """Write the report of a study, of a sweep's runs or of both; return its path.

    Args:
        study: arms × seeds; None for a sweep alone.
        runs: members of a sweep, or trials of a tuning: `Run` or `Outcome`.
        path: the file to write.
        mask: which leaves decay, as text.
        curve: `key → rows`, for runs without a history of their own.
        title: of a sweep without a study.
    """
    sheet = sheet_of(study, runs, mask, curve=curve, title=title)
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(sheet), encoding="utf-8")
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
        data=_safe(embedded(_data(sheet))),
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


def _data(sheet: Sheet) -> dict[str, Any]:
    """Return what the charts draw, as plain JSON values."""
    score = sheet.score
    metrics = {
        name.format(score=score): label.format(score=score) for name, label in PANELS
    }
    return {
        "panels": [
            {
                "metric": m,
                "label": label + unit(m, score)[1],
                "log": m.endswith("loss"),
                "floor": m != f"validation_{score}",
            }
            for m, label in metrics.items()
            if any(m in curve.bands for curve in sheet.curves)
        ],
        "curves": [_curve(curve, score) for curve in sheet.curves],
        "gaps": [
            {
                "label": _words(metric) + _points(metric),
                "rows": [
                    {
                        "name": gap.name,
                        "seeds": gap.seeds,
                        "gaps": _rounded(gap.gaps),
                        "mean": _round(gap.mean),
                        "half": _round(gap.half),
                    }
                    for gap in gaps
                ],
            }
            for metric, gaps in sheet.gaps.items()
        ],
        "grids": _grids(sheet.grids, score),
    }


def _curve(curve: Curve, score: str) -> dict[str, Any]:
    def scale(metric: str, values: Sequence[float]) -> list[float | None]:
        return _rounded([unit(metric, score)[0] * v for v in values])

    return {
        "name": curve.name,
        "n": curve.n,
        "rank": _round(curve.rank),
        "epochs": curve.epochs,
        "bands": {
            metric: [scale(metric, mean), *([scale(metric, half)] * (curve.n > 1))]
            for metric, (mean, half) in curve.bands.items()
        },
    }


def _grids(grids: Grids, score: str) -> dict[str, Any] | None:
    if grids.x is None:
        return None

    def axis(one: Any) -> dict[str, Any]:
        places = ticks(one)
        return {
            "name": one.name,
            "path": one.path,
            "log": one.log,
            "values": one.values,
            "places": [one.position(v) for v in one.values],
            "tickvals": [place for place, _ in places],
            "ticktext": [text for _, text in places],
        }

    def points(of: Line | HeatMap) -> dict[str, Any]:
        return {
            "name": of.name,
            "x": [p.x for p in of.points],
            "y": [p.y for p in of.points],
            "n": [p.n for p in of.points],
            "diverged": [p.diverged for p in of.points],
            "metrics": {m: _bands(of.points, m, score) for m in grids.metrics},
        }

    return {
        "x": axis(grids.x),
        "y": None if grids.y is None else axis(grids.y),
        "dense": grids.dense,
        "lines": [points(line) for line in grids.lines],
        "maps": [points(one) for one in grids.maps],
        "left_out": grids.left_out,
        "metrics": [
            {
                "key": m,
                "label": _words(m) + unit(m, score)[1],
                "higher": m.endswith(score),
                "choose": f"{_words(m)}{_REMARKS.get(m.split('_')[0], '')}",
            }
            for m in grids.metrics
        ],
    }


def _bands(points: Sequence[Point], metric: str, score: str) -> list[list]:
    scale, _ = unit(metric, score)
    missing = (math.nan, math.nan)
    got = [p.metrics.get(metric, missing) for p in points]
    return [_rounded([scale * v for v in column]) for column in zip(*got, strict=True)]


def _words(metric: str) -> str:
    named = {"param_norm": "‖θ‖", "decay_share": "decay's share"}
    return named.get(metric, metric.replace("_", " "))


def _points(metric: str) -> str:
    return ", points" if metric.endswith("accuracy") else ""


def _round(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _rounded(values: Sequence[float]) -> list[float | None]:
    return [_round(value) for value in values]


def _sides(table: Table) -> list[str]:
    """Return for each column whether it holds numbers or words, for its alignment."""
    sides = []
    for i in range(len(table.columns)):
        cells = [row[i] for row in table.rows if row[i]]
        numbers = sum(cell[0] in "0123456789+-−<–?" for cell in cells)
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
