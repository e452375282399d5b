"""What does a checkpoint after every epoch cost?

    python scripts/bench/checkpoint.py --write experiments/results/bench_checkpoint.md

One training, its programs compiled before, that saves behind every second epoch. An epoch
that begins with a save, the thread that writes it beside the steps included, is compared
with the mean of its two neighbours that begin with none: a machine that changes its speed
does so for both.
"""

import argparse
import itertools
import pathlib
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from typing import NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax
import numpy as np
from scipy import stats

import jaxwd as wd
from jaxwd.lab.provenance import provenance
from jaxwd.training.checkpoints import Checkpoints

EPOCHS = {"fashion_mnist_12k": 161, "fashion_mnist": 25}
"""Of 8,000 images, which ship with the package, and of all."""
QUESTION = (__doc__ or "").splitlines()[0]
RECIPES = {
    "study's CNN, SGD": wd.Recipe(decay=wd.coupled(5e-4)),
    "study's CNN, Adam": wd.Recipe(
        optimizer="adam", learning_rate=1e-3, decay=wd.decoupled(0.1)
    ),
}


class Every(Checkpoints):
    """Checkpoints of every second epoch, and when each epoch of the training ended."""

    def __init__(self, folder):
        super().__init__(folder)
        self.ends, self.stops, self.waits = [], [], []

    def wait(self):
        began = time.perf_counter()
        super().wait()
        self.waits.append(time.perf_counter() - began)

    def save(self, *given):
        self.ends.append(time.perf_counter())
        if len(self.ends) % 2:
            super().save(*given)
            self.stops.append(time.perf_counter() - self.ends[-1])


class Measured(NamedTuple):
    ratios: list[float]
    without: float
    stop: float
    wait: float


def measured(recipe, data):
    """Return a training's epochs with a save ÷ those without, and what else it paid."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Every(folder + "/checkpoints") as kept,
    ):
        wd.run(recipe, data, checkpoints=kept)
    took = [b - a for a, b in itertools.pairwise(kept.ends)]  # 0, 2, … with a save
    ratios = [
        2 * took[n] / (took[n - 1] + took[n + 1]) for n in range(2, len(took) - 1, 2)
    ]
    without, stop = statistics.median(took[1::2]), statistics.median(kept.stops)
    return Measured(ratios, without, stop, max(kept.waits))


def main():
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--dataset", choices=EPOCHS, nargs="+", default=list(EPOCHS))
    parser.add_argument("--epochs", type=int, help="default by the data set")
    parser.add_argument("--write", type=pathlib.Path)
    given = parser.parse_args()
    lines = [
        "| training | images | epochs | MB a checkpoint | s an epoch | with a save ÷ "
        "without | 95 % of it | ms a save stops the training | ms the longest wait for "
        "one |",
        "| :-- | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for dataset, (name, recipe) in itertools.product(given.dataset, RECIPES.items()):
        data, epochs = wd.load(dataset), given.epochs or EPOCHS[dataset]
        recipe = replace(recipe, dataset=dataset)
        measured(replace(recipe, epochs=6), data)  # compiles, imports Orbax
        got = measured(replace(recipe, epochs=epochs), data)
        drawn = stats.bootstrap((got.ratios,), np.median, method="percentile", rng=0)
        low, high = drawn.confidence_interval
        lines.append(
            f"| {name} | {len(data.train.inputs):,} | {epochs} | "
            f"{size(recipe, data):.1f} | {got.without:.3f} | "
            f"{statistics.median(got.ratios):.3f} | {low:.3f}–{high:.3f} | "
            f"{1e3 * got.stop:.1f} | {1e3 * got.wait:.0f} |"
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
            "One training a row, every second epoch with a save: the median of its "
            "time ÷ that of its neighbours, and the bootstrap interval of that median. "
            "Python "
            f"{about['python']}, {about['processor']}, {about['cores']} "
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
