"""Ctrl-C and SIGTERM in a long training: it ends behind a checkpoint, and goes on later."""

import signal
import sys
import threading
from typing import Any

from jaxwd.train.together import alike


class Stopped(BaseException):
    """Ctrl-C or SIGTERM; `guarded` lets it pass."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


class Stopping:
    """What to do at Ctrl-C and SIGTERM: the first ends the training where it is kept.

    While nothing is trained, and at the second one, it ends at once. The save under way
    is waited for in any case.

    Attributes:
        training: whether there is an epoch under way.
        begun: whether there is something to go on with.
        agreed: whether all processes of the job stop here.
        where: the next place where it ends, for the person who asked.
    """

    def __init__(self) -> None:
        self.training = self.begun = self.agreed = False
        self.where = "behind this epoch"
        self._asked = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stopping":
        self.listen()
        return self

    def listen(self) -> None:
        """Take the signals; again where something else has taken them since.

        JAX does when processes join: it would note a SIGTERM and go on.
        """
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                before = signal.signal(number, self._got)
                self._before.setdefault(number, before)

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def wanted(self) -> bool:
        """Return whether somebody asked for it, in any process of the job."""
        wanted = alike(self._asked)
        if wanted:  # else a signal of meanwhile would be forgotten
            self._asked = wanted
        return wanted != 0

    def check(self) -> None:
        """Raise `Stopped` where somebody asked for it, behind a state that is kept."""
        if self.wanted():
            self.agreed = True
            raise Stopped(self._asked)

    def _got(self, number: int, _: object) -> None:
        if self._asked or not self.training:
            raise Stopped(number)
        self._asked = number
        print(
            f"\n{signal.Signals(number).name}: stopping {self.where}, a second one stops "
            "at once",
            file=sys.stderr,
        )
