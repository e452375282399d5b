"""`auto`: an epoch alone says what a trial is worth; then those that may win, measured.

A trial must not cost what it can save. So one member is timed alone first; an engine is
tried only where the most that it could save is several times what compiling it takes.
What is run then are real epochs at the real width, whose programs the winner keeps; only
where those would be long are they cut short.
"""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from jaxwd.data.splits import Split
from jaxwd.lab.engines.interface import Engine, Job, Lanes
from jaxwd.lab.engines.memory import exhausted, fitting
from jaxwd.lab.engines.table import ENGINES
from jaxwd.runtime import cores
from jaxwd.training import Recipe

_STEPS, _ROUNDS = 16, 3
_WORTH = 20
"""Epochs of a group, all members together, below which nothing is measured."""
_TICK = 1.0
"""Seconds that an epoch of all lanes may take where lanes cost nothing but waiting."""
_CALL = 2e-3
"""Seconds: more than calling a program for an epoch costs beside its computing."""
_TIMES = 5.0
"""How much more than its compilation an engine could save at most, to be tried."""
_COMPILE = 0.5
"""Seconds that compiling takes at least, also where the first program was at hand."""


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


class Alone(NamedTuple):
    """One member alone.

    Attributes:
        epoch: seconds of an epoch with its validation.
        compile: seconds of compiling it.
        busy: how many cores it kept busy.
    """

    epoch: float
    compile: float
    busy: float


def chosen(job: Job, recipes: Sequence[Recipe], chunk: int | None) -> Choice:
    """Return the engine that trains these members quickest.

    A group of few epochs is not worth a trial: it runs as on a single device.
    """
    rows = {row.name: row for row in ENGINES.values() if row.fits()}
    epochs = len(recipes) * job.group.structure.epochs
    if len(recipes) == 1:
        return _untried(ENGINES["loop"], recipes, chunk)
    if epochs < _WORTH:
        row = rows.get("devices") or rows.get("map") or rows["vmap"]
        return _untried(row, recipes, chunk)
    one = alone(job, recipes[0])
    timings = {"loop": 1e3 * one.epoch / job.steps}
    others = [row for row in rows.values() if row.name != "loop"]
    tried = [row for row in others if worth_trying(row, one, epochs)]
    if tried:
        timings |= trial(tried, job, recipes, chunk, one)
    row = ENGINES[min(timings, key=lambda name: timings[name])]
    return Choice(row, width(row, len(recipes), chunk, one), timings)


def _untried(row: Engine, recipes: Sequence[Recipe], chunk: int | None) -> Choice:
    return Choice(row, row.width(len(recipes), chunk), {})


def alone(job: Job, recipe: Recipe) -> Alone:
    """Return what a member takes alone, over one epoch behind one not counted."""
    lanes = ENGINES["loop"].lanes(job, 1)
    lanes.enter({0: recipe}, {})
    lanes.epoch([0])
    began, worked = time.perf_counter(), time.process_time()
    lanes.epoch([1])
    took = time.perf_counter() - began
    return Alone(took, lanes.compile_seconds, (time.process_time() - worked) / took)


def saving(row: Engine, one: Alone, epochs: int) -> float:
    """Return the most seconds that an engine could save over one by one.

    Lane after lane (`map`) saves calls, several devices also idle cores; of stacked
    weights nobody knows before.
    """
    if row.name.endswith("vmap"):
        return epochs * one.epoch
    least = max(one.epoch - _CALL, 0.0)
    if row.name == "devices":
        least /= max(cores() / max(one.busy, 1.0), 1.0)
    return epochs * (one.epoch - least)


def worth_trying(row: Engine, one: Alone, epochs: int) -> bool:
    """Say whether an engine could save much more than compiling it will take."""
    return saving(row, one, epochs) > _TIMES * max(one.compile, _COMPILE)


def width(row: Engine, members: int, chunk: int | None, one: Alone) -> int:
    """Return how many lanes an engine should have.

    Where lanes wait in one another's way, a stop loses what all have begun: so as many
    as an epoch of all of them may take, and many where members are tiny.
    """
    if chunk is not None or not row.idle_is_free:
        return row.width(members, chunk)
    lanes = min(max(int(_TICK / one.epoch), 1), members, 1024)
    return replace(row, widest=lambda members: lanes).width(members, None)


def trial(
    rows: Sequence[Engine],
    job: Job,
    recipes: Sequence[Recipe],
    chunk: int | None,
    one: Alone,
) -> dict[str, float]:
    """Return the milliseconds a step and member takes on each engine.

    Engines take turns, and the median of the rounds counts. An engine that runs out of
    memory is left out.
    """
    ready: dict[str, tuple[Lanes, list[int], int]] = {}
    for row in rows:
        wide = width(row, len(recipes), chunk, one)
        short = _shortened(job, wide * one.epoch)
        try:
            lanes = fitting(row, short, wide)
            held = list(range(min(lanes.width, len(recipes))))
            lanes.enter({lane: recipes[lane] for lane in held}, {})
            _epoch(lanes, held)
        except Exception as error:
            if not exhausted(error):
                raise
            continue
        ready[row.name] = (lanes, held, short.steps)
    found: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(_ROUNDS):
        for name, (lanes, held, steps) in ready.items():
            began = time.perf_counter()
            _epoch(lanes, held)
            took = time.perf_counter() - began
            found[name].append(1e3 * took / (len(held) * steps))
    return {name: statistics.median(times) for name, times in found.items()}


def _shortened(job: Job, seconds: float) -> Job:
    """Return the job; with fewer steps and less validation where an epoch is long."""
    steps = max(math.ceil(job.steps * min(_TICK / seconds, 1.0)), _STEPS)
    if steps >= job.steps:
        return job
    whole = job.arrays.validation
    part = max(whole.examples * steps // job.steps, 1)
    short = Split(whole.inputs[:part], whole.targets[:part])
    return replace(job, limit=steps, arrays=job.arrays._replace(validation=short))


def _epoch(lanes: Lanes, held: list[int]) -> None:
    lanes.epoch([0 if lane in held else None for lane in range(lanes.width)])
