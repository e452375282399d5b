"""A folder of results, opened: its study, its runs, and what was asked."""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxwd.errors import InputError
from jaxwd.lab.examples import Examples
from jaxwd.lab.study import Arm, Study
from jaxwd.report.noted import noted, seedless
from jaxwd.report.trials import Row, Trial, trial
from jaxwd.report.tuned import trials_of, tuning_of
from jaxwd.training.on_paper import recipe_from

LEDGER, TUNING = "ledger.sqlite", "tuning"
_ENDED = ("finished", "diverged", "stopped")


class Opened(NamedTuple):
    """What a folder of results holds.

    Attributes:
        study: arms × seeds; None where nothing but a sweep was run.
        runs: members of a sweep, and trials of a tuning.
        mask: which leaves decay, as text.
        title: the question, else the folder's name.
        about: what the runs were made by.
    """

    study: Study | None
    runs: list[Trial]
    mask: str
    title: str
    about: Row


def open_runs(folder: pathlib.Path) -> Opened:
    """Return the study and the sweep in a folder of results; nothing there is changed.

    Runs without labels are arms × seeds, the others members of a sweep. What the arms of
    a comparison were tuned by is in the folder `tuning` inside; while nothing else has
    ended, its trials are shown as a sweep. Without `study.json` the arms are those of
    the ledger, in their order, the first of them the reference.

    Raises:
        InputError: no ledger, a damaged one, or nothing that has ended.
    """
    folder = pathlib.Path(folder)
    if not (folder / LEDGER).is_file():
        raise InputError(
            f"{folder} has no {LEDGER}; give a folder that an experiment or a sweep "
            "wrote, such as runs/article"
        )
    runs, curves, about = _from_ledger(folder)
    asked = noted(folder)
    title = asked.get("question") or folder.resolve().name
    if not any(run.status in _ENDED for run in runs):
        tried, about = _tried(folder)
        if not any(run.status in _ENDED for run in tried):
            raise InputError(
                f"{folder} has no finished run yet; run its experiment first"
            )
        return Opened(None, tried, asked.get("mask", ""), title, about)
    of_arms = [
        run for run in runs if run.arm and not set(run.labels) - {"arm", "seed", "also"}
    ]
    mine = {run.key for run in of_arms}
    members = [trial(run, curves.__getitem__) for run in runs if run.key not in mine]
    study = None
    if of_arms:
        study = Study(title, [], asked.get("data", ""), {}, asked.get("score", ""))
        study.provenance = asked.get("provenance", about)
        seeds = asked.get("seeds")
        of_arms = [run for run in of_arms if seeds is None or run.seed in seeds]
        for arm in asked.get("arms") or _arms(of_arms):
            _add(study, arm, of_arms, curves)
        study.score = study.score or _score(study)
        _add_comparison(study, asked, folder)
    return Opened(study, members, asked.get("mask", ""), title, about)


_Read = tuple[list[Any], dict[str, list[Row]], Row]


def _from_ledger(folder: pathlib.Path) -> _Read:
    from jaxwd.lab.ledger import Ledger

    with Ledger(folder / LEDGER, readonly=True) as ledger:
        runs = ledger.runs()
        curves = {run.key: ledger.curve(run.key) for run in runs}
        made = ledger.provenance()
    return runs, curves, made[-1] if made else {}


def _tried(folder: pathlib.Path) -> tuple[list[Trial], Row]:
    """Return the trials of a tuning, and what they were made by."""
    if not (folder / TUNING / LEDGER).is_file():
        return [], {}
    runs, curves, about = _from_ledger(folder / TUNING)
    return trials_of(runs, curves), about


def _add_comparison(study: Study, asked: Row, folder: pathlib.Path) -> None:
    """Put into the study what a comparison knows beside its final runs."""
    study.margin, study.reused = asked.get("margin"), asked.get("reused", 0)
    if asked.get("tuning"):
        runs, _, _ = _from_ledger(folder / TUNING)
        study.tuning = tuning_of(asked["tuning"], runs, study.score)
    if asked.get("examples_kept"):
        study.examples = Examples(folder).of_study(study)


def _arms(runs: Sequence[Any]) -> list[Row]:
    """Return arms from their runs alone; each has the recipe of its last one."""
    last = {arm: run for run in runs for arm in (run.arm, *run.labels.get("also", ()))}
    return [
        {"name": name, "recipe": seedless(run.recipe)} for name, run in last.items()
    ]


def _add(
    study: Study, about: Row, runs: Sequence[Any], curves: dict[str, list[Row]]
) -> None:
    """Put an arm and the runs of exactly its recipe into the study.

    A folder may hold runs of an arm of the same name from a start with other flags; and
    arms of equal recipes share their runs, which stand there under one of their names.
    """
    name = about["name"]
    words = {w: about.get(w, "") for w in ("against", "follows", "control")}
    arm = Arm(name, recipe_from({**about["recipe"], "seed": 0}), **words)
    study.arms.append(arm)
    finals, lost = (
        study.finals.setdefault(name, {}),
        study.diverged.setdefault(name, {}),
    )
    kept = study.curves.setdefault(name, {})
    for run in sorted(runs, key=lambda run: run.seed):
        if seedless(run.recipe) != about["recipe"]:
            continue
        if run.status == "diverged":
            lost[run.seed] = run.message
        elif run.status == "finished":
            finals[run.seed], kept[run.seed] = run.outcome, curves[run.key]
    study.train_examples[name] = about.get("train_examples") or _examples(arm, finals)


def _examples(arm: Arm, finals: dict[int, Row]) -> int:
    """Return how many examples an arm trained on, to the whole batches of an epoch."""
    batch = arm.recipe.batch_size
    steps = (final["step"] // final["epoch"] for final in finals.values())
    return arm.recipe.train_examples or batch * next(steps, 1)


def _score(study: Study) -> str:
    names = {n for finals in study.finals.values() for f in finals.values() for n in f}
    return "negative_mse" if "test_negative_mse" in names else "accuracy"
