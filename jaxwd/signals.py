"""SIGTERM and SIGHUP end a command as Ctrl-C does, so that nothing is left half-done."""

import contextlib
import signal
import threading
from collections.abc import Iterator

_NAMES = ("SIGTERM", "SIGHUP")  # a scheduler's time is up; the terminal is gone


class Terminated(KeyboardInterrupt):
    """A signal that ends the process; passes wherever Ctrl-C does.

    Attributes:
        code: the exit code, 128 and the signal's number: 143 for SIGTERM.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Raise `Terminated` inside the block when the process is asked to end.

    A signal that is handled or ignored already (`nohup`, a notebook) is left alone.
    Python looks for signals between two of its instructions: a compiled epoch that
    runs is not cut short.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [
        number
        for name in _NAMES
        if (number := getattr(signal, name, None)) is not None
        and signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in ours:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, _frame: object) -> None:
    raise Terminated(number)
