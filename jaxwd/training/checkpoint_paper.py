"""What stands beside the arrays of a checkpoint, and whether it is of this training."""

import functools
import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax

from jaxwd.errors import InputError
from jaxwd.training.checkpoint_seal import FORMAT
from jaxwd.training.on_paper import recipe_from
from jaxwd.training.recipe import Recipe

_SHOWN = 3
"""Differences named in an error."""


def paper_of(
    step: int,
    leaves: Mapping[str, Any],
    progress: Mapping[str, Any],
    recipe: Recipe,
    data: str,
    *,
    together: Sequence[str] = (),
) -> str:
    """Return the values beside the arrays, as a JSON object.

    Raises:
        InputError: progress that is no JSON.
    """
    paper = {
        "format": FORMAT,
        "step": step,
        "recipe": recipe.to_dict(),
        "digest": recipe.digest(),
        "data": data,
        "progress": progress,
        "leaves": shapes(leaves),
        "together": together,
        "versions": versions(),
    }
    try:
        return json.dumps(paper)
    except (TypeError, ValueError) as error:
        raise InputError(f"progress has to be JSON values: {error}") from None


def require_same(
    folder: Any,
    paper: Mapping[str, Any],
    leaves: Mapping[str, Any],
    recipe: Recipe,
    data: str,
) -> Iterator[str]:
    """Return remarks on what is alike but for versions.

    Raises:
        InputError: another recipe, other data, other arrays; names what differs.
    """
    there, here = _read_again(paper["recipe"]), _plain(recipe.to_dict())
    unlike = list(differences(there, here))
    if unlike:
        named = ", ".join(unlike[:_SHOWN]) + (", …" if len(unlike) > _SHOWN else "")
        raise InputError(
            f"{folder} holds checkpoints of another recipe: {named}; give another "
            "folder, or the recipe it was made with"
        )
    if data and paper["data"] and data != paper["data"]:
        raise InputError(
            f"{folder} holds checkpoints of a training on other data (fingerprint "
            f"{paper['data']} there, {data} here); give another folder or the same data"
        )
    unlike = list(differences(paper["leaves"], shapes(leaves)))
    if unlike:
        raise InputError(
            f"{folder} holds other arrays than this training, written by jaxwd "
            f"{paper['versions']['jaxwd']}: {unlike[0]}; give another folder"
        )
    now = versions()
    for name in ("jaxwd", "jax"):
        if paper["versions"][name] != now[name]:
            yield (
                f"the checkpoints in {folder} were written with {name} "
                f"{paper['versions'][name]}, this is {now[name]}: numbers may differ "
                "from those of one version in their last bits"
            )


def differences(there: Any, here: Any, path: str = "") -> Iterator[str]:
    """Return where plain values differ, as in `decay.strength 0.1 there, 0.2 here`.

    >>> list(differences({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}}))
    ['b.c 2 there, 3 here']
    """
    if isinstance(there, dict) and isinstance(here, dict):
        for key in dict.fromkeys([*there, *here]):
            inner = f"{path}.{key}" if path else key
            yield from differences(there.get(key), here.get(key), inner)
    elif there != here:
        yield f"{path} {_said(there)} there, {_said(here)} here"


def shapes(leaves: Mapping[str, Any]) -> dict[str, str]:
    """Return dtype and shape of each leaf, as in `float32[3, 2]`."""
    return {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in leaves.items()}


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of what writes a checkpoint."""
    from jaxwd import __version__

    return {
        "jaxwd": __version__,
        "jax": jax.__version__,
        "orbax": importlib.metadata.version("orbax-checkpoint"),
    }


def _read_again(values: Mapping[str, Any]) -> Any:
    """Return a recipe's values with today's defaults for fields it did not know yet."""
    try:
        return _plain(recipe_from(values).to_dict())
    except InputError:
        return dict(values)


def _plain(values: Any) -> Any:
    return json.loads(json.dumps(values))


def _said(value: Any) -> str:
    return "none" if value is None else json.dumps(value)[:60]
