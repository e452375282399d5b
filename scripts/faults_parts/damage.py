"""Files that are not what was written: caches, a checkpoint, a ledger."""

import pathlib
import shutil

from faults_parts.kills import reference, trained
from faults_parts.stage import Observed, Stage, canonical, compared, faulty


def _harm(stage: Stage, path: pathlib.Path, how: int) -> None:
    """Cut a file off, turn some of its bytes, or empty it."""
    data = bytearray(path.read_bytes())
    if how % 3 == 0:
        data = data[: len(data) // 2]
    elif how % 3 == 1:
        for _ in range(8):
            data[stage.draw.randrange(len(data))] ^= 0xFF
    else:
        data = bytearray()
    path.write_bytes(bytes(data))


def programs(stage: Stage) -> Observed:
    """Compiled programs in the cache."""
    found = Observed(0, "cut off, turned and emptied: compiled anew, same ledger")
    wanted, _ = reference(stage, "sweep")
    for how in range(1 if stage.short else 3):
        files = sorted((stage.folder / "cache" / "xla").rglob("*-cache"))
        for file in files:
            _harm(stage, file, how)
        out = stage.fresh()
        child = stage.command(stage.words("sweep", out))
        child.end()
        found.tried += 1
        found.wrong += faulty(child, (0,))
        lost, changed = compared(canonical(out), wanted)
        found.lost += lost
        found.changed += changed
        shutil.rmtree(stage.folder / "cache" / "xla")
    return found


def checkpoint(stage: Stage) -> Observed:
    """The newest checkpoint of a training."""
    epochs = 6
    found = Observed(0, "")
    usual, wanted = stage.fresh("checkpoints"), stage.fresh("result")
    child = stage.fork(lambda: trained(usual, wanted, epochs))
    child.end()
    found.wrong += faulty(child, (0,))
    for how in range(1 if stage.short else 6):
        folder, got = stage.fresh("checkpoints"), stage.fresh("result")
        shutil.copytree(usual, folder)
        newest = max((x for x in folder.iterdir() if x.name.isdigit()), key=_number)
        files = sorted(x for x in newest.rglob("*") if x.is_file() and x.stat().st_size)
        _harm(stage, stage.draw.choice(files), how)
        child = stage.fork(lambda: trained(folder, got, epochs))  # noqa: B023
        child.end()
        found.tried += 1
        found.wrong += faulty(child, (0,), "is broken", "instead")
        found.lost += not got.exists()
        found.changed += got.exists() and got.read_text() != wanted.read_text()
    found.said = (
        "a file of it cut off, turned or emptied: the one before is used, it is "
    )
    found.said += "said, and the end has the same bits"
    return found


def _number(path: pathlib.Path) -> int:
    return int(path.name)


def ledger(stage: Stage) -> Observed:
    """A ledger: refused and left as it is; moved away, all is run anew."""
    wanted, _ = reference(stage, "sweep")
    found = Observed(0, "")
    done = stage.fresh()
    stage.command(stage.words("sweep", done)).end()
    read = 0
    for how in range(2 if stage.short else 12):
        out = stage.fresh()
        shutil.copytree(done, out)
        path = out / "ledger.sqlite"
        _harm(stage, path, how % 2)  # an empty file is a new ledger
        bytes_before = path.read_bytes()
        child = stage.command(stage.words("sweep", out))
        child.end()
        found.tried += 1
        if child.code == 0:  # what was turned is used by nobody
            read += 1
        else:
            found.wrong += faulty(child, (2,), "move it away")
            found.changed += path.read_bytes() != bytes_before
        if child.code == 0 or how < 1:
            for file in out.glob("ledger*" if child.code else "nothing"):
                file.unlink()
            again = stage.command(stage.words("sweep", out))
            again.end()
            found.wrong += faulty(again, (0,))
            lost, changed = compared(canonical(out), wanted)
            found.lost += lost
            found.changed += changed
    found.said = (
        f"cut off or turned: refused and left as it was, in {read} of {found.tried} the "
        "bytes were unused and all was read; moved away, all was run anew, same ledger"
    )
    return found


def dataset(stage: Stage) -> Observed:
    """Decoded pictures in the cache."""
    import numpy as np
    from PIL import Image

    found = Observed(0, "")
    root = stage.fresh("pictures")
    draw = np.random.default_rng(stage.seed)
    for i in range(40):
        file = root / "ab"[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        shade = 100 * (i % 2)
        pixels = draw.integers(shade, shade + 99, (8, 8, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(file)
    tiny = ("--image-size", "8", "--epochs", "2", "--batch-size", "4", "--dataset")

    def words(out: pathlib.Path) -> list[str]:
        return [*stage.words("sweep", out), *tiny, f"folder:{root}"]

    usual = stage.fresh()
    first = stage.command(words(usual))
    first.end()
    found.wrong += faulty(first, (0,))
    cached = next((stage.folder / "cache" / "decoded").glob("folder-*"))
    whole = cached.read_bytes()
    for how in range(1 if stage.short else 9):
        cached.write_bytes(whole)
        _harm(stage, cached, how)
        out = stage.fresh()
        child = stage.command(words(out))
        child.end()
        found.tried += 1
        if child.code != 0:
            found.wrong += faulty(child, (2,), "delete it, and it is made anew")
            cached.unlink()
            child = stage.command(words(out))
            child.end()
        found.wrong += faulty(child, (0,))
        lost, changed = compared(canonical(out), canonical(usual))
        found.lost += lost
        found.changed += changed
    found.said = "cut off, turned or emptied: refused by name; deleted, made anew"
    return found
