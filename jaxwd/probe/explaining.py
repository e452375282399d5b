"""`explain`: ask, measure, warn, and put it into one value."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxwd.decay import DecayScheme
from jaxwd.errors import InputError, concrete, require
from jaxwd.probe.answers import Probe
from jaxwd.probe.explanation import Explanation, LeafRow
from jaxwd.probe.finders import FINDERS
from jaxwd.probe.findings import Evidence
from jaxwd.probe.natures import Nature, natures
from jaxwd.probe.rates import measured_power, measured_strength
from jaxwd.probe.subject import Subject, of_recipe, of_transformation
from jaxwd.probe.sweep import Sweep, steps_to_probe, sweep
from jaxwd.schedules import ScalarOrSchedule, peak_of
from jaxwd.trees import Tree, named_leaves

_WITH_NUMBERS = ("decoupled", "coupled", "anchored")


def explain(
    tx: Any,
    params: Tree | None = None,
    *,
    steps: int | None = None,
    steps_per_epoch: int | None = None,
    learning_rate: ScalarOrSchedule | None = None,
    step: int = 0,
    gradients: Tree | None = None,
    probes: int | None = None,
    extra_args: Mapping[str, Any] | None = None,
    data: Any = None,
) -> Explanation:
    """Say what an optimizer's decay does to each leaf, by asking the optimizer.

    Works on any Optax transformation, whoever made it. Each leaf is probed with zero
    gradients, where only decay moves a weight,

        shrink_t = 1 − θ'/θ,   τ = 1/shrink,   half-life = ln 2 / −ln(1 − shrink),

    and with others, to tell decoupled decay (the same beside any gradient) from
    coupled decay. Nothing is read from source or from names, so a mask that selects
    nothing, a decay that rounding swallows or a frozen leaf that shrinks is seen.

    Args:
        tx: a transformation, `optax.MultiSteps`, or a `jaxwd.Recipe`.
        params: the parameters; arrays, or shapes from `jax.eval_shape`. For a recipe
            the model's own at the start.
        steps: T, the run's length in optimizer steps; known for recipes and for
            schedules made by jaxwd. Without it there is no mean, and no τ/T.
        steps_per_epoch: to give half-lives in epochs too.
        learning_rate: η_t of somebody else's optimizer, so that λ and the power of η
            in the shrink can be measured.
        step: the step whose shrink is called `now`.
        gradients: gradients of a real batch; leaves whose gradient is zero throughout
            are reported if they shrink.
        probes: at how many steps of the run the shrink is measured; default all up to
            257, fewer for large models. Between them it is interpolated.
        extra_args: what `tx.update` needs beside gradients, as `{"value": 1.0}`.
        data: the `Dataset` of a recipe, if not the one it names.

    Returns:
        An `Explanation`: `print` it, `.rich()`, `.table().markdown()`, `.to_dict()`.

    Raises:
        InputError: no transformation, no floating-point leaf, NaN in the parameters,
            an `update` that fails on these parameters.

    The penalty of a `penalized` scheme is counted as if your loss had it.
    The state is the one at the start, with its step counters moved: decay that depends
    on what has been learnt since (D-Adaptation, constraints) shows as it begins.

    >>> import jax.numpy as jnp, optax
    >>> params = {"kernel": jnp.ones((4, 2)), "bias": jnp.zeros(2)}
    >>> mask = {"kernel": True, "bias": False}
    >>> tx = optax.adamw(1e-3, weight_decay=0.1, mask=mask)
    >>> print(explain(tx, params, steps=10_000, learning_rate=1e-3))
    leaf    shape  decay        λ  shrink  half-life  τ/T
    bias    2      no
    kernel  4×2    decoupled  0.1  0.0001      6,931    1
    decays 1 of 2 leaves, 8 of 10 parameters, T = 10,000 steps
    """
    require("step", step, 0, whole=True)
    if probes is not None:
        require("probes", probes, 2, whole=True)
    if hasattr(tx, "steps_per_epoch") and hasattr(tx, "digest"):  # a Recipe
        if any(x is not None for x in (steps, steps_per_epoch, learning_rate)):
            raise InputError(
                "a recipe says itself how many steps it takes and at which rates; give "
                "steps, steps_per_epoch and learning_rate with a transformation only"
            )
        subject = of_recipe(tx, params, data)
        # A training hands its loss over, for schemes that follow it.
        extra_args = {"value": 1.0} | dict(extra_args or {})
    else:
        subject = of_transformation(tx, params, steps, steps_per_epoch, learning_rate)
    probe = Probe(
        subject.tx, subject.params, extra_args=extra_args, penalty=subject.penalty
    )
    measured = sweep(probe, steps_to_probe(probe, subject.steps, step, probes))
    where = measured.liveliest()
    looked = {int(t): natures(probe, int(t)) for t in np.unique(where)}
    kinds = [looked[int(t)][i] for i, t in enumerate(where)]
    idle = (measured.stride == 0).all(axis=0) | _without_gradient(gradients, probe)
    rows = _rows(subject, probe, measured, kinds, step, idle)
    evidence = Evidence(
        subject, rows, kinds, measured, probe.weights, probe.state, probe.rest_is_zero
    )
    return Explanation(
        tuple(rows),
        tuple(found for finder in FINDERS for found in finder(evidence)),
        subject.steps,
        subject.steps_per_epoch,
        step,
        len(measured.steps),
        probe.calls,
        measured_power(subject, measured, kinds),
    )


def _rows(
    subject: Subject,
    probe: Probe,
    measured: Sweep,
    kinds: list[Nature],
    step: int,
    idle: np.ndarray,
) -> list[LeafRow]:
    rules = _rules(subject.scheme, probe.weights)
    power = measured_power(subject, measured, kinds)
    now = measured.at(step)
    run = None if subject.steps is None else measured.over(subject.steps)
    rows = []
    for i, (name, leaf) in enumerate(named_leaves(probe.weights)):
        nature, (rule, strength) = kinds[i], rules.get(name, (None, None))
        decays = nature.kind != "none"
        numbers: dict[str, float | None] = {}
        if nature.kind in _WITH_NUMBERS:
            gain = 1.0 if math.isnan(nature.gain) else nature.gain
            if nature.kind == "anchored":
                now_here, all_here = nature.to_anchor, None
            else:
                now_here = float(now[i]) * gain
                all_here = None if run is None else run[:, i] * gain
            numbers = _over_a_run(now_here + 0.0, all_here, subject.steps_per_epoch)
            if subject.scheme is None and nature.kind != "anchored":
                strength = measured_strength(subject, measured, i, power)
        rows.append(
            LeafRow(
                name,
                tuple(np.shape(leaf)),
                str(leaf.dtype),
                int(np.size(leaf)),
                decays,
                nature.kind,
                frozen=bool(idle[i]),
                scheme=None if subject.scheme is None else subject.scheme.name,
                rule=rule,
                strength=strength if decays else None,
                at_rest=nature.at_rest if nature.proportional and decays else None,
                beside_gradient=nature.beside_gradient if decays else None,
                **numbers,
            )
        )
    return rows


def _over_a_run(
    now: float, run: np.ndarray | None, steps_per_epoch: int | None
) -> dict[str, float | None]:
    """Return what a shrink means: half-life, τ, τ/T and the share that is left."""
    shrink = np.array([now]) if run is None else run
    mean = float(shrink.mean())
    rate = float(-np.log1p(-np.minimum(shrink, 1 - 1e-16)).mean())
    found: dict[str, float | None] = {"now": now}
    if run is not None:
        found["mean"] = mean
        found["kept"] = math.exp(-rate * len(run)) if (run < 1).all() else 0.0
    if mean <= 0 or rate <= 0:  # it grows: there is no time in which half is left
        return found
    found |= {"half_life": math.log(2) / rate, "tau": 1 / mean}
    if steps_per_epoch is not None:
        found["half_life_epochs"] = math.log(2) / rate / steps_per_epoch
    if run is not None:
        found["tau_over_run"] = 1 / mean / len(run)
    return found


def _rules(
    scheme: DecayScheme | None, weights: Tree
) -> dict[str, tuple[str | None, float | None]]:
    """Return leaf name → (pattern that decides it, its λ), for jaxwd's own chains."""
    if scheme is None or scheme.kind == "none":
        return {}
    strength = concrete(peak_of(scheme.strength))
    return {
        name: (
            None if rule is None else rule.pattern,
            None if rule is None or strength is None else rule.multiplier * strength,
        )
        for name, rule in scheme.where.decide(weights, strict=False).items()
    }


def _without_gradient(gradients: Tree | None, probe: Probe) -> np.ndarray:
    """Return which leaves have a gradient of zeros throughout."""
    leaves = jax.tree.leaves(probe.weights)
    if gradients is None:
        return np.zeros(len(leaves), bool)
    shapes = [np.shape(g) for g in jax.tree.leaves(gradients)]
    if shapes != [np.shape(leaf) for leaf in leaves]:
        raise InputError("gradients have other leaves than params; give the same tree")
    return np.array([not np.any(np.asarray(g)) for g in jax.tree.leaves(gradients)])
