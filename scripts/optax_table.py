"""Make experiments/results/optax_decay.md: how each Optax optimizer really decays.

    python scripts/optax_table.py

Every optimizer of Optax and optax.contrib that takes a learning rate is found by its
signature, so none is forgotten. Those that take a λ go through
`wd.testing.check_decay`; the others are asked whether they decay all the same.
"""

import functools
import inspect
import math
import pathlib
import platform
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxwd as wd
from jaxwd.probe.answers import Probe
from jaxwd.probe.parts import shares
from jaxwd.report.table import Table
from jaxwd.testing import DecayReport
from jaxwd.testing.case import sample

OUT = pathlib.Path(__file__).parent.parent / "experiments/results/optax_decay.md"
RATE, STRENGTH = 0.1, 0.01
SHAPES = {"matrix": (4, 3), "conv": (2, 2, 3, 4), "bias": (3,)}
STRENGTHS, MASKS = ("weight_decay", "weight_decay_rate"), ("mask", "weight_decay_mask")
# What `update` asks for beside gradients.
EXTRA: dict[str, dict[str, Any]] = {
    "contrib.momo": {"value": 1.0},
    "contrib.momo_adam": {"value": 1.0},
    "contrib.sophia": {"obj_fn": lambda params: 0.5 * optax.tree.norm(params) ** 2},
}
OPTIONS: dict[str, dict[str, Any]] = {"noisy_sgd": {"key": 0}}
LEFT_OUT = {
    "lbfgs": "needs a line search over the loss",
    "optimistic_adam": "deprecated",
    "polyak_sgd": "sets its rate by the loss",
    "contrib.dpsgd": "needs a gradient for each example",
    "contrib.schedule_free": "wraps an optimizer; see its two shortcuts",
}


@dataclass(frozen=True)
class Entry:
    """One optimizer: how to make it, and what it calls λ."""

    make: Callable[[Any, Any], Any]
    argument: str | None
    default: str
    mask: str
    extra: dict[str, Any] = field(default_factory=dict)


def _entry(name: str, function: Callable[..., Any]) -> Entry:
    takes = inspect.signature(function).parameters
    argument = next((a for a in STRENGTHS if a in takes), None)
    options = OPTIONS.get(name, {})

    def make(rate: Any, strength: Any) -> Any:
        given = {} if argument is None else {argument: strength}
        return function(learning_rate=rate, **given, **options)

    return Entry(
        make,
        argument,
        "" if argument is None else f"{takes[argument].default}",
        next((a for a in MASKS if a in takes), "none"),
        EXTRA.get(name, {}),
    )


def _parameters(function: Any) -> list[str]:
    """Return the names of a function's parameters; partial functions have them too."""
    if not isinstance(function, types.FunctionType | functools.partial):
        return []
    return list(inspect.signature(function).parameters)


def entries() -> dict[str, Entry]:
    """Return every optimizer that takes a learning rate, by name."""
    found = {}
    for prefix, module in (("", optax), ("contrib.", optax.contrib)):
        for name in sorted(dir(module)):
            function, full = getattr(module, name), prefix + name
            if name.startswith(("_", "scale_by_", "inject")) or full in LEFT_OUT:
                continue
            if "learning_rate" in _parameters(function):
                found[full] = _entry(full, function)
    mechanize = optax.contrib.mechanize
    found["contrib.mechanize(sgd)"] = Entry(
        lambda rate, lam: mechanize(optax.sgd(rate), weight_decay=lam),
        "weight_decay",
        f"{inspect.signature(mechanize).parameters['weight_decay'].default}",
        "none",
    )
    coupled = optax.add_decayed_weights
    for name, base in {
        "sgd(η)": optax.sgd,
        "sgd(η, 0.9)": lambda rate: optax.sgd(rate, 0.9),
        "adam(η)": optax.adam,
    }.items():
        found[f"chain(add_decayed_weights(λ), {name})"] = Entry(
            lambda rate, lam, base=base: optax.chain(coupled(lam), base(rate)),
            "weight_decay",
            "0.0",
            "mask",
        )
    return found


def report(name: str, entry: Entry) -> DecayReport:
    """Return what the suite says of one optimizer."""
    return wd.testing.check_decay(
        entry.make,
        shapes=SHAPES,
        learning_rate=RATE,
        strength=STRENGTH,
        extra_args=entry.extra,
        name=name,
    )


COLUMNS = ("optimizer", "λ is called (default)", "mask", "1 − θ'/θ", "decay is", "× of η",
           "in λ", "once settled", "leaves", "at η = 0", "λ(t)", "failed")  # fmt: skip


def cells(name: str, entry: Entry) -> tuple[str, ...]:
    """Return one line of the table."""
    found = report(name, entry)
    said = {row.check: row.measured for row in found.rows}
    head = (name, f"{entry.argument} ({entry.default})", entry.mask)
    form = found.form
    if form is None or form.shrink == 0:
        return (*head, said["shrinks at zero gradient"], *[""] * 8)
    return (
        *head,
        f"{form.shrink:.3g}",
        form.kind,
        _powers(form),
        form.law,
        _settled(form),
        _leaves(form.leaves),
        said["at learning rate 0"],
        said["λ a schedule"].replace("refused: ", "").split(":")[0],
        ", ".join(row.check for row in found.failed) or "–",
    )


def _powers(form: Any) -> str:
    if form.schedule_power is None:
        return f"η^{form.rate_power:g}, schedule refused"
    if form.times is not None:
        return form.times
    return f"η^{form.rate_power:.2g}, within a schedule η^{form.schedule_power:.2g}"


def _settled(form: Any) -> str:
    """Return the lasting shrink, where a momentum keeps decay."""
    if form.kind != "coupled":
        return ""
    return "unknown" if math.isnan(form.gain) else f"{form.shrink * form.gain:.3g}"


def _leaves(leaves: dict[str, float]) -> str:
    idle = [name for name, shrink in leaves.items() if shrink == 0]
    return f"not {', '.join(idle)}" if idle else "all"


def without(name: str, entry: Entry) -> tuple[str, float]:
    """Return what an optimizer without λ takes off a matrix at zero gradient."""
    tx = entry.make(RATE, None)
    probe = Probe(tx, sample(SHAPES), extra_args=entry.extra)
    part, _ = probe.pair().odd(probe.rest, step=0)
    shrink = np.asarray(shares(part, probe.weights))
    return name, float(shrink[list(SHAPES).index("matrix")])


def main() -> None:
    """Write the table."""
    warnings.simplefilter("ignore")
    found = entries()
    rows = []
    for name, entry in found.items():
        if entry.argument is not None:
            rows.append(cells(name, entry))
            print("  ".join(rows[-1]), flush=True)
    others = [without(n, e) for n, e in found.items() if e.argument is None]
    OUT.write_text(page(rows, others))
    print(OUT)


def page(rows: list[tuple[str, ...]], others: list[tuple[str, float]]) -> str:
    """Return the page as Markdown."""
    versions = ", ".join(
        f"{module.__name__} {module.__version__}" for module in (optax, jax, wd)
    )
    quiet = ", ".join(f"`{name}`" for name, shrink in others if shrink == 0)
    loud = "; ".join(f"`{n}` takes {s:.3g} a step" for n, s in others if s != 0)
    left = "; ".join(f"`{name}` {why}" for name, why in LEFT_OUT.items())
    table = Table("Optimizers that take a λ", COLUMNS, tuple(rows)).markdown()
    return f"""# What weight decay means in each optimizer of Optax

Measured by `python scripts/optax_table.py` with {versions},
Python {platform.python_version()}. η = {RATE}, λ = {STRENGTH}; a matrix, a convolution
kernel and a bias of weights between 0.5 and 1.5 with random signs; float32.

{table}

- **1 − θ'/θ**: what one first step with a gradient of zeros takes off the leaf that
  decays most. `prodigy` and `dadapt_adamw` give NaN there, at the first or second step,
  and were measured beside gradients of size 0.001; their decay grows with the step size
  they estimate. The λ of `mechanize` enters the step size it learns, and no weight.
- **decay is**: *decoupled* where it is the same beside any gradient and gone with the
  weights; *coupled* where a momentum keeps it; *by gradient* where it depends on the
  gradient, because an adaptive core, a norm or an estimate stands after it. Plain SGD
  makes no difference between coupled and decoupled.
- **× of η**: what λ is multiplied by, from the powers of η between two constant rates and
  within one schedule: `lr` (η_t), `schedule` (η_t/α), `constant` (1), `corrected`
  (η_t²/α), as in `wd.decoupled(times=…)`.
- **in λ**: `∝ λ`; `prox`, ηλ/(1 + ηλ); or λ cancels, so that any λ above 0 does the same
  at zero gradient.
- **once settled**: the shrink a step when the momentum is full.
- **leaves**: which of the three decay without a mask.
- **at η = 0**: what decay does where the schedule has reached 0. `prodigy` gives NaN
  there, and a warm-up that begins at 0 never gets out of it.
- **λ(t)**: a schedule for λ is followed, or what it raises.
- **failed**: checks of `wd.testing.check_decay` that did not pass: beside those above,
  traced λ with 0 and one trace under jit, `vmap`, `scan`, `MultiSteps`, `masked`,
  `partition`, `apply_if_finite`, bfloat16 gradients.

Take no λ, and do not decay: {quiet}.

Takes no λ, and decays all the same: {loud}.

Not measured: {left}.
"""


if __name__ == "__main__":
    jnp.zeros(())  # the back end starts before the first line is printed
    main()
