"""The report's figures for papers, as PNG and as SVG. Colour-blind safe."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from jaxwd.lab.study import Study
from jaxwd.report import figures
from jaxwd.report.grids import Axis, Grids, HeatMap, ticks
from jaxwd.report.sheet import Sheet, sheet_of
from jaxwd.report.trials import Row, in_text, unit

_MARKS = "osD^vPX"
_FORMATS = ("png", "svg")


def write_figures(
    study: Study | None,
    runs: Sequence[Any],
    folder: pathlib.Path,
    *,
    curve: Callable[[str], Sequence[Row]] | None = None,
) -> list[pathlib.Path]:
    """Write the figures that a study and a sweep's runs have; return their paths.

    `curves` and `differences` of a study, `sensitivity` and `heat_maps` of a sweep by
    validation score; text in an SVG stays text.

    Args:
        study: arms × seeds; None for a sweep alone.
        runs: members of a sweep: `Run` or `Outcome`.
        folder: made if missing.
        curve: `key → rows`, for runs without a history of their own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sheet = sheet_of(study, runs, curve=curve)
    drawn: dict[str, Callable[[pathlib.Path], object]] = {}
    if study is not None:
        if any(study.curves.values()) and len(study.arms) <= len(figures.COLORS):
            drawn["curves"] = lambda path: figures.curves(study, path)
        if study.compared() and any(study.finals.values()):
            drawn["differences"] = lambda path: figures.differences(study, path)
    if sheet.grids.metrics:
        drawn["sensitivity"] = lambda path: sensitivity(sheet, path)
    if sheet.grids.maps and sheet.grids.metrics:
        drawn["heat_maps"] = lambda path: heat_maps(sheet, path)
    paths = []
    # A fixed salt gives the same file for the same numbers.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "jaxwd"}):
        for name, draw in drawn.items():
            for suffix in _FORMATS:
                paths.append(folder / f"{name}.{suffix}")
                draw(paths[-1])
    return paths


def sensitivity(sheet: Sheet, path: pathlib.Path) -> pathlib.Path:
    """Draw the validation score over λ, one line for each choice of the rest."""
    grids, metric = sheet.grids, f"validation_{sheet.score}"
    assert grids.x is not None
    scale, percent = unit(metric, sheet.score)
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axis = figure.subplots()
    for i, line in enumerate(grids.lines):
        done = [p for p in line.points if metric in p.metrics]
        if not done:
            continue
        mean, half = scale * np.array([p.metrics[metric] for p in done]).T
        axis.errorbar(
            [grids.x.position(p.x) for p in done],
            mean,
            yerr=np.nan_to_num(half),
            label=line.name,
            color=figures.COLORS[i % len(figures.COLORS)],
            linestyle=_style(i) if grids.dense else "",
            marker=_MARKS[i % len(_MARKS)],
            markersize=4,
            capsize=2,
            linewidth=1.4,
        )
    lost = [p for line in grids.lines for p in line.points if p.diverged]
    if lost:
        axis.plot(
            [grids.x.position(p.x) for p in lost],
            [0.02] * len(lost),
            "x",
            color="#777777",
            transform=axis.get_xaxis_transform(),
            label="diverged",
        )
    _scale(axis, grids.x, "x")
    axis.set_ylabel(f"validation {sheet.score}{percent}")
    axis.grid(alpha=0.25)
    handles, labels = axis.get_legend_handles_labels()
    if len(handles) > 1:
        # Lines in their order, the crosses last.
        order = sorted(range(len(labels)), key=lambda i: labels[i] == "diverged")
        figure.legend(
            [handles[i] for i in order],
            [labels[i] for i in order],
            loc="outside right upper",
            fontsize=8,
        )
    figure.savefig(path, dpi=200)
    return path


def heat_maps(sheet: Sheet, path: pathlib.Path) -> pathlib.Path:
    """Draw the validation score over λ and the learning rate, all maps on one scale."""
    grids, metric = sheet.grids, f"validation_{sheet.score}"
    scale, percent = unit(metric, sheet.score)
    shown = [
        scale * p.metrics[metric][0]
        for one in grids.maps
        for p in one.points
        if metric in p.metrics
    ]
    low, high = (min(shown), max(shown)) if shown else (0.0, 1.0)
    columns = min(3, len(grids.maps))
    rows = -(-len(grids.maps) // columns)
    size = (4.6 * columns + 0.8, 3.6 * rows)
    figure = Figure(figsize=size, layout="constrained")
    axes = np.ravel(figure.subplots(rows, columns, squeeze=False))
    drawn = None
    for axis, one in zip(axes, grids.maps, strict=False):
        values = {
            (p.x, p.y): scale * p.metrics[metric][0]
            for p in one.points
            if metric in p.metrics
        }
        draw = _cells if grids.dense else _points
        drawn = draw(axis, grids, one, values, (low, high))
        axis.set_title(one.name, fontsize=9, loc="left")
    for axis in axes[len(grids.maps) :]:
        axis.set_axis_off()
    if drawn is not None:
        label = f"validation {sheet.score}{percent}"
        figure.colorbar(drawn, ax=axes.tolist(), label=label, shrink=0.8)
    figure.savefig(path, dpi=200)
    return path


def _cells(
    axis, grids: Grids, one: HeatMap, values: dict, limits: tuple[float, float]
) -> Any:
    """Draw a grid of settings as cells; × where every seed diverged."""
    assert grids.x is not None
    assert grids.y is not None
    xs, ys = grids.x.values, grids.y.values
    table = np.array([[values.get((x, y), np.nan) for x in xs] for y in ys])
    picture = axis.imshow(
        table,
        cmap="cividis",
        vmin=limits[0],
        vmax=limits[1],
        origin="lower",
        aspect="auto",
    )
    middle = sum(limits) / 2
    for p in one.points:
        at = (xs.index(p.x), ys.index(p.y))
        if (p.x, p.y) in values and len(xs) <= 10:
            value = values[p.x, p.y]
            color = "white" if value < middle else "black"
            axis.text(
                *at, f"{value:.3g}", ha="center", va="center", fontsize=7, color=color
            )
        elif (p.x, p.y) not in values and p.diverged:
            axis.text(*at, "×", ha="center", va="center", color="#555555")
    if values:
        x, y = max(values, key=values.__getitem__)
        corner = (xs.index(x) - 0.5, ys.index(y) - 0.5)
        axis.add_patch(_frame(corner))
    for which, of in (("x", grids.x), ("y", grids.y)):
        every = -(-len(of.values) // 10)
        places = range(0, len(of.values), every)
        words = [in_text(of.values[i], 3) for i in places]
        turned = {"rotation": 90} if which == "x" and len(words) > 6 else {}
        getattr(axis, f"set_{which}ticks")(list(places), words, fontsize=8, **turned)
        getattr(axis, f"set_{which}label")(of.name)
    return picture


def _points(
    axis, grids: Grids, one: HeatMap, values: dict, limits: tuple[float, float]
) -> Any:
    """Draw scattered settings as coloured points."""
    assert grids.x is not None
    assert grids.y is not None
    places = [(grids.x.position(x), grids.y.position(y)) for x, y in values]
    picture = axis.scatter(
        *(np.array(places).reshape(-1, 2).T),
        c=list(values.values()),
        cmap="cividis",
        vmin=limits[0],
        vmax=limits[1],
        s=40,
        edgecolors="#777777",
        linewidths=0.5,
    )
    lost = [p for p in one.points if (p.x, p.y) not in values and p.diverged]
    at = np.array([(grids.x.position(p.x), grids.y.position(p.y or 0)) for p in lost])
    axis.plot(*at.reshape(-1, 2).T, "x", color="#777777")
    _scale(axis, grids.x, "x")
    _scale(axis, grids.y, "y")
    return picture


def _frame(corner: tuple[float, float]) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(corner, 1, 1, fill=False, edgecolor="#D55E00", linewidth=2)


def _scale(axis, of: Axis, which: str) -> None:
    """Give an axis its scale, the places of its values and its name."""
    if of.log:
        getattr(axis, f"set_{which}scale")("log")
    places = ticks(of)
    drawn = getattr(axis, f"{which}axis")
    drawn.set_major_locator(FixedLocator([place for place, _ in places]))
    drawn.set_minor_locator(NullLocator())
    drawn.set_ticklabels([text for _, text in places], fontsize=8)
    getattr(axis, f"set_{which}label")(of.label)


def _style(i: int) -> str:
    return figures.STYLES[i // len(figures.COLORS) % len(figures.STYLES)]
