"""How does a step's time grow when devices and batch grow together?

    python scripts/bench/weak_scaling.py --write experiments/results/bench_weak_scaling.md

Weak scaling: each device keeps its 32 examples, so on n real devices a step should take
as long as on one. The devices here are fake: one CPU's cores do the work of all n, so a
step on n takes n times as long at best, and what can be read from the table is only what
a layout adds to that work: the averaging and the gathering. Rounds take turns.
"""

import argparse
import os
import pathlib
import statistics
import sys
import time

os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")
sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax
import jax.numpy as jnp

import jaxwd as wd
from jaxwd.lab.provenance import provenance
from jaxwd.training import LAYOUTS
from jaxwd.training.arrays import arrays_of
from jaxwd.training.functions import functions
from jaxwd.training.parallel import layout

QUESTION = (__doc__ or "").splitlines()[0]
EACH = 32
STEPS = 20


def steps_of(data, how, devices):
    """Return a function that makes some steps on batches of 32·devices examples."""
    recipe = wd.Recipe(
        dataset=data.name,
        model="mlp",
        model_options=(("hidden", (256, 256)),),
        optimizer="adam",
        learning_rate=1e-3,
        decay=wd.decoupled(0.1),
        batch_size=EACH * devices,
        epochs=1,
    )
    spread = layout(how, recipe.batch_size, devices)
    arrays = spread.place(arrays_of(data))
    pure = functions(
        recipe.structure(),
        data.task,
        data.outputs,
        data.train.examples,
        axis=spread.axis,
        local=spread.local,
        devices=spread.devices,
        limit=STEPS,
    )
    numbers = spread.place(jax.tree.map(jnp.float32, recipe.numbers()))
    root, index = spread.place((jax.random.key(0), jnp.int32(0)))
    shapes = spread.abstract_state(jax.eval_shape(pure.init, root, numbers, arrays))
    start = spread.once(pure.init, root, numbers, arrays, out=shapes)
    state = [start(root, numbers, arrays)]
    epoch = spread.spread(pure.epoch, 0, state[0], numbers, root, index, arrays)

    def run():
        state[0], *rest = epoch(state[0], numbers, root, index, arrays)
        jax.block_until_ready((state, rest))

    return run


def milliseconds(run):
    began = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - began) / STEPS


def main():
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--write", type=pathlib.Path)
    given = parser.parse_args()
    data = wd.load("fashion_mnist_12k")
    counts = [n for n in (1, 2, 4, 8) if n <= jax.device_count()]
    names = ["single", *(name for name in LAYOUTS if name != "single")]
    runs = {
        (how, n): steps_of(data, how, n)
        for how in names
        for n in (counts if how != "single" else [1])
    }
    for run in runs.values():
        run()
    took = {key: [] for key in runs}
    for _ in range(given.rounds):
        for key, run in runs.items():
            took[key].append(milliseconds(run))
    one = took["single", 1]
    lines = [
        "| layout | devices | batch | ms a step | ÷ (n × one device), same round "
        "| min–max |",
        "| :-- | --: | --: | --: | --: | --: |",
    ]
    for (how, n), mine in took.items():
        shares = [x / (n * y) for x, y in zip(mine, one, strict=True)]
        lines.append(
            f"| {how} | {n} | {EACH * n} | {statistics.median(mine):.2f} | "
            f"{statistics.median(shares):.2f} | {min(shares):.2f}–{max(shares):.2f} |"
        )
    print("\n".join(lines), flush=True)
    about = provenance()
    versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items() if v)
    text = "\n".join(
        [
            f"# {QUESTION}",
            "",
            *lines,
            "",
            f"784-256-256-10 perceptron, Adam with decoupled decay, {EACH} examples a "
            f"device, {STEPS} steps a round. The devices are fake and share "
            f"{about['cores']} cores: n devices have n times the work and no more to do "
            "it with, so 1.00 in the fifth column is a layout that costs nothing, below "
            "1 is what larger batches save, and a real machine's scaling is not here.",
            "",
            f"{given.rounds} rounds in turns; Python {about['python']}, "
            f"{about['processor']}, {about['cores']} cores, {versions}, {about['time']}. "
            "`python scripts/bench/weak_scaling.py`",
            "",
        ]
    )
    if given.write:
        given.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
