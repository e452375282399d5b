"""All trainings of a comparison, one after another or together in one program."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from jaxwd.data import Dataset
from jaxwd.errors import Diverged
from jaxwd.lab.records import Records, run_key
from jaxwd.lab.study import Arm, Study, Watcher, run_study
from jaxwd.training import Recipe, Result, run

# Together, but not so many that a kill loses much: what is done is kept batch by batch.
_BATCH = 64


def train_all(
    arms: Sequence[Arm],
    seeds: Sequence[int],
    data: Dataset,
    *,
    question: str = "",
    records: Records | None = None,
    layout: str = "single",
    watcher: Watcher | None = None,
    runner: Callable[..., Any] = run,
    run_many: Callable[..., Any] | None = None,
    blinded: bool = False,
) -> Study:
    """Run every arm with every seed and return the study.

    Args:
        arms: the alternatives.
        seeds: one run of every arm for each.
        data: shared by all.
        question: one line for the report.
        records: where to keep what is done; finished runs in it are not run again.
        layout: how a batch is spread over devices.
        watcher: told of every epoch.
        runner: trains one recipe; used where there is no `run_many`.
        run_many: `function(recipes, data) → outcomes`, in order; default
            `jaxwd.lab.engines.run_many` where it is installed.
        blinded: take test metrics out of every outcome.
    """
    many = run_many or (_engine() if runner is run and layout == "single" else None)
    if many is not None:
        recipes = [replace(arm.recipe, seed=seed) for seed in seeds for arm in arms]
        if records is not None:
            known = data.fingerprint()
            recipes = [
                recipe
                for recipe in recipes
                if records.finished(run_key(recipe, known, layout)) is None
            ]
        runner = _Together(recipes, data, many)

    def train(recipe: Recipe, data: Dataset, **how: Any) -> Any:
        result = runner(recipe, data, **how)
        if blinded:
            kept = {k: v for k, v in result.final.items() if not k.startswith("test_")}
            result = replace(result, final=kept)
        return result

    return run_study(
        arms,
        seeds,
        data,
        question=question,
        records=records,
        layout=layout,
        watcher=watcher,
        runner=train,
    )


def _engine() -> Callable[..., Any] | None:
    """Return `run_many` of the grid engines, None where they are not there."""
    try:
        from jaxwd.lab.engines import run_many  # type: ignore[import-not-found]
    except ImportError:
        return None
    return run_many


class _Together:
    """A runner that trains a batch of recipes when asked for the first of them."""

    def __init__(self, recipes: list[Recipe], data: Dataset, run_many: Callable):
        self.recipes, self.data, self.run_many = recipes, data, run_many
        self.done: dict[str, Any] = {}

    def __call__(
        self,
        recipe: Recipe,
        data: Dataset,
        *,
        on_epoch: Callable[[dict], None],
        **_: Any,
    ) -> Result:
        key = recipe.digest()
        if key not in self.done:
            digests = [other.digest() for other in self.recipes]
            batch = self.recipes[digests.index(key) :][:_BATCH]
            ended = self.run_many(batch, data)
            self.done |= dict(zip([r.digest() for r in batch], ended, strict=True))
        outcome = self.done[key]
        if outcome.final is None:
            raise Diverged(outcome.message)
        for row in outcome.history:
            on_epoch(row)
        nan = float("nan")
        return Result(
            recipe, outcome.history, outcome.final, {}, outcome.seconds, nan, nan
        )
