"""What the page's charts draw, as plain JSON values to five digits."""

import math
from collections.abc import Sequence
from typing import Any

from jaxwd.report.grids import Grids, HeatMap, Line, Point, ticks
from jaxwd.report.sheet import Sheet
from jaxwd.report.training import PANELS, Curve
from jaxwd.report.trials import in_text, unit

_REMARKS = {"test": " (not for choosing)"}


def chart_data(sheet: Sheet) -> dict[str, Any]:
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
            "label": one.label,
            "log": one.log,
            "values": one.values,
            "words": [in_text(v, 3) for v in one.values],
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
