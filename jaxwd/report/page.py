"""One page a study: `report.md` with its pictures beside it."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

from jaxwd.lab.controls import CONTROLS
from jaxwd.lab.study import Study
from jaxwd.report import figures
from jaxwd.report.basins import basin_table, basins, grid_tables, heat_maps
from jaxwd.report.comparison import comparison_table, tuning_table
from jaxwd.report.table import Table, escaped
from jaxwd.report.tables import decay_table, fit_table, result_table
from jaxwd.report.verdict import verdict


def write_report(study: Study, folder: pathlib.Path, mask: str = "") -> pathlib.Path:
    """Write `report.md`, `curves.png` and `differences.png`; return the page.

    Args:
        study: what came out.
        folder: an existing, writable folder.
        mask: which leaves decay, as text.
    """
    pictures = []
    if any(study.curves.values()) and len(study.arms) <= len(figures.COLORS):
        pictures.append(figures.curves(study, folder / "curves.png"))
    if study.compared() and any(study.finals.values()):
        pictures.append(figures.differences(study, folder / "differences.png"))
    if basins(study):
        pictures.append(heat_maps(study, folder / "basins.png"))
    about = study.provenance
    parts = [
        f"# {escaped(study.question or 'Study')}",
        escaped(verdict(study)),
        f"Data: {escaped(study.data)}; {_used(study)} training examples used.",
        *(table(study).markdown() for table in tables_of(study)),
        *(table.markdown() for table in grid_tables(study)),
        *(f"![{p.stem}]({p.name})" for p in pictures),
        *([f"## Which leaves decay\n\n```text\n{mask}\n```"] if mask else []),
        "## Recipes",
        "\n".join(f"- {escaped(arm.name)}: `{arm.recipe}`" for arm in study.arms),
        *(
            f"{escaped(arm.name)} is a control: {CONTROLS[arm.control].why}."
            for arm in study.arms
            if arm.follows
        ),
        "## Made by",
        _provenance(about, study.reused),
    ]
    page = folder / "report.md"
    page.write_text(
        "\n\n".join(parts) + "\n", encoding="utf-8", errors="backslashreplace"
    )
    return page


def tables_of(study: Study) -> list[Callable[[Study], Table]]:
    """Return the tables a study has something to put into, in reading order."""
    tables: list[Callable[[Study], Table]] = [result_table]
    if study.compared() and any(study.finals.values()):
        tables.append(comparison_table)
    if study.tuning:
        tables.append(tuning_table)
    if basins(study):
        tables.append(basin_table)
    return [*tables, fit_table, decay_table]


def _used(study: Study) -> str:
    """Return how many training examples the arms saw."""
    return " or ".join(f"{n:,}" for n in sorted(set(study.train_examples.values())))


def _provenance(about: dict[str, Any], reused: int) -> str:
    versions = ", ".join(f"{k} {v}" for k, v in about.get("versions", {}).items())
    rows = [
        ("command", f"`{about.get('command')}`"),
        ("versions", versions),
        ("python", about.get("python")),
        ("processor", f"{about.get('processor')}, {about.get('cores')} cores"),
        ("devices", ", ".join(about.get("devices", []))),
        ("commit", about.get("commit") or "not in a git checkout"),
        ("time", about.get("time")),
    ]
    if reused:
        rows.append(("reused", f"{reused} runs of earlier starts, see ledger.sqlite"))
    if about.get("xla_flags"):
        rows.append(("XLA_FLAGS", json.dumps(about["xla_flags"])))
    return "\n".join(f"- {name}: {value}" for name, value in rows)
