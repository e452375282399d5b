"""One process of a training; test_processes.py starts several.

`process_worker.py FOLDER LAYOUT INDEX COUNT PORT LOST_AFTER`, one device each.
"""

import dataclasses
import json
import os
import pathlib
import sys
import time
from typing import Any

os.environ["JAX_NUM_CPU_DEVICES"] = "1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np

import jaxwd as wd
from jaxwd.data.streams import Source, Stream
from jaxwd.data.streams.stream import from_dataset
from jaxwd.training import processes

RECIPE = wd.Recipe(
    dataset="digits",
    model="mlp",
    model_options={"hidden": (16,)},
    epochs=3,
    batch_size=16,
    optimizer="adam",
    learning_rate=0.003,
    decay=wd.decoupled(0.1),
)


class Counted(Source):
    """A source that notes the rows that were read."""

    def __init__(self, source, wait=0.0):
        self.name, self.source, self.wait, self.rows = "digits", source, wait, []

    def __len__(self):
        return len(self.source)

    def read(self, rows):
        self.rows += np.asarray(rows).tolist()
        time.sleep(self.wait)
        return self.source.read(rows)


def counted(wait=0.0):
    """Return the stream of the recipe's data whose training rows are counted."""
    data = from_dataset(wd.load("digits").take(192))
    train = Counted(data.train, wait)
    return Stream(**(vars(data) | {"train": train})), train


def watched_writes(folder):
    """Return the names of what this process makes or removes in a folder, from now on."""
    found = set()

    def hook(event, given):
        if event == "open" and not (given[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            return
        if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"):
            for name in given[:2]:
                named = isinstance(name, str | os.PathLike)
                path = pathlib.Path(name) if named else None
                if path is not None and path.is_relative_to(folder):
                    found.add(str(path.relative_to(folder)))

    sys.addaudithook(hook)
    return found


def main():
    folder, how, index, count, port, lost_after = sys.argv[1:]
    folder, index, count = pathlib.Path(folder), int(index), int(count)
    wait = float(os.environ.get("SLOW", "0"))
    written = watched_writes(folder / "kept")
    try:
        me = processes.join(
            f"127.0.0.1:{port}", count, index, wait=60, lost_after=float(lost_after)
        )
    except wd.InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    with me:
        data, source = counted(wait)

        def told(row):
            (folder / f"at-{index}").write_text(str(row["epoch"]))
            if os.environ.get("FAIL") == str(index):
                raise wd.InputError("this one process has no more room")

        kept = folder / "kept" if os.environ.get("KEEP") else None
        recipe = RECIPE
        if os.environ.get("SEED") and index:
            recipe = dataclasses.replace(RECIPE, seed=int(os.environ["SEED"]))
        train: Any = wd.run_streamed
        if os.environ.get("MEMORY"):
            train, data = wd.run, wd.load("digits").take(192)
        result = train(recipe, data, layout=how, checkpoints=kept, on_epoch=told)
        (folder / f"rows-{index}.json").write_text(json.dumps(source.rows))
        (folder / f"written-{index}.json").write_text(json.dumps(sorted(written)))
        if processes.is_first():
            leaves = [
                result.params[a][b] for a in result.params for b in result.params[a]
            ]
            np.savez(folder / "params.npz", *leaves)
            (folder / "final.json").write_text(json.dumps(result.final))


if __name__ == "__main__":
    main()
