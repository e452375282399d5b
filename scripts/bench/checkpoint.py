"""What does a checkpoint after every epoch cost?

    python scripts/bench/checkpoint.py --write experiments/results/bench_checkpoint.md

The same training with checkpoints and without, in turns, programs compiled before. Wall
time of the whole call, so the wait for the last save counts and so does looking for
checkpoints at the start.
"""

import argparse
import pathlib
import statistics
import sys
import tempfile
import time
from dataclasses import replace

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax

import jaxwd as wd
from jaxwd.lab.provenance import provenance
from jaxwd.training.checkpoints import Checkpoints

QUESTION = (__doc__ or "").splitlines()[0]
RECIPES = {
    "study's CNN, SGD": wd.Recipe(decay=wd.coupled(5e-4)),
    "study's CNN, Adam": wd.Recipe(
        optimizer="adam", learning_rate=1e-3, decay=wd.decoupled(0.1)
    ),
}


def seconds(recipe, data, kept):
    """Return how long a training takes, and how long its saves kept it."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        if not kept:
            wd.run(recipe, data)
            return time.perf_counter() - began, 0.0
        checkpoints = Timed(folder + "/checkpoints")
        with checkpoints:
            wd.run(recipe, data, checkpoints=checkpoints)
        return time.perf_counter() - began, checkpoints.seconds


class Timed(Checkpoints):
    """Checkpoints that know how long the training stood still for them."""

    seconds = 0.0

    def save(self, *given):
        began = time.perf_counter()
        super().save(*given)
        self.seconds += time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--write", type=pathlib.Path)
    given = parser.parse_args()
    data = wd.load("fashion_mnist_12k")
    lines = [
        "| training | MB a checkpoint | seconds without | with | with ÷ without, same "
        "round | min–max | ms a save stops the training |",
        "| :-- | --: | --: | --: | --: | --: | --: |",
    ]
    for name, recipe in RECIPES.items():
        recipe = replace(recipe, epochs=given.epochs)
        for kept in (False, True):
            seconds(recipe, data, kept)  # compiles, imports Orbax
        pairs, stops = [], []
        for number in range(given.rounds):
            took = {}
            for kept in (False, True) if number % 2 else (True, False):
                took[kept], stop = seconds(recipe, data, kept)
                stops += [stop / given.epochs] if kept else []
            pairs.append((took[False], took[True]))
        ratios = [with_ / without for without, with_ in pairs]
        without, with_ = (statistics.median(side) for side in zip(*pairs, strict=True))
        lines.append(
            f"| {name}, {given.epochs} epochs | {size(recipe, data):.1f} | "
            f"{without:.3f} | {with_:.3f} | {statistics.median(ratios):.3f} | "
            f"{min(ratios):.3f}–{max(ratios):.3f} | "
            f"{1e3 * statistics.median(stops):.1f} |"
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
            f"{given.rounds} rounds, in turns and in turn first; a checkpoint after every "
            f"epoch; Python {about['python']}, {about['processor']}, {about['cores']} "
            f"cores, {versions}, {about['time']}. `python scripts/bench/checkpoint.py`",
            "",
        ]
    )
    if given.write:
        given.write.write_text(text, encoding="utf-8")


def size(recipe, data):
    """Return the megabytes of a recipe's state."""
    from jaxwd.training.parts import chain_of, model_of

    model = model_of(recipe, data.outputs)
    example = jax.numpy.zeros(data.input_shape)
    params, state = model.init(jax.random.key(0), example, 0.0)
    leaves = jax.tree.leaves((params, state, chain_of(recipe, 1).init(params)))
    return sum(leaf.nbytes for leaf in leaves) / 1e6


if __name__ == "__main__":
    main()
