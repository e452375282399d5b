"""How fast is a training step of the study's CNN, against Flax + Optax and PyTorch?

    python scripts/bench/study_step.py
    python scripts/bench/study_step.py --torch-python /path/to/python --write FILE

Every arm trains the same network (conv 3×3×32, pool, conv 3×3×64, pool, dense 128,
dropout ½, dense 10) with SGD 0.1 and L2 0.0005, batch 32, on the same images, each in
a process of its own. The arms take turns, round by round, so that a machine that
slows down slows all of them; ratios are taken within a round. PyTorch is optional.

One file of over 300 lines, since each process runs it, that without jaxwd included.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time
from typing import Any

QUESTION = (__doc__ or "").splitlines()[0]
ARMS = {
    "jaxwd": "jaxwd, epoch in one scan",
    "flax": "Flax Linen + Optax, jitted step in a Python loop",
    "torch": "PyTorch eager",
    "torch_cl": "PyTorch eager, channels_last",
    "torch_compile": "PyTorch torch.compile",
}
BATCH, STEPS, RATE, DECAY = 32, 250, 0.1, 5e-4
# Multiply-adds of one step, forward and both gradients; conv1 has no input gradient.
GFLOP = (
    2e-9
    * BATCH
    * (2 * 28 * 28 * 9 * 32 + 3 * 14 * 14 * 288 * 64 + 3 * 3136 * 128 + 3 * 128 * 10)
)
MATMULS = [(6272, 288, 64), (6272, 64, 288), (288, 6272, 64), (32, 3136, 128)]


def images():
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (8000, 28, 28), np.uint8), rng.integers(0, 10, 8000)


# --- the arms: each returns (function that trains STEPS steps, versions) --------------


def jaxwd():
    import jax

    import jaxwd as wd
    from jaxwd.training.arrays import arrays_of
    from jaxwd.training.parallel import layout
    from jaxwd.training.program import compile_program

    x, y = images()
    part = wd.data.Split(x[..., None], y.astype("int32"))
    data = wd.Dataset("bench", "classification", part, part, part,
                      tuple("0123456789"), (72.0,), (90.0,), "random")  # fmt: skip
    recipe = wd.Recipe(
        epochs=1, learning_rate=RATE, decay=wd.coupled(DECAY), dropout=0.5
    )
    spread = layout("single", BATCH)
    arrays = spread.place(arrays_of(data))
    program = compile_program(
        recipe.structure(), data.task, 10, spread, spread.abstract(arrays)
    )
    numbers = jax.tree.map(jax.numpy.float32, recipe.numbers())
    root, index = jax.random.key(0), jax.numpy.int32(0)
    held = [program.init(root, numbers, arrays)]

    def train():
        held[0], losses, *_ = program.epoch(held[0], numbers, root, index, arrays)
        return float(losses.mean())

    return train, {"jax": jax.__version__, "jaxwd": wd.__version__}


def flax():
    import flax
    import flax.linen as nn
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    class CNN(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            for features in (32, 64):
                x = nn.relu(nn.Conv(features, (3, 3))(x))
                x = nn.max_pool(x, (2, 2), (2, 2))
            x = nn.relu(nn.Dense(128)(x.reshape(len(x), -1)))
            x = nn.Dropout(0.5, deterministic=not train)(x)
            return nn.Dense(10)(x)

    x, y = images()
    x, model = x[..., None], CNN()
    key = jax.random.key(0)
    params = model.init(key, jnp.ones((1, 28, 28, 1)), False)["params"]
    mask = jax.tree_util.tree_map_with_path(lambda p, _: p[-1].key == "kernel", params)
    tx = optax.chain(optax.add_decayed_weights(DECAY, mask), optax.sgd(RATE))

    @jax.jit
    def step(params, state, inputs, labels, key):
        def loss(p):
            inputs_ = (inputs.astype(jnp.float32) - 72.0) / 90.0
            logits: Any = model.apply(
                {"params": p}, inputs_, True, rngs={"dropout": key}
            )
            return optax.softmax_cross_entropy_with_integer_labels(
                logits, labels
            ).mean()

        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    held, rng = [params, tx.init(params), key], np.random.default_rng(0)

    def train():
        order = rng.permutation(len(x))[: STEPS * BATCH].reshape(STEPS, BATCH)
        for rows in order:
            held[2], now = jax.random.split(held[2])
            held[0], held[1], value = step(held[0], held[1], x[rows], y[rows], now)
        return float(value)

    return train, {"flax": flax.__version__, "optax": optax.__version__}


def torch_arm(channels_last, compiled):
    import torch
    import torch.nn as nn
    import torch.nn.functional as F

    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(128, 10),
    )  # fmt: skip
    form = torch.channels_last if channels_last else torch.contiguous_format
    model = model.to(memory_format=form)
    kernels = [p for p in model.parameters() if p.ndim > 1]
    biases = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": kernels, "weight_decay": DECAY}, {"params": biases}]
    optimizer = torch.optim.SGD(groups, lr=RATE)
    call = torch.compile(model) if compiled else model
    x, y = images()
    x, y = torch.from_numpy(x)[:, None], torch.from_numpy(y)

    def train():
        order = torch.randperm(len(x))[: STEPS * BATCH].reshape(STEPS, BATCH)
        for rows in order:
            inputs = (x[rows].float() - 72.0) / 90.0
            inputs = inputs.contiguous(memory_format=form)
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(call(inputs), y[rows])
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    return train, {"torch": torch.__version__}


def matmul():
    """Return a function that does the step's largest matrix products, as XLA does."""
    import jax
    import jax.numpy as jnp

    pairs = [(jnp.ones((m, k)), jnp.ones((k, n))) for m, k, n in MATMULS]
    product = jax.jit(lambda a, b: a @ b)

    def rate():
        best = []
        for a, b in pairs:
            start = time.perf_counter()
            for _ in range(100):
                out = product(a, b)
            out.block_until_ready()
            seconds = time.perf_counter() - start
            best.append(2e-9 * 100 * a.shape[0] * a.shape[1] * b.shape[1] / seconds)
        return max(best)

    rate()
    return rate, {}


WORKERS = {
    "jaxwd": jaxwd,
    "flax": flax,
    "torch": lambda: torch_arm(False, False),
    "torch_cl": lambda: torch_arm(True, False),
    "torch_compile": lambda: torch_arm(False, True),
    "matmul": matmul,
}


def work(name):
    """Be the process of one arm: a line in, a run, a line out."""
    train, versions = WORKERS[name]()
    train()  # compiles
    print(json.dumps(versions), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        value = train()
        print(json.dumps([time.perf_counter() - start, value]), flush=True)


class Worker:
    """One arm's process, started and warmed up."""

    def __init__(self, name, python):
        self.process = subprocess.Popen(
            [python, __file__, "--worker", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.told, self.answers = self.process.stdin, self.process.stdout
        line = self.answers.readline()
        self.versions = json.loads(line) if line else None

    def turn(self):
        self.told.write("go\n")
        self.told.flush()
        return json.loads(self.answers.readline())

    def stop(self):
        self.told.close()
        self.process.wait()


def measure(rounds, torch_python):
    workers, versions, missing = {}, {}, []
    for name in [*ARMS, "matmul"]:
        python = torch_python if name.startswith("torch") else sys.executable
        worker = Worker(name, python)
        if worker.versions is None:
            missing.append(name)
            continue
        workers[name] = worker
        versions |= worker.versions
    turns = {name: [] for name in workers}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        for name, worker in workers.items():
            seconds, value = worker.turn()
            turns[name].append(value if name == "matmul" else 1e3 * seconds / STEPS)
    for worker in workers.values():
        worker.stop()
    return turns, versions, missing


def table(turns, versions, missing):
    rate = statistics.median(turns.pop("matmul"))
    mine = turns["jaxwd"]
    lines = [
        "| arm | ms a step | min–max | images/s | time ÷ jaxwd's, same round |",
        "| :-- | --: | --: | --: | --: |",
    ]
    for name, text in ARMS.items():
        if name in missing:
            lines.append(f"| {text} | not run: PyTorch is not installed | | | |")
            continue
        ms = turns[name]
        ratio = statistics.median(a / b for a, b in zip(ms, mine, strict=True))
        middle = statistics.median(ms)
        lines.append(
            f"| {text} | {middle:.2f} | {min(ms):.2f}–{max(ms):.2f} | "
            f"{1e3 * BATCH / middle:,.0f} | {ratio:.2f} |"
        )
    rivals = [turns[n] for n in turns if n.startswith("torch")]
    if rivals:
        best = statistics.median(
            min(row) / b for *row, b in zip(*rivals, mine, strict=True)
        )
        lines.append("")
        lines.append(f"Best PyTorch variant of each round ÷ jaxwd: {best:.2f}.")
    reached = GFLOP / statistics.median(mine) * 1e3
    lines.append("")
    lines.append(
        f"A step is {GFLOP:.2f} GFLOP by the direct method, so jaxwd does the work of "
        f"{reached:.0f} GFLOP/s: {reached / rate:.0%} of the {rate:.0f} GFLOP/s that this "
        "machine's float32 matrix products of these shapes reach. (Winograd's form needs "
        "fewer operations than the direct method counts.)"
    )
    lines.append("")
    lines.append(", ".join(f"{k} {v}" for k, v in versions.items()))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--write", type=pathlib.Path)
    parser.add_argument("--worker", choices=WORKERS)
    args = parser.parse_args()
    if args.worker:
        work(args.worker)
        return
    sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))
    from jaxwd.lab.provenance import provenance

    text = table(*measure(args.rounds, args.torch_python))
    about = provenance()
    text += (
        f"\nPython {about['python']}, {about['processor']}, {about['cores']} cores, "
        f"{args.rounds} rounds of {STEPS} steps, batch {BATCH}, {about['time']}\n"
    )
    print(text)
    if args.write:
        args.write.write_text(f"# {QUESTION}\n\n{text}")


if __name__ == "__main__":
    main()
