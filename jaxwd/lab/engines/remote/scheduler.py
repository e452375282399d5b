"""Who gets which members next, who hangs, what a loss means: decisions without Ray.

No clock is read and nothing is sent here: the driver tells what happened and when, and
asks what to do. `scripts/scheduler_simulation.py` tells it of a thousand GPUs instead.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from jaxwd.lab.engines.remote.queues import Chunk, Loss, Queue, Rules

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
        self.losses: dict[int, list[int]] = {}
        self.fruitless, self.most_workers, self.busy = 0, 0, 0
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
        """Say whether workers are lost again and again and none trains an epoch."""
        return self.fruitless >= max(self.rules.fruitless, 2 * self.most_workers)

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
            self.chunks[worker] = chunk = Chunk(number, places, now)
            return chunk
        return None

    def overdue(self, now: float) -> list[Worker]:
        """Return the workers that have been silent for too long."""
        chunks = self.chunks.items()
        return [w for w, c in chunks if c and now - c.heard > self.patience(c)]

    def patience(self, chunk: Chunk) -> float:
        """Return how many seconds of silence a worker may have."""
        rules = self.rules
        if rules.patience is not None:
            return rules.patience
        if not chunk.training:
            return rules.before
        return max(rules.least, rules.factor * self.queues[chunk.group].gap)

    # --- told -------------------------------------------------------------------------

    def joined(self, worker: Worker) -> None:
        """Learn of a worker that is ready."""
        self.chunks[worker] = None
        self.most_workers = max(self.most_workers, len(self.chunks))

    def gone(self, worker: Worker) -> None:
        """Learn that an idle worker was let go."""
        assert self.chunks.pop(worker) is None
        self.holds.pop(worker, None)

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

    def lost(self, worker: Worker, *, node: bool = False) -> Loss:
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
        self.fruitless += 1
        queue = self.queues[chunk.group]
        if not chunk.places:
            return Loss([], self._lost_scout(queue, node))
        left, rules = chunk.left, self.rules
        blamed, given_up = left[: queue.lanes], []
        waits = left[queue.lanes :]
        for place in reversed(blamed):
            count = self.losses.setdefault(place, [0, 0])
            count[node] += 1
            if count[0] >= rules.losses or count[1] >= rules.node_losses:
                given_up.append(place)
            elif count[0]:
                queue.again.setdefault(count[0], deque()).appendleft(place)
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

    def _lost_scout(self, queue: Queue, node: bool) -> list[int]:
        """Give a group up whose program cannot be compiled."""
        queue.scouts_lost += not node
        if queue.scouts_lost < self.rules.losses:
            return []
        found = self._claim([*queue.fresh])
        queue.fresh.clear()
        return found

    def _claim(self, places: list[int]) -> list[int]:
        found = self.claim(places) if places else []
        self.ours.update(found)
        return found

    def _group_for(self, worker: Worker) -> int | None:
        """Return the group to go on with: the worker's own, or the one most behind.

        A group whose program nobody has compiled comes before all others but one's own,
        so that compiling is over early; the others wait for it meanwhile.
        """
        waiting = {n: queue for n, queue in self.queues.items() if queue.left}
        own = self.holds.get(worker)
        if self.rules.sticky and own in waiting and waiting[own].ready:
            return own
        for n, queue in waiting.items():
            if not (queue.ready or queue.scouting):
                return n
        mean = self._mean_cost()
        ready = {n: queue for n, queue in waiting.items() if queue.ready}
        return max(
            ready,
            key=lambda n: ready[n].seconds(mean) / (1 + ready[n].busy),
            default=None,
        )

    def _waiting(self) -> float:
        """Return the worker-seconds that wait; with many groups not always the newest."""
        if self._looked % (1 + len(self.queues) // 50) == 0:
            mean = self._mean_cost()
            self._seconds = sum(queue.seconds(mean) for queue in self.queues.values())
        self._looked += 1
        return self._seconds

    def _mean_cost(self) -> float:
        known = [q.cost for q in self.queues.values() if q.cost is not None]
        return sum(known) / len(known) if known else 1.0
