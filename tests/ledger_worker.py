"""A process that works on a ledger, for tests that kill it or run several at once.

`python ledger_worker.py LEDGER LOG MEMBERS SECONDS KILL_AT`: every member has four
epochs of SECONDS each and metrics that follow from its seed; some diverge, some are
stopped. LOG gets a line when one begins and ends. KILL_AT: the process kills itself
when SQLite begins its n-th statement; 0 is never.
"""

import os
import random
import signal
import sqlite3
import sys
import time

from jaxwd.lab.ledger import Ledger

EPOCHS = 4


def members(count):
    return {
        f"{seed:08x}": {"strength": seed / 7, "seed": seed} for seed in range(count)
    }


def rows(seed):
    draw = random.Random(seed)
    return [
        {
            "epoch": epoch,
            "validation_loss": float("nan") if seed % 5 == 1 else draw.random(),
            "seconds": time.perf_counter(),
        }
        for epoch in range(1, EPOCHS + 1)
    ]


def work(path, log, count, seconds):
    def say(*words):
        os.write(log, (" ".join(map(str, (os.getpid(), *words))) + "\n").encode())

    with Ledger(path, provenance={"commit": "a", "time": time.time()}) as ledger:
        with ledger.together():
            for key, recipe in members(count).items():
                ledger.add(
                    key, recipe, arm=f"arm {recipe['seed'] % 3}", seed=recipe["seed"]
                )
        while True:
            for key, recipe in members(count).items():
                if not ledger.claim([key]):
                    continue
                say("begin", key)
                curve = rows(recipe["seed"])
                for row in curve:
                    time.sleep(seconds)
                    ledger.epochs([(key, row)])
                if recipe["seed"] % 5 == 1:
                    ledger.diverge(key, "the loss became nan", 3)
                elif recipe["seed"] % 5 == 2:
                    ledger.stop(key, "worse than most")
                else:
                    ledger.finish(key, {"test_loss": curve[-1]["validation_loss"] / 2})
                say("end", key)
            if all(run.ended for run in ledger.runs()):
                return
            time.sleep(0.05)


def die_at(statement):
    """Kill this process when SQLite begins its n-th statement."""
    connect, seen = sqlite3.connect, [0]

    def count(_):
        seen[0] += 1
        if seen[0] == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    def traced(*arguments, **options):
        made = connect(*arguments, **options)
        made.set_trace_callback(count)
        return made

    sqlite3.connect = traced


if __name__ == "__main__":
    path, log, count, seconds, kill_at = sys.argv[1:]
    if int(kill_at):
        die_at(int(kill_at))
    opened = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    work(path, opened, int(count), float(seconds))
