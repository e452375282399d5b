"""`auto`: a few steps of the real program on every engine that fits, and the best."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from jaxwd.data.dataset import Split
from jaxwd.lab.engines.interface import Engine, Job, Lanes
from jaxwd.lab.engines.memory import exhausted, fitting
from jaxwd.lab.engines.table import ENGINES
from jaxwd.training import Recipe

_STEPS, _ROUNDS, _LANES = 16, 3, 16
_WORTH = 2000
"""Steps of a group, all members together, below which no trial is worth compiling."""
_TICK = 1.0
"""Seconds that an epoch of all lanes may take where lanes cost nothing but waiting."""


class Choice(NamedTuple):
    """What the trial said.

    Attributes:
        engine: the quickest.
        width: how many lanes it should have.
        timings: milliseconds a step and member, by engine; empty without a trial.
    """

    engine: Engine
    width: int
    timings: dict[str, float]


def chosen(job: Job, recipes: Sequence[Recipe], chunk: int | None) -> Choice:
    """Return the engine that trains these members quickest.

    A small group is not worth a trial: it runs as on a single device.
    """
    rows = [row for row in ENGINES.values() if row.fits()]
    epochs = job.group.structure.epochs
    if len(recipes) == 1:
        return _untried(ENGINES["loop"], recipes, chunk)
    if len(recipes) * epochs * job.steps < _WORTH:
        by_name = {row.name: row for row in rows}
        row = by_name.get("devices") or by_name.get("map") or by_name["vmap"]
        return _untried(row, recipes, chunk)
    timings = trial(rows, job, recipes, chunk)
    row = ENGINES[min(timings, key=lambda name: timings[name])]
    width = row.width(len(recipes), chunk)
    if chunk is None and row.idle_is_free:
        # More of them wait in one another's way: a stop loses what all have begun. So as
        # many as an epoch of all of them may take, and many where members are tiny.
        epoch = timings[row.name] * 1e-3 * job.steps
        lanes = min(max(int(_TICK / epoch), 1), len(recipes), 1024)
        width = replace(row, widest=lambda members: lanes).width(len(recipes), None)
    return Choice(row, width, timings)


def _untried(row: Engine, recipes: Sequence[Recipe], chunk: int | None) -> Choice:
    return Choice(row, row.width(len(recipes), chunk), {})


def trial(
    rows: Sequence[Engine], job: Job, recipes: Sequence[Recipe], chunk: int | None
) -> dict[str, float]:
    """Return the milliseconds a step and member takes on each engine.

    Engines take turns, and the median of the rounds counts. An engine that runs out of
    memory is left out.
    """
    job = _shortened(job)
    ready: dict[str, tuple[Lanes, list[int]]] = {}
    for row in rows:
        width = min(row.width(len(recipes), chunk), _LANES)
        width = -(-width // row.multiple()) * row.multiple()
        try:
            lanes = fitting(row, job, width)
            held = list(range(min(lanes.width, len(recipes))))
            lanes.enter({lane: recipes[lane] for lane in held}, {})
            _epoch(lanes, held)
        except Exception as error:
            if not exhausted(error):
                raise
            continue
        ready[row.name] = (lanes, held)
    found: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(_ROUNDS):
        for name, (lanes, held) in ready.items():
            began = time.perf_counter()
            _epoch(lanes, held)
            took = time.perf_counter() - began
            found[name].append(1e3 * took / (len(held) * job.steps))
    return {name: statistics.median(times) for name, times in found.items()}


def _shortened(job: Job) -> Job:
    """Return the job with a few steps an epoch, and as small a part of its validation."""
    steps = min(_STEPS, job.steps)
    whole = job.arrays.validation
    part = max(whole.examples * steps // job.steps, 1)
    short = Split(whole.inputs[:part], whole.targets[:part])
    return replace(job, limit=steps, arrays=job.arrays._replace(validation=short))


def _epoch(lanes: Lanes, held: list[int]) -> None:
    lanes.epoch([0 if lane in held else None for lane in range(lanes.width)])
