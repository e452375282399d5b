"""A comparison as plain JSON values, for other programs."""

import math
from dataclasses import asdict
from typing import Any

from jaxwd.lab.study import Study
from jaxwd.report.pairs import compared
from jaxwd.report.verdict import verdict


def summary(study: Study) -> dict[str, Any]:
    """Return what was tried, what won, and what the pairs say; NaN becomes None."""
    arms = [
        {
            "name": arm.name,
            "reference": study.reference(arm),
            "follows": arm.follows,
            "control": arm.control,
            "recipe": arm.recipe.to_dict(),
            "finals": study.finals[arm.name],
            "diverged": study.diverged[arm.name],
        }
        for arm in study.arms
    ]
    tuning = {
        name: {
            "metric": tuned.metric,
            "seeds": list(tuned.seeds),
            "ranges": {path: asdict(found) for path, found in tuned.ranges.items()},
            "edges": tuned.edges,
            "best": tuned.trials.index(tuned.best) if tuned.best else None,
            "trials": [
                {
                    "values": dict(trial.values),
                    "validation": trial.validation,
                    "validation_loss": trial.loss,
                    "trouble": trial.trouble,
                }
                for trial in tuned.trials
            ],
        }
        for name, tuned in study.tuning.items()
    }
    return _plain(
        {
            "question": study.question,
            "verdict": verdict(study),
            "data": study.data,
            "score": study.score,
            "margin": study.margin,
            "arms": arms,
            "tuning": tuning,
            "compared": {name: asdict(got) for name, got in compared(study).items()},
            "provenance": study.provenance,
        }
    )


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
