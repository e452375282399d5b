"""Lanes driven epoch by epoch: who enters, who diverged, who is done, what is written."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import jax
import numpy as np

from jaxwd.lab.engines.interface import Engine, Epoch, Job, Lanes
from jaxwd.lab.engines.memory import exhausted, fitting, halved
from jaxwd.lab.engines.outcome import Outcome, Row
from jaxwd.lab.grid import Labels
from jaxwd.training import Recipe, State
from jaxwd.training.epochs import not_finite, row_of


@dataclass
class Ticket:
    """One member on its way through the lanes.

    Attributes:
        place: its place in the grid.
        recipe: what is run.
        labels: what was varied.
        history: the epochs so far.
        seconds: its share of the wall time so far.
        saved: epoch and state to go on from, None for the start.
        told: epochs that were recorded already, before it had to start again.
    """

    place: int
    recipe: Recipe
    labels: Labels
    history: list[Row] = field(default_factory=list)
    seconds: float = 0.0
    saved: tuple[int, State] | None = None
    told: int = 0

    def rewind(self) -> None:
        """Go back to the saved state, or to the start."""
        del self.history[self.saved[0] if self.saved else 0 :]


class Recorder(Protocol):
    """What the driver tells; the ledger and the watcher stand behind it."""

    def rows(self, rows: Sequence[tuple[Ticket, Row]], seconds: float) -> None:
        """Record epochs that ended together, and what they took."""

    def ended(self, ticket: Ticket, outcome: Outcome) -> None:
        """Record how a member ended."""

    def settle(self) -> None:
        """Learn that a round is over: what it recorded belongs together."""

    def compiled(self, engine: str, lanes: int, seconds: float) -> None:
        """Record a compilation."""

    def says(self, message: str) -> None:
        """Say something a person should know."""


Queue = Callable[[int], list[Ticket]]
"""How many lanes are free → at most as many tickets; none when there are no more."""


def drive(
    row: Engine,
    job: Job,
    width: int,
    queue: Queue,
    recorder: Recorder,
    until: int | None = None,
) -> int:
    """Run all that the queue gives, to the end or until an epoch; return the width.

    Where memory is exhausted the lanes are halved and their members begin again.

    Args:
        row: the engine.
        job: what the members share.
        width: how many lanes to begin with.
        queue: where members come from, whenever lanes are free.
        recorder: told of everything.
        until: members pause behind this many epochs, with their state in the ticket.
    """
    again: list[Ticket] = []

    def next_ones(free: int) -> list[Ticket]:
        held = again[:free]
        del again[:free]
        return held + (queue(free - len(held)) if len(held) < free else [])

    while True:
        inside: dict[int, Ticket] = {}
        try:
            lanes = fitting(row, job, width)
            if lanes.width < width:
                recorder.says(
                    f"{lanes.width} members at a time instead of {width}: memory"
                )
            width = lanes.width
            if lanes.compile_seconds > 0.01:
                recorder.compiled(row.name, width, lanes.compile_seconds)
            _run(lanes, job, inside, next_ones, recorder, until)
            return width
        except (jax.errors.JaxRuntimeError, MemoryError) as error:
            if not exhausted(error):
                raise
            narrower = halved(row, width, error)
            recorder.says(
                f"memory exhausted with {width} members at a time; going on with "
                f"{narrower}"
            )
            width = narrower
            for ticket in inside.values():
                ticket.rewind()
            again += inside.values()


def _run(
    lanes: Lanes,
    job: Job,
    inside: dict[int, Ticket],
    queue: Queue,
    recorder: Recorder,
    until: int | None,
) -> None:
    """Fill free lanes and train all of them by an epoch, until nobody is left."""
    epochs = job.group.structure.epochs
    until = epochs if until is None else min(until, epochs)
    while True:
        free = [lane for lane in range(lanes.width) if lane not in inside]
        new = dict(zip(free, queue(len(free)) if free else [], strict=False))
        inside |= new
        if not inside:
            return
        began, compiled = time.perf_counter(), lanes.compile_seconds
        _enter(lanes, new)
        at = {lane: len(ticket.history) for lane, ticket in inside.items()}
        got = lanes.epoch([at.get(lane) for lane in range(lanes.width)])
        leaving: dict[int, Outcome] = {}
        rows: list[tuple[Ticket, Row]] = []
        for lane, ticket in inside.items():
            row, bad = _judge(job, ticket, lane, got)
            if bad is None:
                ticket.history.append(row)
                rows.append((ticket, row))
            else:
                leaving[lane] = _outcome(ticket, "diverged", bad[1], bad[0])
        done = [t for t in inside if len(inside[t].history) == epochs]
        done = [lane for lane in done if lane not in leaving]
        for lane, final in _finals(lanes, job, inside, done).items():
            leaving[lane] = _outcome(inside[lane], "finished", final=final)
        paused = [
            lane
            for lane, ticket in inside.items()
            if lane not in leaving and len(ticket.history) == until
        ]
        for lane, state in (lanes.leave(paused) if paused else {}).items():
            inside[lane].saved = (until, state)
        took = time.perf_counter() - began - (lanes.compile_seconds - compiled)
        _share(took, inside, rows)
        fresh = [(t, row) for t, row in rows if row["epoch"] > t.told]
        for ticket, row in fresh:
            ticket.told = row["epoch"]
        recorder.rows(fresh, took)
        for lane, outcome in leaving.items():
            recorder.ended(inside[lane], _timed(outcome, inside[lane]))
        recorder.settle()
        for lane in (*leaving, *paused):
            del inside[lane]


def _enter(lanes: Lanes, new: dict[int, Ticket]) -> None:
    if new:
        lanes.enter(
            {lane: t.recipe for lane, t in new.items() if t.saved is None},
            {lane: (t.recipe, t.saved[1]) for lane, t in new.items() if t.saved},
        )


def _judge(
    job: Job, ticket: Ticket, lane: int, got: Epoch
) -> tuple[Row, tuple[int, str] | None]:
    """Return the lane's row of metrics, and step and message where it diverged."""
    epoch, losses = len(ticket.history), got.losses[lane]
    info = {name: values[lane] for name, values in got.info.items()}
    row: Row = dict(row_of(epoch, losses, got.scores[lane], info, job.score))
    loss, score = (values[lane] for values in got.validation)
    row["validation_loss"] = loss.item()
    row[f"validation_{job.score}"] = score.item()
    row["seconds"] = 0.0
    bad = not_finite(ticket.recipe, losses, epoch, job.steps) or not_finite(
        ticket.recipe, np.array([loss]), epoch, job.steps
    )
    return row, bad


def _finals(
    lanes: Lanes, job: Job, inside: dict[int, Ticket], done: list[int]
) -> dict[int, Row]:
    """Return the metrics at the end of the lanes that are done."""
    if not done:
        return {}
    found = {lane: dict(inside[lane].history[-1]) for lane in done}
    for part in job.splits:
        loss, score = lanes.final(part, done)
        for lane, final in found.items():
            final[f"{part}_loss"] = loss[lane].item()
            final[f"{part}_{job.score}"] = score[lane].item()
    return found


def _share(took: float, inside: dict[int, Ticket], rows: list) -> None:
    """Share out the wall time evenly among those who ran."""
    for ticket in inside.values():
        ticket.seconds += took / len(inside)
    for ticket, row in rows:
        row["seconds"] = ticket.seconds


def _timed(outcome: Outcome, ticket: Ticket) -> Outcome:
    final = outcome.final
    if final is not None:
        final = final | {"seconds": ticket.seconds}
    return replace(outcome, seconds=ticket.seconds, final=final)


def _outcome(
    ticket: Ticket,
    status: str,
    message: str = "",
    step: int | None = None,
    final: Any = None,
) -> Outcome:
    return Outcome(
        ticket.recipe,
        ticket.labels,
        ticket.history,
        final,
        message,
        step,
        status,
        ticket.seconds,
    )
