"""A recipe back from the plain values it was written down as."""

from collections.abc import Mapping
from typing import Any

from jaxwd.decay import DecayScheme
from jaxwd.decay.scheme import Choice
from jaxwd.errors import InputError
from jaxwd.masks.rules import Rule, Rules
from jaxwd.models import Model
from jaxwd.schedules import Schedule
from jaxwd.training.recipe import Recipe


def recipe_from(values: Mapping[str, Any]) -> Recipe:
    """Return the recipe that `Recipe.to_dict` wrote down.

    A model made from a Flax module comes back with its name and identity only: such a
    recipe can be shown and compared, not trained.

    Raises:
        InputError: values of another kind, or of another version of jaxwd.

    >>> from jaxwd import decoupled
    >>> recipe = Recipe(optimizer="adam", decay=decoupled(0.1), seed=3)
    >>> recipe_from(recipe.to_dict()) == recipe
    True
    """
    try:
        given = dict(values)
        given["decay"] = _scheme(given["decay"])
        given["dropout"] = _number(given["dropout"])
        if not isinstance(given["model"], str):
            name, identity = given["model"]
            given["model"] = Model(name, _absent, _absent, identity=identity)
        return Recipe(**given)
    except (KeyError, TypeError, ValueError) as error:
        reason = str(error) if isinstance(error, InputError) else repr(error)
        raise InputError(
            f"a recipe on file cannot be read by this version of jaxwd: {reason}"
        ) from None


def _scheme(values: Mapping[str, Any]) -> DecayScheme:
    given = dict(values)  # what an older version did not write has its default
    given["strength"] = _number(given["strength"])
    given["where"] = Rules(tuple(Rule(*row) for row in given["where"]))
    given["settings"] = _pairs(given.get("settings", ()))
    examples = given.pop("examples", None)  # a field of its own before `settings` was
    if examples is not None:
        given["settings"] = (("examples", examples),)
    for axis in ("gate", "anchor", "allocation"):
        if given.get(axis) is not None:
            name, settings = given[axis]
            given[axis] = Choice(name, _pairs(settings))
    return DecayScheme(**given)


def _number(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return Schedule(**{**value, "options": _pairs(value["options"])})


def _pairs(values: Any) -> tuple[tuple[str, Any], ...]:
    return tuple((name, _tuple(value)) for name, value in values)


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list | tuple) else value


def _absent(*_: Any, **__: Any) -> Any:
    raise InputError("this model was read from a record, which holds only its name")
