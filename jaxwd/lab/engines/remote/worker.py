"""What runs in a worker's process: a warm program, and a stream of what it does."""

import os
import platform
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from jaxwd.data import Dataset
from jaxwd.lab.engines.choose import chosen
from jaxwd.lab.engines.drive import Ticket, drive
from jaxwd.lab.engines.groups import Group
from jaxwd.lab.engines.interface import Engine, Job
from jaxwd.lab.engines.memory import fitting
from jaxwd.lab.engines.outcome import Outcome, Row
from jaxwd.lab.engines.remote import same
from jaxwd.lab.engines.remote.messages import (
    About,
    Compiled,
    Ended,
    Message,
    Order,
    Ready,
    Rows,
    Says,
)
from jaxwd.lab.engines.table import engine as engine_of

_JOBS = 2
"""Groups whose data a worker keeps on its device."""
_TRIED = 4096
"""Members beyond which an engine's width does not grow."""


class Outbox:
    """A `Recorder` for the driver of lanes that puts what it is told into a queue."""

    def __init__(self) -> None:
        self.waiting: queue.SimpleQueue[Message | BaseException | None] = (
            queue.SimpleQueue()
        )

    def rows(self, rows: Any, seconds: float) -> None:
        """Tell of epochs."""
        self.waiting.put(Rows([(t.place, row) for t, row in rows], seconds))

    def ended(self, ticket: Ticket, outcome: Outcome) -> None:
        """Tell how a member ended."""
        final: Row | None = outcome.final
        self.waiting.put(
            Ended(
                *(ticket.place, outcome.status, outcome.message, outcome.step),
                *(final, outcome.seconds),
            )
        )

    def settle(self) -> None:
        """Do nothing: the driver writes what arrives together."""

    def compiled(self, engine: str, lanes: int, seconds: float) -> None:
        """Tell of a compilation."""
        self.waiting.put(Compiled(engine, lanes, seconds))

    def says(self, message: str) -> None:
        """Tell what a person should know."""
        self.waiting.put(Says(message))

    def batches(self, every: float) -> Iterator[list[Message]]:
        """Yield what was told, together what was told within `every` seconds."""
        while True:
            batch, until = [], time.monotonic() + every
            while (left := until - time.monotonic()) > 0:
                try:
                    got = self.waiting.get(timeout=left)
                except queue.Empty:
                    break
                if isinstance(got, BaseException):
                    if batch:
                        yield batch
                    raise got
                if got is None:
                    if batch:
                        yield batch
                    return
                batch.append(got)
            if batch:
                yield batch


class Worker:
    """A process of a cluster that trains chunks; Ray makes an actor of it.

    Args:
        data: shared by all members.
        settings: of the driver's JAX.
    """

    def __init__(self, data: Dataset, settings: dict[str, Any]) -> None:
        same.apply(settings)
        self.data = data
        self.groups: dict[int, Group] = {}
        self.jobs: dict[int, Job] = {}

    def about(self) -> About:
        """Return which code this is and which hardware, once the device answers."""
        import jax

        from jaxwd.lab.provenance import hardware, provenance

        made_by = provenance()
        names = ("system", "processor", "cores", "devices")
        return {
            "code": same.code(),
            "pid": os.getpid(),
            "platform": jax.default_backend(),
            "hardware": hardware(),
            "worker": {name: made_by[name] for name in names}
            | {"host": platform.node(), "threads": same.threads()},
        }

    def train(self, order: Order) -> Iterator[list[Message]]:
        """Do what is ordered, and yield what happens meanwhile."""
        outbox = Outbox()

        def work() -> None:
            try:
                self._follow(order, outbox)
            except BaseException as error:
                outbox.waiting.put(error)
            else:
                outbox.waiting.put(None)

        threading.Thread(target=work, name="jaxwd-lanes", daemon=True).start()
        yield from outbox.batches(order.every)

    def _follow(self, order: Order, outbox: Outbox) -> None:
        job = self._job(order)
        if not order.members:
            row, width, timings = self._choose(order, job)
            began = time.perf_counter()
            lanes = fitting(row, job, width)
            outbox.compiled(row.name, lanes.width, time.perf_counter() - began)
            outbox.waiting.put(Ready(row.name, lanes.width, row.idle_is_free, timings))
            return
        row, width = engine_of(order.engine), order.width or 1
        if not row.idle_is_free and 2 * len(order.members) <= width:
            width = row.width(len(order.members), width)
        waiting = [Ticket(place, recipe, ()) for place, recipe in order.members]

        def take(free: int) -> list[Ticket]:
            taken = waiting[:free]
            del waiting[:free]
            return taken

        reached = drive(row, job, width, take, outbox)
        if reached < width:
            outbox.waiting.put(Ready(row.name, reached, row.idle_is_free, {}))

    def _choose(self, order: Order, job: Job) -> tuple[Engine, int, dict]:
        if order.engine == "auto":
            return chosen(job, [order.like] * min(order.count, _TRIED), order.chunk)
        row = engine_of(order.engine)
        return row, row.width(order.count, order.chunk), {}

    def _job(self, order: Order) -> Job:
        """Return a group's job; the data of the last few groups stays on the device."""
        group = self.groups.setdefault(order.number, order.group)
        job = self.jobs.pop(order.number, None) or Job.of(group, self.data)
        while len(self.jobs) >= _JOBS:
            del self.jobs[next(iter(self.jobs))]
        self.jobs[order.number] = job
        return replace(job, splits=order.splits)
