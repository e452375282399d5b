"""What was found out, as a value: prints as text, as a table, as JSON."""

import dataclasses
import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jaxwd.probe.findings import Finding
from jaxwd.probe.text import WIDTH, aligned, count, fit, number

if TYPE_CHECKING:
    from jaxwd.report.table import Table


_POWERS = {0.0: "shrink apart from η", 1.0: "shrink ∝ η", 2.0: "shrink ∝ η²"}


@dataclass(frozen=True)
class LeafRow:
    """One leaf: whether it decays, how fast, and what that means over the run.

    Numbers are None where they are not known: no run length was given, or the decay
    depends on the gradient.

    Attributes:
        name: keys joined by slashes.
        shape: of the leaf.
        dtype: of the leaf.
        parameters: how many numbers it holds.
        decays: whether its weights move towards 0 (or an anchor) without a gradient.
        kind: `none`, `decoupled`, `coupled`, `by gradient`, `not ∝ θ` or `anchored`,
            as measured.
        frozen: no gradient moves it.
        scheme: the scheme's own name, for chains made by jaxwd.
        rule: the pattern that decided the leaf, for chains made by jaxwd.
        strength: λ of this leaf: its multiplier times the scheme's strength, or
            measured where `learning_rate` was given for somebody else's optimizer.
        now: shrink 1 − θ'/θ a step at the step asked about.
        mean: the same, mean over the run.
        half_life: steps until half of a weight is left, from the mean (from `now`
            where no run length was given).
        half_life_epochs: the same in epochs.
        tau: τ = 1/shrink, in steps.
        tau_over_run: τ/T.
        kept: Π(1 − shrink_t), the share of a weight left after the run.
        at_rest: shrink of a first step without gradient where it is largest, also for
            decay that depends on the gradient, if it is proportional to θ.
        beside_gradient: decay beside a gradient of size 1, over decay at rest.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    parameters: int
    decays: bool
    kind: str
    frozen: bool = False
    scheme: str | None = None
    rule: str | None = None
    strength: float | None = None
    now: float | None = None
    mean: float | None = None
    half_life: float | None = None
    half_life_epochs: float | None = None
    tau: float | None = None
    tau_over_run: float | None = None
    kept: float | None = None
    at_rest: float | None = None
    beside_gradient: float | None = None

    @property
    def label(self) -> str:
        """Return kind and scheme in a few letters: `decoupled lr`."""
        if not self.decays:
            return "frozen" if self.frozen else "no"
        if self.scheme is None:
            return self.kind
        if self.kind == "by gradient":
            return f"{self.scheme}, by gradient"
        return self.scheme


@dataclass(frozen=True)
class Explanation:
    """What `explain` found: rows, warnings, and the totals. `print` it.

    Attributes:
        rows: one for each leaf.
        warnings: what is probably not meant, each with its leaves.
        steps: T, or None.
        steps_per_epoch: or None.
        step: the step that `now` means.
        probed: at how many steps the shrink was measured.
        calls: update calls that make one step; more than 1 under `MultiSteps`.
        power: p in shrink ∝ η^p over the schedule; None where η is constant or unknown.
    """

    rows: tuple[LeafRow, ...]
    warnings: tuple[Finding, ...]
    steps: int | None
    steps_per_epoch: int | None
    step: int
    probed: int
    calls: int
    power: float | None

    @property
    def summary(self) -> str:
        """Return the totals in one line."""
        decayed = [row for row in self.rows if row.decays]
        parts = [
            f"decays {len(decayed)} of {len(self.rows)} leaves",
            f"{sum(r.parameters for r in decayed):,} of "
            f"{sum(r.parameters for r in self.rows):,} parameters",
        ]
        if self.steps is not None:
            parts.append(f"T = {self.steps:,} steps")
        if self.power is not None:
            parts.append(_POWERS.get(self.power, f"shrink ∝ η^{self.power:.3g}"))
        if self.calls > 1:
            parts.append(f"{self.calls} micro-steps a step")
        return ", ".join(parts)

    def table(self) -> "Table":
        """Return the rows as a `jaxwd.report.table.Table`, for Markdown and rich."""
        from jaxwd.report.table import Table

        columns, rows = self._cells(self.rows, everything=True)
        return Table(
            "What decay does to each leaf",
            columns,
            tuple(map(tuple, rows)),
            "Shrink is 1 − θ'/θ in one step without gradient, measured; τ = 1/shrink "
            "in steps, T the length of the run. " + self.summary + ".",
            optional=("rule", "now", "epochs", "kept", "shape", "half-life"),
        )

    def rich(self, width: int = 10_000) -> Any:
        """Return the table for a terminal of `width` columns, warnings below it."""
        from rich.console import Group
        from rich.text import Text

        warnings = [Text(f"warning: {w}", style="yellow") for w in self.warnings]
        return Group(self.table().rich(width), Text(self.summary), *warnings)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values; every leaf, nothing shortened."""
        found = dataclasses.asdict(self)
        found["rows"] = [
            {key: _plain(value) for key, value in row.items()} for row in found["rows"]
        ]
        found["warnings"] = [
            {"code": w.code, "leaves": list(w.leaves), "text": w.text}
            for w in self.warnings
        ]
        found["summary"] = self.summary
        return {key: _plain(value) for key, value in found.items()}

    def __str__(self) -> str:
        columns, rows = self._cells(_merged(self.rows), everything=False)
        lines = aligned([columns, *rows])
        lines += textwrap.wrap(self.summary, WIDTH)
        for warning in self.warnings:
            lines += textwrap.wrap(f"warning: {warning}", WIDTH, subsequent_indent="  ")
        return "\n".join(lines)

    def _cells(
        self, rows: Sequence[LeafRow], *, everything: bool
    ) -> tuple[tuple[str, ...], list[list[str]]]:
        """Return column names and cells; columns that say nothing are left out."""
        made = {
            "leaf": [row.name or "(the array)" for row in rows],
            "shape": ["×".join(map(str, row.shape)) or "scalar" for row in rows],
            "decay": [row.label for row in rows],
            "rule": [row.rule or "" for row in rows],
            "λ": [number(row.strength) for row in rows],
            "now": [number(row.now) for row in rows],
            "shrink": [number(row.mean) for row in rows],
            "half-life": [count(row.half_life) for row in rows],
            "epochs": [number(row.half_life_epochs) for row in rows],
            "τ/T": [number(row.tau_over_run) for row in rows],
            "kept": [number(row.kept) for row in rows],
        }
        if not everything:
            for name in ("rule", "kept"):
                del made[name]
            if made["now"] == made["shrink"]:
                del made["now"]
        needed = ("leaf", "shape", "decay")
        made = {k: v for k, v in made.items() if k in needed or any(v)}
        if not everything:
            fit(made, optional=("epochs", "shape", "half-life"))
        return tuple(made), [list(cells) for cells in zip(*made.values(), strict=True)]


def _merged(rows: Sequence[LeafRow]) -> list[LeafRow]:
    """Return one row for leaves that differ only in a number in their names."""
    groups: dict[Any, list[LeafRow]] = {}
    for row in rows:
        numbers = (number(row.now), number(row.mean), number(row.strength))
        stem = re.sub(r"\d+", "*", row.name)
        key = (stem, row.shape, row.label, row.dtype, numbers)
        groups.setdefault(key, []).append(row)
    return [
        group[0]
        if len(group) == 1
        else dataclasses.replace(group[0], name=f"{key[0]} ×{len(group)}")
        for key, group in groups.items()
    ]


def _plain(value: Any) -> Any:
    """Return a value JSON knows; it has no infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return list(value) if isinstance(value, tuple) else value
