"""Members of one group that wait for a worker; chunks of them; what sizes these."""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True)
class Rules:
    """What decides how work is handed out.

    Attributes:
        longest: seconds that a chunk should last while there is plenty of work.
        tail: the same at the end of a grid, where work is split ever finer.
        in_flight: the most chunks handed out at a time; None as many as workers.
        losses: a member that was in this many lost workers is given up; 2 at least.
            Where all were on one host of several, it takes twice as many.
        node_losses: the same for nodes that went away, which is rarely its fault.
        patience: seconds of silence after which a worker counts as hung; None: measured.
        least: shortest patience where it is measured.
        factor: patience in units of the longest silence of a worker that was well.
        before: patience until the first epoch of a chunk, which may have to compile.
        fruitless: losses without an epoch between them after which all is stopped, or
            two for each worker where that is more.
        barren: losses in a row on a host, without an epoch there, after which it rests
            while others work.
        pause: seconds of its first rest; each further loss doubles it.
        scouts: one worker compiles a group's program before others touch the group.
        sticky: workers stay with the group whose program they hold.
    """

    longest: float = 60.0
    tail: float = 1.0
    in_flight: int | None = None
    losses: int = 3
    node_losses: int = 10
    patience: float | None = None
    least: float = 60.0
    factor: float = 20.0
    before: float = 1800.0
    fruitless: int = 10
    barren: int = 2
    pause: float = 120.0
    scouts: bool = True
    sticky: bool = True


@dataclass
class Chunk:
    """Members of one group for one worker; without any, it only compiles.

    Attributes:
        group: number of the group.
        places: members in the order in which they enter lanes.
        began: when the worker got it.
        heard: when the worker last gave a life sign.
        training: an epoch was heard of.
        ended: members that ended.
    """

    group: int
    places: list[int]
    began: float
    heard: float
    training: bool = False
    ended: set[int] = field(default_factory=set)

    @property
    def left(self) -> list[int]:
        """Return the members that did not end, in order."""
        return [place for place in self.places if place not in self.ended]


class Loss(NamedTuple):
    """What becomes of a lost worker's members."""

    again: list[int]
    given_up: list[int]


class Blame(NamedTuple):
    """The hosts where a member was in a lost worker, and those lost as a whole."""

    worker: list[str]
    node: list[str]


class Queue:
    """What is left of one group.

    Attributes:
        fresh: members that wait, in order.
        again: worker losses → members whose worker was lost so often.
        ready: its program is known to compile; its lanes are known.
        lanes: members that a worker trains side by side.
        quantum: chunks are multiples of it, where lanes without a member cost time.
        cost: seconds a member and worker, None until measured.
        scouting: a worker is at its first compilation.
        scouts_lost: where they were lost in it.
        busy: workers at it.
        gap: longest silence between two life signs of a worker that was well.
    """

    def __init__(self, places: Iterable[int], ready: bool) -> None:
        self.fresh = deque(places)
        self.again: dict[int, deque[int]] = {}
        self.ready, self.scouting = ready, False
        self.scouts_lost = Blame([], [])
        self.lanes, self.quantum = 1, 1
        self.cost: float | None = None
        self.busy, self.gap = 0, 0.0
        self._seconds, self._members = 0.0, 0.0

    @property
    def left(self) -> int:
        """Return how many members wait."""
        return len(self.fresh) + sum(map(len, self.again.values()))

    def seconds(self, otherwise: float) -> float:
        """Return the worker-seconds that wait; `otherwise` a member until measured."""
        return self.left * (otherwise if self.cost is None else self.cost)

    def patience(self, training: bool, rules: Rules) -> float:
        """Return how many seconds of silence a worker may have."""
        if rules.patience is not None:
            return rules.patience
        return max(rules.least, rules.factor * self.gap) if training else rules.before

    def measured(self, seconds: float, members: float) -> None:
        """Learn what members took; an epoch is a fraction of one."""
        self._seconds += seconds
        self._members += members
        if self._members:
            self.cost = self._seconds / self._members

    def take(self, waiting: float, workers: int, rules: Rules) -> list[int]:
        """Take the next chunk out: members whose worker was lost before all others.

        These go in smaller company each time and the last time alone, so that one that
        kills its worker is found and takes nobody with it.

        Args:
            waiting: worker-seconds of all groups that wait.
            workers: among whom they are shared.
            rules: how long a chunk should be.
        """
        if not self.again:
            count = self._count(waiting, workers, rules)
            return [self.fresh.popleft() for _ in range(min(count, len(self.fresh)))]
        lost = max(self.again)
        row = self.again[lost]
        alone = lost >= rules.losses - 1
        count = 1 if alone else math.ceil(self.lanes / 2**lost)
        found = [row.popleft() for _ in range(min(count, len(row)))]
        if not row:
            del self.again[lost]
        return found

    def _count(self, waiting: float, workers: int, rules: Rules) -> int:
        if not self.cost:
            count = min(self.lanes, math.ceil(len(self.fresh) / workers))
        else:
            # Half an even share at a time: large at first, ever finer at the end.
            seconds = min(max(waiting / (2 * workers), rules.tail), rules.longest)
            count = int(seconds / self.cost)
        return max(count // self.quantum, 1) * self.quantum


def most_behind(queues: Mapping[int, Queue], own: int | None) -> int | None:
    """Return the group to go on with: one's own while it lasts, or the one most behind.

    A group whose program nobody has compiled comes before all others but one's own, so
    that compiling is over early; the others wait for it meanwhile.
    """
    waiting = {n: queue for n, queue in queues.items() if queue.left}
    if own in waiting and waiting[own].ready:
        return own
    for n, queue in waiting.items():
        if not (queue.ready or queue.scouting):
            return n
    mean = _mean_cost(queues)
    ready = {n: queue for n, queue in waiting.items() if queue.ready}
    return max(
        ready,
        key=lambda n: ready[n].seconds(mean) / (1 + ready[n].busy),
        default=None,
    )


def waiting_seconds(queues: Mapping[int, Queue]) -> float:
    """Return the worker-seconds that wait in all groups."""
    mean = _mean_cost(queues)
    return sum(queue.seconds(mean) for queue in queues.values())


def _mean_cost(queues: Mapping[int, Queue]) -> float:
    known = [q.cost for q in queues.values() if q.cost is not None]
    return sum(known) / len(known) if known else 1.0
