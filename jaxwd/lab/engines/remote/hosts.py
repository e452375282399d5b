"""Hosts whose workers are lost again and again: they rest while others work.

A worker that dies at once is hired again at once, in the same place: one broken host
would take member after member, faster than all healthy ones together.
"""

from collections.abc import Iterable

_LONGEST = 3600.0
"""Seconds of the longest rest."""


class Hosts:
    """Who is on which host, and how the hosts do.

    Args:
        barren: losses in a row, without an epoch on the host between them, after which
            it rests.
        pause: seconds of the first rest; each further loss doubles it.

    Attributes:
        of: worker → its host.
    """

    def __init__(self, barren: int, pause: float) -> None:
        self.barren, self.pause = barren, pause
        self.of: dict[int, str] = {}
        self._losses: dict[str, int] = {}
        self._until: dict[str, float] = {}

    def trained(self, worker: int) -> None:
        """Learn of an epoch."""
        self._losses.pop(self.of[worker], None)

    def lost(self, worker: int, now: float) -> str:
        """Learn of a loss; return where it was."""
        host = self.of.pop(worker)
        count = self._losses[host] = self._losses.get(host, 0) + 1
        rest = min(self.pause * 2.0 ** max(count - self.barren, 0), _LONGEST)
        self._until[host] = now + rest
        return host

    def rests(self, worker: int, now: float, busy: Iterable[int]) -> bool:
        """Say whether a worker has to wait, because its host does badly.

        Never where no other host does well. Behind its rest a host gets one chunk.
        """
        host = self.of[worker]
        if not self._is_barren(host):
            return False
        if all(map(self._is_barren, set(self.of.values()))):
            return False
        return now < self._until[host] or any(self.of[w] == host for w in busy)

    def beside(self, worker: int) -> list[int]:
        """Return the other workers of a host."""
        host = self.of[worker]
        return [w for w, there in self.of.items() if there == host and w != worker]

    def blames(self, losses: list[str], limit: int) -> bool:
        """Say whether losses on these hosts are the fault of what was lost there.

        As many as `limit` are, where they were on two hosts or there is one only; on a
        single one of several twice as many.
        """
        elsewhere = len(set(losses)) > 1 or len({*self.of.values(), *losses}) < 2
        return len(losses) >= (limit if elsewhere else 2 * limit)

    def _is_barren(self, host: str) -> bool:
        return self._losses.get(host, 0) >= self.barren
