"""A folder of results, opened: its study, its runs, and what was asked."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxwd.errors import InputError
from jaxwd.lab.study import Arm, Study
from jaxwd.report.trials import Trial
from jaxwd.training.on_paper import recipe_from

RECORDS, ASKED = "metrics.jsonl", "study.json"
_WORDS = ("kind", "key", "arm", "seed")


class Opened(NamedTuple):
    """What a folder of results holds: arms × seeds, members of a sweep, the mask."""

    study: Study | None
    runs: list[Trial]
    mask: str


def note(
    folder: pathlib.Path,
    question: str,
    arms: Sequence[Arm],
    data: str,
    examples: dict[str, int],
    score: str,
    mask: str,
) -> None:
    """Write down what records of runs do not hold: question, data, references, mask."""
    asked = {
        "question": question,
        "data": data,
        "score": score,
        "mask": mask,
        "train_examples": examples,
        "arms": [[arm.name, arm.against] for arm in arms],
    }
    text = json.dumps(asked, ensure_ascii=False, indent=1)
    (folder / ASKED).write_text(text + "\n", encoding="utf-8")


def open_runs(folder: pathlib.Path) -> Opened:
    """Return the study in a folder of results; nothing in it is changed.

    Without `study.json` (results of another version) the arms are those of the
    records, in their order, the first of them the reference.

    Raises:
        InputError: no folder, no records, or damaged ones.
    """
    lines = _lines(folder)
    asked = _asked(folder)
    made = [line for line in lines if line["kind"] == "provenance"]
    ended = {(x["arm"], x["seed"]): x for x in lines if x["kind"] == "run"}
    if not ended:
        raise InputError(f"{folder} has no finished run yet; run its experiment first")
    rows: dict[str, dict[int, dict]] = {}
    for line in lines:
        if line["kind"] == "epoch":
            rows.setdefault(line["key"], {})[line["epoch"]] = line
    names = [tuple(x) for x in asked.get("arms", [])]
    names += [(x, "") for x in dict.fromkeys(arm for arm, _ in ended)]
    against = dict(reversed(names))
    study = Study(
        asked.get("question", folder.resolve().name),
        [],
        asked.get("data", ""),
        dict(asked.get("train_examples", {})),
        asked.get("score", "accuracy"),
        provenance={k: v for k, v in made[-1].items() if k != "kind"} if made else {},
    )
    for name in dict.fromkeys(arm for arm, _ in names):
        runs = {s: x for (arm, s), x in sorted(ended.items()) if arm == name}
        if not runs:  # not begun yet
            continue
        recipe = recipe_from(next(iter(runs.values()))["recipe"])
        study.arms.append(Arm(name, recipe, against[name]))
        study.finals[name], study.curves[name], study.diverged[name] = {}, {}, {}
        for seed, run in runs.items():
            if isinstance(run["outcome"], str):
                study.diverged[name][seed] = run["outcome"]
                continue
            history = rows.get(run["key"], {})
            study.finals[name][seed] = run["outcome"]
            study.curves[name][seed] = [
                {k: v for k, v in history[e].items() if k not in _WORDS}
                for e in sorted(history)
            ]
        study.train_examples.setdefault(name, _examples(study, name))
    if "score" not in asked:
        study.score = _score(study)
    there = {arm.name for arm in study.arms}
    study.arms[:] = [
        arm if arm.against in there else Arm(arm.name, arm.recipe) for arm in study.arms
    ]
    return Opened(study, [], asked.get("mask", ""))


def _lines(folder: pathlib.Path) -> list[dict[str, Any]]:
    path = folder / RECORDS
    if not path.is_file():
        raise InputError(
            f"{folder} has no {RECORDS}; give a folder that an experiment wrote, such "
            "as runs/article"
        )
    lines = []
    # A last line without its end was cut short by a kill.
    whole = path.read_text(encoding="utf-8", errors="replace").rpartition("\n")[0]
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            record = json.loads(line)
            record["kind"]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path}, line {number} is no record of jaxwd") from None
        lines.append(record)
    return lines


def _asked(folder: pathlib.Path) -> dict[str, Any]:
    path = folder / ASKED
    if not path.is_file():
        return {}
    try:
        asked = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise InputError(f"{path} is damaged; move it away") from None
    return asked if isinstance(asked, dict) else {}


def _examples(study: Study, name: str) -> int:
    """Return how many examples an arm trained on, to the whole batches of an epoch."""
    recipe = next(arm.recipe for arm in study.arms if arm.name == name)
    for final in study.finals[name].values():
        return recipe.train_examples or (
            final["step"] // final["epoch"] * recipe.batch_size
        )
    return recipe.train_examples or recipe.batch_size


def _score(study: Study) -> str:
    for finals in study.finals.values():
        for final in finals.values():
            return "accuracy" if "test_accuracy" in final else "negative_mse"
    return "accuracy"
