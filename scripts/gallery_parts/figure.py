"""One picture: three panels, the same axes for every scheme."""

import functools
import io
import pathlib
from typing import Any

import numpy as np
from gallery_parts.row import Row
from gallery_parts.runs import MINIMUM, PEAK, PLANES, STEPS, paths, strength_said
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Rectangle
from PIL import Image

from jaxwd.report.figures import COLORS

BLACK, ORANGE, BLUE, GREEN, PINK, RED, _ = COLORS
GREY = "#9A9A9A"
WEIGHT_COLORS = (BLACK, GREEN, PINK)
WIDTH, HEIGHT, DPI = 9.0, 3.3, 120
PLANE = (-1.2, 1.75, -1.4, 1.35)


def draw(row: Row, path: pathlib.Path) -> pathlib.Path:
    """Draw one scheme against none; return the file."""
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.12))
    got = paths(row.call, row.layout, row.plane)
    without = paths("wd.none()", row.layout, row.plane)
    _flow(left, got.free)
    _line(middle, got, without)
    _plane(right, row, got.plane, without.plane)
    for axis in (left, middle, right):
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.25, linewidth=0.6)
    figure.suptitle(title(row), fontsize=10.5, x=0.012, ha="left")
    figure.savefig(memory := io.BytesIO(), dpi=DPI)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A palette makes the file a third as large; no dithering, so it compresses.
    image = Image.open(memory).convert("RGB")
    image = image.quantize(palette=_palette(), dither=Image.Dither.NONE)
    image.save(path, optimize=True)
    return path


@functools.lru_cache
def _palette() -> Image.Image:
    """Return an image that holds every colour used, in steps up to white."""
    colors = np.array([to_rgb(c) for c in (BLACK, ORANGE, BLUE, GREEN, PINK, RED)])
    share = np.linspace(0, 1, 10)[:, None, None]
    steps = np.rint(255 * (colors + share * (1 - colors))).astype(int).reshape(-1, 3)
    image = Image.new("P", (1, 1))
    image.putpalette(np.unique(steps, axis=0).ravel().tolist())
    return image


def title(row: Row) -> str:
    """Return the constructor call and, where it is defined, τ/T."""
    call = row.call.replace("wd.", "").replace('"', "'")
    words = [call, row.note, strength_said(row.call, row.layout)]
    return "      ".join(word for word in words if word)


def _flow(axis: Any, free: np.ndarray) -> None:
    """No gradient: the weights at α (solid) and at α/2 (dotted)."""
    t = np.arange(STEPS + 1)
    axis.axhline(0, color=GREY, linewidth=0.8)
    for i, color in enumerate(WEIGHT_COLORS):
        axis.plot(t, free[0, :, i], color=color, linewidth=1.8)
        axis.plot(t, free[1, :, i], color=color, linewidth=1.4, linestyle=":")
    axis.set(xlim=(0, STEPS), ylim=(-1.15, 1.35), xlabel="step")
    axis.set_title("no gradient, Adam", fontsize=9)
    axis.set_ylabel("weight", labelpad=1)
    _legend(
        axis,
        "upper right",
        [
            Line2D([], [], color=BLACK, linewidth=1.8, label=f"α = {PEAK:g}"),
            Line2D([], [], color=BLACK, linestyle=":", label=f"α = {PEAK / 2:g}"),
        ],
        columns=2,
    )


def _line(axis: Any, got: Any, without: Any) -> None:
    """½(x − 1)² with noise: dark with the scheme, light without it."""
    t = np.arange(STEPS + 1)
    axis.axhline(1, color=GREY, linewidth=0.8)
    for core, color, style in (("sgd", BLUE, "-"), ("adam", ORANGE, "--")):
        plain, decayed = getattr(without, core), getattr(got, core)
        axis.plot(t, plain, color=color, linewidth=1, alpha=0.45, linestyle=style)
        axis.plot(t, decayed, color=color, linewidth=1.8, linestyle=style)
    axis.set(xlim=(0, STEPS), ylim=(-0.85, 1.35), xlabel="step")
    axis.set_title("½(x − 1)² + noise", fontsize=9)
    _legend(
        axis,
        "lower right",
        [
            Line2D([], [], color=BLUE, linewidth=1.8, label="SGD"),
            Line2D([], [], color=ORANGE, linewidth=1.8, linestyle="--", label="Adam"),
            Line2D([], [], color=BLACK, linewidth=1, alpha=0.45, label="without"),
        ],
        columns=3,
    )


@functools.lru_cache
def _levels(plane: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y = np.linspace(*PLANE[:2], 121), np.linspace(*PLANE[2:], 97)
    loss = PLANES[plane]
    values = [[float(loss(np.array([a, b]))) for a in x] for b in y]
    return x, y, np.array(values)


def _plane(axis: Any, row: Row, got: np.ndarray, without: np.ndarray) -> None:
    """Contours, the ways from three starts, and their ends."""
    x, y, values = _levels(row.plane)
    inside = np.quantile(values, [0.03, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85])
    axis.contour(x, y, values, levels=inside, colors="#C8C8C8", linewidths=0.7)
    axis.axhline(0, color=GREY, linewidth=0.6)
    axis.axvline(0, color=GREY, linewidth=0.6)
    if row.bound:
        _bound(axis, *row.bound)
    for plain, decayed in zip(without, got, strict=True):
        axis.plot(*plain.T, color=GREY, linewidth=1.1)
        axis.plot(*decayed.T, color=RED, linewidth=1.8)
        axis.plot(*decayed[0], marker="s", color=BLACK, markersize=3.5)
    for plain, decayed in zip(without, got, strict=True):
        axis.plot(*plain[-1], "o", markersize=8, color=BLACK, fillstyle="none")
        axis.plot(*decayed[-1], "o", markersize=5.5, color=RED, mec=BLACK, mew=0.7)
    if row.plane == "ellipse":
        axis.plot(*MINIMUM, "+", color=BLACK, markersize=9)
    axis.set(xlim=PLANE[:2], ylim=PLANE[2:], aspect="equal")
    name = {"ellipse": "quadratic, Adam", "direction": "1 − cos(θ, θ*), Adam"}
    axis.set_title(name[row.plane], fontsize=9)
    mark: dict = {"linestyle": "none", "color": BLACK}
    _legend(
        axis,
        "lower right",
        [
            Line2D([], [], marker="s", markersize=3.5, label="start", **mark),
            Line2D([], [], color=RED, marker="o", markersize=5, label="with"),
            Line2D(
                [],
                [],
                color=GREY,
                marker="o",
                markersize=6.5,
                mfc="none",
                mec=BLACK,
                label="without",
            ),
        ],
        columns=3,
    )


def _bound(axis: Any, radius: float, kind: str) -> None:
    style = {"fill": False, "edgecolor": GREEN, "linewidth": 1.2, "linestyle": "--"}
    if kind == "circle":
        axis.add_patch(Circle((0, 0), radius, **style))
    else:
        axis.add_patch(Rectangle((-radius, -radius), 2 * radius, 2 * radius, **style))


def _legend(axis: Any, place: str, handles: list, columns: int = 1) -> None:
    axis.legend(
        handles=handles,
        loc=place,
        fontsize=7.5,
        handlelength=1.8,
        labelspacing=0.25,
        columnspacing=0.9,
        ncols=columns,
        borderpad=0.3,
        framealpha=0.85,
        edgecolor="none",
    )
