"""What is a grid in one program worth, against its members one by one?

    python scripts/bench/grid.py
    python scripts/bench/grid.py --torch-python /path/to/python --write FILE
    python scripts/bench/grid.py --rounds 1 --members 4 --steps 20 --largest 64

Three tables. (1) The study's CNN (batch 32, embedded 28×28 images) with 16 members,
λ × seed: images a second of every engine, of jaxwd one by one, of plain Flax + Optax
one by one, and of PyTorch one by one where it is installed. (2) 64 small perceptrons,
64-64-10 on 8×8 digits, against jitted steps called one by one. (3) The cost of
the same perceptrons from 16 members to 1,024. Contestants take turns round by round,
each in a process of its own; ratios are taken within a round. Compilation and
evaluation are left out of every contestant.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
import study_step

QUESTION = (__doc__ or "").splitlines()[0]
ENGINES = ("loop", "map", "vmap", "devices", "devices+vmap")
ONE_BY_ONE = {
    "loop": "jaxwd one by one, epochs in one scan",
    "flax": "Flax Linen + Optax, jitted step in a Python loop",
    "torch": "PyTorch eager",
    "torch_cl": "PyTorch eager, channels_last",
    "torch_compile": "PyTorch torch.compile",
}
NAMES = ONE_BY_ONE | {
    "map": "grid by `map`",
    "vmap": "grid by `vmap`",
    "devices": "grid by `devices`",
    "devices+vmap": "grid by `devices+vmap`",
    "jit": "jitted jaxwd step in a Python loop",
    "optax": "plain JAX + Optax, jitted step in a Python loop",
}
MLP = {"model": "mlp", "model_options": {"hidden": (64,)}}


# --- contestants: function → seconds for one step of one member -----------------------


def grid(engine, what, members, steps):
    """Return a timer of a grid of `members` on an engine."""
    import dataclasses

    import jaxwd as wd
    from jaxwd.lab import product
    from jaxwd.lab.engines import ENGINES as rows
    from jaxwd.lab.engines.groups import grouped
    from jaxwd.lab.engines.interface import Job
    from jaxwd.lab.engines.memory import fitting

    seeds = 4 if members % 4 == 0 else 1
    base = wd.Recipe(decay=wd.coupled(0.0), epochs=1, **(MLP if what == "mlp" else {}))
    if what == "cnn":
        base = dataclasses.replace(base, dropout=0.5)
    data = wd.load("digits" if what == "mlp" else "fashion_mnist_12k")
    strengths = [1e-5 * (i + 1) for i in range(members // seeds)]
    axes = {"decay.strength": strengths, "seed": range(seeds)}
    recipes = [member.recipe for member in product(base, axes)]
    (group,) = grouped(recipes, data)
    job = dataclasses.replace(Job.of(group, data))
    steps = min(steps, job.steps)
    few = wd.data.Split(*(part[:1] for part in job.arrays.validation))
    job = dataclasses.replace(
        job, limit=steps, arrays=job.arrays._replace(validation=few)
    )
    row = rows[engine]
    width = row.width(members, None) if what == "cnn" else min(members, 1024)
    width = 1 if engine == "loop" else -(-width // row.multiple()) * row.multiple()
    lanes = fitting(row, job, width)
    chunks = [recipes[i : i + lanes.width] for i in range(0, members, lanes.width)]

    def train():
        took = 0.0
        for chunk in chunks:
            lanes.enter(dict(enumerate(chunk)), {})
            began = time.perf_counter()
            lanes.epoch([0 if i < len(chunk) else None for i in range(lanes.width)])
            took += time.perf_counter() - began
        return took / (members * steps)

    return train


def alone(name, steps):
    """Return a timer of one of the contestants of `study_step`."""
    study_step.STEPS = steps
    train, _ = study_step.WORKERS[name]()

    def timed():
        began = time.perf_counter()
        train()
        return (time.perf_counter() - began) / steps

    return timed


def perceptron(kind, members, steps):
    """Return a timer of 64-64-10 perceptrons, one jitted step after another."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    import jaxwd as wd

    data = wd.load("digits")
    x, y = np.asarray(data.train.inputs), np.asarray(data.train.targets)
    model = wd.models.by_name("mlp", classes=10, hidden=(64,))
    mean, std = (jnp.float32(v[0]) for v in (data.mean, data.std))

    def loss(params, inputs, labels):
        logits, _ = model.apply(params, {}, (inputs - mean) / std, train=False)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def chain(strength):
        if kind == "jit":
            return wd.optimizer("sgd", 0.1, decay=wd.coupled(strength))
        mask = lambda p: jax.tree.map(lambda leaf: leaf.ndim > 1, p)  # noqa: E731
        decay = optax.add_decayed_weights(strength, mask)
        return optax.chain(decay, optax.sgd(0.1))

    @jax.jit
    def step(params, state, inputs, labels, strength):
        grads = jax.grad(loss)(params, inputs.astype(jnp.float32), labels)
        updates, state = chain(strength).update(grads, state, params)
        return optax.apply_updates(params, updates), state

    few = max(min(members, 8), 1)

    def train():
        rng, took = np.random.default_rng(0), 0.0
        for seed in range(few):
            params, _ = model.init(jax.random.key(seed), jnp.asarray(x[0]), 0.0)
            state, strength = chain(0.0).init(params), jnp.float32(1e-5 * (seed + 1))
            rows = rng.permutation(len(x))[: steps * 32].reshape(steps, 32)
            began = time.perf_counter()
            for row in rows:
                params, state = step(params, state, x[row], y[row], strength)
            jax.block_until_ready(params)
            took += time.perf_counter() - began
        return took / (few * steps)

    return train


def contestant(name, what, members, steps):
    """Return the timer of a contestant."""
    if name in ENGINES:
        return grid(name, what, members, steps)
    if what == "mlp":
        return perceptron(name, members, steps)
    return alone(name, steps)


def work(spec):
    """Be the process of one contestant: a line in, a run, a line out."""
    name, what, members, steps = json.loads(spec)
    if not name.startswith("torch"):  # PyTorch's interpreter need not have JAX
        from jaxwd import runtime

        # One device, but for the engines that are spread: they see one a core.
        spread = name.startswith("devices")
        runtime.setup(cpu_devices=runtime.cores() if spread else None)
    train = contestant(name, what, members, steps)
    train()  # compiles
    print(json.dumps({}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(train()), flush=True)


class Worker:
    """A contestant's process, started and warmed up; None where it cannot be."""

    def __init__(self, python, *spec):
        self.process = subprocess.Popen(
            [python, __file__, "--worker", json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.told, self.answers = self.process.stdin, self.process.stdout
        self.ready = bool(self.answers.readline())

    def turn(self):
        self.told.write("go\n")
        self.told.flush()
        return json.loads(self.answers.readline())

    def stop(self):
        self.told.close()
        self.process.wait()


def turns(specs, rounds, torch_python):
    """Return contestant → seconds a step and member, round by round, in turns."""
    workers = {}
    for name, spec in specs.items():
        python = torch_python if str(spec[0]).startswith("torch") else sys.executable
        worker = Worker(python, *spec)
        if worker.ready:
            workers[name] = worker
        else:
            print(f"{name} is left out: it does not start", file=sys.stderr)
    found = {name: [] for name in workers}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        for name, worker in workers.items():
            found[name].append(worker.turn())
    for worker in workers.values():
        worker.stop()
    return found


def table(found, reference):
    """Return a table: time and images a second, and the ratio to a reference."""
    lines = [
        "| contestant | ms a step and member | min–max | images/s "
        f"| images/s ÷ {reference}, same round |",
        "| :-- | --: | --: | --: | --: |",
    ]
    for name, times in found.items():
        ms = [1e3 * t for t in times]
        ratio = _ratio(found[reference], times)
        middle = statistics.median(ms)
        lines.append(
            f"| {NAMES[name]} | {middle:.3g} | {min(ms):.3g}–{max(ms):.3g} | "
            f"{32e3 / middle:,.0f} | {ratio:.2f} |"
        )
    return lines


def best(found):
    """Return the grid engine with the lowest median."""
    grids = [name for name in found if name in ENGINES and name != "loop"]
    return min(grids, key=lambda name: statistics.median(found[name]))


def _ratio(others, times):
    return statistics.median(a / b for a, b in zip(others, times, strict=True))


def measure(args):
    """Run the three parts and return the text."""
    names = [*ENGINES, "flax", "torch", "torch_cl", "torch_compile"]
    specs = {name: (name, "cnn", args.members, args.steps) for name in names}
    cnn = turns(specs, args.rounds, args.torch_python)
    winner = best(cnn)
    lines = [f"## {args.members} members of the study's CNN, λ × seed", ""]
    lines += [*table(cnn, "loop"), ""]
    lines.append(f"Best engine: {winner}. In images a second it is")
    rivals = [cnn[name] for name in cnn if name.startswith("torch")]
    against = {"jaxwd one by one": cnn["loop"], "Flax + Optax one by one": cnn["flax"]}
    if rivals:
        quickest = [min(row) for row in zip(*rivals, strict=True)]
        against["PyTorch's best variant of each round one by one"] = quickest
    lines += [f"{_ratio(v, cnn[winner]):.2f} × {k}," for k, v in against.items()]

    names = [*ENGINES, "jit", "optax"]
    specs = {name: (name, "mlp", 64, 39) for name in names}
    mlp = turns(specs, args.rounds, args.torch_python)
    lines += ["", "## 64 perceptrons, 64-64-10", "", *table(mlp, "jit"), ""]
    winner = best(mlp)
    lines.append(f"Best engine: {winner}.")

    sizes = [n for n in (16, 64, 256, 1024) if n <= args.largest]
    specs = {str(n): (winner, "mlp", n, 39) for n in sizes}
    cost = turns(specs, args.rounds, args.torch_python)
    lines += ["", f"## Cost against members, perceptrons by {winner}", ""]
    lines += ["| members | ms a step and member | min–max | ÷ 16 members, same round |"]
    lines += ["| --: | --: | --: | --: |"]
    for size, times in cost.items():
        ms = [1e3 * t for t in times]
        ratio = _ratio(times, cost["16"])
        lines.append(
            f"| {size} | {statistics.median(ms):.3g} | {min(ms):.3g}–{max(ms):.3g} | "
            f"{ratio:.2f} |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--members", type=int, default=16)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--largest", type=int, default=1024)
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--write", type=pathlib.Path)
    parser.add_argument("--worker")
    args = parser.parse_args()
    if args.worker:
        work(args.worker)
        return
    text = measure(args)
    from jaxwd.lab.provenance import provenance

    about = provenance()
    versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items() if v)
    text += (
        f"\n\n{args.rounds} rounds; CNN {args.steps} steps, perceptrons 39, batch 32; "
        f"Python {about['python']}, {about['processor']}, {about['cores']} cores, "
        f"{versions}, {about['time']}\n"
    )
    print(text)
    if args.write:
        args.write.write_text(f"# {QUESTION}\n\n{text}")


if __name__ == "__main__":
    main()
