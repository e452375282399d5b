"""The arrays of a checkpoint, by Orbax; the only module that imports it.

Each array costs Orbax a millisecond of processor beyond its bytes, and a state has dozens
of small ones. They are written end to end, as the bytes of one array, `small`; large ones,
and those that no process has all of, under their own names.
"""

import contextlib
import logging
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

SMALL = 8 << 20
"""Bytes of the largest array that is written in one with others: about where the copy it
takes costs as much as an array of its own."""
_TOGETHER = "small"


def small(leaves: Mapping[str, Any]) -> list[str]:
    """Return the names of the arrays that are written in one, in their order there."""
    return [name for name, leaf in leaves.items() if _is_small(leaf)]


def writing(
    folder: pathlib.Path, leaves: Mapping[str, Any], together: Iterable[str] = ()
) -> Callable[[], object]:
    """Copy named arrays; return what writes them, or waits until they are written.

    The arrays may be donated as soon as this returns. What is returned is called once, by
    a thread, and raises what the writing raised.

    Args:
        folder: made by this.
        leaves: arrays, typed keys among them, by name.
        together: names of those written in one.
    """
    from orbax.checkpoint import v1 as ocp

    copies = _joined(leaves, list(together))
    if copies.keys() == {_TOGETHER} and jax.process_count() == 1:
        begin = None  # all is copied: even to begin is left to the thread
    else:
        with _context():
            begin = ocp.save_async(str(folder), copies).result

    def write() -> None:
        with _silent():
            if begin is not None:
                begin()
                return
            with _context():
                ocp.save(str(folder), copies)

    return write


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep Orbax from printing the traceback of what it raises too."""
    logger = logging.getLogger("absl")

    def without(record: logging.LogRecord) -> bool:
        return record.exc_info is None

    logger.addFilter(without)
    try:
        yield
    finally:
        logger.removeFilter(without)


def _context() -> Any:
    """Return how Orbax writes; fresh, since one that is in use cannot be changed."""
    from orbax.checkpoint import v1 as ocp

    context = ocp.Context()
    saving = context.array.saving
    saving.use_compression = False  # weights hardly shrink
    saving.enable_write_sharding_file = False  # who reads says where to put it
    # Orbax makes one of each handler it knows, twice a save, to see who can take a tree.
    handlers = ocp.handlers.local_registry(include_global_registry=False)
    handlers.add(ocp.handlers.PyTreeHandler)
    context.checkpointables.registry = handlers
    return context


def read(
    folder: pathlib.Path, like: Mapping[str, Any], together: Iterable[str] = ()
) -> dict[str, Any]:
    """Read arrays of the names, shapes and places of others, whoever wrote them.

    Args:
        folder: what `writing` made.
        like: arrays, or `jax.ShapeDtypeStruct`s, by name.
        together: as it was written.
    """
    from orbax.checkpoint import v1 as ocp

    together = list(together)
    sizes = [_bytes(like[name]) for name in together]
    wanted: dict[str, Any] = {
        name: _abstract(leaf) for name, leaf in like.items() if name not in together
    }
    if together or not like:
        wanted[_TOGETHER] = np.empty(sum(sizes) or 1, np.uint8)
    got = ocp.load(str(folder), wanted)
    if together:
        ends = np.cumsum(sizes)
        pieces = np.split(got.pop(_TOGETHER)[: ends[-1]], ends[:-1])
        for name, piece in zip(together, pieces, strict=True):
            got[name] = _placed(piece, like[name])
    return got


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


def _is_small(leaf: Any) -> bool:
    """Return whether each process has all of a leaf, and that is not much."""
    if not isinstance(leaf, jax.Array) or leaf.nbytes > SMALL:
        return False
    shared = jax.process_count() == 1 or not leaf.is_fully_addressable
    return shared and leaf.is_fully_replicated


def _joined(leaves: Mapping[str, Any], together: list[str]) -> dict[str, Any]:
    alone = {name: leaf for name, leaf in leaves.items() if name not in together}
    if not together and alone:
        return alone
    numbers = jax.device_get([_numbers(leaves[name]) for name in together])
    pieces = [x.reshape(-1).view(np.uint8) for x in numbers]
    if not any(piece.size for piece in pieces):  # Orbax writes no empty array
        pieces = [np.zeros(1, np.uint8)]
    return alone | {_TOGETHER: np.concatenate(pieces)}


def _placed(piece: np.ndarray, leaf: Any) -> jax.Array:
    """Return bytes as the array they were, where another like it is."""
    of = jax.eval_shape(_numbers, leaf)
    value = piece.view(of.dtype).reshape(of.shape)
    if _is_key(leaf):
        impl = jax.random.key_impl(jnp.empty((), leaf.dtype))
        value = jax.random.wrap_key_data(jnp.asarray(value), impl=impl)
    return jax.device_put(value, _place(leaf))


def _numbers(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _bytes(leaf: Any) -> int:
    of = jax.eval_shape(_numbers, leaf)
    return of.size * of.dtype.itemsize


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=_place(leaf))


def _place(leaf: Any) -> jax.sharding.Sharding:
    place = getattr(leaf, "sharding", None)
    return place or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
