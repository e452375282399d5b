"""What the pairs say of each arm, as numbers."""

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
    seeds_by_examples,
    sign_flip,
    without_spread,
)
from jaxwd.lab.study import Arm, Study


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
        wider: the same difference with its interval over seeds and test examples; None
            where single examples were not kept.
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
    wider: Share | None = None


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
    wider = {
        arm.name: _wider(study, arm) if metric == score else None
        for arm in study.compared()
    }
    margin = study.margin if metric == score else None
    flips = {name: sign_flip(d.gaps) for name, d in found.items()}
    same = {
        name: None if margin is None else equivalence(d.gaps, margin)
        for name, d in found.items()
    }
    # Arms whose runs are the reference's own ask nothing, and cost the others nothing.
    asked = {arm.name for arm in study.compared() if not study.identical(arm)}
    adjusted = (
        holm([d.p if name in asked else math.nan for name, d in found.items()]),
        holm([f.p if name in asked else math.nan for name, f in flips.items()]),
        holm([s.p if s and name in asked else math.nan for name, s in same.items()]),
    )
    family = max(len(asked & found.keys()), 1)
    return {
        name: Compared(
            d,
            p,
            flips[name],
            flip_p,
            min(1.0, family * flips[name].smallest),
            effect_size(d.gaps),
            improvement(d.gaps),
            same[name],
            same_p,
            _needed(d, margin),
            wider[name],
        )
        for (name, d), p, flip_p, same_p in zip(found.items(), *adjusted, strict=True)
    }


def _wider(study: Study, arm: Arm) -> Share | None:
    """Return the two-way bootstrap of an arm's difference."""
    a = study.examples.get(arm.name, {})
    b = study.examples.get(study.reference(arm), {})
    seeds = sorted(a.keys() & b.keys())
    if len(seeds) < 2:
        return None
    return seeds_by_examples(*(np.stack([x[s] for s in seeds]) for x in (a, b)))


def _needed(difference: Difference, margin: float | None) -> int | None:
    if margin is None or without_spread(difference.gaps):
        return None
    return pairs_needed(margin, float(np.std(difference.gaps, ddof=1)))
