"""How many lanes fit into memory: an estimate before, half as many after a failure."""

import pathlib

import jax

from jaxwd.errors import InputError
from jaxwd.lab.engines.interface import Engine, Job, Lanes

_SHARE = 0.6
"""Of what is available: the rest is for the host's copies and for other programs."""


def available() -> int:
    """Return the bytes that lanes may take on one device, or on the host for CPUs."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        said = device.memory_stats() or {}
        if "bytes_limit" in said:
            return int(_SHARE * (said["bytes_limit"] - said.get("bytes_in_use", 0)))
    return int(_SHARE * min(_of_system(), _of_container()))


def _of_system() -> int:
    try:
        lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 4 << 30
    said = dict(line.split(":", 1) for line in lines)
    return int(said["MemAvailable"].split()[0]) << 10


def _of_container() -> int:
    """Return what the control group leaves, where there is one with a limit."""
    root = pathlib.Path("/sys/fs/cgroup")
    try:
        limit = (root / "memory.max").read_text().strip()
        used = int((root / "memory.current").read_text())
        return max(int(limit) - used, 0) if limit != "max" else 1 << 62
    except (OSError, ValueError):
        return 1 << 62


def fitting(row: Engine, job: Job, width: int, free: int | None = None) -> Lanes:
    """Return lanes whose programs fit, fewer than `width` where they must be.

    The compiler says what a program takes before anything is allocated, and that grows
    with the lanes in proportion; so too wide a program is compiled once more at most,
    or a few times where a part does not grow.

    Args:
        row: the engine.
        job: what the lanes share.
        width: how many lanes would be good.
        free: bytes; default `available()`.
    """
    free = available() if free is None else free
    while True:
        lanes = row.lanes(job, width)
        narrower = _narrower(width, free, lanes.needs, row.multiple())
        if narrower == width:
            return lanes
        width = narrower


def _narrower(width: int, free: int, needs: int, multiple: int) -> int:
    """Return the width that fits by proportion, one step of `multiple` at least.

    >>> _narrower(64, 100, 100, 1), _narrower(64, 50, 100, 1), _narrower(8, 1, 100, 2)
    (64, 32, 2)
    """
    if needs <= free or width <= multiple:
        return width
    return max(int(width * free / needs) // multiple * multiple, multiple)


def halved(row: Engine, width: int, error: BaseException) -> int:
    """Return half the width after a failure; raise where no less is possible."""
    multiple = row.multiple()
    if width <= multiple:
        raise InputError(
            f"memory is exhausted with {width} member{'s' if width > 1 else ''} at a "
            f"time on engine {row.name}; use a smaller batch_size or model"
        ) from error
    return max(width // 2 // multiple * multiple, multiple)


def exhausted(error: BaseException) -> bool:
    """Say whether an error means that memory is exhausted."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
