"""A warning, and the evidence that warnings are found in."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxwd.probe.explanation import LeafRow
    from jaxwd.probe.natures import Nature
    from jaxwd.probe.subject import Subject
    from jaxwd.probe.sweep import Sweep


@dataclass(frozen=True)
class Finding:
    """One warning.

    Attributes:
        code: its name in a few words, for programs.
        leaves: names of the leaves it is about; empty where it is about all.
        text: what was seen and what it means.
    """

    code: str
    leaves: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        if not self.leaves:
            return self.text
        shown = ", ".join(self.leaves[:3])
        more = f" and {len(self.leaves) - 3} more" if len(self.leaves) > 3 else ""
        return f"{shown}{more}: {self.text}"


@dataclass(frozen=True)
class Evidence:
    """What the finders look at; the lists have one entry a leaf."""

    subject: "Subject"
    rows: "list[LeafRow]"
    natures: "list[Nature]"
    sweep: "Sweep"
    params: Any
    state: Any
    rest_is_zero: bool

    def where(self, holds: Callable[[int], bool]) -> list[int]:
        """Return the positions of the leaves for which `holds`."""
        return [i for i in range(len(self.rows)) if holds(i)]

    def finding(self, code: str, at: list[int], text: str) -> Iterator[Finding]:
        """Give a finding about these leaves, none where there are no leaves."""
        if at:
            yield Finding(code, tuple(self.rows[i].name for i in at), text)

    @property
    def parts(self) -> set[str]:
        """Return the names of the state's classes: what stands in the chain."""
        return set(_class_names(self.state))


def _class_names(state: Any) -> Iterator[str]:
    """Give the class names of the tuples in a state, from the outside in."""
    if hasattr(state, "_fields"):
        yield type(state).__name__
    inside = state.values() if isinstance(state, dict) else state
    if isinstance(state, tuple | list | dict):
        for part in inside:
            yield from _class_names(part)
