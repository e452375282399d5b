"""What is probably not meant: one function a warning, each from the same evidence."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from jaxwd.probe.findings import Evidence, Finding


def _nothing(e: Evidence) -> Iterator[Finding]:
    scheme = e.subject.scheme
    if any(row.decays for row in e.rows) or (scheme and scheme.kind == "none"):
        return
    text = "nothing decays"
    if "InjectStatefulHyperparamsState" in e.parts and "MaskedState" in e.parts:
        text += (
            ": inject_hyperparams calls a mask= that is a function with the step number "
            "and not with the parameters; name it in static_args, or give the mask as a "
            "tree of booleans"
        )
    elif _idle_mask(e.state):
        text += ": the chain holds a mask, and it selects no leaf"
    yield Finding("nothing decays", (), text)


def _lost(e: Evidence) -> Iterator[Finding]:
    at = e.where(lambda i: e.natures[i].kept_still > 0.5)
    for dtype in sorted({e.rows[i].dtype for i in at}):
        here = [i for i in at if e.rows[i].dtype == dtype]
        share = min(e.natures[i].kept_still for i in here)
        wider = "" if dtype in ("float32", "float64") else "keep float32 parameters or "
        yield from e.finding(
            "lost in rounding",
            here,
            f"in {dtype} it is under half an ulp: decay alone leaves {share:.0%} of the "
            f"weights where they are; {wider}decay more",
        )


def _frozen(e: Evidence) -> Iterator[Finding]:
    meant = e.subject.frozen
    asked = meant.decide(e.params, strict=False) if meant else {}
    yield from e.finding(
        "frozen",
        e.where(
            lambda i: (
                e.rows[i].frozen
                and not e.rows[i].decays
                and asked.get(e.rows[i].name) is None
            )
        ),
        "frozen: no gradient moves it, and it does not decay",
    )
    yield from e.finding(
        "frozen but decays",
        e.where(lambda i: e.rows[i].frozen and e.rows[i].decays),
        "no gradient moves it, yet it decays towards 0; freeze with optax.partition and "
        "set_to_zero, or wd.compose(frozen=…), so that decay stops too",
    )


def _twice(e: Evidence) -> Iterator[Finding]:
    at = e.where(lambda i: e.natures[i].beside > 0)
    if at:
        beside = max(e.natures[i].beside for i in at)
        yield from e.finding(
            "decays twice",
            at,
            "two decays: one goes through an adaptive core, and beside it a decoupled "
            f"one takes {beside:.3g} a step (adamw after add_decayed_weights?)",
        )


def _by_gradient(e: Evidence) -> Iterator[Finding]:
    at = e.where(
        lambda i: e.natures[i].kind == "by gradient" and e.natures[i].beside == 0
    )
    if not at:
        return
    code = "depends on the gradient"
    text = (
        "the shrink depends on the gradient, so no number stands here: an adaptive "
        "core, a norm, a clip or a gate comes after decay. "
    )
    if not any(e.natures[i].at_rest for i in at):
        yield from e.finding(code, at, text + "There is none without a gradient")
        return
    if all(e.natures[i].proportional for i in at):
        text += (
            f"It is {max(e.natures[i].at_rest for i in at):.3g} without a gradient; "
        )
        text += "beside one of size 1, "
    else:
        text += "Beside a gradient of size 1, "
    ratio = float(np.median([e.natures[i].beside_gradient for i in at]))
    text += f"{ratio:.2g} of that" if ratio > 0.005 else "next to nothing is left of it"
    yield from e.finding(code, at, text)


def _not_proportional(e: Evidence) -> Iterator[Finding]:
    yield from e.finding(
        "not proportional",
        e.where(lambda i: e.natures[i].kind == "not ∝ θ"),
        "decay does not depend on the gradient and is not proportional to the weight "
        "(L1, Huber, orthogonal, …), so it has no single shrink",
    )


def _grows(e: Evidence) -> Iterator[Finding]:
    lowest = e.sweep.shrink.min(axis=0)
    yield from e.finding(
        "grows",
        e.where(lambda i: e.rows[i].decays and bool(lowest[i] < 0)),
        "weights grow where they should shrink: λθ is added to the parameters; it must "
        "stand before scale_by_learning_rate, or carry a minus sign",
    )


def _flips(e: Evidence) -> Iterator[Finding]:
    highest = e.sweep.shrink.max(axis=0)
    sure = ("decoupled", "coupled")
    yield from e.finding(
        "flips signs",
        e.where(lambda i: e.natures[i].kind in sure and bool(highest[i] > 1)),
        "one step takes off more than the whole weight, so it changes its sign",
    )


def _climbs(e: Evidence) -> Iterator[Finding]:
    yield from e.finding(
        "climbs",
        e.where(lambda i: e.natures[i].climbs),
        "the update points along the gradient: a leaf that optax.masked leaves out gets "
        "its raw gradient as update, or the minus sign of the learning rate is missing",
    )


def _at_rate_zero(e: Evidence) -> Iterator[Finding]:
    # Not at step 0: a warm-up that begins at 0 is no trap.
    halted = (e.sweep.stride == 0).all(axis=1) & (e.sweep.steps > 0)
    if not halted.any() or not e.sweep.stride.any():
        return
    goes_on = (e.sweep.shrink[halted] != 0).any(axis=0)
    step = int(e.sweep.steps[halted][-1])
    yield from e.finding(
        "decays at learning rate 0",
        e.where(lambda i: bool(goes_on[i])),
        f"decay goes on at learning rate 0 (step {step:,}), where gradients move "
        "nothing any more",
    )


def _no_answer_to_zero(e: Evidence) -> Iterator[Finding]:
    if not e.rest_is_zero:
        yield Finding(
            "NaN at zero gradient",
            (),
            "a gradient of zeros gives NaN, so decay was measured beside small ones",
        )


def _does_not_settle(e: Evidence) -> Iterator[Finding]:
    yield from e.finding(
        "does not settle",
        e.where(lambda i: bool(np.isnan(e.natures[i].gain))),
        "decay is stored in the optimizer's state and the shrink does not settle while "
        "weights are held still; the numbers are of a first step",
    )


def _estimated(e: Evidence) -> Iterator[Finding]:
    if e.parts & {"DAdaptAdamWState", "ProdigyState"}:
        yield Finding(
            "grows with an estimate",
            (),
            "decay is multiplied by the step size that this optimizer estimates while "
            "it trains; the numbers are of its start",
        )


def _muon(e: Evidence) -> Iterator[Finding]:
    decays = any(row.decays for row in e.rows)
    yield from e.finding(
        "left to adam",
        e.where(lambda i: "MuonState" in e.parts and decays and not e.rows[i].decays),
        "not two-dimensional, so muon leaves it to Adam, whose decay is an argument of "
        "its own: adam_weight_decay, 0 by default",
    )


FINDERS: tuple[Callable[[Evidence], Iterator[Finding]], ...] = (
    _nothing,
    _lost,
    _frozen,
    _twice,
    _by_gradient,
    _not_proportional,
    _grows,
    _flips,
    _climbs,
    _at_rate_zero,
    _no_answer_to_zero,
    _does_not_settle,
    _estimated,
    _muon,
)
"""All warnings, in the order they are printed. A new one is a function and a row."""


def _idle_mask(state: Any) -> bool:
    """Say whether a masked transformation without arrays stands in the chain.

    `add_decayed_weights` keeps nothing, so this is all that can be seen of its mask.
    """
    if type(state).__name__ == "MaskedState":
        return not any(map(np.ndim, jax.tree.leaves(state)))
    inside = state.values() if isinstance(state, dict) else state
    return isinstance(state, tuple | list | dict) and any(map(_idle_mask, inside))
