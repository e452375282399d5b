"""The table of engines. A new one is one row."""

import functools

import jax

from jaxwd.errors import unknown
from jaxwd.lab.engines.interface import Engine
from jaxwd.lab.engines.loop import Loop
from jaxwd.lab.engines.stacked import Stacked

_WAITING = 16
"""Lanes where more make nothing faster: what a kill loses, and an epoch's patience."""


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def _stack() -> int:
    """Return how many lanes one device may stack: a CPU has work enough with few."""
    return 64 if _on_cpu() else 1024


def _several() -> bool:
    return jax.local_device_count() > 1


ENGINES: dict[str, Engine] = {
    row.name: row
    for row in (
        Engine(
            "loop",
            Loop,
            widest=lambda members: 1,
            idle_is_free=True,
            note="one by one, the program of a single run",
        ),
        Engine(
            "map",
            functools.partial(Stacked, "map"),
            widest=lambda members: _WAITING,
            idle_is_free=True,
            fits=_on_cpu,
            note="one after another inside one program",
        ),
        Engine(
            "vmap",
            functools.partial(Stacked, "vmap"),
            widest=lambda members: _stack(),
            note="all in each instruction",
        ),
        Engine(
            "devices",
            functools.partial(Stacked, "devices"),
            widest=lambda members: _WAITING * jax.local_device_count(),
            multiple=jax.local_device_count,
            idle_is_free=True,
            fits=lambda: _on_cpu() and _several(),
            note="one after another on each of several devices",
        ),
        Engine(
            "devices+vmap",
            functools.partial(Stacked, "devices+vmap"),
            widest=lambda members: _stack() * jax.local_device_count(),
            multiple=jax.local_device_count,
            fits=_several,
            note="all in each instruction, on each of several devices",
        ),
    )
}
"""Name → row. `auto` is none of them: it measures those that fit and takes the best."""


def engine(name: str) -> Engine:
    """Return the engine `name`; `ray` is none of them, but many processes of one.

    Raises:
        InputError: unknown name.
    """
    if name not in ENGINES:
        raise unknown("engine", name, ["auto", *ENGINES, "ray"])
    return ENGINES[name]
