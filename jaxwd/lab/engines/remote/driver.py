"""The driver: tells the scheduler what happens, and is the only one who writes."""

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from jaxwd.lab.engines.drive import Ticket
from jaxwd.lab.engines.many import Sweep
from jaxwd.lab.engines.outcome import Outcome
from jaxwd.lab.engines.remote import messages as say
from jaxwd.lab.engines.remote.pool import Done, Joined, Lost, Told
from jaxwd.lab.engines.remote.queues import Chunk
from jaxwd.lab.engines.remote.scheduler import Scheduler
from jaxwd.lab.engines.remote.staff import PATIENCE, Staff, WorkersLost

if TYPE_CHECKING:
    from jaxwd.lab.ledger import Ledger

_EVERY, _MESSAGES = 0.25, 400
"""Seconds between two messages of a worker; messages a second of all, at most."""


class Driver:
    """One sweep on a cluster."""

    def __init__(self, sweep: Sweep, staff: Staff, ledger: "Ledger | None") -> None:
        self.sweep, self.book, self.ledger = sweep, sweep.book, ledger
        self.staff, self.pool, self.cluster = staff, staff.pool, staff.cluster
        self.tickets: dict[int, Ticket] = {}
        self.engines: dict[int, str] = {}
        self.ours = False

    def run(self) -> list[Outcome]:
        """Run what has not ended, and what other processes leave."""
        left = self.book.tickets(range(len(self.sweep.members)))
        while left:
            self._run(left)
            left, self.ours = self.book.waited(), True
        return self.sweep.outcomes()

    def _run(self, tickets: Sequence[Ticket]) -> None:
        self.tickets = {ticket.place: ticket for ticket in tickets}
        groups = {
            number: [place for place in group.places if place in self.tickets]
            for number, group in enumerate(self.sweep.groups)
        }
        epochs = {n: g.structure.epochs for n, g in enumerate(self.sweep.groups)}
        most = self.cluster.max_in_flight
        rules = replace(self.cluster.rules, in_flight=most)
        self.scheduler = Scheduler(groups, epochs, rules, self._claim)
        self.sizes = {number: len(places) for number, places in groups.items()}
        for worker, about in self.staff.joined.items():
            self.scheduler.joined(worker, about["worker"]["host"])
        while not self.scheduler.over:
            self._say(self.staff.hire(self.scheduler.wanted))
            self._hand_out()
            events = [*self.pool.wait(PATIENCE)]
            with self._together():
                for event in events:
                    self._happened(event)
            self._end_the_hanging()
            if self.scheduler.hopeless:
                raise WorkersLost(
                    f"{self.scheduler.fruitless} workers were lost and none trained an "
                    f"epoch, the last: {self.why}; what has ended is kept"
                )

    # --- work goes out ----------------------------------------------------------------

    def _claim(self, places: list[int]) -> list[int]:
        if self.ours:
            return places
        asked = [self.tickets[place] for place in places]
        return [ticket.place for ticket in self.book.claimed(asked, len(asked))]

    def _hand_out(self) -> None:
        scheduler = self.scheduler
        idle = [w for w in self.staff.joined if scheduler.chunks[w] is None]
        given: list[tuple[int, Chunk]] = []
        if idle and scheduler.left:
            with self._together():
                for worker in idle:
                    chunk = scheduler.next(worker, time.monotonic())
                    if chunk is not None:
                        self._note(chunk, self.staff.joined[worker])
                        given.append((worker, chunk))
        for worker, chunk in given:
            self.pool.give(worker, self._order(chunk))
        idle = [w for w in idle if scheduler.chunks[w] is None]
        for worker in self.staff.let_go(idle, scheduler.left > 0):
            scheduler.gone(worker)

    def _note(self, chunk: Chunk, about: say.About) -> None:
        """Write beside the members of a chunk who trains them."""
        if self.ledger is not None and chunk.places:
            keys = [self.book.keys[place] for place in chunk.places]
            self.ledger.made_by(keys, {"worker": about["worker"]})

    def _order(self, chunk: Chunk) -> say.Order:
        number, scheduler = chunk.group, self.scheduler
        group = self.sweep.groups[number]
        recipes = [(p, self.sweep.members[p].recipe) for p in chunk.places]
        room = max(self.staff.room, len(self.pool.actors))
        workers = max(min(scheduler.wanted, room), 1)
        return say.Order(
            number,
            group._replace(places=[]),
            recipes,
            self.sweep.members[group.places[0]].recipe,
            self.engines.get(number, self.cluster.worker_engine),
            scheduler.queues[number].lanes if recipes else None,
            math.ceil(self.sizes[number] / workers),
            self.sweep.chunk,
            self.sweep.splits,
            max(_EVERY, scheduler.busy / _MESSAGES),
        )

    # --- news come in -----------------------------------------------------------------

    def _happened(self, event: Joined | Told | Done | Lost) -> None:
        worker = event.worker
        match event:
            case Joined():
                self.staff.joined[worker] = event.about
                self.scheduler.joined(worker, event.about["worker"]["host"])
            case Told():
                self._told(worker, event.messages)
            case Done():
                self.scheduler.done(worker)
            case Lost():
                self._lost(worker, event.why, event.node, event.error)

    def _told(self, worker: int, messages: Sequence[say.Message]) -> None:
        chunk = self.scheduler.chunks[worker]
        assert chunk is not None
        epochs, seconds, ended = 0, 0.0, []
        for message in messages:
            match message:
                case say.Rows():
                    epochs += len(message.rows)
                    seconds += message.seconds
                    self._rows(message)
                case say.Ended():
                    ended.append(message.place)
                    self._ended(message, self.engines[chunk.group])
                case say.Ready():
                    self._ready(worker, chunk, message)
                case say.Compiled() if chunk.places:  # found in the cache, as a rule
                    self.book.compile_seconds += message.seconds
                case say.Compiled():
                    self.book.compiled(*message)
                case say.Says():
                    self._say(message.message)
        self.scheduler.heard(worker, time.monotonic(), epochs, seconds, ended)

    def _ready(self, worker: int, chunk: Chunk, message: say.Ready) -> None:
        self.engines[chunk.group] = message.engine
        self.scheduler.ready(worker, message.lanes, message.idle_is_free)
        if not chunk.places:
            self.sweep.watcher.chosen(message.engine, message.timings)

    def _rows(self, message: say.Rows) -> None:
        fresh = []
        for place, row in message.rows:
            ticket = self.tickets[place]
            ticket.history.append(row)
            if row["epoch"] > ticket.told:  # else told by a worker that was lost
                ticket.told = row["epoch"]
                fresh.append((ticket, row))
        self.book.rows(fresh, message.seconds / max(self.scheduler.busy, 1))

    def _ended(self, message: say.Ended, engine: str) -> None:
        ticket = self.tickets[message.place]
        ticket.seconds = message.seconds
        self.book.engine = engine
        outcome = _outcome(ticket, message.status, message.message)
        final = message.final
        self.book.ended(ticket, replace(outcome, step=message.step, final=final))
        ticket.history = []  # the outcome has it, packed where there are many

    # --- losses -----------------------------------------------------------------------

    def _end_the_hanging(self) -> None:
        now = time.monotonic()
        for worker in self.scheduler.overdue(now):
            chunk = self.scheduler.chunks[worker]
            assert chunk is not None
            self.pool.end(worker)
            with self._together():
                why = f"no sign of life for {now - chunk.heard:.0f} s"
                node = self.scheduler.frozen(worker, now)
                self._lost(worker, why + " nor of others there" * node, node)

    def _lost(
        self, worker: int, why: str, node: bool, error: BaseException | None = None
    ) -> None:
        self.why = why
        about = self.staff.joined.pop(worker, None)
        if about is None:  # before it joined
            self.scheduler.lost_at_start(time.monotonic())
            self._say(f"a worker was lost at its start: {why}")
            return
        chunk = self.scheduler.chunks[worker]
        loss = self.scheduler.lost(worker, time.monotonic(), node=node)
        if loss.given_up and error is not None and chunk and not chunk.places:
            raise error  # of the place, not of the members: they wait for a better day
        for place in loss.again:
            self.tickets[place].rewind()
        for place in loss.given_up:
            ticket = self.tickets[place]
            told = f"given up: every worker that had it was lost, the last: {why}"
            self.book.ended(ticket, _outcome(ticket, "stopped", told))
            ticket.history = []
        said = f"worker on {about['worker']['host']} lost ({why})"
        if loss.again:
            said += f"; {len(loss.again)} members begin again"
        if loss.given_up:
            said += f"; {len(loss.given_up)} given up"
        self._say(said)

    def _say(self, message: str) -> None:
        if message:
            self.book.says(message)

    @contextlib.contextmanager
    def _together(self) -> Iterator[None]:
        """Make what is written in the block one transaction of the ledger."""
        ledger = self.ledger
        with contextlib.nullcontext() if ledger is None else ledger.together():
            yield
            self.book.settle(now=True)


def _outcome(ticket: Ticket, status: str, message: str) -> Outcome:
    return Outcome(
        *(ticket.recipe, ticket.labels, ticket.history),
        *(None, message, None, status, ticket.seconds),
    )
