"""The layout of a name, for a batch size and the devices and processes that are here."""

import jax

from jaxwd.errors import InputError, nearest, require, unknown
from jaxwd.training.parallel.layout import Layout
from jaxwd.training.parallel.table import LAYOUTS


def layout(
    name: str, batch_size: int, devices: int | None = None, parts: int = 1
) -> Layout:
    """Return the layout `name` for a batch size.

    Args:
        name: a row of `LAYOUTS`.
        batch_size: examples a step, over all devices.
        devices: how many take part; default all, those of other processes too.
        parts: in how many parts a batch is taken, `recipe.accumulate`. Each device's
            rows divide into them; part k is every parts-th row from k on, on one device
            and on many.

    Raises:
        InputError: unknown name, more devices than there are, fewer than there are
            where several processes share them, several devices or processes where the
            layout takes one, or a batch that they cannot share evenly.

    >>> layout("single", 32)
    Layout(name='single', devices=1)
    """
    if name not in LAYOUTS:
        raise unknown("layout", name, LAYOUTS)
    row, here, processes = LAYOUTS[name], jax.device_count(), jax.process_count()
    if processes > 1 and not row.processes:
        able = " or ".join(repr(other) for other, r in LAYOUTS.items() if r.processes)
        raise InputError(
            f"layout={name!r} is for one process, here are {processes}; use {able}"
        )
    if devices not in (None, 1) and not row.several:
        able = " or ".join(repr(other) for other, r in LAYOUTS.items() if r.several)
        raise InputError(
            f"devices={devices}: layout={name!r} is on one device; use layout={able}"
        )
    if devices is not None:
        require("devices", devices, 1, here, whole=True)
    if processes > 1 and devices not in (None, here):
        raise InputError(
            f"devices={devices}: {processes} processes share {here} devices and all take "
            "part; leave devices away"
        )
    count = 1 if not row.several else here if devices is None else devices
    if batch_size % (parts * count):
        how = f"over {count} devices" + (f" in {parts} parts each" if parts > 1 else "")
        raise InputError(
            f"batch_size={batch_size} does not divide {how}; nearest: "
            f"{nearest(batch_size, parts * count)}"
        )
    return Layout(name, count)
