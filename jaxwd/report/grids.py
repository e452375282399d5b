"""Of a sweep: which numbers were varied, lines over one of them, maps over two."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jaxwd.report.trials import Group, in_text, short

_MAPS = 12  # more small maps than that nobody reads


@dataclass(frozen=True)
class Axis:
    """One varied number.

    Attributes:
        path: as labels call it, such as `decay.strength`.
        values: in rising order.
        log: whether its scale is logarithmic.
    """

    path: str
    values: tuple[float, ...]
    log: bool

    @property
    def name(self) -> str:
        """Return its letter or word."""
        return {"lr": "learning rate"}.get(short(self.path), short(self.path))

    @property
    def label(self) -> str:
        """Return its name, and its path where that says more."""
        said = self.path.replace("_", " ") == self.name
        return self.name if said else f"{self.name} ({self.path})"

    def position(self, value: float) -> float:
        """Return where a value is drawn: 0 has its place left of a log scale."""
        if not self.log or value > 0:
            return value
        positive = _positive(self)
        ratio = positive[1] / positive[0] if len(positive) > 1 else 10.0
        return positive[0] / max(ratio, 2.0)


@dataclass(frozen=True)
class Point:
    """One setting: its place, metrics by name as (mean, half), and how many runs."""

    x: float
    y: float | None
    metrics: dict[str, tuple[float, float]]
    n: int
    diverged: int


@dataclass(frozen=True)
class Line:
    """The settings that differ in x alone, in rising order of x."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class HeatMap:
    """The settings over x and y, for one choice of everything else."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Grids:
    """What a sweep varied.

    Attributes:
        x: λ where it was varied, else the first number that was; None where none was.
        y: the learning rate, else the second number.
        dense: whether settings stand on a grid of x and y, or are scattered (a random
            search), where lines between them would say nothing.
        lines: over x.
        maps: over x and y, the first twelve.
        left_out: how many maps are not among these.
    """

    x: Axis | None = None
    y: Axis | None = None
    dense: bool = True
    lines: tuple[Line, ...] = ()
    maps: tuple[HeatMap, ...] = ()
    left_out: int = 0
    metrics: tuple[str, ...] = field(default=())


def grids(groups: Sequence[Group], metrics: Sequence[str]) -> Grids:
    """Return lines and maps of the groups' metrics over what was varied."""
    axes = sorted(_axes(groups), key=_rank)
    if not axes:
        return Grids()
    x, y = axes[0], axes[1] if len(axes) > 1 else None
    used = [g for g in groups if x.path in dict(g.labels)]
    if y is None:
        return Grids(
            x, None, True, _lines(used, x, None, metrics, ()), (), 0, tuple(metrics)
        )
    places = {(dict(g.labels)[x.path], dict(g.labels).get(y.path)) for g in used}
    dense = len(x.values) * len(y.values) <= 2 * len(places)
    left_out = () if dense else (y.path,)
    lines = _lines(used, x, y, metrics, left_out)
    maps = _maps([g for g in used if y.path in dict(g.labels)], x, y, metrics)
    return Grids(
        x, y, dense, lines, maps[:_MAPS], max(0, len(maps) - _MAPS), tuple(metrics)
    )


def _rank(axis: Axis) -> tuple[int, int]:
    """λ first, then the learning rate, then what has most values."""
    named = {"λ": 0, "lr": 1}.get(short(axis.path), 2)
    return named, -len(axis.values)


def _axes(groups: Sequence[Group]) -> list[Axis]:
    values: dict[str, set[Any]] = {}
    for group in groups:
        for path, value in group.labels:
            values.setdefault(path, set()).add(value)
    return [
        Axis(path, tuple(sorted(found)), _is_log(path, found))
        for path, found in values.items()
        if len(found) > 1 and all(map(_is_number, found))
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_log(path: str, values: set[float]) -> bool:
    positive = [v for v in values if v > 0]
    if min(values) < 0 or not positive:
        return False
    return short(path) in ("λ", "lr") or max(positive) >= 20 * min(positive)


def _apart(group: Group, without: tuple[str, ...]) -> str:
    """Return the group's arm and labels but for some paths, in words."""
    rest = tuple((k, v) for k, v in group.labels if k not in without)
    name = Group(group.arm, rest).name
    return "" if name == "all runs" else name


def _point(group: Group, x: Axis, y: Axis | None, metrics: Sequence[str]) -> Point:
    labels = dict(group.labels)
    return Point(
        labels[x.path],
        labels.get(y.path) if y else None,
        group.metrics(metrics),
        len(group.finished),
        group.diverged,
    )


def _lines(
    groups: Sequence[Group],
    x: Axis,
    y: Axis | None,
    metrics: Sequence[str],
    left_out: tuple[str, ...],
) -> tuple[Line, ...]:
    found: dict[str, list[Point]] = {}
    for group in groups:
        name = _apart(group, (x.path, *left_out)) or "all settings"
        found.setdefault(name, []).append(_point(group, x, y, metrics))
    return tuple(
        Line(name, tuple(sorted(points, key=lambda p: p.x)))
        for name, points in found.items()
    )


def _maps(
    groups: Sequence[Group], x: Axis, y: Axis, metrics: Sequence[str]
) -> tuple[HeatMap, ...]:
    found: dict[str, list[Point]] = {}
    for group in groups:
        name = _apart(group, (x.path, y.path))
        found.setdefault(name, []).append(_point(group, x, y, metrics))
    return tuple(HeatMap(name, tuple(points)) for name, points in found.items())


def ticks(axis: Axis, most: int = 12) -> tuple[tuple[float, str], ...]:
    """Return places of an axis with their words: its values, or else round numbers.

    >>> ticks(Axis("decay.strength", (0.0, 0.01, 0.1), True))
    ((0.001, '0'), (0.01, '0.01'), (0.1, '0.1'))
    """
    values: Sequence[float] = axis.values
    if len(values) > most and axis.log:
        low, high = (
            math.log10(max(v, 1e-300)) for v in (_positive(axis)[0], values[-1])
        )
        decades = [
            10.0**p for p in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
        ]
        values = (
            [*(v for v in values if v == 0), *decades] if len(decades) > 1 else values
        )
    every = -(-len(values) // most)
    return tuple((axis.position(v), in_text(v)) for v in values[::every])


def _positive(axis: Axis) -> list[float]:
    return [v for v in axis.values if v > 0]
