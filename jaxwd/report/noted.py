"""What records of runs do not hold, written beside them: `study.json`."""

import hashlib
import json
import pathlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from jaxwd.errors import InputError
from jaxwd.lab.study import Arm, Study
from jaxwd.lab.tuning import Tuned

Row = dict[str, Any]
ASKED = "study.json"


def note(
    folder: pathlib.Path,
    question: str,
    arms: Sequence[Arm],
    data: str,
    examples: dict[str, int],
    score: str,
    mask: str,
    **more: Any,
) -> None:
    """Write down question, data, arms with their references, mask, and more."""
    asked = {
        "question": question,
        "data": data,
        "score": score,
        "mask": mask,
        "arms": [
            {
                "name": arm.name,
                "against": arm.against,
                "follows": arm.follows,
                "control": arm.control,
                "train_examples": examples[arm.name],
                "recipe": seedless(arm.recipe.to_dict()),
            }
            for arm in arms
        ],
        **more,
    }
    text = json.dumps(asked, ensure_ascii=False, indent=1)
    path = folder / ASKED
    path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def note_study(folder: pathlib.Path, study: Study, mask: str) -> None:
    """Write down all of a comparison that its ledgers do not hold.

    What trials reached stands in the ledger of the tuning; here is what was tried.
    """
    note(
        folder,
        study.question,
        study.arms,
        study.data,
        study.train_examples,
        study.score,
        mask,
        seeds=sorted(
            {
                s
                for kept in (*study.finals.values(), *study.diverged.values())
                for s in kept
            }
        ),
        margin=study.margin,
        tuning={name: _tuning(tuned) for name, tuned in study.tuning.items()},
        examples_kept=bool(study.examples),
        provenance=study.provenance,
        reused=study.reused,
    )


def noted(folder: pathlib.Path) -> Row:
    """Return what was written down; nothing where nobody did.

    Raises:
        InputError: a damaged file.
    """
    path = folder / ASKED
    if not path.is_file():
        return {}
    try:
        asked = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise InputError(f"{path} is damaged; move it away") from None
    return asked if isinstance(asked, dict) else {}


def seedless(recipe: Row) -> Row:
    """Return a recipe without its seed, as JSON gives it back."""
    return json.loads(json.dumps({k: v for k, v in recipe.items() if k != "seed"}))


def digest(recipe: Row) -> str:
    """Return a short name for a recipe whatever its seed."""
    text = json.dumps(seedless(recipe), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _tuning(tuned: Tuned) -> Row:
    return {
        "metric": tuned.metric,
        "seeds": list(tuned.seeds),
        "ranges": {
            path: {**asdict(r), "values": list(map(_plain, r.values))}
            for path, r in tuned.ranges.items()
        },
        "trials": [
            {
                "values": [[path, _plain(value)] for path, value in trial.values],
                "recipe": digest(trial.recipe.to_dict()),
                "trouble": trial.trouble,
            }
            for trial in tuned.trials
        ],
    }


def _plain(value: Any) -> Any:
    """Return numbers as they are and all else in the words that reports use."""
    return value if isinstance(value, bool | int | float) else str(value)
