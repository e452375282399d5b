"""What goes over the wire: an order to a worker, and what it tells while it trains."""

from typing import Any, NamedTuple

from jaxwd.lab.engines.groups import Group
from jaxwd.lab.engines.outcome import Row
from jaxwd.training import Recipe


class Order(NamedTuple):
    """What a worker is to do.

    Attributes:
        number: of the group; a worker keeps the first it got under a number, so that a
            model which is made anew in each message is compiled once.
        group: its structure, without places.
        members: (place, recipe) in the order in which they enter lanes; none to choose
            an engine, to compile, and to say so.
        like: a member of the group, for a trial.
        engine: a row of the table, or `auto`, which only a first compilation may have.
        width: lanes; None for the first compilation.
        count: members a worker will have about, which bounds the lanes.
        chunk: the most members at a time, as the user gave it.
        splits: measured at the end.
        every: seconds between two messages.
    """

    number: int
    group: Group
    members: list[tuple[int, Recipe]]
    like: Recipe
    engine: str
    width: int | None
    count: int
    chunk: int | None
    splits: tuple[str, ...]
    every: float


class Ready(NamedTuple):
    """A group is compiled."""

    engine: str
    lanes: int
    idle_is_free: bool
    timings: dict[str, float]


class Compiled(NamedTuple):
    """Something was compiled, or found in the cache."""

    engine: str
    lanes: int
    seconds: float


class Says(NamedTuple):
    """Something a person should know."""

    message: str


class Rows(NamedTuple):
    """Epochs that ended together: (place, row), and what they took."""

    rows: list[tuple[int, Row]]
    seconds: float


class Ended(NamedTuple):
    """How a member ended; its epochs were told before."""

    place: int
    status: str
    message: str
    step: int | None
    final: Row | None
    seconds: float


Message = Ready | Compiled | Says | Rows | Ended
About = dict[str, Any]
