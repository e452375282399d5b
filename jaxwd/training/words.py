"""A recipe in words for people, and in plain values for files."""

import dataclasses
from typing import TYPE_CHECKING, Any

from jaxwd.masks import kernels
from jaxwd.models import Model
from jaxwd.schedules import ScalarOrSchedule, Schedule

if TYPE_CHECKING:
    from jaxwd.training.recipe import Recipe


def in_words(value: ScalarOrSchedule) -> str:
    """Return a number or schedule in a few letters, for tables."""
    if isinstance(value, Schedule):
        return f"{value.peak:g} {value.shape}"
    return f"{value:g}"


def described(recipe: "Recipe") -> str:
    """Return a recipe in a line: what it always says, and what differs from the usual."""
    model = recipe.model if isinstance(recipe.model, str) else recipe.model.name
    said = {"seed", "dataset", "model", "optimizer", "learning_rate", "schedule"} | {
        "decay", "dropout", "batch_size", "epochs"
    }  # fmt: skip
    parts = [
        recipe.dataset,
        model,
        recipe.optimizer,
        f"lr {recipe.learning_rate:g} {recipe.schedule}",
        str(recipe.decay),
        f"dropout {in_words(recipe.dropout)}",
        f"batch {recipe.batch_size}",
        f"{recipe.epochs} epochs",
    ]
    if recipe.decay.kind != "none" and recipe.decay.where != kernels:
        parts.append(f"where {recipe.decay.where}")
    for f in dataclasses.fields(recipe):
        value = getattr(recipe, f.name)
        if f.name not in said and value != f.default:
            if f.name.endswith("_options"):
                value = " ".join(f"{key}={option}" for key, option in value)
            parts.append(f"{f.name} {value}")
    return ", ".join(parts)


def plain(recipe: "Recipe") -> dict[str, Any]:
    """Return a recipe as plain JSON values; `jaxwd.training.on_paper` reads them."""
    values: dict[str, Any] = {
        f.name: getattr(recipe, f.name) for f in dataclasses.fields(recipe)
    }
    values["decay"] = {
        f.name: _plain(getattr(recipe.decay, f.name))
        for f in dataclasses.fields(recipe.decay)
    }
    values["decay"]["where"] = [
        [r.pattern, r.multiplier, r.min_ndim] for r in recipe.decay.where.table
    ]
    if isinstance(recipe.model, Model):
        values["model"] = [recipe.model.name, recipe.model.identity]
    return {key: _plain(value) for key, value in values.items()}


def _plain(value: Any) -> Any:
    if hasattr(value, "item") and hasattr(value, "dtype"):  # a NumPy or JAX scalar
        return value.item()
    if isinstance(value, Schedule):
        return {
            f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)
        }
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
