"""The table of optimizers. A new optimizer is one row.

Every row builds a *core* from `optax.scale_by_*`: no learning rate, no decay of its
own, so that each scheme of `jaxwd.decay` means the same over each of them. Names that
begin with `torch.` follow torch's form and defaults; the others follow Optax. In the
rows that end in `.inside`, `decoupled(λ)` enters the core where its paper or Optax has
it, so λ is multiplied by what comes behind that place as well as by η_t.
"""

import functools
from typing import Any

import optax

from jaxwd.decay import DecayScheme
from jaxwd.decay.chain import Gains
from jaxwd.decay.compose import chain_around
from jaxwd.errors import InputError, concrete, unknown
from jaxwd.masks import Where, rules
from jaxwd.optimizers import estimates, layerwise, muon, torch_forms
from jaxwd.optimizers.row import Core
from jaxwd.schedules import Scalar, ScalarOrSchedule


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
    "lamb": Core.beside(layerwise.lamb),
    "lamb.inside": Core.inside(layerwise.lamb, note="λθ inside the trust ratio"),
    "lars": Core.of(
        layerwise.lars,
        note="coupled is the paper's; learning rate behind the momentum, as in torch",
    ),
    "novograd": Core(
        optax.scale_by_novograd, {"b1": 0.9, "b2": 0.25, "eps": 1e-6, "eps_root": 0.0}
    ),
    "novograd.inside": Core.inside(layerwise.novograd, note="λθ inside the momentum"),
    "adafactor": Core.of(
        layerwise.adafactor,
        unit_interval=(),
        note='Optax\'s own decay is decoupled(λ, times="constant")',
    ),
    "amos": Core.of(
        layerwise.amos, note="g/√v̂, one v a leaf; Amos's decay is decay=amos()"
    ),
    "muon": Core.of(
        muon.scale_by_muon,
        unit_interval=("beta", "b1", "b2"),
        note="Adam on all but matrices; where=by_ndim(matrices=…, vectors=…)",
    ),
    "adan": Core(
        optax.scale_by_adan,
        {"b1": 0.98, "b2": 0.92, "b3": 0.99, "eps": 1e-8, "eps_root": 1e-8},
        unit_interval=("b1", "b2", "b3"),
        note="weights the gradient's difference by 1 − b2, the paper by b2; "
        "the paper's decay is a proximal step",
    ),
    "adopt": Core(
        optax.contrib.scale_by_adopt,
        {"b1": 0.9, "b2": 0.9999, "eps": 1e-6, "nesterov": False, "use_clipping": True},
        note="the first gradient only fills v and moves nothing",
    ),
    "ademamix": Core(
        optax.contrib.scale_by_ademamix,
        _ADAM | {"b3": 0.9999, "alpha": 5.0, "eps_root": 0.0},
        unit_interval=("b1", "b2", "b3"),
        note="b3 and alpha may be schedules of the step, as in the paper",
    ),
    "sophia": Core.of(
        estimates.sophia, needs=("obj_fn",), note="update(…, obj_fn=loss of params)"
    ),
    "prodigy": Core.beside(
        estimates.prodigy, note="learning rate near 1, which multiplies λ too"
    ),
    "prodigy.inside": Core.inside(
        estimates.prodigy, note="λθ inside, multiplied by the estimated step size"
    ),
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


def lookup(
    name: str, hyper: dict[str, Any], decay: DecayScheme | None = None
) -> tuple[Core, dict[str, Any]]:
    """Return the row `name` and its hyperparameters with `hyper` filled in.

    Raises:
        InputError: unknown name or setting, or a scheme the row does not take.
    """
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    row = OPTIMIZERS[name]
    if isinstance(decay, DecayScheme):
        row.require_takes(name, decay)
    return row, row.filled(name, hyper)


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
        InputError: unknown name or setting; a scheme that an `.inside` row does not
            take; frozen leaves over a core that needs the whole loss; and all that
            `compose` refuses.

    `optimizer("adam", η, decay=decoupled(λ))` equals `optax.adamw(η, weight_decay=λ)`
    with a kernels-only mask, bit for bit.

    >>> from jaxwd import cosine, decoupled
    >>> rate = cosine(3e-3, steps=10_000, warmup=500)
    >>> tx = optimizer("adam", rate, decay=decoupled(0.1))
    """
    row, filled = lookup(name, hyper, decay)
    if row.needs and frozen is not None:
        raise InputError(
            f"optimizer {name!r} does not take frozen={rules(frozen)}: it calls "
            f"{row.needs[0]} with the trained leaves alone; leave frozen leaves out of "
            "params, and let the loss hold them"
        )
    around = row.around
    return chain_around(
        row.build(**filled),
        learning_rate=learning_rate,
        decay=decay,
        clip=clip,
        peak=peak,
        frozen=frozen,
        gains=row.gains(filled),
        inside=None if around is None else functools.partial(around, **filled),
    )
