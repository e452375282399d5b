"""A comparison's tuning, read back: what was tried is noted, what it reached is kept."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxwd.lab.ledger.tables import flattened
from jaxwd.lab.ranges import Range
from jaxwd.lab.study import Study
from jaxwd.lab.tuning import BY_LOSS, TRIAL, Tuned, judged, trial_name
from jaxwd.report.noted import Row, digest
from jaxwd.report.trials import Trial
from jaxwd.training import Recipe


def tuning_of(noted: Row, runs: Sequence[Any], score: str) -> dict[str, Tuned]:
    """Return arm → what its tuning found, judged as it was then.

    Args:
        noted: arm → metric, seeds, ranges and trials, as `noted.note_study` wrote them.
        runs: the ledger of the tuning.
        score: name of the score.
    """
    by_recipe: dict[str, dict[int, Any]] = {}
    for run in runs:
        by_recipe.setdefault(digest(run.recipe), {})[run.seed] = run
    return {
        name: Tuned(
            name,
            {path: _range(given) for path, given in one["ranges"].items()},
            tuple(
                _trial(trial_name(name, i), trial, one, by_recipe, score)
                for i, trial in enumerate(one["trials"])
            ),
            one["metric"],
            tuple(one["seeds"]),
        )
        for name, one in noted.items()
    }


def trials_of(runs: Sequence[Any], curves: Mapping[str, Sequence[Row]]) -> list[Trial]:
    """Return the runs of a tuning by arm, labelled by what differs between them."""
    found = []
    for arm in dict.fromkeys(map(_arm, runs)):
        mine = [run for run in runs if _arm(run) == arm]
        flat = [flattened("", run.recipe) for run in mine]
        paths = [path for path in flat[0] if len({repr(f.get(path)) for f in flat}) > 1]
        for run, values in zip(mine, flat, strict=True):
            labels = tuple((p, values.get(p)) for p in paths if p != "seed")
            state = (run.status, run.outcome, curves[run.key], run.message, run.step)
            found.append(Trial(arm, run.seed, labels, *state))
    return found


def _arm(run: Any) -> str:
    return run.arm.rsplit(TRIAL, 1)[0]


def _trial(
    name: str, trial: Row, of: Row, by_recipe: dict[str, dict[int, Any]], score: str
) -> Any:
    found = by_recipe.get(trial["recipe"], {})
    study = Study("", [], "", {}, score, {name: {}}, {name: {}}, {name: {}})
    for seed in of["seeds"]:
        run = found.get(seed)
        if run is not None and run.ended:
            study.keep(name, seed, run.outcome or run.message, [])
    # What was refused was never run, and the note alone knows of it.
    ran = len(study.finals[name]) + len(study.diverged[name]) == len(of["seeds"])
    trouble = "" if ran else trial["trouble"] or "not run to its end"
    values = tuple((path, value) for path, value in trial["values"])
    select = "loss" if of["metric"] == BY_LOSS else "score"
    return judged(study, name, values, Recipe(), trouble, select)


def _range(given: Row) -> Range:
    return Range(**{**given, "values": tuple(given["values"])})
