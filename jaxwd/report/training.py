"""Training curves of the runs of one arm or setting, with bands."""

import math
from dataclasses import dataclass

import numpy as np

from jaxwd.report.trials import Group, band

# What training curves show: metric, with {score} for its name, and the words for it.
PANELS = (
    ("running_loss", "training data loss, running"),
    ("validation_{score}", "validation {score}"),
    ("validation_loss", "validation data loss"),
    ("param_norm", "‖θ‖"),
    ("grad_norm", "‖g‖"),
    ("decay_share", "decay's share where it enters"),
)


@dataclass(frozen=True)
class Curve:
    """Training curves of the runs of one arm or setting.

    Attributes:
        name: of the arm or setting.
        n: how many runs.
        epochs: where there are points.
        bands: metric → means and halves of the 95 % intervals over the runs.
        rank: final validation score, by which the first to be shown are chosen.
    """

    name: str
    n: int
    epochs: tuple[int, ...]
    bands: dict[str, tuple[tuple[float, ...], tuple[float, ...]]]
    rank: float


def curve_of(group: Group, score: str, points: int) -> Curve | None:
    """Return the curves of a group: of the runs that finished, else of all.

    Args:
        group: the runs.
        score: name of the score.
        points: how many epochs at most; the last is always among them.
    """
    runs = [t.history for t in group.finished or group.trials if t.history]
    if not runs:
        return None
    by_epoch = [{row["epoch"]: row for row in run} for run in runs]
    shared = sorted(set.intersection(*(set(rows) for rows in by_epoch)))
    if not shared:
        return None
    every = -(-len(shared) // points)
    epochs = shared[::-1][::every][::-1]  # the last one always among them
    bands = {}
    for metric in (name.format(score=score) for name, _ in PANELS):
        if all(metric in rows[e] for rows in by_epoch for e in epochs):
            values = [[rows[e][metric] for e in epochs] for rows in by_epoch]
            mean, half = band(np.array(values, float))
            bands[metric] = (tuple(mean.tolist()), tuple(half.tolist()))
    best = bands.get(f"validation_{score}", ((-math.inf,),))[0][-1]
    return Curve(group.name, len(runs), tuple(epochs), bands, best)
