"""All trainings of a comparison: a grid in one program, or one after another."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from jaxwd.data import Dataset
from jaxwd.lab.engines import run_many as engines
from jaxwd.lab.engines.outcome import Outcome, Silent
from jaxwd.lab.grid import Member
from jaxwd.lab.ledger import Ledger
from jaxwd.lab.study import Arm, Row, Study, new_study, run_study
from jaxwd.lab.turns import Watcher
from jaxwd.training import Recipe, run

SPLITS = ("train", "test")


def train_all(
    arms: Sequence[Arm],
    seeds: Sequence[int],
    data: Dataset,
    *,
    question: str = "",
    ledger: Ledger | None = None,
    layout: str = "single",
    watcher: Watcher | None = None,
    runner: Callable[..., Any] = run,
    run_many: Callable[..., Any] | None = engines,
    blinded: bool = False,
) -> Study:
    """Run every arm with every seed and return the study.

    Arms that differ in numbers only share one compiled program, which trains them side
    by side. Where a batch is spread over devices, or another `runner` is given, they
    are trained one after another.

    Args:
        arms: the alternatives.
        seeds: one run of every arm for each.
        data: shared by all.
        question: one line for the report.
        ledger: where to keep what is done; what ended there is not run again.
        layout: how a batch is spread over devices.
        watcher: told of every epoch.
        runner: trains one recipe; for tests, and to keep more than metrics.
        run_many: `jaxwd.lab.run_many`, perhaps with an engine; None for one by one.
        blinded: measure no test metrics at all.
    """
    splits = SPLITS[:1] if blinded else SPLITS
    if run_many is not None and runner is run and layout == "single":
        return _together(arms, seeds, data, question, ledger, watcher, run_many, splits)

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
        ledger=ledger,
        layout=layout,
        watcher=watcher,
        runner=train,
    )


def _together(
    arms: Sequence[Arm],
    seeds: Sequence[int],
    data: Dataset,
    question: str,
    ledger: Ledger | None,
    watcher: Watcher | None,
    run_many: Callable[..., list[Outcome]],
    splits: Sequence[str],
) -> Study:
    """Run arms × seeds as one grid."""
    study = new_study(arms, seeds, data, question)
    places = [(arm.name, seed) for seed in seeds for arm in arms]
    members = [
        Member(replace(arm.recipe, seed=seed), (("arm", arm.name), ("seed", seed)))
        for seed in seeds
        for arm in arms
    ]
    told = _Told(places, watcher)
    outcomes = run_many(members, data, ledger=ledger, watcher=told, splits=splits)
    for (arm, seed), outcome in zip(places, outcomes, strict=True):
        study.keep(arm, seed, _ending(outcome), outcome.history)
    study.reused, study.epoch_seconds = told.reused, told.seconds / max(told.epochs, 1)
    return study


def _ending(outcome: Outcome) -> Row | str:
    return outcome.message if outcome.final is None else outcome.final


class _Told(Silent):
    """Passes what an engine says of places on to a watcher of arms and seeds."""

    def __init__(
        self, places: Sequence[tuple[str, int]], watcher: Watcher | None
    ) -> None:
        self.places, self.watcher, self.reused = places, watcher, 0
        self.seconds, self.epochs = 0.0, 0

    def ticked(self, seconds: float, epochs: int) -> None:
        """Add up the wall time."""
        self.seconds += seconds
        self.epochs += epochs

    def rows(self, rows: Sequence[tuple[int, Row]]) -> None:
        """Pass finished epochs on."""
        for place, row in rows:
            if self.watcher is not None:
                self.watcher.epoch(*self.places[place], row)

    def ended(self, place: int, outcome: Outcome, reused: bool) -> None:
        """Pass an ending on."""
        self.reused += reused
        if self.watcher is not None:
            self.watcher.done(*self.places[place], _ending(outcome), reused)
