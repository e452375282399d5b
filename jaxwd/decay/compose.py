"""Put a core, a learning rate, a decay scheme and a clip into one Optax chain."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxwd.decay.probe import reject_alias
from jaxwd.decay.rules import MULTIPLIERS, RULES, Rates
from jaxwd.decay.scheme import DecayScheme, none
from jaxwd.errors import InputError, concrete, require
from jaxwd.masks import Rules, Where, rules
from jaxwd.penalties import PENALTIES
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
        An ordinary Optax transformation. Its `update` needs `params`.

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
    passes_on: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Do what `compose` does for a core that is known to be one, without probing it.

    With `passes_on` the core hands a first gradient on as it is, as SGD and momentum
    do, so that coupled decay has a known shrink.
    """
    decay = none() if decay is None else decay
    require("learning_rate", learning_rate, 0.0)
    rates = Rates(learning_rate, peak_of(learning_rate, peak))
    shrink = largest_shrink(decay, rates, passes_on)
    _require_positive_factor(decay, rates, shrink)
    placed = RULES[decay.kind](decay, rates)
    chain = optax.chain(
        *(() if clip is None else (clip,)),
        *placed.gradient,
        core,
        *placed.direction,
        optax.scale_by_learning_rate(learning_rate),
        *placed.step,
    )
    if frozen is not None:
        chain = _freeze(chain, rules(frozen))
    return _checked_at_init(chain, decay, shrink)


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


def largest_shrink(decay: DecayScheme, rates: Rates, passes_on: bool) -> float | None:
    """Return the largest shrink of one step, None where it is not known yet."""
    strength, alpha = concrete(peak_of(decay.strength)), concrete(rates.peak)
    if decay.kind == "none" or strength is None:
        return None
    strength *= max(decay.where.levels(), default=0.0)
    if decay.kind == "decoupled":
        row = MULTIPLIERS[decay.times]
        # These two multipliers are at most 1, whatever the peak is.
        if decay.times in ("schedule", "constant"):
            return strength
        return None if alpha is None else row.shrink(alpha, alpha) * strength
    factor = PENALTIES[decay.penalty].gradient_factor(decay.examples)
    if not passes_on or alpha is None or factor is None:
        return None
    return alpha * factor * strength


def _require_positive_factor(
    decay: DecayScheme, rates: Rates, shrink: float | None
) -> None:
    strength = concrete(peak_of(decay.strength))
    if shrink is not None and strength is not None and shrink > 1.0:
        raise InputError(
            f"{decay} with peak learning rate {concrete(rates.peak)} multiplies weights "
            f"by {1 - shrink:g} in one step; choose a strength at most "
            f"{strength / shrink:g}"
        )


def _checked_at_init(
    chain: optax.GradientTransformation, decay: DecayScheme, shrink: float | None
) -> optax.GradientTransformationExtraArgs:
    """Check at `init`, where the parameters are first seen: masks and precision."""
    chain = optax.with_extra_args_support(chain)

    def init(params: Any) -> Any:
        if decay.kind != "none":
            _warn_if_lost(decay, shrink, params)
        return chain.init(params)

    return optax.GradientTransformationExtraArgs(init, chain.update)


def _warn_if_lost(decay: DecayScheme, shrink: float | None, params: Any) -> None:
    """Warn where (1 − shrink)·θ rounds back to θ in the parameters' own precision."""
    mask = decay.where.mask(params)  # also raises where a rule matches nothing
    if not shrink:
        return
    leaves = zip(jax.tree.leaves(mask), jax.tree.leaves(params), strict=True)
    dtypes = {
        leaf.dtype for decays, leaf in leaves if decays and hasattr(leaf, "dtype")
    }
    for dtype in sorted(dtypes, key=str):
        # float32 steps carry the decay in their rounding; narrower ones do not.
        if not jnp.issubdtype(dtype, jnp.floating) or jnp.finfo(dtype).bits >= 32:
            continue
        # θ in [2^k, 2^(k+1)) has spacing eps·2^k: half of it is eps/2 of the smallest θ.
        half_ulp = float(jnp.finfo(dtype).eps) / 2
        if shrink < half_ulp:
            warnings.warn(
                f"{decay}: learning rate × strength = {shrink:g} is under half an ulp "
                f"of {dtype} ({half_ulp:g}), so decay alone does not move the weights; "
                "keep float32 parameters, or raise the strength",
                UserWarning,
                stacklevel=4,
            )
