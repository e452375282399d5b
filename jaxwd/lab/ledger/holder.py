"""Who holds a run, and whether that process still lives.

A process number alone is no name: numbers are given out again. A process is known by
where it counts (machine since its boot, container), its number and when it started.
From elsewhere nobody can look, so there the age of a heartbeat decides.
"""

import functools
import os
import pathlib
import platform
import subprocess
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

BEAT = 10.0
"""Seconds between two heartbeats."""
STALE = 120.0
"""Seconds without one after which a process that cannot be looked at counts as gone."""


class Holder(NamedTuple):
    """A process, as `holder` in the ledger describes it."""

    id: str
    host: str
    place: str
    pid: int
    started: str
    heartbeat: float

    def lives(self) -> bool:
        """Say whether the process is still there."""
        if self.place == place() and self.started:
            return started(self.pid) == self.started
        # One far ahead was written before the clock was set back; whoever lives would
        # have written another since.
        return abs(time.time() - self.heartbeat) < STALE


def this_process(name: str) -> Holder:
    """Return the description of this process under a name of its own."""
    pid = os.getpid()
    return Holder(name, platform.node(), place(), pid, started(pid), time.time())


@functools.cache
def place() -> str:
    """Return where process numbers mean the same: the machine's boot and namespace."""
    try:
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


def started(pid: int) -> str:
    """Return when process `pid` started; "" where it is gone or cannot be seen."""
    if pathlib.Path("/proc/self/stat").exists():
        try:
            text = pathlib.Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            return ""
        # The name stands in parentheses and may hold any character.
        state, *rest = text.rpartition(")")[2].split()
        return "" if state in "ZX" else rest[18]
    try:  # macOS, BSD; on Windows there is no ps, and the heartbeat decides
        got = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True
        )
    except OSError:
        return ""
    return got.stdout.strip()


def keep_beating(beat: Callable[[], None], every: float = BEAT) -> threading.Event:
    """Call `beat` from a thread until the returned event is set."""
    enough = threading.Event()

    def work() -> None:
        while not enough.wait(every):
            beat()

    threading.Thread(target=work, name="jaxwd-ledger", daemon=True).start()
    return enough
