"""The table of optimizers. A new optimizer is one row.

Every row builds a *core* from `optax.scale_by_*`: no learning rate, no decay of its
own, so that each scheme of `jaxwd.decay` means the same over each of them. Names that
begin with `torch.` follow torch's form and defaults; the others follow Optax.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import optax

from jaxwd.decay import DecayScheme
from jaxwd.decay.compose import Gains, chain_around
from jaxwd.errors import InputError, concrete, require, unknown
from jaxwd.masks import Where
from jaxwd.optimizers import torch_forms
from jaxwd.schedules import Scalar, ScalarOrSchedule


@dataclass(frozen=True)
class Core:
    """One row: how to build a core, with which defaults.

    Attributes:
        build: function(**hyperparameters) → core.
        defaults: every hyperparameter the row accepts, with its default.
        gains: hyperparameters → what the core makes of a gradient that stays the
            same, so that coupled decay shrinks by η·gain·λ a step; None where the core
            rescales gradients and the shrink depends on the data.
    """

    build: Callable[..., optax.GradientTransformation]
    defaults: dict[str, Any] = field(default_factory=dict)
    gains: Callable[[dict[str, Any]], Gains | None] = lambda hyper: None


def _momentum(nesterov: bool) -> Core:
    def gains(hyper: dict[str, Any]) -> Gains | None:
        mu = concrete(hyper["momentum"])
        if mu is None or mu >= 1:
            return None
        return Gains(1.0 + mu if nesterov else 1.0, 1.0 / (1.0 - mu))

    return Core(
        lambda momentum: optax.trace(decay=momentum, nesterov=nesterov),
        {"momentum": 0.9},
        gains,
    )


def _sgd() -> Core:
    return Core(optax.identity, {}, lambda hyper: Gains(1.0, 1.0))


_ADAM = {"b1": 0.9, "b2": 0.999, "eps": 1e-8}

OPTIMIZERS: dict[str, Core] = {
    "sgd": _sgd(),
    "momentum": _momentum(nesterov=False),
    "nesterov": _momentum(nesterov=True),
    "adagrad": Core(
        optax.scale_by_rss, {"initial_accumulator_value": 0.1, "eps": 1e-7}
    ),
    "adadelta": Core(optax.scale_by_adadelta, {"rho": 0.9, "eps": 1e-6}),
    "rmsprop": Core(
        optax.scale_by_rms, {"decay": 0.9, "eps": 1e-8, "eps_in_sqrt": True}
    ),
    "adam": Core(optax.scale_by_adam, _ADAM | {"eps_root": 0.0}),
    "adamax": Core(optax.scale_by_adamax, _ADAM),
    "nadam": Core(
        lambda **hyper: optax.scale_by_adam(**hyper, nesterov=True),
        _ADAM | {"eps_root": 0.0},
    ),
    "amsgrad": Core(optax.scale_by_amsgrad, _ADAM | {"eps_root": 0.0}),
    "radam": Core(optax.scale_by_radam, _ADAM | {"eps_root": 0.0, "threshold": 5.0}),
    "adabelief": Core(optax.scale_by_belief, _ADAM | {"eps": 1e-16, "eps_root": 1e-16}),
    "yogi": Core(
        optax.scale_by_yogi,
        _ADAM | {"eps": 1e-3, "eps_root": 0.0, "initial_accumulator_value": 1e-6},
    ),
    "lion": Core(optax.scale_by_lion, {"b1": 0.9, "b2": 0.99}),
    "torch.sgd": _sgd(),
    "torch.momentum": _momentum(nesterov=False),
    "torch.nesterov": _momentum(nesterov=True),
    "torch.adagrad": Core(torch_forms.scale_by_adagrad, {"eps": 1e-10}),
    "torch.adadelta": Core(optax.scale_by_adadelta, {"rho": 0.9, "eps": 1e-6}),
    "torch.rmsprop": Core(
        lambda alpha, eps: optax.scale_by_rms(alpha, eps, eps_in_sqrt=False),
        {"alpha": 0.99, "eps": 1e-8},
    ),
    "torch.adam": Core(optax.scale_by_adam, _ADAM),
    "torch.adamax": Core(optax.scale_by_adamax, _ADAM),
    "torch.nadam": Core(torch_forms.scale_by_nadam, _ADAM | {"momentum_decay": 4e-3}),
    "torch.radam": Core(torch_forms.scale_by_radam, _ADAM),
    "torch.amsgrad": Core(torch_forms.scale_by_amsgrad, _ADAM),
}
"""Name → row. Names without `torch.` are Optax's forms with Optax's defaults."""


def lookup(name: str, hyper: dict[str, Any]) -> tuple[Core, dict[str, Any]]:
    """Return the row `name` and its hyperparameters with `hyper` filled in."""
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    row = OPTIMIZERS[name]
    for key, value in hyper.items():
        if key not in row.defaults:
            allowed = ", ".join(row.defaults) or "no hyperparameters"
            raise InputError(
                f"optimizer {name!r} does not take {key}={value}; it takes {allowed}"
            )
    filled = row.defaults | hyper
    for key in ("momentum", "b1", "b2", "rho", "decay", "alpha"):
        if key in filled:
            require(f"{name}: {key}", filled[key], 0.0, 1.0)
    return row, filled


def core(name: str, **hyper: Any) -> optax.GradientTransformation:
    """Return the core `name`: an Optax transformation without rate and decay.

    >>> isinstance(core("momentum", momentum=0.8), optax.GradientTransformation)
    True
    """
    row, filled = lookup(name, hyper)
    return row.build(**filled)


def gain(name: str, **hyper: Any) -> float | None:
    """Return what the core makes of a lasting gradient; None for adaptive cores.

    >>> gain("sgd"), round(gain("momentum"), 6), gain("adam")
    (1.0, 10.0, None)
    """
    row, filled = lookup(name, hyper)
    gains = row.gains(filled)
    return None if gains is None else gains.lasting


def optimizer(
    name: str,
    learning_rate: ScalarOrSchedule,
    *,
    decay: DecayScheme | None = None,
    clip: optax.GradientTransformation | None = None,
    peak: Scalar | None = None,
    frozen: Where | None = None,
    **hyper: Any,
) -> optax.GradientTransformationExtraArgs:
    """Return the optimizer `name` with any decay scheme: `compose(core(name), …)`.

    Args:
        name: a row of `OPTIMIZERS`; `torch.` rows follow torch's form and defaults.
        learning_rate: η_t; a number, an array or a schedule of the step.
        decay: a scheme; default none. Cores never bring a decay of their own.
        clip: a transformation of the raw gradient, before decay.
        peak: α of a foreign schedule.
        frozen: rules for leaves that never move.
        **hyper: the core's own settings, as in `OPTIMIZERS[name].defaults`.

    Raises:
        InputError: unknown name or setting; and all that `compose` refuses.

    `optimizer("adam", η, decay=decoupled(λ))` equals `optax.adamw(η, weight_decay=λ)`
    with a kernels-only mask, bit for bit.

    >>> from jaxwd import cosine, decoupled
    >>> rate = cosine(3e-3, steps=10_000, warmup=500)
    >>> tx = optimizer("adam", rate, decay=decoupled(0.1))
    """
    row, filled = lookup(name, hyper)
    return chain_around(
        row.build(**filled),
        learning_rate=learning_rate,
        decay=decay,
        clip=clip,
        peak=peak,
        frozen=frozen,
        gains=row.gains(filled),
    )
