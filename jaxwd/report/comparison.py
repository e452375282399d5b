"""What the pairs say of each arm, and what tuning found: numbers first, then tables."""

import math
from dataclasses import dataclass

import numpy as np

from jaxwd.lab.statistics import (
    Difference,
    Equivalence,
    Share,
    SignFlip,
    effect_size,
    equivalence,
    holm,
    improvement,
    paired,
    pairs_needed,
    sign_flip,
    without_spread,
)
from jaxwd.lab.study import Study
from jaxwd.lab.tuning import Tuned
from jaxwd.report.table import Table
from jaxwd.report.tables import difference_cell, p_cell, scaled

PATHS = {"decay.strength": "λ", "learning_rate": "learning rate"}


@dataclass(frozen=True)
class Compared:
    """One arm against its reference, over the seeds both finished.

    Attributes:
        difference: mean, interval, t p-value.
        p: that p-value, adjusted by Holm over the arms.
        flip: the sign-flip test.
        flip_p: its p-value, adjusted likewise.
        flip_floor: the smallest such value that so few pairs can give.
        effect: g_z.
        better: in how many pairs it was better.
        same: the test of equivalence; None without a margin.
        same_p: its p-value, adjusted likewise.
        needed: pairs that find a difference of the margin four times out of five; None
            without a margin or a spread.
    """

    difference: Difference
    p: float
    flip: SignFlip
    flip_p: float
    flip_floor: float
    effect: float
    better: Share
    same: Equivalence | None
    same_p: float
    needed: int | None


def compared(study: Study, metric: str = "") -> dict[str, Compared]:
    """Return arm name → what the pairs say, for every arm that has pairs.

    Args:
        study: what came out.
        metric: a final metric; default the test score. Equivalence is asked of the
            score only, which the margin is of.
    """
    score = f"test_{study.score}"
    metric = metric or score
    found = {}
    for arm in study.compared():
        a, b = study.pairs(arm, metric)
        if a:
            found[arm.name] = paired(a, b)
    margin = study.margin if metric == score else None
    flips = {name: sign_flip(d.gaps) for name, d in found.items()}
    same = {
        name: None if margin is None else equivalence(d.gaps, margin)
        for name, d in found.items()
    }
    adjusted = (
        holm([d.p for d in found.values()]),
        holm([flip.p for flip in flips.values()]),
        holm([math.nan if s is None else s.p for s in same.values()]),
    )
    return {
        name: Compared(
            d,
            p,
            flips[name],
            flip_p,
            min(1.0, len(found) * flips[name].smallest),
            effect_size(d.gaps),
            improvement(d.gaps),
            same[name],
            same_p,
            _needed(d, margin),
        )
        for (name, d), p, flip_p, same_p in zip(found.items(), *adjusted, strict=True)
    }


def comparison_table(study: Study) -> Table:
    """Return effect size, both p-values, how often, equivalence, and pairs needed."""
    kind = study.score
    margin = "" if study.margin is None else f"±{_number(study.margin, kind)}"
    rows = []
    found = compared(study)
    for arm in study.compared():
        name = f"{arm.name} − {study.reference(arm)}"
        if arm.name not in found:
            rows.append((name, "0", "no pairs", "", "", "", "", "", "", ""))
            continue
        got = found[arm.name]
        rows.append(
            (
                name,
                str(got.difference.interval.n),
                difference_cell(got.difference, kind)
                if not study.identical(arm)
                else "0, identical runs",
                _plain(got.effect),
                p_cell(got.p),
                p_cell(got.flip_p),
                f"{got.better.mean:.2f} [{got.better.low:.2f}, {got.better.high:.2f}]",
                "" if got.same is None else p_cell(got.same_p),
                "" if got.needed is None else f"{got.needed:,}",
                _plain(got.difference.correlation),
            )
        )
    columns = (
        "pair",
        "n",
        f"Δ test {kind}",
        "g_z",
        "t p",
        "sign-flip p",
        "P(better)",
        f"within {margin} p",
        f"n for {margin}",
        "ρ",
    )
    if not margin:
        rows = [row[:7] + row[9:] for row in rows]
        columns = columns[:7] + columns[9:]
    floor = min((got.flip_floor for got in found.values()), default=1.0)
    return Table(
        "Pairs",
        columns,
        tuple(rows),
        "Differences are paired by seed, with 95 % t-intervals. g_z is the paired d_z "
        "with Hedges' small-sample correction. p-values are two-sided and adjusted by "
        f"Holm over the arms; the exact sign-flip test assumes no distribution, and "
        f"with so few pairs gives at least {floor:.3g}. P(better) is the share of pairs "
        "in which the arm was better, ties one half, with its Clopper–Pearson interval. ρ "
        "is the correlation within pairs."
        + (
            f" Within {margin}: two one-sided tests of equivalence, adjusted likewise; "
            f"n for {margin}: pairs that find such a difference four times out of five, "
            "if pairs vary as they did here."
            if margin
            else ""
        ),
        optional=("ρ", "g_z", "n"),
    )


def tuning_table(study: Study) -> Table:
    """Return the winner of every tuned arm, and how it stood among its trials."""
    rows = []
    for name, tuned in study.tuning.items():
        best = tuned.best
        ranges = "; ".join(f"{PATHS.get(k, k)} {r}" for k, r in tuned.ranges.items())
        tried = f"{len(tuned.trials)}" + (
            f", {tuned.failed} failed" * bool(tuned.failed)
        )
        if best is None:
            rows.append((name, "none", "", "", tried, "", ranges))
            continue
        values = dict(best.values)
        others = [
            f"{PATHS.get(k, k)} {number(v)}"
            for k, v in values.items()
            if k not in PATHS
        ]
        edges = ", ".join(f"{PATHS.get(k, k)} {v}" for k, v in tuned.edges.items())
        rows.append(
            (
                name,
                number(values.get("decay.strength", "–")),
                number(values.get("learning_rate", "–")),
                _best(tuned, study.score),
                tried,
                edges or "inside",
                "; ".join([ranges, *others]),
            )
        )
    first = next(iter(study.tuning.values()))
    return Table(
        "Tuning",
        ("arm", "λ", "learning rate", "validation", "trials", "edge", "ranges"),
        tuple(rows),
        f"Every arm had {len(first.trials)} trials of {len(first.seeds)} seed"
        f"{'s' * (len(first.seeds) > 1)} over its own ranges; failed ones (diverged, or "
        f"refused) count. The winner has the best {first.metric.replace('_', ' ')}; "
        "trials never see the test split, and the winners were trained again with other "
        "seeds. λ is in each scheme's own unit. A winner at an edge may have its optimum "
        "beyond it.",
        optional=("ranges", "trials"),
    )


def number(value: object) -> str:
    """Return a number in four digits, anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _best(tuned: Tuned, score: str) -> str:
    best = tuned.best
    assert best is not None
    if tuned.metric == "−validation_loss":
        return f"{best.loss:.4g}"
    return f"{scaled(best.validation, score):.4g}"


def _needed(difference: Difference, margin: float | None) -> int | None:
    if margin is None or without_spread(difference.gaps):
        return None
    return pairs_needed(margin, float(np.std(difference.gaps, ddof=1)))


def _number(value: float, kind: str) -> str:
    return f"{scaled(value, kind):g}"


def _plain(value: float) -> str:
    return "?" if math.isnan(value) else f"{value:+.2f}"
