"""SIGTERM and SIGHUP end a command as Ctrl-C does, so that nothing is left half-done."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

_NAMES = ("SIGTERM", "SIGHUP")  # a scheduler's time is up; the terminal is gone
_AGAIN = 0.05
"""Seconds behind which a signal that was lost is sent once more."""
_arrived: list[int] = []


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
    runs is not cut short. Where that is within a destructor or a callback of the
    garbage collector (JAX has one), Python prints the exception and forgets it; then
    the signal is sent again, Ctrl-C among them. Where a library wraps it in an error of
    its own, `arrived` tells.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _arrived.clear()
    usual = (signal.SIG_DFL, signal.default_int_handler)
    ours = {
        number: before
        for name in ("SIGINT", *_NAMES)
        if (number := getattr(signal, name, None)) is not None
        and (before := signal.getsignal(number)) in usual
    }
    for number in ours:
        signal.signal(number, _end)
    before = sys.unraisablehook
    sys.unraisablehook = lambda lost: _again(lost, before)
    try:
        yield
    finally:
        sys.unraisablehook = before
        for number, handler in ours.items():
            signal.signal(number, handler)


def _again(lost: Any, otherwise: Any) -> None:
    """Send a signal again whose exception could not be raised where it arrived."""
    if isinstance(lost.exc_value, Exception) or lost.exc_value is None:
        otherwise(lost)
        return
    number = getattr(lost.exc_value, "code", 128 + signal.SIGINT) - 128
    timer = threading.Timer(_AGAIN, lambda: os.kill(os.getpid(), number))
    timer.daemon = True
    timer.start()


def _end(number: int, _frame: object) -> None:
    _arrived.append(number)
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)


def arrived() -> int | None:
    """Return the signal by which the last `terminable` block was asked to end."""
    return _arrived[0] if _arrived else None


def ignore_from_now_on() -> None:
    """Let a process that is done come to its end; else Python's own end is cut short.

    Ctrl-C in there would print a traceback, and the exit code would be the signal's
    although everything is written.
    """
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", *_NAMES):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_IGN)
