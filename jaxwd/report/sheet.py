"""All that a report shows, as plain values, whether from a study, a sweep or both."""

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxwd.lab.statistics import interval
from jaxwd.lab.study import Study
from jaxwd.report.grids import Grids, grids
from jaxwd.report.table import Table
from jaxwd.report.tables import decay_table, fit_table, result_table, scaled
from jaxwd.report.trials import Group, Row, Trial, band, groups, in_text, short, trial
from jaxwd.report.verdict import verdict

# What training curves show: metric, with {score} for its name, and the words for it.
PANELS = (
    ("running_loss", "training data loss, running"),
    ("validation_{score}", "validation {score}"),
    ("validation_loss", "validation data loss"),
    ("param_norm", "‖θ‖"),
    ("grad_norm", "‖g‖"),
    ("decay_share", "decay's share where it enters"),
)
_NUMBERS = 250_000  # of all curves together; longer ones are thinned


@dataclass(frozen=True)
class Curve:
    """Training curves of the runs of one arm or setting.

    Attributes:
        name: of the arm or setting.
        n: how many runs.
        epochs: where there are points.
        bands: metric → means and halves of the 95 % intervals over the runs.
        rank: final validation score, by which the first to be shown are chosen.
    """

    name: str
    n: int
    epochs: tuple[int, ...]
    bands: dict[str, tuple[tuple[float, ...], tuple[float, ...]]]
    rank: float


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
        tables: of the study, and of the settings of a sweep.
        grids: sensitivity lines and heat maps.
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
) -> Sheet:
    """Return what a report on a study and on the runs of a sweep shows.

    Args:
        study: arms × seeds; None for a sweep alone.
        runs: members of a sweep, or trials of a tuning: `Run` or `Outcome`.
        mask: which leaves decay, as text.
        curve: `key → rows`, for runs without a history of their own.
        title: of a sweep without a study.
    """
    trials = [trial(run, curve) for run in runs]
    found = groups(trials)
    score = study.score if study is not None else _score(trials)
    metrics = _metrics(found, score)
    tables = []
    if study is not None and study.arms:
        tables = [table(study) for table in (result_table, fit_table, decay_table)]
    if found:
        tables.append(_settings_table(found, score))
    arms = [] if study is None else _arms(study)
    points = max(2, _NUMBERS // (2 * len(PANELS) * max(1, len(arms) + len(found))))
    curves = [_curve(group, score, points) for group in (*arms, *found)]
    about = {} if study is None else study.provenance
    return Sheet(
        (study.question if study is not None else "") or title or "Study",
        " ".join(filter(None, (_verdict(study), _best(found, score)))),
        "" if study is None else study.data,
        score,
        _facts(study, arms, trials),
        {} if study is None else _gaps(study),
        tuple(tables),
        grids(found, metrics),
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
    """Return a mask's report as a table where its text is one.

    >>> mask_table("leaf  λ ×\\nbias  0\\nkernel  1\\ndecays 1 of 2 leaves").rows
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
                Trial(arm.name, seed, (), "finished", final, study.curves[arm.name][seed])
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


def _score(trials: Sequence[Trial]) -> str:
    for one in trials:
        for row in (one.final, *one.history[:1]):
            for name in row or ():
                if name.startswith("validation_") and not name.endswith("_loss"):
                    return name.removeprefix("validation_")
    return "accuracy"


def _metrics(found: Sequence[Group], score: str) -> list[str]:
    """Return the metrics a sweep can be looked at by; what selects comes first."""
    wanted = [f"validation_{score}", "validation_loss", f"train_{score}", "train_loss"]
    wanted += ["param_norm", "decay_share", f"test_{score}", "test_loss"]
    there = {name for g in found for t in g.finished for name in t.final or ()}
    return [name for name in wanted if name in there]


def _curve(group: Group, score: str, points: int) -> Curve | None:
    """Return the curves of a group: of the runs that finished, else of all."""
    runs = [t.history for t in group.finished or group.trials if t.history]
    if not runs:
        return None
    by_epoch = [{row["epoch"]: row for row in run} for run in runs]
    shared = sorted(set.intersection(*(set(rows) for rows in by_epoch)))
    if not shared:
        return None
    every = -(-len(shared) // points)
    epochs = shared[::-1][::every][::-1]  # the last one always among them
    bands = {}
    for metric in (name.format(score=score) for name, _ in PANELS):
        if all(metric in rows[e] for rows in by_epoch for e in epochs):
            values = [[rows[e][metric] for e in epochs] for rows in by_epoch]
            mean, half = band(np.array(values, float))
            bands[metric] = (tuple(mean.tolist()), tuple(half.tolist()))
    best = bands.get(f"validation_{score}", ((-math.inf,),))[0][-1]
    return Curve(group.name, len(runs), tuple(epochs), bands, best)


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


def _settings_table(found: Sequence[Group], score: str) -> Table:
    """Return every setting of a sweep, best validation score first."""
    paths = list(dict.fromkeys(path for g in found for path, _ in g.labels))
    arms = any(g.arm for g in found)
    shown = (f"validation_{score}", "validation_loss", f"train_{score}", "param_norm")
    rows = []
    for group in found:
        got, labels = group.metrics(shown), dict(group.labels)
        cells = [_cell(got.get(name), name) for name in shown]
        words = (in_text(labels[p]) if p in labels else "" for p in paths)
        states = ", ".join(
            f"{n} {state}"
            for state in ("diverged", "stopped", "running", "waiting")
            if (n := sum(t.status == state for t in group.trials))
        )
        head = [group.arm] * arms + [*words, str(len(group.finished))]
        order = got.get(shown[0], (-math.inf,))[0]
        rows.append((order, (*head, *cells, states)))
    rows.sort(key=lambda row: -row[0])
    percent = " %" if score == "accuracy" else ""
    columns = ("arm",) * arms + tuple(short(p) for p in paths)
    columns += ("n", f"validation{percent}", "val. loss", f"train{percent}", "‖θ‖", "else")
    return Table(
        "Every setting",
        columns,
        tuple(cells for _, cells in rows),
        "Mean ± half of the 95 % t-interval over the n seeds that finished. The best of "
        "many is flattered by the choice: its score on data not used for choosing is "
        "expected to be lower.",
    )


def _cell(got: tuple[float, float] | None, metric: str) -> str:
    if got is None:
        return ""
    accuracy = metric.endswith("accuracy")
    digits = 2 if accuracy else 1 if metric == "param_norm" else 3
    mean, half = (scaled(x, "accuracy" if accuracy else "") for x in got)
    if math.isnan(half) or metric == "param_norm":
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


def _verdict(study: Study | None) -> str:
    return verdict(study) if study is not None and study.arms else ""


def _best(found: Sequence[Group], score: str) -> str:
    """Return a sentence on the best setting by validation score, where there is one."""
    metric = f"validation_{score}"
    done = [(g.metrics([metric]).get(metric), g) for g in found]
    done = [(got, g) for got, g in done if got is not None]
    total = sum(len(g.trials) for g in found)
    if not found:
        return ""
    if not done:
        return f"None of the {total} runs of the sweep finished."
    got, best = max(done, key=lambda pair: pair[0][0])
    unit = " %" if score == "accuracy" else ""
    n = len(best.finished)
    spread = "" if n < 2 else f" ± {_cell(got, metric).split(' ± ')[1]}"
    seeds = f"{n} seeds" if n > 1 else "one seed"
    return (
        f"Of {len(found)} settings, {best.name} has the highest validation {score}: "
        f"{_cell(got, metric).split(' ± ')[0]}{spread}{unit} with {seeds}. It was chosen "
        "on these validation examples, so expect less of it on others."
    )


def _facts(
    study: Study | None, arms: Sequence[Group], trials: Sequence[Trial]
) -> tuple[tuple[str, str], ...]:
    every = [t for g in arms for t in g.trials] + list(trials)
    count = {
        state: sum(t.status == state for t in every)
        for state in ("finished", "diverged", "stopped", "running", "waiting")
    }
    rows = [(str(len(arms)), "arms")] if len(arms) > 1 else []
    settings = len(groups(trials))
    rows += [(f"{settings:,}", "settings")] if settings else []
    rows.append((str(len({t.seed for t in every})), "seeds"))
    rows += [
        (f"{n:,}", f"runs {state}") for state, n in count.items() if n or state == "finished"
    ]
    epochs = max((row["epoch"] for t in every for row in t.history[-1:]), default=0)
    rows += [(str(epochs), "epochs")] if epochs else []
    if study is not None and study.train_examples:
        used = sorted(set(study.train_examples.values()))
        rows.append((" or ".join(f"{n:,}" for n in used), "training examples"))
    return tuple(rows)


def _diverged(arms: Sequence[Group], found: Sequence[Group]) -> Table | None:
    rows = tuple(
        (g.name, str(t.seed), "" if t.step is None else str(t.step), t.status, t.message)
        for g in (*arms, *found)
        for t in g.trials
        if t.status in ("diverged", "stopped")
    )
    if not rows:
        return None
    columns = ("setting", "seed", "step", "status", "message")
    return Table("Diverged and stopped", columns, rows)
