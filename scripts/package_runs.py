"""How make_package_fixtures.py runs one optimizer over its problem."""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """One optimizer with its settings.

    Attributes:
        make: (parameter groups, lr=…, **options) → optimizer.
        decay: `weight_decay` of the kernel's group; the bias has 0.
        options: given to `make`.
        group: further options of the kernel's group.
        strength: λ, where it is not `decay`.
        averaged: schedule-free: keep the averaged weights as well.
        shown: what `make` is, where its name does not say it.
        during: a context manager to run inside.
    """

    make: Callable[..., Any]
    decay: float
    options: dict[str, Any]
    group: dict[str, Any] = field(default_factory=dict)
    strength: float | None = None
    averaged: bool = False
    shown: str | None = None
    during: Callable[[], Any] = contextlib.nullcontext

    def about(self, version: str) -> dict[str, Any]:
        """Return what is stored beside the trajectory."""
        return {
            "version": version,
            "class": self.shown or self.make.__name__,
            "options": self.options | self.group,
            "strength": self.decay if self.strength is None else self.strength,
        }


def case(make: Callable[..., Any], decay: float = 0.0, **settings: Any) -> Case:
    """Return the `Case` whose options are all settings that are not its own."""
    own = {f.name for f in fields(Case)} & set(settings)
    options = {k: v for k, v in settings.items() if k not in own}
    return Case(make, decay, options, **{k: settings[k] for k in own})


def kernel_and_bias(leaves: list[Any]) -> np.ndarray:
    return np.concatenate([np.asarray(leaf).ravel() for leaf in leaves])


def gradients(problem: dict[str, Any], theta: dict[str, Any], t: int) -> dict[str, Any]:
    """Return h(θ − 1) + z_t, NumPy arrays."""
    return {
        k: problem[f"curvature/{k}"] * (np.asarray(x) - 1.0) + problem[f"noise/{k}"][t]
        for k, x in theta.items()
    }


def descend(case: Case, problem: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the weights at the kept steps, one row a step, from a torch optimizer.

    Under "/averaged" those that a schedule-free optimizer would be evaluated at.
    """
    import torch

    torch.set_default_dtype(torch.float64)
    theta = {
        k: torch.tensor(problem[f"start/{k}"], requires_grad=True)
        for k in ("kernel", "bias")
    }
    groups = [
        {"params": [theta["kernel"]], "weight_decay": case.decay} | case.group,
        {"params": [theta["bias"]], "weight_decay": 0.0},
    ]
    kept: dict[str, list[np.ndarray]] = {"": [], "/averaged": []}

    def keep(tail: str) -> None:
        kept[tail].append(kernel_and_bias([x.detach() for x in theta.values()]))

    # Some announce every change between training and evaluation.
    with case.during(), contextlib.redirect_stdout(io.StringIO()):
        tx = case.make(groups, lr=float(problem["peak"]), **case.options)
        if case.averaged:
            tx.train()
        for t, eta in enumerate(problem["rates"]):
            for group in tx.param_groups:
                group["lr"] = float(eta)
            now = {k: x.detach().numpy() for k, x in theta.items()}
            for k, g in gradients(problem, now, t).items():
                theta[k].grad = torch.tensor(g)
            tx.step()
            if t + 1 in problem["kept"]:
                keep("")
                if case.averaged:
                    tx.eval()
                    keep("/averaged")
                    tx.train()
    return {tail: np.stack(rows) for tail, rows in kept.items() if rows}


def descend_keras(case: Case, problem: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the same from a Keras optimizer on its JAX backend."""
    import keras

    theta = {
        k: keras.Variable(problem[f"start/{k}"], dtype="float64", name=k)
        for k in ("kernel", "bias")
    }
    tx = case.make(
        learning_rate=float(problem["peak"]), weight_decay=case.decay, **case.options
    )
    tx.exclude_from_weight_decay(var_list=[theta["bias"]])
    tx.build(list(theta.values()))
    kept: dict[str, list[np.ndarray]] = {"": [], "/averaged": []}
    for t, eta in enumerate(problem["rates"]):
        tx.learning_rate = float(eta)
        g = gradients(problem, theta, t)
        tx.apply([g[k] for k in theta], list(theta.values()))
        if t + 1 in problem["kept"]:
            y = kernel_and_bias(list(theta.values()))
            kept[""].append(y)
            if case.averaged:
                z = kernel_and_bias(tx._momentums)
                kept["/averaged"].append((y - (1 - tx.beta_1) * z) / tx.beta_1)
    return {tail: np.stack(rows) for tail, rows in kept.items() if rows}


def descend_optax(case: Case, problem: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the same from an Optax transformation that reads its rate from step 1 on."""
    import jax.numpy as jnp

    rates = jnp.asarray(problem["rates"])
    theta: Any = {k: jnp.asarray(problem[f"start/{k}"]) for k in ("kernel", "bias")}
    tx = case.make(lambda count: rates[count - 1], **case.options)
    state, rows = tx.init(theta), []
    for t in range(len(rates)):
        updates, state = tx.update(gradients(problem, theta, t), state, theta)
        theta = {k: x + updates[k] for k, x in theta.items()}
        if t + 1 in problem["kept"]:
            rows.append(kernel_and_bias([theta["kernel"], theta["bias"]]))
    return {"": np.stack(rows)}
