"""SIGKILL at random moments: what has finished stays, and the end is the same."""

import contextlib
import json
import pathlib
import sqlite3
import time

from faults_parts.stage import Child, Observed, Stage, canonical, compared

from jaxwd.training import checkpoint_files as files

KILLS = {"training": 20, "train": 8, "run": 12, "sweep": 14}
SHORT = {"training": 3, "train": 2, "run": 2, "sweep": 2}


def trained(folder: pathlib.Path, out: pathlib.Path, epochs: int) -> None:
    """Train with checkpoints in `folder` and write all that came out, as text."""
    import jax
    import numpy as np

    import jaxwd as wd
    from jaxwd import runtime

    runtime.setup("cpu")
    recipe = wd.Recipe(
        dataset="friedman", model="mlp", model_options=(("hidden", (16,)),),
        optimizer="adam", learning_rate=0.01, schedule="cosine", epochs=epochs,
        decay=wd.decoupled(1e-2),
    )  # fmt: skip
    result = wd.run(recipe, checkpoints=folder)
    history = [
        {k: v for k, v in row.items() if k != "seconds"} for row in result.history
    ]
    leaves = [np.asarray(x).tobytes().hex() for x in jax.tree.leaves(result.params)]
    half = out.with_suffix(".half")
    half.write_text(json.dumps([history, leaves]))
    half.replace(out)


def training(stage: Stage) -> Observed:
    """`jaxwd.run(…, checkpoints=)`, between its first epoch and its last.

    A kill that came when all was saved does not count, and none may leave a checkpoint
    that is broken.
    """
    epochs = 12 if stage.short else 40
    wanted, seconds, last = _reference(stage, epochs)
    left = (SHORT if stage.short else KILLS)["training"]
    found = Observed(left, "")
    rounds = 0
    while left:
        folder, out = stage.fresh("checkpoints"), stage.fresh("result")
        rounds += 1
        while True:
            child = stage.fork(lambda: trained(folder, out, epochs))  # noqa: B023
            child.until(lambda: _trains(folder, child.pid))  # noqa: B023
            if left and child.wait(stage.draw.uniform(0, 0.3) * seconds) is None:
                child.kill()
                left -= last not in files.steps_in(folder)
                continue
            code = child.end()
            if "is broken" in child.said:
                found.wrong.append(f"a kill broke a checkpoint: {child.said[-500:]}")
            if code != 0:
                found.wrong.append(
                    f"a training that goes on failed: {child.said[-500:]}"
                )
            break
        found.lost += not out.exists()
        found.changed += out.exists() and out.read_text() != wanted
        if found.wrong:
            break
    found.said = (
        f"{found.tried} kills in {rounds} trainings of {epochs} epochs; weights and every "
        "epoch's metrics compared bit for bit"
    )
    return found


def _trains(folder: pathlib.Path, process: int) -> bool:
    """Say whether a process is at the checkpoints of a folder."""
    with contextlib.suppress(OSError):
        return (folder / files.LOCK).read_text().strip() == str(process)
    return False


def _reference(stage: Stage, epochs: int) -> tuple[str, float, int]:
    """Return what comes out, the seconds of training, and the last step."""
    for _ in range(1 if stage.short else 2):
        out, folder = stage.fresh("result"), stage.fresh("checkpoints")
        child = stage.fork(lambda: trained(folder, out, epochs))  # noqa: B023
        child.until(lambda: _trains(folder, child.pid))  # noqa: B023
        began = time.monotonic()
        if child.end() != 0:
            raise RuntimeError(child.said)
    return out.read_text(), time.monotonic() - began, files.steps_in(folder)[-1]


def run(stage: Stage) -> Observed:
    """`jaxwd run`."""
    return _command(stage, "run")


def train(stage: Stage) -> Observed:
    """`jaxwd train`."""
    return _command(stage, "train")


def sweep(stage: Stage) -> Observed:
    """`jaxwd sweep`."""
    return _command(stage, "sweep")


def _command(stage: Stage, name: str) -> Observed:
    wanted, seconds = reference(stage, name)
    left = (SHORT if stage.short else KILLS)[name]
    found = Observed(left, "")
    rounds = amid = 0
    while left and not found.wrong:
        out = stage.fresh()
        rounds += 1
        while True:
            child = stage.command(stage.words(name, out))
            if left and _killed(stage, child, out, seconds, anywhere=not left % 3):
                left -= 1
                amid += _abandoned(out)
                continue
            code = child.end()
            seconds = min(seconds, time.monotonic() - child.began)
            if code != 0:
                found.wrong.append(f"went on and failed: {child.said[-500:]}")
            break
        lost, changed = compared(canonical(out), wanted)
        found.lost += lost
        found.changed += changed
    runs = len(wanted.splitlines())
    found.said = (
        f"{found.tried} kills in {rounds} × {runs} runs, {amid} runs left half-done; "
        "ledgers compared as text without times"
    )
    return found


def _killed(
    stage: Stage, child: Child, out: pathlib.Path, seconds: float, *, anywhere: bool
) -> bool:
    """Kill a command at a random moment; False where it ended before.

    Anywhere from its start on, or amid its runs.
    """
    if not anywhere:
        child.until(lambda: under_way(out))
    most = 1.1 * seconds if anywhere else 0.3
    if child.wait(stage.draw.uniform(0, most)) is not None:
        return False
    child.kill()
    return True


def under_way(out: pathlib.Path) -> bool:
    """Say whether a process is at a run."""
    path = out / "ledger.sqlite"
    with contextlib.suppress(sqlite3.Error):
        made = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        with contextlib.closing(made):
            found = made.execute("SELECT count(*) FROM run WHERE status = 'running'")
            return found.fetchone()[0] > 0
    return False


def _abandoned(out: pathlib.Path) -> int:
    """Return how many runs were begun and left by a killed process."""
    from jaxwd.lab.ledger import Ledger

    if not (out / "ledger.sqlite").exists():
        return 0
    with Ledger(out, readonly=True) as ledger:
        return len(ledger.abandoned())


_known: dict[str, tuple[str, float]] = {}


def reference(stage: Stage, name: str) -> tuple[str, float]:
    """Return the ledger of an uninterrupted command as text, and how long it takes."""
    if name not in _known:
        # The second has its programs in the cache, as those that are killed will have.
        for _ in range(1 if stage.short else 2):
            out = stage.fresh("reference")
            child = stage.command(stage.words(name, out))
            if child.end() != 0:
                raise RuntimeError(child.said)
        _known[name] = canonical(out), time.monotonic() - child.began
    return _known[name]
