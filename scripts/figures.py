"""Draw the README's picture: one λ, five schemes, a weight without a gradient.

python scripts/figures.py        # writes experiments/results/zero_gradient.png
"""

import pathlib

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure

import jaxwd as wd
from jaxwd.report.figures import COLORS

OUT = pathlib.Path(__file__).parent.parent / "experiments/results/zero_gradient.png"
STEPS, STRENGTH = 300, 0.02
SCHEMES = {
    "coupled": wd.coupled(STRENGTH),
    'decoupled, times="lr"': wd.decoupled(STRENGTH),
    'decoupled, times="schedule"': wd.decoupled(STRENGTH, times="schedule"),
    'decoupled, times="constant"': wd.decoupled(STRENGTH, times="constant"),
    'decoupled, times="corrected"': wd.decoupled(STRENGTH, times="corrected"),
}
STYLES = ("-", "--", "-.", ":", (0, (5, 1)))


def flow(name, rate, decay):
    """Return a weight that starts at 1 and never sees a gradient, step by step."""
    tx = wd.optimizer(name, rate, decay=decay)
    params = {"kernel": jnp.ones(1)}

    def step(carry, _):
        params, state = carry
        updates, state = tx.update({"kernel": jnp.zeros(1)}, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        return (params, state), params["kernel"][0]

    _, path = jax.lax.scan(step, (params, tx.init(params)), length=STEPS)
    return jnp.concatenate([jnp.ones(1), path])


def main():
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    panels = [("sgd", 0.2), ("momentum", 0.2), ("adam", 0.01)]
    for axis, (name, peak) in zip(axes, panels, strict=True):
        rate = wd.cosine(peak, steps=STEPS)
        for (label, decay), color, style in zip(
            SCHEMES.items(), COLORS, STYLES, strict=False
        ):
            axis.plot(
                flow(name, rate, decay), color=color, linestyle=style, label=label
            )
        axis.set_title(f"{name}, learning rate {peak:g}, cosine to 0", fontsize=10)
        axis.set_xlabel("step")
        axis.axhline(0, color="#999999", linewidth=0.6)
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("weight, gradient zero")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=9)
    figure.suptitle(f"The same λ = {STRENGTH} in five schemes", fontsize=11)
    OUT.parent.mkdir(exist_ok=True)
    figure.savefig(OUT, dpi=120)
    print(OUT)


if __name__ == "__main__":
    main()
