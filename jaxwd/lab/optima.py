"""The best values of one arm, seed by seed: for questions about λ itself."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxwd.data import Dataset
from jaxwd.errors import InputError
from jaxwd.lab.search import Values
from jaxwd.lab.study import Arm
from jaxwd.lab.train_all import train_all
from jaxwd.lab.tuning import blind, plan, trial_name


def optima(
    arm: Arm,
    data: Dataset,
    *,
    trials: int,
    seeds: Sequence[int],
    search: str = "grid",
    search_seed: int = 0,
    **how: Any,
) -> dict[int, Values]:
    """Return seed → the values of lowest validation loss, chosen for each seed alone.

    Where `tune` asks for one winner, this asks how sure its place is: log λ* of several
    seeds has a mean and an interval, and two arms or tasks are compared by pairs.

    Args:
        arm: with ranges.
        data: its test split is not looked at.
        trials: as in `jaxwd.lab.tune`, every one with every seed.
        seeds: one optimum for each.
        search: `grid` or `sobol`.
        search_seed: of the values tried.
        **how: `layout`, `ledger`, `watcher`, `runner`, `run_many` of `train_all`.

    Returns:
        Seeds where every trial diverged are left out.

    Raises:
        InputError: as in `jaxwd.lab.tune`; an arm without ranges.
    """
    if not arm.tune:
        raise InputError(f"{arm.name} has no ranges; give tune={{path: range}}")
    rows = plan(arm, data, trials, search, search_seed)
    members = {
        trial_name(arm.name, i): (values, recipe)
        for i, (values, recipe, trouble) in enumerate(rows)
        if not trouble
    }
    arms = [Arm(name, recipe) for name, (_, recipe) in members.items()]
    study = train_all(arms, seeds, blind(data), blinded=True, **how)
    found = {}
    for seed in seeds:
        losses = {
            name: study.finals[name][seed]["validation_loss"]
            for name in members
            if seed in study.finals[name]
        }
        if losses:
            best = min(
                losses, key=lambda name: (not np.isfinite(losses[name]), losses[name])
            )
            found[seed] = members[best][0]
    return found
