"""The table of faults: a new one is one row."""

from collections.abc import Callable
from typing import NamedTuple

from faults_parts import clock, damage, disk, endings, kills, members, workers
from faults_parts.stage import Observed, Stage


class Fault(NamedTuple):
    """One row: what is done, in words, and the function that does it."""

    about: str
    try_it: Callable[[Stage], Observed]
    in_short: bool = False


FAULTS: dict[str, Fault] = {
    "kill training": Fault(
        "SIGKILL within `jaxwd.run(checkpoints=)`", kills.training, in_short=True
    ),
    "kill train": Fault("SIGKILL within `jaxwd train`", kills.train),
    "kill run": Fault("SIGKILL within `jaxwd run`", kills.run),
    "kill sweep": Fault("SIGKILL within `jaxwd sweep`", kills.sweep, in_short=True),
    "SIGTERM": Fault("SIGTERM to a command", endings.terminated, in_short=True),
    "Ctrl-C": Fault("SIGINT to a command", endings.interrupted),
    "disk full": Fault("no room for ledger and report", disk.full, in_short=True),
    "checkpoint disk full": Fault(
        "no room for the next checkpoint", disk.full_under_checkpoints
    ),
    "read only": Fault("output that cannot be written", disk.read_only),
    "ledger locked": Fault("another process holds it", disk.locked),
    "clock": Fault("the clock steps back by an hour", clock.stepping_back),
    "out of memory": Fault("the allocator fails in a chunk", members.out_of_memory),
    "NaN members": Fault("half of a grid diverges", members.not_a_number),
    "hanging worker": Fault("workers hang or die", workers.hanging),
    "compilation cache": Fault("damaged programs", damage.programs),
    "checkpoint": Fault("the newest is damaged", damage.checkpoint),
    "ledger": Fault("damaged", damage.ledger),
    "data-set cache": Fault("damaged arrays", damage.dataset),
    "soak": Fault("tiny members by the thousands in one process", members.soak),
}
"""Name → row; the gate tries those `in_short`, each of which takes seconds."""
