"""Run by a test: die before each change that Python makes to the disk in a save.

Prints how many places there were, and what the next start found where that is not the
save before or this one, whole, with nothing said and nothing left over.
"""

import os
import pathlib
import sys
import tempfile

import jax.numpy as jnp
from orbax.checkpoint import v1  # noqa: F401  (before the disk is watched)

from jaxwd.training import checkpoint_files as files
from jaxwd.training.checkpoints import Checkpoints
from jaxwd.training.recipe import Recipe

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
RECIPE = Recipe(dataset="friedman", model="mlp")
STATE = {"a": jnp.ones(3)}


def die_before(n):
    """End this process at the n-th change from now on."""
    left = [n]

    def hook(event, given):
        opens = event == "open" and isinstance(given[2], int) and given[2] & WRITES
        if event in CHANGES or opens:
            left[0] -= 1
            if left[0] < 0:
                os._exit(77)

    sys.addaudithook(hook)


def child(work):
    pid = os.fork()
    if not pid:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def saves(folder, *steps, dies_at=None):
    with Checkpoints(folder, keep=2, says=[].append) as kept:
        kept.latest(STATE, RECIPE)
        if dies_at is not None:
            die_before(dies_at)
        for step in steps:
            kept.save(step, STATE, {"step": step})
            kept.wait()


def starts_again(folder, place, allowed):
    said = []
    with Checkpoints(folder, keep=2, says=said.append) as kept:
        found = kept.latest(STATE, RECIPE)
    step = found and found.step
    left = {path.name for path in folder.iterdir()} - {files.LOCK, files.MARK}
    if said or step not in allowed or found.progress["step"] != step:
        print(f"BAD at {place}: step {step}, said {said}", flush=True)
    if not left <= {"1", "2", "3"}:
        print(f"BAD at {place}: {sorted(left)} left", flush=True)


def main():
    root = pathlib.Path(tempfile.mkdtemp())
    for name, steps, allowed in (("the next", (3,), (2, 3)), ("the same", (2,), (2,))):
        place, died = 0, True
        while died:
            folder = root / f"{name}{place}"
            child(lambda: saves(folder, 1, 2))  # noqa: B023
            died = child(lambda: saves(folder, *steps, dies_at=place))  # noqa: B023
            child(lambda: starts_again(folder, place, allowed))  # noqa: B023
            place += 1
        print(f"{name}: {place} places", flush=True)


if __name__ == "__main__":
    main()
