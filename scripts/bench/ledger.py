"""What does it cost to keep every epoch of a grid in the ledger?

    python scripts/bench/ledger.py --write experiments/results/bench_ledger.md

The same grid with a ledger and without, in turns, programs compiled before; a new ledger
file each time, its making and its closing counted. Wall time of the whole grid.
"""

import argparse
import pathlib
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jaxwd as wd
from jaxwd.lab import Ledger, product, run_many
from jaxwd.lab.provenance import provenance

QUESTION = (__doc__ or "").splitlines()[0]
SMALL = {"model": "mlp", "model_options": {"hidden": (64,)}}
# name → recipe and how many members. The second is the worst case, epochs of 0.7 ms in a
# grid of a second, where making and closing the file count; the third is three times it.
GRIDS = {
    "4 CNNs, 4 epochs of 62 steps": (
        wd.Recipe(train_examples=2000, epochs=4, decay=wd.coupled(0.0)),
        4,
    ),
    "64 perceptrons, 64-64-10, 20 epochs of 39 steps": (
        wd.Recipe(dataset="digits", epochs=20, decay=wd.coupled(0.0), **SMALL),
        64,
    ),
    "64 perceptrons, 64-64-10, 60 epochs of 39 steps": (
        wd.Recipe(dataset="digits", epochs=60, decay=wd.coupled(0.0), **SMALL),
        64,
    ),
}


def seconds(members, data, kept):
    """Return how long a grid takes, with or without a ledger."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        if kept:
            with Ledger(folder) as ledger:
                run_many(members, data, engine="map", ledger=ledger)
        else:
            run_many(members, data, engine="map")
        return time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--only", default="", help="grids whose name holds this")
    parser.add_argument("--write", type=pathlib.Path)
    given = parser.parse_args()
    lines = [
        "| grid | seconds without | with | with ÷ without, same round | min–max |",
        "| :-- | --: | --: | --: | --: |",
    ]
    grids = {name: grid for name, grid in GRIDS.items() if given.only in name}
    for name, (recipe, count) in grids.items():
        data = wd.load(recipe.dataset)
        strengths = [1e-5 * (i + 1) for i in range(count)]
        members = product(recipe, {"decay.strength": strengths})
        for kept in (False, True):
            seconds(members, data, kept)  # compiles
        pairs = [
            (seconds(members, data, False), seconds(members, data, True))
            for _ in range(given.rounds)
        ]
        ratios = [with_ / without for without, with_ in pairs]
        without, with_ = (statistics.median(side) for side in zip(*pairs, strict=True))
        lines.append(
            f"| {name} | {without:.3f} | {with_:.3f} | {statistics.median(ratios):.3f} | "
            f"{min(ratios):.3f}–{max(ratios):.3f} |"
        )
        print(lines[-1], flush=True)
    about = provenance()
    versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items() if v)
    text = "\n".join(
        [
            f"# {QUESTION}",
            "",
            *lines,
            "",
            f"{given.rounds} rounds in turns, engine `map`; Python {about['python']}, "
            f"{about['processor']}, {about['cores']} cores, {versions}, {about['time']}. "
            "`python scripts/bench/ledger.py`",
            "",
        ]
    )
    if given.write:
        given.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
