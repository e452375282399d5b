"""Learning rate × λ grids of a comparison: heat maps, and how separable each basin is."""

import math
import pathlib
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from jaxwd.lab.statistics import separability
from jaxwd.lab.study import Study
from jaxwd.lab.tuning import Tuned
from jaxwd.report.table import Table

_AXES = ("learning_rate", "decay.strength")


class Basin(NamedTuple):
    """The grid of one arm.

    Attributes:
        rates: learning rates, rising, (r,).
        strengths: λ in the scheme's own unit, rising, (s,).
        losses: mean validation loss, (r, s); inf where a trial failed.
    """

    rates: np.ndarray
    strengths: np.ndarray
    losses: np.ndarray


def basins(study: Study) -> dict[str, Basin]:
    """Return arm name → its grid, of arms tuned over a grid of 3 × 3 or more."""
    found = {name: _basin(tuned) for name, tuned in study.tuning.items()}
    return {name: basin for name, basin in found.items() if basin is not None}


def basin_table(study: Study) -> Table:
    """Return the optimum of every grid and how separable its basin is."""
    rows = []
    for name, basin in basins(study).items():
        if not np.isfinite(basin.losses).any():
            rows.append((name, "every run failed", "", "", "", "", ""))
            continue
        got = separability(*basin)
        i, j = np.unravel_index(np.argmin(basin.losses), basin.losses.shape)
        rows.append(
            (
                name,
                f"{basin.losses.min():.4f}",
                f"{basin.rates[i]:.3g}",
                f"{basin.strengths[j]:.3g}",
                _number(got.rank),
                _number(got.tilt),
                f"{got.regret:.4f}",
            )
        )
    return Table(
        "Basins",
        (
            "arm",
            "validation loss",
            "learning rate",
            "λ",
            "separability",
            "tilt",
            "regret",
        ),
        tuple(rows),
        "The lowest mean validation loss of each grid and where it is. Separability is "
        "the mean rank correlation between the orders in which two learning rates put the "
        "λ, averaged with the reverse: 1 where λ can be tuned at any learning rate, 0 "
        "where they have nothing in common. Tilt is d log λ*/d log α along the valley: 0 "
        "if the best λ stays, −1 if only the product counts; ? where the valley leaves "
        "the grid. Regret is the loss that is lost on average by tuning the learning rate "
        "first and λ after it.",
    )


def grid_tables(study: Study) -> list[Table]:
    """Return the losses of every grid, a learning rate a row."""
    return [
        Table(
            f"Validation loss of {name}",
            ("learning rate", *(f"λ {s:.3g}" for s in basin.strengths)),
            tuple(
                (f"{rate:.3g}", *map(_loss, row))
                for rate, row in zip(basin.rates, basin.losses, strict=True)
            ),
            "Mean over the tuning seeds; – where a seed diverged.",
        )
        for name, basin in basins(study).items()
    ]


def heat_maps(study: Study, path: pathlib.Path) -> pathlib.Path:
    """Draw every arm's grid, log scales, one colour scale; return the file."""
    found = basins(study)
    finite = np.concatenate([b.losses[np.isfinite(b.losses)] for b in found.values()])
    low, high = finite.min(), np.quantile(finite, 0.75)
    figure = Figure(figsize=(4.2 * len(found), 3.8), layout="constrained")
    axes = figure.subplots(1, len(found), squeeze=False)[0]
    for axis, (name, basin) in zip(axes, found.items(), strict=True):
        shown = np.where(np.isfinite(basin.losses), basin.losses, np.nan)
        image = axis.imshow(
            shown,
            origin="lower",
            aspect="auto",
            cmap="cividis",
            vmin=low,
            vmax=max(high, low + 1e-9),
        )
        axis.set_facecolor("#cccccc")
        axis.set_xticks(
            range(len(basin.strengths)), [f"{s:.1e}" for s in basin.strengths]
        )
        axis.tick_params("x", rotation=45)
        axis.set_yticks(range(len(basin.rates)), [f"{r:.1e}" for r in basin.rates])
        i, j = np.unravel_index(np.argmin(basin.losses), basin.losses.shape)
        axis.plot(j, i, marker="*", color="#D55E00", markersize=14)
        axis.set_title(name, fontsize=10, loc="left")
        axis.set_xlabel("λ")
        axis.set_ylabel("learning rate")
        figure.colorbar(image, ax=axis, label="validation loss", extend="max")
    figure.savefig(path, dpi=130)
    return path


def _basin(tuned: Tuned) -> Basin | None:
    trials = {trial.values: trial.loss for trial in tuned.trials}
    if any(tuple(path for path, _ in values) != _AXES for values in trials):
        return None
    cells = {(a, s): loss for ((_, a), (_, s)), loss in trials.items()}
    rates, strengths = (sorted({cell[k] for cell in cells}) for k in (0, 1))
    full = len(cells) == len(rates) * len(strengths)
    if not full or min(len(rates), len(strengths)) < 3 or strengths[0] <= 0:
        return None
    losses = [[cells[a, s] for s in strengths] for a in rates]
    return Basin(np.array(rates), np.array(strengths), np.array(losses))


def _loss(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "–"


def _number(value: float) -> str:
    return "?" if math.isnan(value) else f"{value:+.2f}"
