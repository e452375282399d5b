"""Which form of the convolution is fastest in the study's training step, here?

    python scripts/bench/conv_forms.py

Trains the study's CNN with every form of `jaxwd.models.conv`, taking turns. This is
what `conv="auto"` was set by on a CPU.
"""

import statistics
import sys
import time

import jax
import numpy as np

import jaxwd as wd
from jaxwd.training.arrays import arrays_of
from jaxwd.training.parallel import layout
from jaxwd.training.program import compile_program

# auto is winograd where there are many input channels and im2col where there are few.
FORMS = ("auto", "im2col", "winograd", "lax")
ROUNDS, EXAMPLES, BATCH = 9, 1600, 32


def trainer(form):
    data = wd.load().take(EXAMPLES)
    recipe = wd.Recipe(
        model_options=(("conv", form),), epochs=1, decay=wd.coupled(5e-4), dropout=0.5
    )
    spread = layout("single", BATCH)
    arrays = spread.place(arrays_of(data))
    program = compile_program(
        recipe.structure(), data.task, 10, spread, spread.abstract(arrays)
    )
    numbers = jax.tree.map(np.float32, recipe.numbers())
    root, index = jax.random.key(0), np.int32(0)
    held = [program.init(root, numbers, arrays)]

    def train():
        start = time.perf_counter()
        held[0], losses, *_ = program.epoch(held[0], numbers, root, index, arrays)
        losses.block_until_ready()
        return 1e3 * (time.perf_counter() - start) / (EXAMPLES // BATCH)

    train()
    return train


def main():
    trainers = {form: trainer(form) for form in FORMS}
    took = {form: [] for form in FORMS}
    for _ in range(ROUNDS):
        for form, train in trainers.items():
            took[form].append(train())
    print("| form | ms a step | min–max | ÷ auto, same round |")
    print("| :-- | --: | --: | --: |")
    for form, ms in took.items():
        ratio = statistics.median(a / b for a, b in zip(ms, took["auto"], strict=True))
        print(
            f"| {form} | {statistics.median(ms):.2f} | {min(ms):.2f}–{max(ms):.2f} | "
            f"{ratio:.2f} |"
        )
    device = jax.devices()[0].device_kind
    print(
        f"\n{device}, {ROUNDS} rounds of {EXAMPLES // BATCH} steps, batch {BATCH}, "
        f"jax {jax.__version__}, Python {sys.version.split()[0]}"
    )


if __name__ == "__main__":
    main()
