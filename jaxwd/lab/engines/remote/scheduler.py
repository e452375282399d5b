"""Who gets which members next, who hangs, what a loss means: decisions without Ray.

No clock is read and nothing is sent here: the driver tells what happened and when, and
asks what to do. `scripts/scheduler_simulation.py` tells it of a thousand GPUs instead.
A long room, so that each decision stands beside what it learns from.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from jaxwd.lab.engines.remote.hosts import Hosts
from jaxwd.lab.engines.remote.queues import (
    Blame,
    Chunk,
    Loss,
    Queue,
    Rules,
    most_behind,
    waiting_seconds,
)

Worker = int
Claim = Callable[[list[int]], list[int]]
"""Places that nobody had → those that are ours; the others run elsewhere."""


class Scheduler:
    """Hands chunks of groups to workers until every member has ended.

    Args:
        groups: number of the group → places of its members.
        epochs: number of the group → epochs of one of its members.
        rules: how.
        claim: asked for members before a worker gets them for the first time.

    Attributes:
        busy: how many workers have a chunk.
    """

    def __init__(
        self,
        groups: Mapping[int, Sequence[int]],
        epochs: Mapping[int, int],
        rules: Rules | None = None,
        claim: Claim = lambda places: places,
    ) -> None:
        self.rules, self.claim, self.epochs = rules or Rules(), claim, epochs
        self.queues = {n: Queue(p, not self.rules.scouts) for n, p in groups.items()}
        self.chunks: dict[Worker, Chunk | None] = {}
        self.holds: dict[Worker, int] = {}
        self.ours: set[int] = set()
        self.losses: dict[int, Blame] = {}
        self.hosts = Hosts(self.rules.barren, self.rules.pause)
        self.fruitless, self.most_workers, self.busy = 0, 0, 0
        self._fruitless_since = 0.0
        self._looked, self._seconds = 0, 0.0

    # --- asked ------------------------------------------------------------------------

    @property
    def left(self) -> int:
        """Return how many members wait."""
        return sum(queue.left for queue in self.queues.values())

    @property
    def over(self) -> bool:
        """Say whether nothing waits and nobody works."""
        return not self.left and not self.busy

    @property
    def hopeless(self) -> bool:
        """Say whether workers are lost again and again and none trains an epoch.

        While one works that began before the first of these losses, there is hope.
        """
        if self.fruitless < max(self.rules.fruitless, 2 * self.most_workers):
            return False
        chunks = self.chunks.values()
        return not any(c and c.began < self._fruitless_since for c in chunks)

    @property
    def wanted(self) -> int:
        """Return how many workers are of use now."""
        pieces = sum(math.ceil(q.left / q.quantum) for q in self.queues.values())
        most = self.rules.in_flight or math.inf
        return int(min(self.busy + pieces, most))

    def next(self, worker: Worker, now: float) -> Chunk | None:
        """Return the next chunk for an idle worker, None where there is none for it."""
        assert self.chunks[worker] is None
        if self.busy >= (self.rules.in_flight or math.inf):
            return None
        if self.hosts.rests(worker, now, (w for w, c in self.chunks.items() if c)):
            return None
        while (number := self._group_for(worker)) is not None:
            queue = self.queues[number]
            places: list[int] = []
            if queue.ready:
                taken = queue.take(self._waiting(), len(self.chunks), self.rules)
                self._claim([p for p in taken if p not in self.ours])
                places = [place for place in taken if place in self.ours]
                if not places:
                    continue  # all of them run elsewhere
            else:
                queue.scouting = True
            queue.busy += 1
            self.busy += 1
            self.holds[worker] = number
            self.chunks[worker] = chunk = Chunk(number, places, now, now)
            return chunk
        return None

    def overdue(self, now: float) -> list[Worker]:
        """Return the workers that have been silent for too long."""
        chunks = self.chunks.items()
        return [w for w, c in chunks if c and now - c.heard > self.patience(c)]

    def patience(self, chunk: Chunk) -> float:
        """Return how many seconds of silence a worker may have."""
        return self.queues[chunk.group].patience(chunk.training, self.rules)

    # --- told -------------------------------------------------------------------------

    def joined(self, worker: Worker, host: str = "") -> None:
        """Learn of a worker that is ready, and where it is."""
        self.chunks[worker], self.hosts.of[worker] = None, host
        self.most_workers = max(self.most_workers, len(self.chunks))

    def gone(self, worker: Worker) -> None:
        """Learn that an idle worker was let go."""
        assert self.chunks.pop(worker) is None
        self.holds.pop(worker, None)
        del self.hosts.of[worker]

    def ready(self, worker: Worker, lanes: int, idle_is_free: bool) -> None:
        """Learn that a group's program is compiled, and how many lanes it has."""
        queue = self.queues[self._chunk(worker).group]
        queue.ready, queue.lanes = True, lanes
        queue.quantum = 1 if idle_is_free else lanes

    def heard(
        self,
        worker: Worker,
        now: float,
        epochs: int = 0,
        seconds: float = 0.0,
        ended: Sequence[int] = (),
    ) -> None:
        """Learn of epochs that a worker trained in some seconds, and of who ended."""
        chunk = self._chunk(worker)
        chunk.ended.update(ended)
        if epochs:
            self.fruitless = 0
            self.hosts.trained(worker)
            queue = self.queues[chunk.group]
            queue.measured(seconds, epochs / self.epochs[chunk.group])
            # The first epoch says it too: what it trained, compiling left out.
            silent = now - chunk.heard if chunk.training else seconds
            queue.gap = max(queue.gap, silent)
            chunk.training = True
        chunk.heard = now

    def done(self, worker: Worker) -> None:
        """Learn that a worker is at the end of its chunk."""
        chunk = self._close(worker)
        self.chunks[worker] = None
        self.queues[chunk.group].fresh.extendleft(reversed(chunk.left))

    def lost_at_start(self, now: float) -> None:
        """Learn that a worker is gone that had not joined yet."""
        self.fruitless += 1
        if self.fruitless == 1:
            self._fruitless_since = now

    def frozen(self, worker: Worker, now: float) -> bool:
        """Say whether all workers beside a silent one are silent too: the node hangs."""
        chunks = [self.chunks[other] for other in self.hosts.beside(worker)]
        silent = [now - c.heard > self.patience(c) / 2 for c in chunks if c]
        return bool(silent) and all(silent)

    def lost(self, worker: Worker, now: float, *, node: bool = False) -> Loss:
        """Learn that a worker is gone; return who runs again and who is given up.

        Blamed are those that may have been in its lanes: the first of its chunk that
        had not ended, as many as there are lanes. `node` says that the whole node is
        gone.
        """
        if self.chunks[worker] is None:
            self.gone(worker)
            return Loss([], [])
        chunk = self._close(worker)
        del self.chunks[worker]
        self.holds.pop(worker)
        self.lost_at_start(now)
        host = self.hosts.lost(worker, now)
        queue = self.queues[chunk.group]
        if not chunk.places:
            return Loss([], self._lost_scout(queue, host, node))
        left = chunk.left
        blamed, given_up = left[: queue.lanes], []
        waits = left[queue.lanes :]
        for place in reversed(blamed):
            lost = self.losses.setdefault(place, Blame([], []))
            lost[node].append(host)
            if self._is_too_much(lost):
                given_up.append(place)
            elif lost.worker:
                queue.again.setdefault(len(lost.worker), deque()).appendleft(place)
            else:
                waits.insert(0, place)
        queue.fresh.extendleft(reversed(waits))
        return Loss([p for p in left if p not in set(given_up)], given_up[::-1])

    # --- inside -----------------------------------------------------------------------

    def _chunk(self, worker: Worker) -> Chunk:
        chunk = self.chunks[worker]
        assert chunk is not None
        return chunk

    def _close(self, worker: Worker) -> Chunk:
        chunk = self._chunk(worker)
        queue = self.queues[chunk.group]
        queue.busy -= 1
        self.busy -= 1
        if not chunk.places:
            queue.scouting = False
        return chunk

    def _lost_scout(self, queue: Queue, host: str, node: bool) -> list[int]:
        """Give a group up whose program cannot be compiled."""
        queue.scouts_lost[node].append(host)
        if not self._is_too_much(queue.scouts_lost):
            return []
        found = self._claim([*queue.fresh])
        queue.fresh.clear()
        return found

    def _is_too_much(self, lost: Blame) -> bool:
        """Say whether so many losses are the fault of what was lost."""
        if len(lost.node) >= self.rules.node_losses:
            return True
        return self.hosts.blames(lost.worker, self.rules.losses)

    def _claim(self, places: list[int]) -> list[int]:
        found = self.claim(places) if places else []
        self.ours.update(found)
        return found

    def _group_for(self, worker: Worker) -> int | None:
        """Return the group to go on with: the worker's own, or the one most behind."""
        own = self.holds.get(worker) if self.rules.sticky else None
        return most_behind(self.queues, own)

    def _waiting(self) -> float:
        """Return the worker-seconds that wait; with many groups not always the newest."""
        if self._looked % (1 + len(self.queues) // 50) == 0:
            self._seconds = waiting_seconds(self.queues)
        self._looked += 1
        return self._seconds
