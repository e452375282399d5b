"""Which values are tried: the same number for every arm, a pure function of a seed."""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import qmc

from jaxwd.errors import InputError, require, unknown
from jaxwd.lab.ranges import Range

Values = tuple[tuple[str, Any], ...]
SEARCHES = ("sobol", "grid")


def suggestions(
    ranges: Mapping[str, Range],
    trials: int,
    *,
    search: str = "sobol",
    seed: int = 0,
) -> list[Values]:
    """Return the values of every trial, as (path, value) pairs.

    `sobol`: the Sobol sequence, shifted by random numbers modulo 1; it fills the ranges
    evenly, and a longer one begins with the shorter. Arms that share their first path
    share its points too, say the learning rates of an arm with and of one without
    decay. `grid`: every combination of equally many values on each axis, ends included.

    Args:
        ranges: path of the recipe → where to look.
        trials: how many; a grid needs a number that its axes can share.
        search: `sobol` or `grid`.
        seed: of the shift.

    Raises:
        InputError: unknown search, a number of trials that makes no grid, choices that
            alone are more than the trials of a grid.

    Sources: Bergstra and Bengio, Random search for hyper-parameter optimization, 2012;
    Cranley and Patterson, Randomization of number theoretic methods for multiple
    integration, 1976.

    >>> from jaxwd.lab.ranges import choices, log_range
    >>> for values in suggestions({"a": log_range(1, 100), "b": choices(1, 2)}, 6,
    ...                           search="grid")[:3]:
    ...     print(values)
    (('a', 1.0), ('b', 1))
    (('a', 1.0), ('b', 2))
    (('a', 10.0), ('b', 1))
    """
    require("trials", trials, 1, whole=True)
    if search not in SEARCHES:
        raise unknown("search", search, SEARCHES)
    if not ranges:
        raise InputError("no ranges to search; give path → range, as in tune={...}")
    # The learning rate first, whatever the order given: arms share its points.
    paths = sorted(ranges, key=lambda path: (path != "learning_rate", path))
    if search == "grid":
        columns = _columns([ranges[path] for path in paths], trials)
        rows = itertools.product(*columns)
        return [tuple(zip(paths, row, strict=True)) for row in rows]
    sequence = qmc.Sobol(len(paths), scramble=False)
    points = sequence.random_base2(math.ceil(math.log2(trials)))[:trials]
    points = (points + np.random.default_rng(seed).random(len(paths))) % 1.0
    return [
        tuple((path, ranges[path].at(u)) for path, u in zip(paths, point, strict=True))
        for point in points.tolist()
    ]


def _columns(ranges: list[Range], trials: int) -> list[list[Any]]:
    """Return the values of each axis of a grid of exactly `trials` cells."""
    chosen = math.prod(len(r.values) for r in ranges if r.values)
    free = sum(not r.values for r in ranges)
    each = round((trials / chosen) ** (1 / free)) if free else 1
    if each < 1 or each**free * chosen != trials:
        few = max(math.floor((trials / chosen) ** (1 / max(free, 1))), 2)
        near = [k**free * chosen for k in ((few, few + 1) if free else (1,))]
        raise InputError(
            f"trials={trials} makes no grid over {len(ranges)} ranges; give "
            f"{' or '.join(map(str, near))}, or use the search sobol"
        )
    return [r.grid(each) for r in ranges]
