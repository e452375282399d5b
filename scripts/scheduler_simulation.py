"""A million members on a thousand GPUs: what gives way first?

    python scripts/scheduler_simulation.py --write PAGE

The scheduler is the one of `--engine ray`, driven by a simulated clock; the driver is
one server that everybody waits for. What the driver, the ledger, Ray and compiling cost
is measured first, here, with the real ones: the driver with workers that answer at once
and a ledger on disk, Ray with actors that do nothing.
"""

import argparse
import heapq
import itertools
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
import time
import tracemalloc
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax

import jaxwd as wd
from jaxwd.lab import Ledger, product
from jaxwd.lab.engines.many import Sweep, check_members
from jaxwd.lab.engines.packed import Packed
from jaxwd.lab.engines.remote import Cluster, Rules
from jaxwd.lab.engines.remote import messages as say
from jaxwd.lab.engines.remote.cluster import connected
from jaxwd.lab.engines.remote.driver import Driver
from jaxwd.lab.engines.remote.pool import _PAUSE, Done, Joined, Told
from jaxwd.lab.engines.remote.scheduler import Scheduler
from jaxwd.lab.engines.remote.staff import Staff
from jaxwd.lab.provenance import provenance

QUESTION = (__doc__ or "").splitlines()[0]
MEMBERS, WORKERS, STRUCTURES, LANES, EPOCHS = 10**6, 1000, 20, 64, 20
ROW = {
    **{"epoch": 1, "step": 39, "running_loss": 1.234567, "running_accuracy": 0.512345},
    **{"penalty": 0.0123456, "gradient_norm": 1.23456, "update_norm": 0.123456},
    **{"parameter_norm": 12.34567, "learning_rate": 0.1, "seconds": 1.2345678},
    **{"validation_loss": 1.2345678, "validation_accuracy": 0.567891},
}


class Costs(NamedTuple):
    """Seconds of the driver's processor, measured."""

    start: float  # a member: recipe, checks, groups, name, row in the ledger
    member: float  # handing out, claiming, its end
    row: float  # an epoch: read, kept, written
    chunk: float  # deciding who gets it, sending it
    message: float  # of Ray, whatever is in it
    turn: float  # asking all workers whether they have something to say
    lone: float  # what a row costs more in a transaction of its own
    cold: float  # compiling a structure
    warm: float  # the same, found in the cache


# --- measured -------------------------------------------------------------------------


class Answers:
    """A pool whose workers answer at once; what Ray would unpickle is unpickled."""

    def __init__(self, workers: int, epochs: int) -> None:
        self.workers, self.epochs, self.actors = workers, epochs, {}
        self.waiting: list[Any] = []
        self.about = {"worker": {"host": "h", "processor": "p"}, "hardware": "h"}

    def room(self) -> int:
        return self.workers

    def start(self) -> None:
        self.waiting.append(Joined(len(self.actors), self.about))
        self.actors[len(self.actors)] = True

    def give(self, worker: int, order: say.Order) -> None:
        places = [place for place, _ in pickle.loads(pickle.dumps(order)).members]
        if not places:
            ready = say.Ready("vmap", LANES, False, {})
            self.waiting += [Told(worker, [ready]), Done(worker)]
            return
        told: list[say.Message] = []
        for wave in (places[i : i + LANES] for i in range(0, len(places), LANES)):
            for epoch in range(self.epochs):
                told.append(
                    say.Rows([(p, ROW | {"epoch": epoch + 1}) for p in wave], 1.0)
                )
            told += [say.Ended(p, "finished", "", None, ROW, 1.0) for p in wave]
        self.waiting += [Told(worker, pickle.loads(pickle.dumps(told))), Done(worker)]

    def end(self, worker: int) -> None:
        del self.actors[worker]

    def wait(self, seconds: float) -> Any:
        waiting, self.waiting = self.waiting, []
        yield from waiting


def grid(count: int) -> list:
    recipe = wd.Recipe(dataset="digits", model="mlp", decay=wd.coupled(0.0))
    axes = {"decay.strength": [i * 1e-7 for i in range(count // 10)], "seed": range(10)}
    return product(recipe, axes)


def of_driver(count: int, epochs: int) -> tuple[float, float, int]:
    """Return the driver's seconds to start and to run members, and chunks."""
    data = wd.load("digits")
    began = time.process_time()
    members = [
        member._replace(recipe=replace(member.recipe, epochs=epochs))
        for member in grid(count)
    ]
    check_members(members, data)  # the command does so before it writes anything
    with tempfile.TemporaryDirectory() as folder, Ledger(folder) as ledger:
        sweep = Sweep(members, data, "auto", None, ledger, None)
        pool: Any = Answers(WORKERS, epochs)
        rules = Rules(longest=64.0 * 4)  # four waves of 64 members at 1 s a member
        cluster = Cluster(max_in_flight=WORKERS, rules=rules)
        driver = Driver(sweep, Staff(pool, cluster), ledger)
        started = time.process_time()
        given = itertools.count()
        give = pool.give
        pool.give = lambda *about: (next(given), give(*about))
        driver.run()
        return started - began, time.process_time() - started, next(given)


def of_answers(count: int, epochs: int) -> float:
    """Return what the workers' side of `Answers` takes, to be taken off."""
    pool = Answers(1, epochs)
    recipe = grid(10)[0].recipe
    group: Any = SimpleNamespace(places=[])
    members = [(i, recipe) for i in range(LANES)]
    order = say.Order(0, group, members, recipe, "", 1, 1, None, (), 1.0)
    began = time.process_time()
    for _ in range(count // LANES):
        pool.give(0, order)
        pool.waiting.clear()
    return time.process_time() - began


def of_ledger(count: int) -> float:
    """Return what a row costs more in a transaction of its own than among others."""
    with tempfile.TemporaryDirectory() as folder, Ledger(folder, provenance={}) as book:
        book.add("a", {})
        book.claim(["a"])
        rows = [("a", ROW | {"epoch": epoch}) for epoch in range(count)]
        began = time.process_time()
        for row in rows:
            book.epochs([row])
        alone = time.process_time() - began
        began = time.process_time()
        book.epochs(rows)
        return (alone - (time.process_time() - began)) / count


class Idle:
    """An actor that streams."""

    def stream(self, count: int) -> Any:
        for _ in range(count):
            yield [ROW]


def of_ray(count: int) -> float:
    """Return the driver's seconds for a streamed message."""
    with connected(Cluster(cpus=1), 0) as ray:
        actor = ray.remote(Idle).options(num_cpus=1).remote()
        stream = actor.stream.options(num_returns="streaming").remote
        for warm in (True, False):
            answers, began = stream(10 if warm else count), time.process_time()
            for _ in range(11 if warm else count + 1):
                ray.wait([answers], num_returns=1)
                try:
                    ray.get(next(answers))
                except StopIteration:
                    break
        return (time.process_time() - began) / count


def of_turn(times: int) -> float:
    """Return the driver's seconds to ask as many streams as there are workers."""
    with connected(Cluster(cpus=1), 0) as ray:
        actor = ray.remote(Idle).options(num_cpus=1).remote()
        stream = actor.stream.options(num_returns="streaming").remote
        # They wait in the queue of one actor behind the first, which is not read to
        # its end: to the driver they are as those of a thousand.
        answers = [stream(10**9), *(stream(1) for _ in range(WORKERS))]
        ray.wait(answers[1:], num_returns=1, timeout=0)
        began = time.process_time()
        for _ in range(times):
            ray.wait(answers[1:], num_returns=WORKERS, timeout=0)
        found = (time.process_time() - began) / times
        ray.kill(actor)
        return found


def of_memory(count: int) -> tuple[float, float]:
    """Return the bytes of a member's history as it is read, and packed."""
    rows = [ROW | {"epoch": epoch, "seconds": epoch / 7} for epoch in range(EPOCHS)]
    tracemalloc.start()
    marks = [tracemalloc.get_traced_memory()[0]]
    kept: list[Any] = [pickle.loads(pickle.dumps(rows)) for _ in range(count)]
    marks.append(tracemalloc.get_traced_memory()[0])
    kept += [Packed(rows) for _ in range(count)]
    marks.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    return (marks[1] - marks[0]) / count, (marks[2] - marks[1]) / count


COMPILE = """
import sys, time, jax
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
import jaxwd as wd
from jaxwd.lab.engines.groups import grouped
from jaxwd.lab.engines.interface import Job
from jaxwd.lab.engines.table import ENGINES
data, recipe = wd.load("fashion_mnist_12k"), wd.Recipe(decay=wd.coupled(5e-4))
job = Job.of(grouped([recipe], data)[0], data)
began = time.process_time()
ENGINES["vmap"].lanes(job, 64)
print(time.process_time() - began)
"""


def of_compiling() -> tuple[float, float]:
    """Return the seconds to compile the study's CNN for 64 lanes, and from the cache."""
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for _ in range(2):
            words = [sys.executable, "-c", COMPILE, folder]
            root = str(pathlib.Path(__file__).parents[1])
            env = os.environ | {"PYTHONPATH": root}
            got = subprocess.run(words, env=env, capture_output=True, text=True)
            found.append(float(got.stdout.split()[-1]))
    return found[0], found[1]


def measured(count: int) -> Costs:
    """Measure what the driver's processor has to do for each thing."""
    jax.devices()
    of_driver(count // 10, 1)  # imports, and what is made once
    start, short, chunks = of_driver(count, 1)
    _, long_, _ = of_driver(count, 11)
    short, long_ = short - of_answers(count, 1), long_ - of_answers(count, 11)
    row = (long_ - short) / (10 * count)
    decisions = of_scheduler(200_000)
    member = (short - decisions * chunks) / count - row
    return Costs(
        start / count, member, row, decisions, of_ray(3000), 2 * of_turn(100),
        of_ledger(2000),
        *of_compiling(),
    )  # fmt: skip


def of_scheduler(count: int) -> float:
    """Return the seconds of the scheduler's decisions for a chunk."""
    scheduler = made(count, Rules(scouts=False), 1)
    for worker in range(WORKERS):
        scheduler.joined(worker)
    began, chunks = time.process_time(), 0
    while not scheduler.over:
        for worker in range(WORKERS):
            chunk = scheduler.next(worker, 0.0)
            if chunk is not None:
                chunks += 1
                scheduler.heard(worker, 0.0, len(chunk.places), 1.0, chunk.places)
                scheduler.done(worker)
    return (time.process_time() - began) / chunks


class Fifo(Scheduler):
    """Hands groups out in their order, as a queue of tasks would."""

    def _group_for(self, worker: int) -> int | None:
        return next((n for n, queue in self.queues.items() if queue.left), None)


# --- simulated ------------------------------------------------------------------------


def made(
    members: int,
    rules: Rules,
    epochs: int,
    structures: int = STRUCTURES,
    kind: type[Scheduler] = Scheduler,
) -> Scheduler:
    """Return a scheduler of so many members in equal structures."""
    each = members // structures
    groups = {n: range(n * each, (n + 1) * each) for n in range(structures)}
    scheduler = kind(groups, dict.fromkeys(groups, epochs), rules)
    for queue in scheduler.queues.values():
        queue.lanes = queue.quantum = LANES if rules.longest else 1
    return scheduler


class Found(NamedTuple):
    """What a simulation found."""

    hours: float
    ideal: float
    busy: float
    driver: float
    compiled: int
    chunks: int
    given_up: int = 0


def polling(costs: Costs) -> float:
    """Return the part of the driver that goes into asking all workers, turn by turn."""
    return costs.turn / (costs.turn + WORKERS * _PAUSE)


def simulated(
    cost: float,
    costs: Costs,
    *,
    rules: Rules | None = None,
    single: bool = False,
    lone: bool = False,
    shared: bool = True,
    deaths: float = 0.0,
    broken: int = 0,
    structures: int = STRUCTURES,
    kind: type[Scheduler] = Scheduler,
    seed: int = 0,
) -> Found:
    """Run all members at `cost` GPU-seconds each.

    Args:
        cost: GPU-seconds of a member.
        costs: of the driver.
        rules: of the scheduler.
        single: one member a task, as `for m in members: f.remote(m)` does.
        lone: every row in a transaction of its own.
        shared: what one worker compiled, others find in the cache.
        deaths: of a worker, an hour.
        broken: hosts, of eight GPUs each, whose workers die within two seconds.
        structures: among which members are divided.
        kind: of the scheduler.
        seed: of the deaths.
    """
    import random

    draw = random.Random(seed)
    rules = rules or Rules()
    rules = replace(rules, longest=0.0, tail=0.0) if single else rules
    scheduler = made(MEMBERS, rules, EPOCHS, structures, kind)
    row = costs.row + (costs.lone if lone else 0.0)
    events: list[tuple[float, int, str, int, Any]] = []
    count, names = itertools.count(), itertools.count()
    now, server, served, trained, chunks, compiled = 0.0, 0.0, 0.0, 0.0, 0, 0
    held: dict[int, set[int]] = {}
    known: set[int] = set()
    asleep: list[int] = []

    def at(when: float, what: str, worker: int, about: Any = None) -> None:
        heapq.heappush(events, (when, next(count), what, worker, about))

    def serve(seconds: float) -> float:
        """Wait for the driver, and take some of its time."""
        nonlocal server, served
        seconds /= 1 - polling(costs)
        server = max(server, now) + seconds
        served += seconds
        return server

    def give(worker: int) -> None:
        nonlocal chunks, compiled
        chunk = scheduler.next(worker, now)
        if chunk is None:
            asleep.append(worker)
            return
        chunks += 1
        if hosts[worker] < broken:
            at(now + 2 * draw.random(), "dead", worker)
            return
        there = serve(costs.chunk + costs.message)
        first = chunk.group not in held[worker]
        held[worker].add(chunk.group)
        if not chunk.places:
            compiled += 1
            at(there + costs.cold, "ready", worker)
            return
        if first:
            cached = shared and chunk.group in known
            compiled += not cached
            there += costs.warm if cached else costs.cold
        took = cost * len(chunk.places)
        if deaths and draw.random() < deaths * took / 3600:
            at(there + took * draw.random(), "dead", worker)
        else:
            at(there + took, "done", worker, took)

    def hire(host: int) -> int:
        worker = next(names)
        held[worker], hosts[worker] = set(), host
        scheduler.joined(worker, f"host {host}")
        return worker

    given_up = 0
    hosts: dict[int, int] = {}
    for number in range(WORKERS):
        give(hire(number // 8))
    while not scheduler.over:
        now, _, what, worker, took = heapq.heappop(events)
        chunk = scheduler.chunks[worker]
        assert chunk is not None
        if what == "ready":
            known.add(chunk.group)
            scheduler.ready(worker, 1 if single else LANES, False)
            scheduler.done(worker)
        elif what == "dead":
            given_up += len(scheduler.lost(worker, now).given_up)
            worker = hire(hosts[worker])
        else:
            known.add(chunk.group)
            trained += took
            n = len(chunk.places)
            # What was streamed meanwhile is charged at the end, which is too hard.
            talks = max(took / max(0.25, scheduler.busy / 400), 1)
            serve(n * (costs.member + EPOCHS * row) + talks * costs.message)
            scheduler.heard(worker, now, n * EPOCHS, took, chunk.places)
            scheduler.done(worker)
        woken, asleep[:] = [*asleep], []
        give(worker)
        if what != "done":
            for other in woken:
                give(other)
        else:
            asleep += woken
    end, ideal = max(now, server), MEMBERS * cost / WORKERS
    return Found(
        *(end / 3600, ideal / 3600, trained / (end * WORKERS), served / end),
        *(compiled, chunks, given_up),
    )


# --- told -----------------------------------------------------------------------------

STORM = {"shared": False, "rules": Rules(scouts=False), "kind": Fifo}
WAYS: dict[str, dict[str, Any]] = {
    "as built": {},
    "as built, every second worker lost an hour": {"deaths": 0.5},
    "as built, one host of eight GPUs broken": {"broken": 1},
    "the same, were no host to rest": {"broken": 1, "rules": Rules(barren=10**9)},
    "every epoch in a transaction of its own": {"lone": True},
    "one member a task": {"single": True},
    "every worker compiles what comes next, for itself": STORM,
    "as built, 1,000 structures": {"structures": 1000},
    "the same, every worker compiles what comes next": {"structures": 1000, **STORM},
}


def line(name: str, found: Found) -> str:
    return (
        f"| {name} | {found.hours:.2f} | {found.hours / found.ideal:.2f} | "
        f"{100 * found.busy:.1f} % | {100 * found.driver:.0f} % | {found.compiled:,} | "
        f"{found.chunks:,} | {found.given_up:,} |"
    )


HEAD = [
    "| | hours | ÷ ideal | GPUs training | driver busy | compiled | chunks | given up |",
    "| :-- | --: | --: | --: | --: | --: | --: | --: |",
]


def report(costs: Costs, count: int) -> list[str]:
    """Return the page, and print its tables as they come."""
    a_member = costs.member + EPOCHS * costs.row
    said = {
        "a member before anything runs: made, checked, grouped, named, in the ledger": (
            costs.start
        ),
        "a member: claimed, handed out, its end written": costs.member,
        "an epoch of a member: unpickled, kept, written, many in a transaction": costs.row,
        "the same in a transaction of its own": costs.row + costs.lone,
        "a chunk: the scheduler's decisions": costs.chunk,
        "a message of Ray, streamed": costs.message,
        f"asking {WORKERS:,} workers, twice a turn": costs.turn,
    }
    as_read, packed = of_memory(500)
    lines = ["## What one thing costs the driver", "", "| | µs |", "| :-- | --: |"]
    lines += [f"| {name} | {1e6 * value:.0f} |" for name, value in said.items()]
    lines += [
        "",
        f"A member of {EPOCHS} epochs takes {1e6 * a_member:.0f} µs of the driver, so it "
        f"can feed {1 / a_member:,.0f} members a second: {WORKERS:,} GPUs keep one driver "
        f"busy when a member takes {WORKERS * a_member:.2f} GPU-seconds. Before the "
        f"first chunk {MEMBERS:,} members take {MEMBERS * costs.start / 60:.1f} minutes. "
        f"Compiling the study's CNN for {LANES} lanes took {costs.cold:.1f} s, from the "
        f"cache {costs.warm:.1f} s of processor time. Turns are "
        f"{1e3 * WORKERS * _PAUSE:.0f} ms apart at least, so asking takes "
        f"{100 * polling(costs):.0f} % of the core. The histories that a sweep returns "
        f"take {as_read * MEMBERS / 1e9:.1f} GB as rows, {packed * MEMBERS / 1e9:.1f} GB "
        "packed.",
        "",
        "## By the length of a member, as built",
        "",
        *HEAD,
    ]
    print("\n".join(lines), flush=True)
    for seconds in (0.1, 0.3, 1.0, 5.0, 30.0):
        lines.append(line(f"{seconds:g} GPU-seconds", simulated(seconds, costs)))
        print(lines[-1], flush=True)
    lines += ["", "## What was done about it, at 1 GPU-second a member", "", *HEAD]
    for name, way in WAYS.items():
        lines.append(line(name, simulated(1.0, costs, **way)))
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument(
        "--count", type=int, default=20_000, help="members to measure on"
    )
    parser.add_argument("--write", type=pathlib.Path)
    given = parser.parse_args()
    costs = measured(given.count)
    lines = report(costs, given.count)
    about = provenance()
    versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items() if v)
    import ray

    text = [
        f"# {QUESTION}",
        "",
        f"{MEMBERS:,} members of {EPOCHS} epochs in {STRUCTURES} structures, {LANES} "
        f"lanes a GPU, {WORKERS:,} workers.",
        "",
        *lines,
        "",
        TEXT,
        "",
        f"Costs in processor time, on {given.count:,} members; Python "
        f"{about['python']}, {about['processor']}, {about['cores']} cores, {versions}, "
        f"ray {ray.__version__}, {about['time']}. `python scripts/scheduler_simulation.py`",
        "",
    ]
    if given.write:
        given.write.write_text("\n".join(text), encoding="utf-8")


TEXT = """## What gives way first

1. The driver's memory, by the histories it returns. From 10,000 members on they are
   packed.
2. The driver's processor, one core of it. Members shorter than the figure above leave
   GPUs waiting; a member of several GPU-seconds leaves it nearly idle. To ask who has
   something to say costs by the workers asked, so it asks many less often. Give one epoch
   for many short ones, or two drivers half the grid each and `jaxwd ledger merge`.
3. The ledger's writes, within that core: what all workers tell in one turn of the driver
   is one transaction, and workers tell it 400 times a second at most, all together. A
   transaction for each epoch takes half of the core again.
4. Compiling, where every worker takes what comes next: it meets nearly every structure.
   One worker compiles a structure, the others find it in the shared cache and stay with
   it. Where there are as many structures as workers, nothing is left to share.
5. Tasks: a worker holds one chunk and nobody waits in a queue of Ray's, whatever the
   size of the grid, so a million members are some 16,000 messages. That one member a
   task is hardly slower here flatters it: a task of one member has no stack of lanes to
   share a GPU with, and a million tasks would wait in Ray.
6. A broken host, whose workers die at once and are hired again at once: without a rest
   it is handed more than all others. Two losses in a row let it rest, and a member is
   given up for losses on two hosts, or for twice as many on one.
7. The minutes before the first chunk, in which recipes are made, checked, grouped and
   named by one core, and one worker waits.

Not in it: workers that hang, the network, Ray's own limits with hundreds of nodes, disks
that share the cache, and a real GPU; chunks are multiples of the lanes, so a chunk of
long members lasts as long as its lanes do."""

if __name__ == "__main__":
    main()
