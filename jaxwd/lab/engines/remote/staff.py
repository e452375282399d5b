"""How many workers there are, and who they are."""

import math
import time
from collections.abc import Callable, Sequence

from jaxwd.errors import InputError
from jaxwd.lab.engines.remote.cluster import Cluster
from jaxwd.lab.engines.remote.messages import About
from jaxwd.lab.engines.remote.pool import Joined, Lost, Pool

PATIENCE = 0.5
"""Seconds to wait for something to happen before looking whether somebody hangs."""
_SILENT = 30.0
"""Seconds without a first worker after which it is said."""
_LOOKS = 2.0
"""Seconds between two looks at how many workers the cluster has room for."""
_KEPT = 20.0
"""Seconds that workers of no use are kept, in case another one is lost."""


class WorkersLost(OSError):
    """Workers are lost again and again, and none trains."""


class Staff:
    """How many workers there are: started while there is room, ended when of no use."""

    def __init__(self, pool: Pool, cluster: Cluster) -> None:
        self.pool, self.cluster = pool, cluster
        self.joined: dict[int, About] = {}
        self.room, self.looked, self.useful = 0, -math.inf, time.monotonic()
        self.told = False

    def first(self, say: Callable[[str], None]) -> Joined:
        """Wait for the first worker and return what it says of itself."""
        lost, began = 0, time.monotonic()
        while True:
            if told := self.hire(1):
                say(told)
            for event in self.pool.wait(PATIENCE):
                if isinstance(event, Joined):
                    self.joined[event.worker] = event.about
                    return event
                if isinstance(event, Lost):
                    lost += 1
                    if lost == self.cluster.rules.fruitless:
                        raise WorkersLost(f"no worker could start: {event.why}")
                    say(f"a worker was lost at its start: {event.why}")
            if time.monotonic() > began + _SILENT:
                say("waiting for a first worker; is the cluster busy with other jobs?")
                began = math.inf

    def hire(self, wanted: int) -> str:
        """Start as many workers as are wanted and fit; return what to say of it."""
        now = time.monotonic()
        if now > self.looked + _LOOKS:
            self.looked, self.room = now, self.pool.room()
        # A cluster that grows does so for workers that wait, so all that may be are asked
        # for where their number is bounded.
        asks = self.cluster.max_in_flight and self.cluster.where is not None
        most = wanted if asks else min(wanted, self.room)
        for _ in range(most - len(self.pool.actors)):
            self.pool.start()
        if self.room or not wanted or self.pool.actors:
            return ""
        needs = f"{self.cluster.worker_cpus:g} CPUs, {self.cluster.worker_gpus:g} GPUs"
        if self.cluster.where is None:
            raise InputError(
                f"this machine's Ray has no room for a worker ({needs}); give smaller "
                "worker_cpus or worker_gpus"
            )
        told, self.told = self.told, True
        return "" if told else f"no room for a worker yet ({needs}); waiting for nodes"

    def let_go(self, idle: Sequence[int], useful: bool) -> list[int]:
        """End idle workers for which nothing is left; return which."""
        now = time.monotonic()
        if useful:
            self.useful = now
        if now < self.useful + _KEPT:
            return []
        for worker in idle:
            self.pool.end(worker)
            del self.joined[worker]
        return [*idle]
