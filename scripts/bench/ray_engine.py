"""What do workers on a local Ray cost against one process, for chunks over ten seconds?

    python scripts/bench/ray_engine.py --write experiments/results/bench_ray.md

The same grid by the best engine of one process and by `ray`, in turns, programs
compiled before and kept where commands keep them, a new ledger each time. Epochs a
second of all workers together, from the first message of an epoch to the end; starting
Ray and workers is told apart. How long chunks lasted is told too: all but those of the
first look and of the grid's end, where work is split ever finer, should be long.
"""

import argparse
import os
import pathlib
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jaxwd as wd
from jaxwd.lab import Ledger, product, run_many
from jaxwd.lab.engines import Silent
from jaxwd.lab.engines.remote import Cluster
from jaxwd.lab.engines.remote.cluster import connected
from jaxwd.lab.engines.remote.scheduler import Scheduler
from jaxwd.lab.provenance import provenance
from jaxwd.runtime import setup

QUESTION = (__doc__ or "").splitlines()[0]
SMALL = {"model": "mlp", "model_options": {"hidden": (64,)}}
# name → recipe, members, engines of one process, engine of a worker.
GRIDS = {
    "perceptrons, 64-64-10, 60 epochs of 39 steps": (
        wd.Recipe(dataset="digits", epochs=60, decay=wd.coupled(0.0), **SMALL),
        ("devices",),
        "map",
        2500,
    ),
    "CNNs, 4 epochs of 62 steps": (
        wd.Recipe(train_examples=2000, epochs=4, decay=wd.coupled(0.0)),
        ("devices",),
        "map",
        48,
    ),
}


CHUNKS: list[float] = []
"""Seconds of the chunks that workers of Ray had, compilations left out."""


def watch_chunks() -> None:
    """Note how long each chunk lasts."""
    done = Scheduler.done

    def noting(scheduler: Scheduler, worker: int) -> None:
        chunk = scheduler.chunks[worker]
        if chunk is not None and chunk.places:
            CHUNKS.append(time.monotonic() - chunk.began)
        done(scheduler, worker)

    setattr(Scheduler, "done", noting)  # noqa: B010


class Clock(Silent):
    """A watcher that notes when epochs were told."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.first, self.before, self.epochs = 0.0, 0, 0

    def rows(self, rows):
        self.epochs += len(rows)
        if not self.first:
            self.first, self.before = time.perf_counter(), self.epochs

    def rate(self) -> tuple[float, float]:
        """Return epochs a second behind the first message, and the seconds before it."""
        took = time.perf_counter() - self.first
        return (self.epochs - self.before) / took, self.first - self.began


def long_chunks(engine: str) -> str:
    if engine != "ray":
        return ""
    part = sum(s for s in CHUNKS if s > 10) / sum(CHUNKS)
    return f"{100 * part:.0f} %, {max(CHUNKS):.0f} s"


def once(members, data, engine, inner) -> tuple[float, float]:
    clock = Clock()
    cluster = Cluster(worker_engine=inner) if engine == "ray" else None
    with tempfile.TemporaryDirectory() as folder, Ledger(folder) as ledger:
        run_many(
            members, data, engine=engine, ledger=ledger, watcher=clock, cluster=cluster
        )
        return clock.rate()


def main():
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--share", type=float, default=1.0, help="of the members")
    parser.add_argument("--write", type=pathlib.Path)
    given = parser.parse_args()
    lines = [
        "| grid | engine | epochs/s | ray ÷ it, same round | min–max | s to the first | "
        "part of its time in chunks over 10 s, the longest |",
        "| :-- | :-- | --: | --: | --: | --: | --: |",
    ]
    watch_chunks()
    setup("cpu", cpu_devices=len(os.sched_getaffinity(0)))
    with connected(Cluster(), 0):
        for name, (recipe, engines, inner, count) in GRIDS.items():
            data = wd.load(recipe.dataset)
            strengths = [1e-7 * (i + 1) for i in range(int(count * given.share))]
            members = product(recipe, {"decay.strength": strengths})
            for engine in engines:
                run_many(members[:32], data, engine=engine)  # compiles
            CHUNKS.clear()
            rounds = [
                {
                    engine: once(members, data, engine, inner)
                    for engine in (*engines, "ray")
                }
                for _ in range(given.rounds)
            ]
            for engine in (*engines, "ray"):
                rate = statistics.median(row[engine][0] for row in rounds)
                first = statistics.median(row[engine][1] for row in rounds)
                ratios = [row["ray"][0] / row[engine][0] for row in rounds]
                lines.append(
                    f"| {len(members)} {name} | {engine} | {rate:.1f} | "
                    f"{statistics.median(ratios):.2f} | {min(ratios):.2f}–"
                    f"{max(ratios):.2f} | {first:.1f} | {long_chunks(engine)} |"
                )
                print(lines[-1], flush=True)
    about = provenance()
    versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items() if v)
    import ray

    text = "\n".join(
        [
            f"# {QUESTION}",
            "",
            *lines,
            "",
            f"{given.rounds} rounds in turns, {about['cores']} workers of one core; Python "
            f"{about['python']}, {about['processor']}, {about['cores']} cores, {versions}, "
            f"ray {ray.__version__}, {about['time']}. `python scripts/bench/ray_engine.py`",
            "",
        ]
    )
    if given.write:
        given.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
