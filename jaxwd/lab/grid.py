"""Grids of recipes: `product`, `zipped`, `chain`, and `vary`, which they are made of.

What was varied stays beside each recipe as labels, so that tables and heat maps know
their axes. Nothing is trained here.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from jaxwd.decay import DecayScheme
from jaxwd.errors import InputError, unknown
from jaxwd.schedules import Schedule
from jaxwd.training import Recipe

Labels = tuple[tuple[str, Any], ...]
ALSO = "also"
"""Label in a ledger: the other arms or members whose recipe, and so whose run, it is."""


class Member(NamedTuple):
    """One recipe of a grid.

    Attributes:
        recipe: the training, its seed included.
        labels: what was varied, as (path, value) pairs in the order given.
    """

    recipe: Recipe
    labels: Labels = ()

    def __str__(self) -> str:
        return ", ".join(
            f"{path} {_said(value)}" for path, value in self.labels
        ) or str(self.recipe)


def product(recipe: Recipe, axes: Mapping[str, Iterable[Any]]) -> list[Member]:
    """Return every combination of the axes' values; the last axis runs fastest.

    Args:
        recipe: what all members share.
        axes: path → values, see `vary`; such as
            `{"decay.strength": (1e-4, 1e-3), "learning_rate": (0.01, 0.1)}`.

    Raises:
        InputError: an unknown path, an axis without values, two equal members.

    >>> import jaxwd as wd
    >>> recipe = wd.Recipe(decay=wd.coupled(0.0))
    >>> grid = product(recipe, {"decay.strength": (0.1, 0.2), "seed": range(3)})
    >>> len(grid), str(grid[-1])
    (6, 'decay.strength 0.2, seed 2')
    """
    values = _values(axes)
    return _distinct(
        _member(recipe, zip(values, row, strict=True))
        for row in itertools.product(*values.values())
    )


def zipped(recipe: Recipe, axes: Mapping[str, Iterable[Any]]) -> list[Member]:
    """Return the axes' values side by side: the first of each, the second of each, ….

    Raises:
        InputError: as in `product`, and for axes of unequal length.

    >>> import jaxwd as wd
    >>> grid = zipped(wd.Recipe(), {"batch_size": (32, 64), "learning_rate": (0.1, 0.2)})
    >>> [member.recipe.learning_rate for member in grid]
    [0.1, 0.2]
    """
    values = _values(axes)
    lengths = {path: len(row) for path, row in values.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{path} has {n}" for path, n in lengths.items())
        raise InputError(f"zipped: axes of unequal length ({told}); use product?")
    return _distinct(
        _member(recipe, zip(values, row, strict=True))
        for row in zip(*values.values(), strict=True)
    )


def chain(*grids: Iterable[Member | Recipe] | Member | Recipe) -> list[Member]:
    """Return grids, members and recipes one after another, as one grid.

    Raises:
        InputError: nothing given, or two members with equal recipes.

    >>> import jaxwd as wd
    >>> plain, l2 = wd.Recipe(), wd.Recipe(decay=wd.coupled(5e-4))
    >>> len(chain(plain, product(l2, {"seed": range(3)})))
    4
    """
    found: list[Member] = []
    for grid in grids:
        rows = [grid] if isinstance(grid, Member | Recipe) else list(grid)
        found += map(as_member, rows)
    if not found:
        raise InputError("chain: no members; give recipes or grids of them")
    return _distinct(found)


def vary(recipe: Recipe, path: str, value: Any) -> Recipe:
    """Return the recipe with one value changed.

    Args:
        recipe: any recipe.
        path: a field (`learning_rate`), one of the scheme (`decay.strength`), of a
            schedule (`dropout.peak`), or an option (`optimizer_options.momentum`).
        value: what to put there; checked as in `Recipe`. A number where a schedule
            stands becomes its peak.

    Raises:
        InputError: an unknown path (names those there are), a strength where there is
            no decay, a value the recipe does not take.

    >>> import jaxwd as wd
    >>> vary(wd.Recipe(optimizer="momentum"), "optimizer_options.momentum", 0.5)
    Recipe(...optimizer_options=(('momentum', 0.5),)...)
    """
    if path.startswith("decay.") and recipe.decay.kind == "none":
        raise InputError(
            f"{path} has no effect: the recipe's decay is none; give it a scheme, such "
            "as decay=jaxwd.coupled(0.0)"
        )
    return _put(recipe, path.split("."), value, path, recipe)


def paths(recipe: Recipe) -> list[str]:
    """Return the paths that `vary` can change, but for options not yet named.

    >>> import jaxwd as wd
    >>> [path for path in paths(wd.Recipe()) if path.endswith("strength")]
    ['decay.strength']
    """
    found: list[str] = []

    def walk(value: Any, before: str) -> None:
        for f in dataclasses.fields(value):
            name, inner = f"{before}{f.name}", getattr(value, f.name)
            found.append(f"{name}.NAME" if _holds_pairs(f.name) else name)
            if _is_value(inner):
                walk(inner, f"{name}.")

    walk(recipe, "")
    return found


def as_member(given: Member | Recipe) -> Member:
    """Return a member as it is, a recipe as one without labels but its seed."""
    if isinstance(given, Member):
        return given
    if isinstance(given, Recipe):
        return Member(given, (("seed", given.seed),))
    raise InputError(f"{given!r} is no recipe; give Recipe or Member")


def _put(value: Any, steps: list[str], new: Any, path: str, recipe: Recipe) -> Any:
    name, *rest = steps
    if name not in {f.name for f in dataclasses.fields(value)}:
        raise unknown("path", path, paths(recipe))
    inner = getattr(value, name)
    if rest and _holds_pairs(name):
        key = ".".join(rest)
        new = (*((k, v) for k, v in inner if k != key), (key, new))
    elif rest and not _is_value(inner):
        raise unknown("path", path, paths(recipe))
    elif rest:
        new = _put(inner, rest, new, path, recipe)
    elif isinstance(inner, Schedule) and isinstance(new, int | float):
        new = dataclasses.replace(inner, peak=new)  # a scheduled λ stays scheduled
    return dataclasses.replace(value, **{name: new})


def _is_value(value: Any) -> bool:
    """Say whether a path may go on inside: schemes and schedules."""
    return isinstance(value, DecayScheme | Schedule)


def _holds_pairs(name: str) -> bool:
    return name.endswith("options") or name == "settings"


def _values(axes: Mapping[str, Iterable[Any]]) -> dict[str, list[Any]]:
    if not axes:
        raise InputError("no axes; give paths and values, as in {'seed': range(3)}")
    found = {}
    for path, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise InputError(
                f"{path}={values!r}: give several values, as in (0.1, 0.2)"
            )
        found[path] = [v.item() if hasattr(v, "item") else v for v in values]
        if not found[path]:
            raise InputError(f"{path}: no values; give one at least")
    return found


def _member(recipe: Recipe, pairs: Iterable[tuple[str, Any]]) -> Member:
    labels = tuple(pairs)
    for path, value in labels:
        recipe = vary(recipe, path, value)
    return Member(recipe, tuple((path, _label(value)) for path, value in labels))


def _label(value: Any) -> Any:
    return str(value) if isinstance(value, DecayScheme) else value


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _distinct(members: Iterable[Member]) -> list[Member]:
    found: dict[str, Member] = {}
    for member in members:
        key = member.recipe.digest()
        if key in found:
            raise InputError(
                f"two members are one recipe: {found[key]}; and: {member}; leave one out"
            )
        found[key] = member
    return list(found.values())
