"""`jaxwd list`: what can be chosen by name, read from the tables themselves."""

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tyro.conf import Positional

from jaxwd.errors import unknown
from jaxwd.flags import guarded, parse
from jaxwd.guide import commands


@dataclass(frozen=True)
class ListWords:
    """Print what can be chosen by name."""

    kinds: Positional[tuple[str, ...]] = ()
    """Any of: optimizers, schemes, schedules, models, initializers, clips, datasets,
    conventions, scaling."""


def list_names(words: list[str]) -> int:
    """Print what can be chosen by name."""

    def command() -> None:
        for kind in parse(ListWords, "jaxwd list", "", words).kinds or KINDS:
            if kind not in LISTS:
                raise unknown("list", kind, LISTS)
            print(f"{kind}:")
            for line in LISTS[kind]():
                print(f"  {line}")

    return guarded(command)


def _optimizers() -> list[str]:
    from jaxwd.optimizers import OPTIMIZERS

    return [
        line
        for name, row in OPTIMIZERS.items()
        for line in _described(name, row.defaults, row.note)
    ]


def _schemes() -> list[str]:
    from jaxwd import decay

    return [
        f"{name:14}{_first_line(getattr(decay, name))}"
        for name in decay.CONSTRUCTORS + decay.MODIFIERS
    ]


def _schedules() -> list[str]:
    from jaxwd import schedules

    return [
        f"{name:16}{_first_line(getattr(schedules, name))}" for name in schedules.SHAPES
    ]


def _models() -> list[str]:
    from jaxwd.models.table import MODELS, options_of, room_of

    return [
        line
        for name in MODELS
        for line in _described(name, options_of(name), _first_line(room_of(name)))
    ]


def _initializers() -> list[str]:
    from jaxwd.models import INITIALIZERS

    return list(INITIALIZERS)


def _clips() -> list[str]:
    from jaxwd.clip import CLIPS

    return [f"{k:14}{_first_line(v)}" for k, v in CLIPS.items()]


def _datasets() -> list[str]:
    from jaxwd.data import NAMES, PATTERNS

    return [*NAMES, *PATTERNS]


LISTS: dict[str, Callable[[], list[str]]] = {
    "optimizers": _optimizers,
    "schemes": _schemes,
    "schedules": _schedules,
    "models": _models,
    "initializers": _initializers,
    "clips": _clips,
    "datasets": _datasets,
    **commands.LISTS,
}
"""Kind → the lines that say what there is."""

KINDS = tuple(LISTS)


def _described(name: str, settings: Mapping[str, Any], note: str) -> list[str]:
    """Return a name with its settings, and below it what to mind."""
    said = ", ".join(f"{key}={value}" for key, value in settings.items())
    lines = textwrap.wrap(f"{name:16}{said}", 78, subsequent_indent=" " * 16)
    return lines + textwrap.wrap(
        textwrap.indent(note, " " * 18), 78, subsequent_indent=" " * 18
    )


def _first_line(value: object) -> str:
    return (value.__doc__ or "").splitlines()[0]
