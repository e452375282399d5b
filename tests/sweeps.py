"""Runs that nobody trained, with the shape of real ones, for reports to show."""

import math
from dataclasses import dataclass

import numpy as np

import jaxwd as wd


@dataclass(frozen=True)
class Outcome:
    """What a sweep gives of one member."""

    recipe: wd.Recipe
    labels: tuple
    history: list
    final: dict | None
    message: str = ""
    step: int | None = None
    status: str = "finished"
    seconds: float = 1.0


def outcome(labels, epochs=20, *, arm=""):
    """One member: best near λ·lr = 1e-3, diverged where the learning rate is 1 or more."""
    given = dict(labels)
    strength, rate = given.get("decay.strength", 0.0), given.get("learning_rate", 0.1)
    seed = given.get("seed", 0)
    random = np.random.default_rng([seed, int(1e6 * strength), int(1e6 * rate)])
    if rate >= 1 and strength >= 0.1:
        return Outcome(
            wd.Recipe(seed=seed), tuple(labels), [], None,
            f"the loss became nan at step {37 + seed}", 37 + seed, "diverged",
        )  # fmt: skip
    off = (
        abs(math.log10(max(strength * rate, 1e-7)) + 3) + abs(math.log10(rate) + 1) / 2
    )
    top = 0.92 - 0.012 * off**1.5 + random.normal(0, 0.004)
    rows = []
    for epoch in range(1, epochs + 1):
        t = epoch / epochs
        score = top * (1 - 0.35 * math.exp(-6 * t)) + random.normal(0, 0.003)
        rows.append(
            {
                "epoch": epoch,
                "step": 250 * epoch,
                "running_loss": 0.9 * math.exp(-3 * t) + 0.02 + random.normal(0, 0.003),
                "running_accuracy": score,
                "penalty": 0.1,
                "param_norm": 20 / (1 + 30 * strength * t) + 4 * t,
                "grad_norm": 3 * math.exp(-t) + random.normal(0, 0.1),
                "update_norm": 0.1,
                "decay_share": strength / (strength + 0.1) * t,
                "learning_rate": rate,
                "validation_loss": 1.1 - score + 0.1 * t,
                "validation_accuracy": score,
                "seconds": t,
            }
        )
    final = dict(rows[-1])
    for part, shift in (("train", 0.04), ("test", -0.005)):
        final[f"{part}_accuracy"] = final["validation_accuracy"] + shift
        final[f"{part}_loss"] = final["validation_loss"] - shift
    return Outcome(wd.Recipe(seed=seed), tuple(labels), rows, final)


def grid(strengths, rates, seeds, epochs=20, kinds=("decoupled",)):
    """Members over λ × learning rate × seed, of each kind."""
    return [
        outcome(
            [("decay.kind", kind)] * (len(kinds) > 1)
            + [("decay.strength", s), ("learning_rate", r), ("seed", seed)],
            epochs,
        )
        for kind in kinds
        for s in strengths
        for r in rates
        for seed in range(seeds)
    ]


def study_of(
    names=("plain", "L2"), seeds=3, *, question="A question?", data="some data"
):
    """A study of arms with λ = 0, 0.01, 0.02, …, compared with the first."""
    from jaxwd.lab import Arm, Study

    strengths = {name: i / 100 for i, name in enumerate(names)}
    arms = [
        Arm(name, wd.Recipe(decay=wd.coupled(s) if s else wd.none()))
        for name, s in strengths.items()
    ]
    ran = {
        name: {
            seed: outcome([("decay.strength", s), ("seed", seed)])
            for seed in range(seeds)
        }
        for name, s in strengths.items()
    }
    more = {"seconds": 1.0}
    return Study(
        question,
        arms,
        data,
        dict.fromkeys(names, 8000),
        "accuracy",
        {n: {s: x.final | more for s, x in got.items()} for n, got in ran.items()},
        {n: {s: x.history for s, x in got.items()} for n, got in ran.items()},
        {n: {} for n in names},
        {
            "command": "jaxwd run it",
            "versions": {"jaxwd": "0"},
            "devices": ["cpu: cpu"],
        },
    )
