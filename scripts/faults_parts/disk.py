"""The disk: full, read only; the ledger locked by another process."""

import contextlib
import os
import pathlib
import resource
import sqlite3
import subprocess
import time
from collections.abc import Iterator

from faults_parts.kills import reference, trained
from faults_parts.stage import Child, Observed, Stage, canonical, compared, faulty

_SIZES = ("96k", "400k", "2m")


def _mount(folder: pathlib.Path, options: str) -> bool:
    """Mount a small file system in memory; False where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    with contextlib.suppress(OSError):
        return subprocess.run(words, capture_output=True).returncode == 0
    return False


def _remount(folder: pathlib.Path, options: str) -> None:
    subprocess.run(
        ["mount", "-o", f"remount,{options}", str(folder)],
        check=True,
        capture_output=True,
    )


@contextlib.contextmanager
def mounted(folder: pathlib.Path, options: str) -> Iterator[bool]:
    """Yield whether a small file system stands in `folder`; it is gone afterwards."""
    there = _mount(folder, options)
    try:
        yield there
    finally:
        if there:
            words = ["umount", "-l", str(folder)]
            subprocess.run(words, check=True, capture_output=True)


def full(stage: Stage) -> Observed:
    """A full disk under the ledger and the report, and under checkpoints."""
    found = Observed(0, "")
    wanted, _ = reference(stage, "sweep")
    how = "a small tmpfs"
    for size in _SIZES[1:2] if stage.short else _SIZES:
        out = stage.fresh()
        with mounted(out, f"size={size}") as there:
            words = stage.words("sweep", out)
            if there:
                child = stage.command(words)
            else:
                how = "RLIMIT_FSIZE, since file systems cannot be mounted here"
                child = _limited(stage, words, size)
            child.end()
            found.tried += 1
            found.wrong += faulty(child, (1,), "error: ")
            if there:
                _remount(out, "size=200m")
            again = stage.command(words)
            again.end()
            found.wrong += faulty(again, (0,))
            lost, changed = compared(canonical(out), wanted)
            found.lost += lost
            found.changed += changed
    found.said = (
        f"{how} of {', '.join(_SIZES)}: one line and exit code 1; with room again, the "
        "same command ended with the same ledger"
    )
    return found


def _limited(stage: Stage, words: list[str], size: str) -> Child:
    limit = int(size[:-1]) << {"k": 10, "m": 20}[size[-1]]

    def work() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        from jaxwd import cli

        return cli.main(words)

    return stage.fork(work)


def full_under_checkpoints(stage: Stage) -> Observed:
    """A disk that fills up between two checkpoints, and amid the arrays of one."""
    found = Observed(2, "")
    epochs = 8
    wanted, got = stage.fresh("result"), stage.fresh("result")
    usual = stage.fresh("checkpoints")
    child = stage.fork(lambda: trained(usual, wanted, epochs))
    child.end()
    found.wrong += faulty(child, (0,))
    # Room for two of three checkpoints; a file takes whole pages of 4096 bytes.
    files = [x for x in usual.rglob("*") if x.is_file()]
    room = sum(-(-x.stat().st_size // 4096) * 4096 for x in files) * 2 // 3
    folder = stage.fresh()
    with mounted(folder, "size=50m") as there:
        if not there:
            return Observed(0, "not tried: file systems cannot be mounted here")
        (folder / "ballast").write_bytes(bytes((50 << 20) - room))
        child = stage.fork(lambda: trained(folder / "mine", got, epochs))
        child.end()
        if "could not be written" not in child.said or got.exists():
            found.wrong.append(f"a full disk was not told: {child.said[-300:]}")
        (folder / "ballast").unlink()
        child = stage.fork(lambda: trained(folder / "mine", got, epochs))
        child.end()
        found.wrong += faulty(child, (0,))
        found.lost += not got.exists()
        found.changed += got.exists() and got.read_text() != wanted.read_text()
        found.wrong += _full_under_train(stage)
    found.said = (
        "told by the save, by `jaxwd train` in one line; with room again the training "
        "ended with the same bits"
    )
    return found


def _full_under_train(stage: Stage) -> list[str]:
    """Return what is wrong with `jaxwd train` where 12 MB of weights find 10 MB."""
    words = "--dataset friedman --model mlp --learning-rate 0.01 --epochs 3"
    words = ["train", *words.split(), "--vary", "model_options.hidden=[1000,1000]"]
    usual, out = stage.fresh(), stage.fresh()
    whole = stage.command([*words, "--out", str(usual)])
    whole.end()
    found = faulty(whole, (0,))
    with mounted(out, "size=10m"):
        child = stage.command([*words, "--out", str(out)])
        child.end()
        found += faulty(child, (1,), "could not be written")
        _remount(out, "size=200m")
        again = stage.command([*words, "--out", str(out)])
        again.end()
        found += faulty(again, (0,))
        if canonical(out) != canonical(usual):
            found.append("a training on a disk that was full has another end")
    return found


def read_only(stage: Stage) -> Observed:
    """Output that cannot be written, new or half-done."""
    found = Observed(0, "")
    out = stage.fresh()
    how = "a tmpfs mounted read only"
    with mounted(out, "size=50m") as there:
        if not there and os.geteuid() == 0:
            return Observed(0, "not tried: root ignores permissions, no mount allowed")
        out.mkdir(exist_ok=True)
        done = stage.command(stage.words("sweep", out))
        done.end()
        found.wrong += faulty(done, (0,))
        before = {p.name: p.read_bytes() for p in out.iterdir()}
        if there:
            _remount(out, "ro")
        else:
            how = "a folder without write permission"
            out.chmod(0o555)
        for words, codes in (
            (stage.words("sweep", out), (2,)),
            (stage.words("run", out), (2,)),
            (stage.words("sweep", out / "new"), (2,)),
            (["ledger", "export", str(out), "--to", str(out / "x.csv")], (1, 2)),
            (["report", str(out)], (1, 2)),
            (["ledger", "show", str(out)], (0,)),
            (["report", str(out), "--out", str(stage.fresh("page"))], (0,)),
        ):
            child = stage.command(words)
            child.end()
            found.tried += 1
            found.wrong += faulty(child, codes)
        after = {p.name: p.read_bytes() for p in out.iterdir()}
        found.changed += before != after
        if not there:
            out.chmod(0o755)
    found.said = f"{how}: refused in one line; what only reads still reads"
    return found


def locked(stage: Stage) -> Observed:
    """Another process holds the ledger: for a while, and for ever."""
    found = Observed(0, "")
    wanted, _ = reference(stage, "sweep")
    out = stage.fresh()
    stage.command(stage.words("sweep", out)).end()
    for run in (out / "ledger.sqlite", out / "ledger.sqlite-wal"):
        run.unlink(missing_ok=True)
    first = stage.command(stage.words("sweep", out))
    first.until(lambda: (out / "ledger.sqlite").exists())
    holder = sqlite3.connect(out / "ledger.sqlite", timeout=60, isolation_level=None)
    with contextlib.closing(holder):
        holder.execute("BEGIN EXCLUSIVE")
        time.sleep(0.5 if stage.short else 3)
        holder.execute("ROLLBACK")
        first.end()
        found.tried += 1
        found.wrong += faulty(first, (0,))
        lost, changed = compared(canonical(out), wanted)
        found.lost, found.changed = lost, changed
        holder.execute("BEGIN EXCLUSIVE")
        patience = 0.5

        def impatient() -> int:
            from jaxwd.flags import guarded
            from jaxwd.lab.ledger import Ledger

            def write() -> None:
                with Ledger(out, provenance={}, patience=patience) as ledger:
                    ledger.add("x", {})

            return guarded(write)

        never = stage.fork(impatient)
        never.end()
        found.tried += 1
        found.wrong += faulty(never, (2,), "has been locked by another process for")
        if not stage.short:
            began = time.monotonic()
            never = stage.command(stage.words("sweep", out))
            never.end()
            found.tried += 1
            found.wrong += faulty(never, (2,), "has been locked by another process for")
            if time.monotonic() - began < 25:
                found.wrong.append("did not wait for its 30 seconds")
        holder.execute("ROLLBACK")
    found.said = (
        "held for seconds: waited, same ledger; held for ever: an error of one line that "
        "says so"
    )
    return found
