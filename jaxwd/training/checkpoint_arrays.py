"""The arrays of a checkpoint, by Orbax; the only module that imports it."""

import pathlib
import re
from collections.abc import Callable
from typing import Any

import jax


def writing(folder: pathlib.Path, leaves: dict[str, Any]) -> Callable[[], object]:
    """Copy named arrays and begin to write them; return what waits for the end.

    The arrays may be donated as soon as this returns. What is returned raises what the
    writing raised.
    """
    from orbax.checkpoint import v1 as ocp

    context = ocp.Context()
    saving = context.array.saving
    saving.use_compression = False  # weights hardly shrink
    saving.enable_write_sharding_file = False  # who reads says where to put it
    with context:
        return ocp.save_async(str(folder), leaves).result


def read(folder: pathlib.Path, like: dict[str, Any]) -> dict[str, Any]:
    """Read arrays of the names, shapes and places of others, whoever wrote them."""
    from orbax.checkpoint import v1 as ocp

    return ocp.load(str(folder), {name: _abstract(x) for name, x in like.items()})


def named(tree: Any) -> dict[str, Any]:
    """Return the leaves of a tree by a name that is unique and fit for a file.

    >>> named({"dense": {"kernel": 1.0}, "steps": (2, 3)})
    {'0.dense.kernel': 1.0, '1.steps.0': 2, '2.steps.1': 3}
    """
    leaves = jax.tree.leaves_with_path(tree)
    return {
        f"{number}.{_plain_name(path)}": leaf
        for number, (path, leaf) in enumerate(leaves)
    }


def _plain_name(path: Any) -> str:
    text = jax.tree_util.keystr(path, simple=True, separator=".")
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text)


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    place = getattr(leaf, "sharding", None)
    if place is None:
        place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)
