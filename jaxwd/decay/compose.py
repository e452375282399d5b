"""Put a core, a learning rate, a decay scheme and a clip into one Optax chain."""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxwd.decay.chain import About, Chain, Gains
from jaxwd.decay.constructors import none
from jaxwd.decay.placement import Rates
from jaxwd.decay.probe import reject_alias
from jaxwd.decay.pull import with_gradient
from jaxwd.decay.rules import RULES, Known
from jaxwd.decay.scheme import DecayScheme
from jaxwd.errors import InputError, concrete, require
from jaxwd.masks import Rules, Where, rules
from jaxwd.schedules import Scalar, ScalarOrSchedule, peak_of


def compose(
    core: optax.GradientTransformation,
    *,
    learning_rate: ScalarOrSchedule,
    decay: DecayScheme | None = None,
    clip: optax.GradientTransformation | None = None,
    peak: Scalar | None = None,
    frozen: Where | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Return `clip → decay(gradient) → core → decay(direction) → −η_t → decay(step)`.

    The clip stands before the decay, so the data gradient is clipped and the decay is
    not: a large gradient never switches decay off, and decay never uses up the
    allowance. (L2 in the loss, `penalized`, is necessarily clipped together with the
    gradient: there, and only there, `penalized` and `coupled` differ.)

    Args:
        core: an optimizer without learning rate and decay, from `optax.scale_by_*`,
            `optax.trace` or `optax.identity`. Aliases such as `optax.adamw` are
            refused: they carry both.
        learning_rate: η_t; a number, an array, or a schedule of the step.
        decay: a scheme; default `jaxwd.none()`.
        clip: a transformation of the raw gradient, such as `jaxwd.clip.global_norm(1.0)`.
        peak: α of a foreign schedule, needed for `times="schedule"` and
            `"corrected"`; schedules made by jaxwd carry theirs.
        frozen: rules for leaves that never move, neither by gradient nor by decay.

    Returns:
        An ordinary Optax transformation. Its `update` needs `params`, and hands extra
        arguments such as `obj_fn=` to a core that asks for them.

    Raises:
        InputError: negative learning rate, λ so large that a step would flip signs,
            a core that brings its own decay or learning rate, an unknown peak. At
            `init`: a mask rule that matches no leaf.

    >>> import jax.numpy as jnp
    >>> from jaxwd import decoupled
    >>> tx = compose(optax.scale_by_adam(), learning_rate=0.1, decay=decoupled(0.01))
    >>> params = {"kernel": jnp.ones(2), "bias": jnp.ones(2)}
    >>> zero = {"kernel": jnp.zeros(2), "bias": jnp.zeros(2)}
    >>> updates, _ = tx.update(zero, tx.init(params), params)
    >>> updates["kernel"].round(6), updates["bias"]
    (Array([-0.001, -0.001], dtype=float32), Array([-0., -0.], dtype=float32))
    """
    reject_alias(core)
    return chain_around(
        core,
        learning_rate=learning_rate,
        decay=decay,
        clip=clip,
        peak=peak,
        frozen=frozen,
    )


def chain_around(
    core: optax.GradientTransformation,
    *,
    learning_rate: ScalarOrSchedule,
    decay: DecayScheme | None,
    clip: optax.GradientTransformation | None,
    peak: Scalar | None,
    frozen: Where | None,
    gains: Gains | None = None,
    inside: Callable[[optax.GradientTransformation], optax.GradientTransformation]
    | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Do what `compose` does for a core that is known to be one, without probing it.

    `gains` says what the core makes of a gradient, where that is known. `inside` builds
    the core with decay(direction) at a place inside it, instead of beside it; what a
    step then shrinks depends on the core.
    """
    decay = none() if decay is None else decay
    if not isinstance(decay, DecayScheme):
        raise InputError(
            f"decay={decay!r} is no scheme; say which one, such as "
            f"decay=jaxwd.decoupled({decay!r})"
        )
    require("learning_rate", learning_rate, 0.0)
    if peak is not None:
        require("peak", peak, 0.0, open_low=True)
    rates = Rates(learning_rate, peak_of(learning_rate, peak))
    placed = RULES[decay.kind].place(decay, rates)
    shrink = None if inside else shrink_of_unit(decay, rates, gains)
    _require_positive_factor(decay, rates, shrink)
    if inside is not None:
        core = inside(optax.chain(optax.identity(), *placed.direction))
        placed = placed._replace(direction=())
    chain = with_gradient(
        optax.chain(
            *placed.gradient,
            core,
            *placed.direction,
            optax.scale_by_learning_rate(learning_rate),
            *placed.step,
        )
    )
    if clip is not None:
        chain = optax.chain(clip, chain)
    held = None if frozen is None else rules(frozen)
    if held is not None:
        chain = _freeze(chain, held)
    made = Chain(*_checked_at_init(chain, decay, shrink))
    made.about = About(decay, learning_rate, rates.peak, held)
    return made


def _freeze(
    chain: optax.GradientTransformation, frozen: Rules
) -> optax.GradientTransformation:
    """Give frozen leaves a zero update and no optimizer state."""
    return optax.partition(
        {"trained": chain, "frozen": optax.set_to_zero()},
        lambda tree: jax.tree.map(
            lambda is_frozen: "frozen" if is_frozen else "trained", frozen.mask(tree)
        ),
    )


def shrink_of_unit(
    decay: DecayScheme, rates: Rates, gains: Gains | None
) -> Gains | None:
    """Return the largest shrink of a step at multiplier 1, at first and in the long run.

    None where it is not known: traced numbers, foreign schedules, coupled decay through
    a core that rescales gradients.
    """
    strength, alpha = concrete(peak_of(decay.strength)), concrete(rates.peak)
    if decay.kind == "none" or strength is None:
        return None
    shrink = RULES[decay.kind].shrink
    # An unknown peak matters only where another one would give another shrink.
    peaks = (1.0, 2.0) if alpha is None else (alpha,)
    gains = Gains(None, None) if gains is None else gains
    at = [
        {shrink(decay, Known(peak, peak, strength, gain)) for peak in peaks}
        for gain in gains
    ]
    found = [s.pop() if len(s) == 1 else None for s in at]
    return None if None in found else Gains(*found)


def _require_positive_factor(
    decay: DecayScheme, rates: Rates, shrink: Gains | None
) -> None:
    strength = concrete(peak_of(decay.strength))
    if shrink is None or strength is None:
        return
    largest = (shrink.first or 0.0) * max(decay.where.levels(), default=0.0)
    if largest > 1.0:
        raise InputError(
            f"{decay} with peak learning rate {concrete(rates.peak)} multiplies weights "
            f"by {1 - largest:g} in one step; choose a strength at most "
            f"{strength / largest:g}"
        )


def _checked_at_init(
    chain: optax.GradientTransformation, decay: DecayScheme, shrink: Gains | None
) -> optax.GradientTransformationExtraArgs:
    """Check at `init`, where the parameters are first seen: masks and precision."""
    chain = optax.with_extra_args_support(chain)

    def init(params: Any) -> Any:
        if decay.kind != "none":
            multipliers = decay.where.multipliers(params)  # raises for an idle rule
            if shrink is not None and shrink.lasting is not None:
                _warn_if_lost(decay, shrink.lasting, multipliers, params)
        return chain.init(params)

    return optax.GradientTransformationExtraArgs(init, chain.update)


def _warn_if_lost(
    decay: DecayScheme, shrink: float, multipliers: Any, params: Any
) -> None:
    """Warn where (1 − shrink)·θ rounds back to θ in the parameters' own precision."""
    leaves = zip(jax.tree.leaves(multipliers), jax.tree.leaves(params), strict=True)
    held = {(m, p.dtype) for m, p in leaves if m and hasattr(p, "dtype")}
    for multiplier, dtype in sorted(held, key=str):
        # float32 steps carry the decay in their rounding; narrower ones do not.
        if not jnp.issubdtype(dtype, jnp.floating) or jnp.finfo(dtype).bits >= 32:
            continue
        # θ in [2^k, 2^(k+1)) has spacing eps·2^k: half of it is eps/2 of the smallest θ.
        half_ulp = float(jnp.finfo(dtype).eps) / 2
        if 0 < multiplier * shrink < half_ulp:
            warnings.warn(
                f"{decay}: a shrink of {multiplier * shrink:g} a step is under half an "
                f"ulp of {dtype} ({half_ulp:g}), so decay alone does not move the "
                "weights; keep float32 parameters, or raise the strength",
                UserWarning,
                stacklevel=4,
            )
