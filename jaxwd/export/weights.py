"""Parameters in a safetensors file, by the names that decay rules know them by."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxwd.errors import InputError
from jaxwd.training.recipe import Recipe
from jaxwd.trees import Tree, named_leaves

_RESERVED = "__metadata__"
STATE = "model_state"
"""Prefix of what a model changes without a gradient, such as running means."""


def flat(params: Tree, model_state: Tree = ()) -> dict[str, np.ndarray]:
    """Return every array by its path, keys joined by slashes.

    Raises:
        InputError: two leaves of one name, a leaf that is no array of numbers.

    >>> sorted(flat({"dense": {"kernel": np.ones((4, 2)), "bias": np.ones(2)}}))
    ['dense/bias', 'dense/kernel']
    """
    named = named_leaves(params)
    named += [(f"{STATE}/{name}", leaf) for name, leaf in named_leaves(model_state)]
    found: dict[str, np.ndarray] = {}
    for name, leaf in named:
        if name in found:
            raise InputError(
                f"two leaves are called {name!r}; rename one, a file knows them by "
                "their names alone"
            )
        if name == _RESERVED:
            raise InputError(
                f"a leaf is called {name!r}, which the format keeps for itself"
            )
        try:
            found[name] = np.asarray(leaf, order="C")
        except TypeError:  # a typed random key
            raise InputError(
                f"{name!r} is {leaf.dtype}, no array of numbers; leave it out, or give "
                "jax.random.key_data of it"
            ) from None
    return found


def write_weights(
    path: str | os.PathLike,
    params: Tree,
    *,
    model_state: Tree = (),
    recipe: Recipe | None = None,
    about: Mapping[str, str] | None = None,
) -> pathlib.Path:
    """Write parameters to a safetensors file, whole or not at all, and return its path.

    Equal parameters and metadata give equal bytes. θ under its path, such as
    `conv1/kernel`, every array in its own type; what a model changes without a gradient
    under `model_state/…`.

    Args:
        path: of the file; what is there is replaced.
        params: any tree of arrays, such as `Result.params`.
        model_state: likewise, such as `Result.model_state`.
        recipe: its digest and words stand in the file's metadata.
        about: more metadata, text by name.

    Raises:
        InputError: as `flat`; an empty tree, a type that the format does not hold,
            safetensors not installed.

    >>> import tempfile
    >>> params = {"dense": {"kernel": np.ones((4, 2), np.float32)}}
    >>> path = write_weights(tempfile.mkdtemp() + "/w.safetensors", params)
    >>> arrays, about = read_weights(path)
    >>> arrays["dense/kernel"].shape, about["format"]
    ((4, 2), 'jaxwd')
    """
    save = _safetensors().save
    arrays = flat(params, model_state)
    if not arrays:
        raise InputError("there are no parameters to write; give a tree of arrays")
    metadata = {"format": "jaxwd", **(about or {})}
    if recipe is not None:
        metadata |= {"recipe_digest": recipe.digest(), "recipe": str(recipe)}
    try:
        content = save(arrays, metadata=metadata)
    except Exception:  # of several kinds, by type and version
        _require_types(save, arrays)
        raise
    return write_whole(path, _in_order(content))


def _require_types(save: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Name the array that the format does not hold."""
    for name, array in arrays.items():
        try:
            save({name: array})
        except Exception:
            raise InputError(
                f"{name!r} is {array.dtype}, which safetensors does not hold; cast it first"
            ) from None


def write_whole(path: str | os.PathLike, content: bytes) -> pathlib.Path:
    """Write a file whole or not at all, and return its path."""
    path = pathlib.Path(path)
    half = path.with_name(path.name + ".writing")
    half.write_bytes(content)
    half.replace(path)
    return path


def read_weights(
    path: str | os.PathLike,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays of a safetensors file by name, and its metadata.

    Raises:
        InputError: no such file, or none that can be read.
    """
    _safetensors()
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = file.keys()
            said = file.metadata() or {}
            return {name: file.get_tensor(name) for name in names}, said
    except (OSError, SafetensorError, TypeError, AttributeError, KeyError) as error:
        raise InputError(f"{path} is no safetensors file to read: {error}") from None


def _in_order(written: bytes) -> bytes:
    """Return a file with its metadata in order; safetensors shuffles it each time."""
    start = 8 + int.from_bytes(written[:8], "little")
    header = json.loads(written[8:start])
    said = dict(sorted(header.pop("__metadata__").items()))
    text = json.dumps({"__metadata__": said, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # arrays stay aligned
    return len(text).to_bytes(8, "little") + text + written[start:]


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise InputError(
            "safetensors is not installed; pip install 'jaxwd[export]'"
        ) from None
    return safetensors.numpy
