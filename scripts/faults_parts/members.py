"""Members that fail: memory exhausted in a chunk, losses that are NaN; and 10,000."""

import os
import pathlib
import time

from faults_parts.stage import Child, Observed, Stage, canonical, compared, faulty


def _grid(seeds: int, *more: float, epochs: int = 4) -> list:
    import jaxwd as wd
    from jaxwd.lab import Member

    return [
        Member(
            wd.Recipe(
                dataset="friedman", model="mlp", model_options=(("hidden", (8,)),),
                train_examples=128, learning_rate=rate, epochs=epochs, seed=seed,
            ),
            (("learning_rate", rate), ("seed", seed)),
        )
        for rate in (0.01, *more)
        for seed in range(seeds)
    ]  # fmt: skip


def _swept(stage: Stage, folder: pathlib.Path, *more: float, fail: int = 0) -> Child:
    """Sweep a small grid in a child; the first `fail` epochs raise as a full memory."""

    def work() -> None:
        import jax

        import jaxwd as wd
        from jaxwd import runtime
        from jaxwd.lab import run_many
        from jaxwd.lab.engines.stacked import Stacked
        from jaxwd.lab.ledger import Ledger

        runtime.setup("cpu")
        epoch, left = Stacked.epoch, [fail]

        def exhausted(lanes: Stacked, indices: list) -> object:
            if left[0] and lanes.width > 1:
                left[0] -= 1
                if left[0] % 2:
                    raise MemoryError
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
            return epoch(lanes, indices)

        Stacked.epoch = exhausted  # type: ignore[method-assign]
        folder.mkdir()
        with Ledger(folder / "ledger.sqlite") as ledger:
            grid = _grid(8, *more)
            run_many(grid, wd.load("friedman"), engine="map", chunk=8, ledger=ledger)

    return stage.fork(lambda: work())


def out_of_memory(stage: Stage) -> Observed:
    """Memory exhausted in a chunk, three times in a row."""
    return _as_usual(
        stage,
        lambda out: _swept(stage, out, fail=3),
        "an allocator's error raised in the engine: chunks of 8, 4, 2, then 1; same ledger",
    )


def not_a_number(stage: Stage) -> Observed:
    """Members whose loss becomes NaN beside members that learn."""
    return _as_usual(
        stage,
        lambda out: _swept(stage, out, 1e38),
        "8 of 16 members at learning rate 1e38: noted as diverged, the others the same",
    )


def _as_usual(stage: Stage, begin: object, said: str) -> Observed:
    usual, out = stage.fresh(), stage.fresh()
    found = Observed(1, said)
    for folder, child in (
        (usual, _swept(stage, usual)),
        (out, begin(out)),  # type: ignore[operator]
    ):
        child.end()
        found.wrong += faulty(child, (0,))
        if not (folder / "ledger.sqlite").exists():
            return found
    found.lost, found.changed = compared(canonical(out), canonical(usual))
    return found


def soak(stage: Stage) -> Observed:
    """Tiny members by the thousands in one process: memory and descriptors stay."""
    chunk, chunks = (100, 6) if stage.short else (500, 20)
    out = stage.fresh("soak")

    def work() -> None:
        import gc

        import jaxwd as wd
        from jaxwd import runtime
        from jaxwd.lab import run_many
        from jaxwd.lab.ledger import Ledger

        runtime.setup("cpu")
        data = wd.load("friedman").take(64)
        with Ledger(out) as ledger:
            for i in range(chunks):
                grid = [
                    wd.Recipe(
                        dataset="friedman", model="mlp", model_options=(("hidden", (4,)),),
                        learning_rate=0.01, epochs=1, seed=i * chunk + j,
                    )
                    for j in range(chunk)
                ]  # fmt: skip
                run_many(grid, data, engine="vmap", ledger=ledger, splits=())
                gc.collect()
                print(_resident(), len(os.listdir("/proc/self/fd")), flush=True)

    from jaxwd.lab.ledger import Ledger

    began = time.monotonic()
    child = stage.fork(lambda: work())
    child.wait(1800)
    found = Observed(1, "")
    found.wrong += faulty(child, (0,))
    rows = [tuple(map(int, line.split())) for line in child.said.splitlines()]
    memory, opened = zip(*rows, strict=True) if rows else ((0,), (0,))
    with Ledger(out, readonly=True) as ledger:
        found.lost = chunk * chunks - sum(
            run.status == "finished" for run in ledger.runs()
        )
    warm = len(memory) // 3
    growth = (memory[-1] - memory[warm]) / max(1, memory[warm])
    each = (memory[-1] - memory[warm]) / max(1, (len(memory) - 1 - warm) * chunk)
    if growth > 0.05 and memory[-1] - memory[warm] > 20 << 20:
        found.wrong.append(f"memory grew by {growth:.1%}, {each:.0f} bytes a member")
    # The heartbeat opens the ledger now and then, and SQLite keeps its descriptor.
    if opened[-1] > opened[warm] + 2:
        found.wrong.append(f"file descriptors grew from {opened[warm]} to {opened[-1]}")
    found.said = (
        f"{chunk * chunks:,} members in one process, {time.monotonic() - began:.0f} s: "
        f"{memory[warm] >> 20} MB resident after a third, {memory[-1] >> 20} MB at the end "
        f"({each:+.0f} bytes a member); {opened[-1]} descriptors, {opened[warm]} before"
    )
    return found


def _resident() -> int:
    pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
