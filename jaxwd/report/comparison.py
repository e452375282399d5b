"""What the pairs say of each arm, and what tuning found, as tables."""

import math

from jaxwd.lab.statistics import Share
from jaxwd.lab.study import Arm, Study
from jaxwd.lab.tuning import Tuned
from jaxwd.report.pairs import Compared, compared
from jaxwd.report.table import Table
from jaxwd.report.tables import difference_cell, digits, p_cell, scaled

_WIDER = "over seeds × examples"
PATHS = {"decay.strength": "λ", "learning_rate": "learning rate"}


def comparison_table(study: Study) -> Table:
    """Return effect size, both p-values, how often, equivalence, and pairs needed."""
    found = compared(study)
    within = "" if study.margin is None else f"±{scaled(study.margin, study.score):g}"
    rows = [_cells(study, arm, found.get(arm.name), within) for arm in study.compared()]
    wider = any(got.wider for got in found.values())
    left_out = [] if wider else [_WIDER]
    columns = tuple(name for name in max(rows, key=len) if name not in left_out)
    floor = min((got.flip_floor for got in found.values()), default=1.0)
    return Table(
        "Pairs",
        columns,
        tuple(tuple(row.get(name, "") for name in columns) for row in rows),
        "Differences are paired by seed, with 95 % t-intervals. g_z is the paired d_z "
        "with Hedges' small-sample correction. p-values are two-sided and adjusted by "
        f"Holm over the arms; the exact sign-flip test assumes no distribution, and "
        f"with so few pairs gives at least {floor:.3g}. P(better) is the share of pairs "
        "in which the arm was better, ties one half, with its Clopper–Pearson interval. ρ "
        "is the correlation within pairs."
        + (
            f" Within {within}: two one-sided tests of equivalence, adjusted likewise; "
            f"n for {within}: pairs that find such a difference four times out of five, "
            "if pairs vary as they did here."
            if within
            else ""
        )
        + (
            " Over seeds × examples: the same difference with the 95 % interval of a "
            "two-way bootstrap, which speaks of other test sets too."
            if wider
            else ""
        ),
        # The result table beside it has the difference too.
        optional=tuple(
            name
            for name in ("ρ", "g_z", "n", "P(better)", columns[2])
            if name in columns and "t p" in columns
        ),
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


def _cells(study: Study, arm: Arm, got: Compared | None, within: str) -> dict[str, str]:
    """Return column → cell of one pair of arms."""
    kind, pair = study.score, f"{arm.name} − {study.reference(arm)}"
    if got is None:
        return {"pair": pair, "n": "0", f"Δ test {kind}": "no pairs"}
    share, n = got.better, str(got.difference.interval.n)
    if study.identical(arm):
        return {"pair": pair, "n": n, f"Δ test {kind}": "0, identical runs"}
    cells = {
        "pair": pair,
        "n": n,
        f"Δ test {kind}": difference_cell(got.difference, kind),
        "g_z": _plain(got.effect),
        "t p": p_cell(got.p),
        "sign-flip p": p_cell(got.flip_p),
        "P(better)": f"{share.mean:.2f} [{share.low:.2f}, {share.high:.2f}]",
        _WIDER: _interval(got.wider, kind),
    }
    if got.same is not None:
        cells[f"within {within} p"] = p_cell(got.same_p)
        cells[f"n for {within}"] = "" if got.needed is None else f"{got.needed:,}"
    return cells | {"ρ": _plain(got.difference.correlation)}


def _interval(share: Share | None, kind: str) -> str:
    if share is None:
        return ""
    low, high = (
        f"{scaled(x, kind):+.{digits(kind)}f}" for x in (share.low, share.high)
    )
    return f"[{low}, {high}]"


def _plain(value: float) -> str:
    return "?" if math.isnan(value) else f"{value:+.2f}"
