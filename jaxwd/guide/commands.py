"""`jaxwd convert` and `jaxwd recommend`, and what `jaxwd list` shows of this room."""

import json
import math
from dataclasses import dataclass, fields
from typing import Any

from tyro.conf import Positional

from jaxwd.flags import guarded, parse


@dataclass(frozen=True)
class ConvertWords:
    """Carry a λ from one convention to another (`jaxwd list conventions`).

    Prints the number, the equation, what stays the same in a training and what was
    assumed. A conversion that no number can do is refused, with the reason.
    """

    strength: Positional[float]
    """λ, or τ or a half-life, in the source's unit."""
    source: str
    """The convention it comes from, such as torch.AdamW."""
    target: str
    """The convention it goes to, such as paper."""
    learning_rate: float | None = None
    """Peak learning rate α; only where it matters."""
    target_learning_rate: float | None = None
    """The target's, where it differs: another optimizer has another."""
    schedule: str | None = None
    """How the rate moves: constant, or a name of `jaxwd list schedules`."""
    steps: int | None = None
    """Steps of the run, for a schedule that moves."""
    warmup: int = 0
    """Steps of linear rise before the schedule's shape begins."""
    match: str = "exact"
    """exact, or mean: keep the total shrink where no number keeps every step's."""
    optimizer: str | None = None
    """The optimizer of both sides, where neither name says it."""
    momentum: float | None = None
    """Momentum μ of SGD."""
    nesterov: bool = False
    """Nesterov's momentum."""
    batch_size: float | None = None
    """Examples (or tokens) a step."""
    examples: float | None = None
    """m of the λ/(2m) form."""
    dataset_size: float | None = None
    """Examples (or tokens) an epoch."""
    epochs: float | None = None
    """Length of the run in passes over the data."""
    json: bool = False
    """Print JSON."""


def convert(words: list[str]) -> int:
    """Carry a λ from one convention to another."""

    def command() -> None:
        given = parse(ConvertWords, "jaxwd convert", "", words)
        from jaxwd.guide.convert import convert

        got = convert(given.strength, **_options(given, "strength"))
        print(_json(got.to_dict()) if given.json else got.explain())

    return guarded(command)


@dataclass(frozen=True)
class RecommendWords:
    """Say where to begin with λ: a starting value, a sweep, published recipes.

    From the time decay looks back, one epoch to the whole run (Wang and Aitchison,
    2025). A place to begin, not a tuned value.
    """

    dataset_size: float
    """Examples (or tokens) an epoch."""
    batch_size: float
    """Examples (or tokens) a step."""
    epochs: float
    """Passes over the data, at least 1."""
    learning_rate: float
    """Peak learning rate α."""
    optimizer: str = "adam"
    """A name of `jaxwd list optimizers`."""
    scheme: str = "lr"
    """The convention of the λ that is printed, a name of `jaxwd list conventions`."""
    schedule: str = "cosine"
    """How the rate moves, a name of `jaxwd list schedules`."""
    warmup: int = 0
    """Steps of linear rise at the start."""
    momentum: float | None = None
    """Momentum μ of SGD."""
    json: bool = False
    """Print JSON."""


def recommend(words: list[str]) -> int:
    """Say where to begin with λ."""

    def command() -> None:
        given = parse(RecommendWords, "jaxwd recommend", "", words)
        from jaxwd.guide.recommend import recommend

        got = recommend(**_options(given))
        print(_json(got.to_dict()) if given.json else got)

    return guarded(command)


def _options(given: ConvertWords | RecommendWords, *but: str) -> dict[str, Any]:
    names = [field.name for field in fields(given)]
    return {name: getattr(given, name) for name in names if name not in ("json", *but)}


def _json(values: dict[str, Any]) -> str:
    # No decay has an infinite τ, and JSON no infinity.
    plain = {k: None if v == math.inf else v for k, v in values.items()}
    return json.dumps(plain, indent=1, ensure_ascii=False)


def _conventions() -> list[str]:
    from jaxwd.guide import conventions

    return conventions.table()


def _scaling() -> list[str]:
    from jaxwd.guide import scaling

    return scaling.table()


COMMANDS = {"convert": convert, "recommend": recommend}
LISTS = {"conventions": _conventions, "scaling": _scaling}
"""What `jaxwd list` shows of this room."""
