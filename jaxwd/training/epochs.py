"""What an epoch tells: its row of metrics, and a loss that is not finite."""

from typing import Any

import numpy as np

from jaxwd.errors import Diverged
from jaxwd.training.recipe import Recipe

Row = dict[str, float]


def row_of(
    epoch: int, losses: np.ndarray, scores: np.ndarray, info: Any, score_name: str
) -> Row:
    """Return an epoch's row of metrics but for the validation; info is of one step."""
    row: Row = {"epoch": epoch + 1, "step": (epoch + 1) * len(losses)}
    row["running_loss"] = losses.mean().item()
    row[f"running_{score_name}"] = scores.mean().item()
    return row | {
        name: value.item()
        for name, value in info.items()
        if name not in ("data_loss", "score")
    }


def not_finite(
    recipe: Recipe, losses: np.ndarray, epoch: int, steps: int
) -> tuple[int, str] | None:
    """Return step and message where a loss is not finite, else None.

    `losses` are those of the epoch's steps, or the one measured behind them.
    """
    bad = np.flatnonzero(~np.isfinite(losses))
    if not bad.size:
        return None
    first, last = epoch * steps, (epoch + 1) * steps - 1
    at = first + int(bad[0]) if len(losses) == steps else last
    return at, (
        f"the loss became {losses[bad[0]]} at step {at} (epoch {epoch + 1}, steps "
        f"{first} to {last}) of the recipe: {recipe}, seed {recipe.seed}"
    )


def require_finite(recipe: Recipe, losses: np.ndarray, epoch: int, steps: int) -> None:
    """Raise `Diverged` where a loss of the epoch is not finite."""
    bad = not_finite(recipe, losses, epoch, steps)
    if bad is not None:
        raise Diverged(bad[1], bad[0])
