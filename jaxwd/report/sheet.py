"""All that a report shows, as plain values, whether from a study, a sweep or both."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jaxwd.lab.statistics import interval
from jaxwd.lab.study import Study
from jaxwd.report.basins import grid_tables
from jaxwd.report.grids import Grids, grids
from jaxwd.report.page import tables_of
from jaxwd.report.sweep import best_setting, metrics_of, score_of, settings_table, tried
from jaxwd.report.table import Table
from jaxwd.report.tables import scaled
from jaxwd.report.training import PANELS, Curve, curve_of
from jaxwd.report.trials import Group, Row, Trial, groups, trial
from jaxwd.report.verdict import verdict

_NUMBERS = 250_000  # of all curves together; longer ones are thinned


@dataclass(frozen=True)
class Gap:
    """An arm's paired differences to its reference: by seed, mean, half interval."""

    name: str
    seeds: tuple[int, ...]
    gaps: tuple[float, ...]
    mean: float
    half: float


@dataclass(frozen=True)
class Sheet:
    """What a report shows, in its order.

    Attributes:
        title: the question.
        verdict: the answer.
        data: the data set, in words.
        score: name of the score.
        facts: counts, as (number, what).
        gaps: metric → paired differences of the arms.
        tables: of the study.
        grids: sensitivity lines and heat maps.
        settings: every setting of a sweep.
        curves: of every arm and setting.
        mask: which leaves decay, as a table or as text.
        diverged: runs that diverged or were stopped.
        recipes: arm → recipe in words.
        environment: command, versions, hardware, as (name, value).
    """

    title: str
    verdict: str
    data: str
    score: str
    facts: tuple[tuple[str, str], ...]
    gaps: dict[str, tuple[Gap, ...]]
    tables: tuple[Table, ...]
    grids: Grids
    settings: Table | None
    curves: tuple[Curve, ...]
    mask: Table | str
    diverged: Table | None
    recipes: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]


def sheet_of(
    study: Study | None,
    runs: Sequence[Any] = (),
    mask: str = "",
    *,
    curve: Callable[[str], Sequence[Row]] | None = None,
    title: str = "",
    about: Row | None = None,
) -> Sheet:
    """Return what a report on a study and on the runs of a sweep shows.

    Args:
        study: arms × seeds; None for a sweep alone.
        runs: members of a sweep, or trials of a tuning: `Run` or `Outcome`.
        mask: which leaves decay, as text.
        curve: `key → rows`, for runs without a history of their own.
        title: of a sweep without a study.
        about: its `provenance()`.
    """
    trials = [trial(run, curve) for run in runs]
    found = groups([*trials, *tried(study)])
    score = study.score if study is not None else score_of(trials)
    metrics = metrics_of(found, score)
    tables = []
    if study is not None and study.arms:
        tables = [table(study) for table in tables_of(study)] + grid_tables(study)
    arms = [] if study is None else _arms(study)
    points = max(2, _NUMBERS // (2 * len(PANELS) * max(1, len(arms) + len(found))))
    curves = [curve_of(group, score, points) for group in (*arms, *found)]
    about = (about or {}) if study is None else study.provenance
    return Sheet(
        (study.question if study is not None else "") or title or "Study",
        "\n\n".join(
            filter(None, (_verdict(study), best_setting(groups(trials), score)))
        ),
        "" if study is None else study.data,
        score,
        _facts(study, arms, trials, len(found)),
        {} if study is None else _gaps(study),
        tuple(tables),
        grids(found, metrics),
        settings_table(found, score) if found else None,
        tuple(c for c in curves if c is not None),
        mask_table(mask),
        _diverged(arms, found),
        () if study is None else tuple((a.name, str(a.recipe)) for a in study.arms),
        environment(about, 0 if study is None else study.reused),
    )


def environment(about: Row, reused: int = 0) -> tuple[tuple[str, str], ...]:
    """Return command, versions and hardware as rows, without those not known."""
    versions = ", ".join(f"{k} {v}" for k, v in about.get("versions", {}).items())
    rows = [
        ("command", about.get("command")),
        ("versions", versions),
        ("python", about.get("python")),
        ("system", about.get("system")),
        ("processor", about.get("processor")),
        ("cores", about.get("cores")),
        ("devices", ", ".join(about.get("devices", []))),
        ("commit", about.get("commit")),
        ("time", about.get("time")),
        ("XLA_FLAGS", json.dumps(about["xla_flags"]) if about.get("xla_flags") else ""),
        ("reused", f"{reused} runs of earlier starts" if reused else ""),
    ]
    return tuple((name, str(value)) for name, value in rows if value)


def mask_table(mask: str) -> Table | str:
    r"""Return a mask's report as a table where its text is one.

    >>> mask_table("leaf  λ ×\nbias  0\nkernel  1\ndecays 1 of 2 leaves").rows
    (('bias', '0'), ('kernel', '1'))
    """
    *lines, total = mask.splitlines() or [""]
    rows = [tuple(re.split(r"\s{2,}", line.strip())) for line in lines]
    if len(rows) < 2 or len({len(row) for row in rows}) != 1:
        return mask
    return Table("Which leaves decay", rows[0], tuple(rows[1:]), total)


def _arms(study: Study) -> list[Group]:
    """Return the study's runs, by arm."""
    return [
        Group(
            arm.name,
            (),
            [
                Trial(
                    arm.name, seed, (), "finished", final, study.curves[arm.name][seed]
                )
                for seed, final in study.finals[arm.name].items()
            ]
            + [
                Trial(arm.name, seed, (), "diverged", None, (), message, _step(message))
                for seed, message in study.diverged[arm.name].items()
            ],
        )
        for arm in study.arms
    ]


def _step(message: str) -> int | None:
    found = re.search(r"at step (\d+)", message)
    return int(found[1]) if found else None


def _gaps(study: Study) -> dict[str, tuple[Gap, ...]]:
    found = {}
    for metric in (f"test_{study.score}", "test_loss"):
        kind = metric.removeprefix("test_")
        rows = []
        for arm in study.compared():
            a, b = study.pairs(arm, metric)
            if not a:
                continue
            gaps = [scaled(x - y, kind) for x, y in zip(a, b, strict=True)]
            mine = study.values(arm.name, metric)
            other = study.values(study.reference(arm), metric)
            seeds = tuple(sorted(mine.keys() & other.keys()))
            got = interval(gaps)
            name = f"{arm.name} − {study.reference(arm)}"
            rows.append(Gap(name, seeds, tuple(gaps), got.mean, got.half))
        if rows:
            found[metric] = tuple(rows)
    return found


def _verdict(study: Study | None) -> str:
    return verdict(study) if study is not None and study.arms else ""


def _facts(
    study: Study | None, arms: Sequence[Group], trials: Sequence[Trial], settings: int
) -> tuple[tuple[str, str], ...]:
    every = [t for g in arms for t in g.trials] + list(trials)
    count = {
        state: sum(t.status == state for t in every)
        for state in ("finished", "diverged", "stopped", "running", "waiting")
    }
    epochs = max((row["epoch"] for t in every for row in t.history[-1:]), default=0)
    rows = [
        _counted(len(arms), "arm"),
        _counted(settings, "setting"),
        _counted(len({t.seed for t in every}), "seed"),
        *(_counted(n, "run", f" {state}") for state, n in count.items()),
        _counted(epochs, "epoch"),
    ]
    rows = [row for row in rows if row[0] != "0"]
    if study is not None and study.train_examples:
        used = sorted(set(study.train_examples.values()))
        rows.append((" or ".join(f"{n:,}" for n in used), "training examples"))
    return tuple(rows)


def _counted(n: int, what: str, more: str = "") -> tuple[str, str]:
    return f"{n:,}", f"{what}{'s' * (n != 1)}{more}"


def _diverged(arms: Sequence[Group], found: Sequence[Group]) -> Table | None:
    rows = tuple(
        (
            g.name,
            str(t.seed),
            "" if t.step is None else str(t.step),
            t.status,
            t.message,
        )
        for g in (*arms, *found)
        for t in g.trials
        if t.status in ("diverged", "stopped")
    )
    if not rows:
        return None
    columns = ("setting", "seed", "step", "status", "message")
    return Table("Diverged and stopped", columns, rows)
