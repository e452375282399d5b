"""What does a scheme cost beside optax.adamw, on a tree of 25 million parameters?

    python scripts/bench/update_cost.py --write experiments/results/bench_update_cost.md

One compiled update over Adam for every scheme, state and parameters donated, taking turns
with `optax.adamw`. Memory is what XLA plans for beside the arguments: outputs that reuse
no argument, and temporaries.

XLA can be asked to write several results in one loop, so that nothing is read twice; then
both sides of every ratio are compiled so:

    XLA_FLAGS=--xla_backend_extra_options=xla_cpu_use_multi_output_fusion \
        python scripts/bench/update_cost.py --write …
"""

import argparse
import datetime
import os
import pathlib
import platform
import statistics
import time

import jax
import jax.numpy as jnp
import optax

import jaxwd as wd
from jaxwd.lab.provenance import processor

# A small transformer: 8 blocks of width 512, 25.2 million parameters in all.
BLOCK = {"qkv": (512, 1536), "out": (512, 512), "up": (512, 2048), "down": (2048, 512)}
BLOCKS = 8
RATE = 1e-3

PLAIN = wd.decoupled(0.1)
SCHEMES = {
    "none": wd.none(),
    "coupled": wd.coupled(0.1),
    "decoupled lr": PLAIN,
    **{
        f"decoupled {times}": wd.decoupled(1e-4, times=times)
        for times in ("schedule", "constant", "corrected", "lr_squared")
    },
    "decoupled l1": wd.decoupled(0.1, penalty="l1"),
    "decoupled huber": wd.decoupled(0.1, penalty="huber", delta=0.5),
    "cautious": wd.cautious(PLAIN),
    "proximal": wd.proximal(0.1),
    "proximal l1": wd.proximal(0.1, penalty="l1"),
    "proximal elastic_net": wd.proximal(0.1, penalty="elastic_net"),
    "proximal huber": wd.proximal(0.1, penalty="huber", delta=0.5),
    "proximal group_lasso": wd.proximal(0.1, penalty="group_lasso"),
    "to_norm 1": wd.to_norm(PLAIN, 1.0),
    "adadecay": wd.adadecay(wd.coupled(0.1)),
    "tangent": wd.tangent(PLAIN),
    "max_norm": wd.max_norm(2.0),
    "norm_ball": wd.norm_ball(50.0),
    "radial_brake": wd.radial_brake(),
}


def tree(key):
    """Return blocks of kernels and biases."""
    leaves = {}
    for i in range(BLOCKS):
        for j, (name, shape) in enumerate(BLOCK.items()):
            own = jax.random.fold_in(key, 10 * i + j)
            kernel = jax.random.normal(own, shape) / shape[0] ** 0.5
            leaves[f"block{i}/{name}"] = {"kernel": kernel, "bias": jnp.zeros(shape[1])}
    return leaves


_WHY = (
    "What is used once more after a division or a norm (the direction in a gate, the step "
    "in a projection) is written to memory first by XLA on a CPU, one copy of the weights; "
    "`coupled` reads the weights for both moments."
)


class Updater:
    """One compiled update that owns its parameters and state."""

    def __init__(self, tx):
        def step(params, state, grads):
            updates, state = tx.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        self.params = tree(jax.random.key(0))
        self.state = jax.jit(tx.init)(self.params)
        self.grads = jax.tree.map(lambda x: 0.01 * x + 1e-3, self.params)
        lowered = jax.jit(step, donate_argnums=(0, 1)).lower(
            self.params, self.state, self.grads
        )
        self.compiled = lowered.compile()
        memory = self.compiled.memory_analysis()
        assert memory is not None
        extra = memory.temp_size_in_bytes + memory.output_size_in_bytes
        self.bytes = memory.argument_size_in_bytes + extra - memory.alias_size_in_bytes

    def __call__(self):
        start = time.perf_counter()
        self.params, self.state = self.compiled(self.params, self.state, self.grads)
        jax.block_until_ready(self.params)
        return 1e3 * (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--write", type=pathlib.Path)
    given = parser.parse_args()
    mask = wd.kernels.mask
    adamw = Updater(optax.adamw(RATE, weight_decay=0.1, mask=mask))
    rows = []
    for name, scheme in SCHEMES.items():
        # One scheme at a time beside adamw, so that memory holds two trees and not 20.
        own = Updater(wd.optimizer("adam", RATE, decay=scheme))
        for update in (own, adamw):
            update()
        pairs = [(own(), adamw()) for _ in range(given.rounds)]
        ratio = statistics.median(a / b for a, b in pairs)
        ms = [a for a, _ in pairs]
        rows.append(
            f"| {name} | {statistics.median(ms):.1f} | {min(ms):.1f}–{max(ms):.1f} | "
            f"{ratio:.2f} | {own.bytes / adamw.bytes:.3f} |"
        )
        print(rows[-1], flush=True)
        del own
    flags = os.environ.get("XLA_FLAGS", "")
    count = sum(x.size for x in jax.tree.leaves(adamw.params))
    text = "\n".join(
        [
            f"# {(__doc__ or '').splitlines()[0]}",
            "",
            "| scheme over Adam | ms an update | min–max | time ÷ adamw, same round | "
            "memory ÷ adamw |",
            "| :-- | --: | --: | --: | --: |",
            *rows,
            "",
            f"{count:,} parameters in {2 * BLOCKS * len(BLOCK)} leaves; kernels decay. "
            "Memory: arguments, outputs that reuse none, and temporaries, as XLA plans.",
            "",
            _WHY if not flags else f"XLA_FLAGS={flags}",
            "",
            f"jax {jax.__version__}, optax {optax.__version__}, jaxwd {wd.__version__}, "
            f"Python {platform.python_version()}, {processor()}, "
            f"{given.rounds} rounds, {datetime.date.today()}.",
            f"`{f'XLA_FLAGS={flags} ' * bool(flags)}python scripts/bench/update_cost.py`",
            "",
        ]
    )
    print(text)
    if given.write:
        given.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
