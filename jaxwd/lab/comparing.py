"""A fair comparison: tune every arm alike, retrain the winners, measure test once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jaxwd.data import Dataset
from jaxwd.errors import InputError, require, unknown
from jaxwd.lab.controls import CONTROLS, with_controls
from jaxwd.lab.examples import Examples
from jaxwd.lab.ledger import Ledger
from jaxwd.lab.study import Arm, Study
from jaxwd.lab.train_all import train_all
from jaxwd.lab.tuning import Tuned, tune
from jaxwd.lab.turns import Watcher
from jaxwd.training import Recipe, run

# Far from the seeds of final runs, which count from 0.
FIRST_TUNING_SEED = 1_000_000


@dataclass(frozen=True)
class Budget:
    """What a comparison may spend, and how.

    Attributes:
        trials: of every arm that has ranges; failed ones count.
        tune_seeds: seeds of each trial. One spreads the budget widest; more pays where
            seeds differ more than trials do.
        seeds: fresh, paired seeds of every winner. Ten find a difference of one
            standard deviation of the pairs four times out of five.
        search: `sobol` or `grid`.
        search_seed: of the values tried.
        select: maximise the validation `score`, or minimise the validation `loss`.
    """

    trials: int = 16
    tune_seeds: int = 1
    seeds: int = 10
    search: str = "sobol"
    search_seed: int = 0
    select: str = "score"

    def __post_init__(self) -> None:
        for name in ("trials", "tune_seeds", "seeds"):
            require(name, getattr(self, name), 1, whole=True)
        require("seeds", self.seeds, 1, FIRST_TUNING_SEED, whole=True)

    @property
    def tuning_seeds(self) -> range:
        """Return the seeds of trials; none of them is a final seed."""
        return range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + self.tune_seeds)


def compare(
    arms: Sequence[Arm],
    data: Dataset,
    *,
    budget: Budget | None = None,
    margin: float | None = None,
    question: str = "",
    ledger: Ledger | None = None,
    tuning_ledger: Ledger | None = None,
    watcher: Watcher | None = None,
    tuning_watcher: Watcher | None = None,
    examples: bool = False,
    **how: Any,
) -> Study:
    """Tune every arm alike, retrain the winners on fresh paired seeds, and compare.

    1. Controls that the literature demands are added (`jaxwd.lab.controls`).
    2. Every arm with `tune` gets the same number of trials over its own ranges, judged
       on validation data; trials never see the test split.
    3. The winners are trained with seeds no trial had, the same ones for every arm,
       and the test split is measured once, at their end.

    An arm whose every trial failed is left out and said to have failed.

    Args:
        arms: the alternatives; the first is the reference.
        data: shared by all arms.
        budget: trials, seeds and search; default `Budget()`.
        margin: the largest difference of the score that does not matter, in the score's
            own unit (0.005 is half a point of accuracy).
        question: one line for the report.
        ledger: where final runs are kept; what ended there is not run again.
        tuning_ledger: likewise of trials.
        watcher: told of every epoch of the final runs.
        tuning_watcher: told of every epoch of the trials.
        examples: keep the score of every test example of the final runs, which then go
            one by one, for an interval over seeds and examples.
        **how: `layout`, `runner`, `run_many` of `jaxwd.lab.train_all`.

    Returns:
        A `Study` of the winners, with `tuning` and `margin`; `jaxwd.report.verdict`
        puts it into words.

    Raises:
        InputError: no arms, names given twice, an unknown reference, a margin that is
            not positive, and as in `jaxwd.lab.tuning.tune`.
    """
    budget = budget or Budget()
    if margin is not None:
        require("margin", margin, 0.0, open_low=True)
    arms = with_controls(arms)
    _check(arms)
    tuned = tune(
        arms,
        data,
        trials=budget.trials,
        seeds=budget.tuning_seeds,
        search=budget.search,
        search_seed=budget.search_seed,
        select=budget.select,
        ledger=tuning_ledger,
        watcher=tuning_watcher,
        **how,
    )
    arms = winners(arms, tuned)
    failed = {name for name, found in tuned.items() if found.best is None}
    failed |= {arm.name for arm in arms if arm.follows in failed}
    able = [arm for arm in arms if arm.name not in failed]
    if not able:
        raise InputError("every trial of every arm failed; look lower for the rates")
    kept = (
        Examples(None if ledger is None else ledger.path.parent) if examples else None
    )
    if kept is not None:
        how |= {"runner": _keeping(how.get("runner", run), kept), "run_many": None}
    study = train_all(
        [replace(arm, against="") for arm in able],
        range(budget.seeds),
        data,
        question=question,
        ledger=ledger,
        watcher=watcher,
        **how,
    )
    study.arms, study.tuning, study.margin = list(arms), tuned, margin
    for arm in arms:
        if arm.name in failed:
            study.finals[arm.name], study.curves[arm.name] = {}, {}
            study.diverged[arm.name] = {}
            n = arm.recipe.train_examples
            study.train_examples[arm.name] = n or data.train.examples
    if kept is not None:
        study.examples = kept.of_study(study)
    return study


def _keeping(runner: Callable[..., Any], kept: Examples) -> Callable[..., Any]:
    """Return a runner that also keeps the scores of single examples."""

    def train(recipe: Recipe, data: Dataset, **how: Any) -> Any:
        result = runner(recipe, data, **how)
        kept.keep(result, data)
        return result

    return train


def winners(arms: Sequence[Arm], tuned: dict[str, Tuned]) -> list[Arm]:
    """Return the arms with their best recipes, controls with those of their arms."""
    best = {name: found.best.recipe for name, found in tuned.items() if found.best}
    recipes = {arm.name: best.get(arm.name, arm.recipe) for arm in arms}
    for arm in arms:
        if arm.follows:
            recipes[arm.name] = CONTROLS[arm.control].change(recipes[arm.follows])
    return [replace(arm, recipe=recipes[arm.name]) for arm in arms]


def _check(arms: Sequence[Arm]) -> None:
    names = [arm.name for arm in arms]
    if not names:
        raise InputError("a comparison needs arms; given none")
    if len(set(names)) < len(names):
        raise InputError(f"two arms share a name: {', '.join(names)}")
    for arm in arms:
        for other in filter(None, (arm.against, arm.follows)):
            if other not in names:
                raise unknown("reference arm", other, names)
        if arm.follows and arm.control not in CONTROLS:
            raise unknown("control", arm.control, CONTROLS)
