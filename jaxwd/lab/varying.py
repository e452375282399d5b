"""One value of a recipe changed, by its path. `jaxwd.lab.grid.vary`, where it is."""

from dataclasses import fields, replace
from typing import Any

from jaxwd.errors import unknown
from jaxwd.schedules import Schedule
from jaxwd.training import Recipe


def vary(recipe: Recipe, path: str, value: Any) -> Recipe:
    """Return the recipe with `value` at `path`: a field, or `decay.strength`.

    Raises:
        InputError: no such path.

    >>> vary(Recipe(), "learning_rate", 0.5).learning_rate
    0.5
    """
    try:
        from jaxwd.lab.grid import vary as general  # type: ignore[import-not-found]
    except ImportError:
        pass
    else:
        return general(recipe, path, value)
    known = [f.name for f in fields(recipe)]
    if path == "decay.strength" and recipe.decay.kind != "none":
        old = recipe.decay.strength
        new = replace(old, peak=value) if isinstance(old, Schedule) else value
        return replace(recipe, decay=replace(recipe.decay, strength=new))
    if path not in known:
        raise unknown("path", path, [*known, "decay.strength"])
    return replace(recipe, **{path: value})
