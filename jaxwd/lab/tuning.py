"""Every arm tuned with the same number of trials, on validation data only.

Trials never see the test split: their data carries zeros in its place, and test
metrics are taken out of what a trial returns. So no choice can be made on them.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jaxwd.data import Dataset, Split
from jaxwd.errors import InputError, unknown
from jaxwd.lab.grid import vary
from jaxwd.lab.ranges import Range
from jaxwd.lab.search import Values, suggestions
from jaxwd.lab.study import Arm, Study
from jaxwd.lab.train_all import train_all
from jaxwd.losses import task
from jaxwd.training import Recipe
from jaxwd.training.loop import check

SELECTS = ("score", "loss")
TRIAL = ", trial "
"""Between an arm's name and the number of a trial, in the ledger."""
BY_LOSS = "−validation_loss"
"""The metric of a tuning that selects by loss."""


@dataclass(frozen=True)
class Trial:
    """One combination of values that was tried.

    Attributes:
        values: what was tried, as (path, value) pairs.
        recipe: with those values; its seed is left open.
        validation: what it is judged by, higher is better: mean over the tuning seeds;
            −inf where a seed diverged or the recipe was refused.
        loss: mean validation loss, which decides between equals; inf likewise.
        trouble: "" or why it failed. It counts as tried all the same.
    """

    values: Values
    recipe: Recipe
    validation: float
    loss: float
    trouble: str = ""


@dataclass(frozen=True)
class Tuned:
    """What tuning found for one arm.

    Attributes:
        arm: its name.
        ranges: path → where was looked.
        trials: all of them, in the order tried.
        metric: what was maximised: `validation_accuracy`, or `−validation_loss`.
        seeds: the tuning seeds.
    """

    arm: str
    ranges: dict[str, Range]
    trials: tuple[Trial, ...]
    metric: str
    seeds: tuple[int, ...]

    @property
    def best(self) -> Trial | None:
        """Return the winner: highest validation, then lowest loss, then first tried."""
        able = [trial for trial in self.trials if not trial.trouble]
        return max(able, key=lambda t: (t.validation, -t.loss)) if able else None

    @property
    def failed(self) -> int:
        """Return how many trials diverged or were refused."""
        return sum(bool(trial.trouble) for trial in self.trials)

    @property
    def edges(self) -> dict[str, str]:
        """Return path → "lower" or "upper" where the winner stands at an end."""
        if self.best is None:
            return {}
        tried = [dict(trial.values) for trial in self.trials]
        found = {
            path: self.ranges[path].edge(value, [values[path] for values in tried])
            for path, value in self.best.values
        }
        return {path: side for path, side in found.items() if side}


def blind(data: Dataset) -> Dataset:
    """Return the data with zeros in place of the test split, of the same shape.

    The shape is kept so that trials and final runs share one compiled program.
    """
    empty = Split(np.zeros_like(data.test.inputs), np.zeros_like(data.test.targets))
    return replace(data, test=empty)


def tune(
    arms: Sequence[Arm],
    data: Dataset,
    *,
    trials: int = 16,
    seeds: Sequence[int],
    search: str = "sobol",
    search_seed: int = 0,
    select: str = "score",
    **how: Any,
) -> dict[str, Tuned]:
    """Return what was found best for every arm that has ranges, by its name.

    Args:
        arms: those without `tune` are left out.
        data: its test split is not looked at.
        trials: of every arm, failed ones included.
        seeds: every trial is run with each; its mean counts.
        search: `sobol` or `grid`.
        search_seed: of the values tried.
        select: maximise the validation `score`, or minimise the validation `loss`.
        **how: `layout`, `ledger`, `watcher`, `runner`, `run_many` of `train_all`.

    Raises:
        InputError: as in `suggestions`; a path that recipes do not have; every trial of
            an arm refused.
    """
    if select not in SELECTS:
        raise unknown("select", select, SELECTS)
    tuned = [arm for arm in arms if arm.tune]
    planned = {arm.name: plan(arm, data, trials, search, search_seed) for arm in tuned}
    members = [
        Arm(trial_name(name, i), recipe)
        for name, rows in planned.items()
        for i, (_, recipe, trouble) in enumerate(rows)
        if not trouble
    ]
    if not members:
        return {}
    study = train_all(members, seeds, blind(data), blinded=True, **how)
    score = task(data.task).score_name
    metric = f"validation_{score}" if select == "score" else BY_LOSS
    return {
        arm.name: Tuned(
            arm.name,
            dict(arm.tune),
            tuple(
                judged(study, trial_name(arm.name, i), *row, select=select)
                for i, row in enumerate(planned[arm.name])
            ),
            metric,
            tuple(seeds),
        )
        for arm in tuned
    }


def plan(
    arm: Arm, data: Dataset, trials: int, search: str, search_seed: int
) -> list[tuple[Values, Recipe, str]]:
    """Return the values, recipe and trouble ("" or why refused) of an arm's trials."""
    tried = suggestions(arm.tune, trials, search=search, seed=search_seed)
    part = functools.cache(lambda n: data if n is None else data.take(n))
    rows = [_recipe(arm, values, part) for values in tried]
    if all(trouble for _, _, trouble in rows):
        raise InputError(f"{arm.name}: no trial can run: {rows[0][2]}")
    return rows


def trial_name(arm: str, index: int) -> str:
    """Return the name of an arm's trial in the ledger."""
    return f"{arm}{TRIAL}{index + 1}"


def _recipe(
    arm: Arm, values: Values, part: Callable[[int | None], Dataset]
) -> tuple[Values, Recipe, str]:
    """Return the trial's recipe, and why it cannot be run."""
    recipe = arm.recipe
    paths = [path for path, _ in values]
    for path in paths:
        vary(recipe, path, dict(values)[path])  # an unknown path is nobody's bad luck
    try:
        for path, value in values:
            recipe = vary(recipe, path, value)
        check(recipe, part(recipe.train_examples))
    except InputError as error:  # such as λ too large for this learning rate
        return values, recipe, str(error)
    return values, recipe, ""


def judged(
    study: Study, name: str, values: Values, recipe: Recipe, trouble: str, select: str
) -> Trial:
    """Return a trial with what its runs in the study reached, over their seeds."""
    if not trouble and study.diverged[name]:
        trouble = next(iter(study.diverged[name].values()))
    if trouble:
        return Trial(values, recipe, -math.inf, math.inf, trouble)
    loss = float(np.mean(list(study.values(name, "validation_loss").values())))
    score = study.values(name, f"validation_{study.score}").values()
    good = float(np.mean(list(score))) if select == "score" else -loss
    return Trial(values, recipe, good, loss)
