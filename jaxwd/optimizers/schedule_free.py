"""Schedule-Free averaging around a core, with decay at y or at z.

It needs the learning rate inside (it weights its average by it), so it is no core but
a wrapper around a whole chain. Three points take the place of θ: gradients are taken
at y, steps move z, x is the average to evaluate.
"""

from typing import Any, Literal

import optax

from jaxwd.decay import DecayScheme
from jaxwd.decay.compose import chain_around
from jaxwd.errors import InputError, require, unknown
from jaxwd.optimizers.table import lookup
from jaxwd.schedules import Scalar, ScalarOrSchedule

Tree = Any

# Core → what switches its momentum off: averaging takes the momentum's place. Adam then
# keeps the gradient where its first moment was, one copy of the parameters.
WITHOUT_MOMENTUM: dict[str, dict[str, float]] = {
    prefix + name: settings
    for prefix in ("", "torch.")
    for name, settings in {
        "sgd": {},
        "adagrad": {},
        "rmsprop": {},
        "adam": {"b1": 0.0},
        "amsgrad": {"b1": 0.0},
        "radam": {"b1": 0.0},
    }.items()
}


def schedule_free(
    name: str,
    learning_rate: ScalarOrSchedule,
    *,
    decay: DecayScheme | None = None,
    decay_at: Literal["y", "z"] | str = "y",
    b1: Scalar = 0.9,
    weight_lr_power: Scalar = 2.0,
    weigh_by: Literal["next", "this"] | str = "next",
    clip: optax.GradientTransformation | None = None,
    peak: Scalar | None = None,
    **hyper: Any,
) -> optax.GradientTransformationExtraArgs:
    """Return Schedule-Free `name` with any decay scheme, decaying y or z.

    z' = z − η_t·u(g(y)) − d_t·λ·(y or z),  x' = (1 − c_t)x + c_t·z',
    y' = β₁x' + (1 − β₁)z',  c_t = w_t/Σw with w_t = (largest η so far)^power.

    The parameters in your loop are y. Evaluate, and save, x:
    `optax.contrib.schedule_free_eval_params(state, params)`.

    Args:
        name: a core that works without momentum, a row of `WITHOUT_MOMENTUM`; its
            momentum is switched off.
        learning_rate: η_t; a number or a schedule that warms up and does not fall.
        decay: a scheme, with the units and multipliers it always has.
        decay_at: which point λ multiplies. `"y"`, the default, is Schedule-Free's own
            form and Optax's; it shrinks x and z alike, as the gradient does. `"z"`
            makes z an exact exponential average of its steps, 1/(η_tλ) long, as
            decoupled decay does without averaging. Only `decoupled` has the choice:
            coupled and penalized decay are gradients, and those are taken at y.
        b1: β₁, the share of x in y; above 0. Takes the place of momentum.
        weight_lr_power: of the learning rate in the average's weights.
        weigh_by: which step's learning rate weighs it: `"next"`, the default, is
            Optax's, `"this"` that of the authors' own package; with a constant rate
            they are the same.
        clip: a transformation of the raw gradient, before decay.
        peak: α of a foreign schedule.
        **hyper: the core's own settings, but for its momentum.

    Raises:
        InputError: a core with momentum or of an unknown name, `decay_at="z"` for a
            scheme that enters the gradient, β₁ = 0; and all that `compose` refuses.

    Not for a falling schedule: that averages twice.

    Source: Defazio et al., The road less scheduled, 2024.

    Reference: `optax.contrib.schedule_free`; the authors' schedulefree 1.4.1.

    >>> import jax.numpy as jnp
    >>> from jaxwd import decoupled
    >>> tx = schedule_free("adam", 2.5e-3, decay=decoupled(0.1), decay_at="z")
    >>> params = {"kernel": jnp.ones(2)}
    >>> state = tx.init(params)
    >>> updates, state = tx.update({"kernel": jnp.ones(2)}, state, params)
    >>> params = optax.apply_updates(params, updates)
    >>> optax.contrib.schedule_free_eval_params(state, params)["kernel"]
    Array([0.9972..., 0.9972...], dtype=float32)
    """
    if name not in WITHOUT_MOMENTUM:
        raise unknown("optimizer for schedule_free", name, WITHOUT_MOMENTUM)
    if decay_at not in ("y", "z"):
        raise unknown("decay_at", decay_at, ("y", "z"))
    if weigh_by not in ("next", "this"):
        raise unknown("weigh_by", weigh_by, ("next", "this"))
    kind = getattr(decay, "kind", "none")
    if decay_at == "z" and kind not in ("none", "decoupled"):
        raise InputError(
            f"schedule_free: decay_at='z' with {decay}, which is a part of the "
            "gradient, and gradients are taken at y; use decay_at='y' or decoupled"
        )
    require("schedule_free: b1", b1, 0.0, 1.0, open_low=True)
    row, filled = lookup(name, hyper | WITHOUT_MOMENTUM[name], decay)
    chain = chain_around(
        _at_y(row.build(**filled)),
        learning_rate=learning_rate,
        decay=decay,
        clip=None if clip is None else _at_y(clip),
        peak=peak,
        frozen=None,
        gains=row.gains(filled),
    )

    def step(
        updates: Tree, state: Any, params: Tree | None = None, **extra: Any
    ) -> tuple[Tree, Any]:
        """Give the chain y or z as its parameters: they are what decays."""
        decayed = params if decay_at == "y" else extra["z"]
        return chain.update(updates, state, decayed, y=params, **extra)

    averaged = optax.contrib.schedule_free(
        optax.GradientTransformationExtraArgs(chain.init, step),
        _counted_from_1(learning_rate) if weigh_by == "this" else learning_rate,
        b1,
        weight_lr_power,
    )

    def update(
        updates: Tree, state: Any, params: Tree | None = None, **extra: Any
    ) -> tuple[Tree, Any]:
        return averaged.update(updates, state, params, z=state.z, **extra)

    return optax.GradientTransformationExtraArgs(averaged.init, update)


def _counted_from_1(rate: ScalarOrSchedule) -> Any:
    """Return the rate for somebody who calls the first step 1, as Optax does here."""
    return (lambda count: rate(count - 1)) if callable(rate) else rate


def _at_y(
    inner: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """Let a part of the chain that is no decay see y as its parameters."""
    inner = optax.with_extra_args_support(inner)

    def update(
        updates: Tree, state: Any, params: Tree | None = None, **extra: Any
    ) -> tuple[Tree, Any]:
        del params
        return inner.update(updates, state, extra.pop("y"), **extra)

    return optax.GradientTransformationExtraArgs(inner.init, update)
