"""A folder of results, opened: its study, its runs, and what was asked."""

import json
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxwd.errors import InputError
from jaxwd.lab.study import Arm, Study
from jaxwd.report.trials import Row, Trial, trial
from jaxwd.training.on_paper import recipe_from

LEDGER, LINES, ASKED = "ledger.sqlite", "metrics.jsonl", "study.json"
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
        "arms": [
            {
                "name": arm.name,
                "against": arm.against,
                "train_examples": examples[arm.name],
                "recipe": _seedless(arm.recipe.to_dict()),
            }
            for arm in arms
        ],
    }
    text = json.dumps(asked, ensure_ascii=False, indent=1)
    path = folder / ASKED
    path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def open_runs(folder: pathlib.Path) -> Opened:
    """Return the study and the sweep in a folder of results; nothing there is changed.

    Runs without labels are arms × seeds, the others members of a sweep. Without
    `study.json` (a sweep, or results of an older version) the arms are those of the
    records, in their order, the first of them the reference.

    Raises:
        InputError: no folder, no records, or damaged ones.
    """
    folder = pathlib.Path(folder)
    read = _from_ledger if (folder / LEDGER).is_file() else _from_lines
    runs, curves, about = read(folder)
    if not any(run.status in _ENDED for run in runs):
        raise InputError(f"{folder} has no finished run yet; run its experiment first")
    asked = _asked(folder)
    title = asked.get("question") or folder.resolve().name
    of_arms = [run for run in runs if run.arm and not set(run.labels) - {"arm", "seed"}]
    mine = {run.key for run in of_arms}
    members = [trial(run, curves.__getitem__) for run in runs if run.key not in mine]
    study = None
    if of_arms:
        study = Study(title, [], asked.get("data", ""), {}, asked.get("score", ""))
        study.provenance = about
        for arm in asked.get("arms") or _arms(of_arms):
            _add(study, arm, of_arms, curves)
        study.score = study.score or _score(study)
    return Opened(study, members, asked.get("mask", ""), title, about)


@dataclass(frozen=True)
class _Run:
    """A run from `metrics.jsonl`, as a ledger holds it."""

    key: str
    recipe: Row
    arm: str
    seed: int
    labels: Row
    status: str
    outcome: Row | None
    message: str
    step: int | None = None


_Read = tuple[list[Any], dict[str, list[Row]], Row]


def _from_ledger(folder: pathlib.Path) -> _Read:
    from jaxwd.lab.ledger import Ledger

    with Ledger(folder / LEDGER, readonly=True) as ledger:
        runs = ledger.runs()
        curves = {run.key: ledger.curve(run.key) for run in runs}
        made = ledger.provenance()
    return runs, curves, made[-1] if made else {}


def _from_lines(folder: pathlib.Path) -> _Read:
    lines = _lines(folder)
    epochs: dict[str, dict[int, Row]] = {}
    runs, about = {}, {}
    for line in lines:
        kind = line.pop("kind")
        if kind == "provenance":
            about = line
        elif kind == "epoch":
            key, _, _ = (line.pop(word) for word in ("key", "arm", "seed"))
            epochs.setdefault(key, {})[line["epoch"]] = line
        elif kind == "run":
            lost = isinstance(line["outcome"], str)
            ended = ("diverged", None, line["outcome"])
            state = ended if lost else ("finished", line["outcome"], "")
            names = (line["key"], line["recipe"], line["arm"], line["seed"])
            runs[line["key"]] = _Run(*names, {}, *state)
    rows = {key: epochs.get(key, {}) for key in runs}
    curves = {key: [of[epoch] for epoch in sorted(of)] for key, of in rows.items()}
    return list(runs.values()), curves, about


def _lines(folder: pathlib.Path) -> list[Row]:
    path = folder / LINES
    if not path.is_file():
        raise InputError(
            f"{folder} has neither {LEDGER} nor {LINES}; give a folder that an "
            "experiment or a sweep wrote, such as runs/article"
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


def _asked(folder: pathlib.Path) -> Row:
    path = folder / ASKED
    if not path.is_file():
        return {}
    try:
        asked = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise InputError(f"{path} is damaged; move it away") from None
    return asked if isinstance(asked, dict) else {}


def _arms(runs: Sequence[Any]) -> list[Row]:
    """Return arms from their runs alone; each has the recipe of its last one."""
    last = {run.arm: run for run in runs}
    return [
        {"name": name, "recipe": _seedless(last[name].recipe)}
        for name in dict.fromkeys(run.arm for run in runs)
    ]


def _add(
    study: Study, about: Row, runs: Sequence[Any], curves: dict[str, list[Row]]
) -> None:
    """Put an arm and the runs of exactly its recipe into the study.

    A folder may hold runs of an arm of the same name from a start with other flags.
    """
    name = about["name"]
    arm = Arm(
        name, recipe_from({**about["recipe"], "seed": 0}), about.get("against", "")
    )
    study.arms.append(arm)
    finals, lost = (
        study.finals.setdefault(name, {}),
        study.diverged.setdefault(name, {}),
    )
    kept = study.curves.setdefault(name, {})
    for run in sorted(runs, key=lambda run: run.seed):
        if run.arm != name or _seedless(run.recipe) != about["recipe"]:
            continue
        if run.status == "diverged":
            lost[run.seed] = run.message
        elif run.status == "finished":
            finals[run.seed], kept[run.seed] = run.outcome, curves[run.key]
    study.train_examples[name] = about.get("train_examples") or _examples(arm, finals)


def _seedless(recipe: Row) -> Row:
    """Return a recipe without its seed, as JSON gives it back."""
    return json.loads(json.dumps({k: v for k, v in recipe.items() if k != "seed"}))


def _examples(arm: Arm, finals: dict[int, Row]) -> int:
    """Return how many examples an arm trained on, to the whole batches of an epoch."""
    batch = arm.recipe.batch_size
    steps = (final["step"] // final["epoch"] for final in finals.values())
    return arm.recipe.train_examples or batch * next(steps, 1)


def _score(study: Study) -> str:
    names = {n for finals in study.finals.values() for f in finals.values() for n in f}
    return "negative_mse" if "test_negative_mse" in names else "accuracy"
