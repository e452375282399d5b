"""Which optimizers make_package_fixtures.py runs: a function a package, a row a case.

Every package is imported inside its function, so that one venv need not hold them all.
One table, and so one room, though a long one.
"""

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import pathlib
import sys
import types
from typing import Any

from package_runs import Case, case

LAM = 0.5  # λ of decay that a rate of at most 0.02 multiplies
SMALL = 0.01  # λ of decay that no rate multiplies
SGD_LAM = 0.05  # λ of SGDP, which divides it by 1 − μ
TANGENT = {"delta": 0.9, "wd_ratio": 0.25}  # so that every branch is taken
ADAN_AS_ADAM = (0.9, 0.0, 0.999)  # Adan without its gradient difference is Adam

Cases = dict[str, Case]


def plain_sgd(groups: list[dict[str, Any]], lr: float) -> Any:
    import torch

    return torch.optim.SGD(groups, lr=lr)


def timm_optim() -> Any:
    """Return timm.optim without the rest of timm, which wants torchvision."""
    spec = importlib.util.find_spec("timm")
    root = spec.submodule_search_locations if spec else None
    for name, path in (("timm", list(root or [])), ("timm.models", [])):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = path
    sys.modules["timm.models"].__dict__["group_parameters"] = None
    return importlib.import_module("timm.optim")


def timm_cases() -> Cases:
    optim = timm_optim()

    def named(opt: str) -> Case:
        def make(groups: Any, **options: Any) -> Any:
            return optim.create_optimizer_v2(groups, opt=opt, **options)

        return case(make, LAM, shown=f"create_optimizer_v2(opt={opt!r})")

    lars = {"momentum": 0.9, "trust_coeff": 0.1, "always_adapt": True}
    lamb = {"always_adapt": True, "max_grad_norm": None}
    outside = lamb | {"decoupled_decay": True}
    sgdp = {"momentum": 0.9} | TANGENT
    return {
        "adamw": named("adamwlegacy"),
        "sgdw": named("sgdw"),
        "lion": named("lion"),
        "adamc": named("adamc"),
        "sgdc": named("sgdc"),
        "lionc": named("lionc"),
        "adamp": case(optim.AdamP, LAM, **TANGENT),
        "sgdp": case(optim.SGDP, SGD_LAM, **sgdp),
        "sgdp nesterov": case(optim.SGDP, SGD_LAM, **sgdp, nesterov=True),
        "adan proximal": case(optim.Adan, LAM, betas=ADAN_AS_ADAM),
        "adan additive": case(optim.Adan, LAM, betas=ADAN_AS_ADAM, no_prox=True),
        "lamb as it comes": case(optim.Lamb, LAM),
        "lamb inside": case(optim.Lamb, LAM, **lamb),
        "lamb outside": case(optim.Lamb, LAM, **outside),
        "lamb corrected": case(optim.Lamb, LAM, **outside, corrected_weight_decay=True),
        "lars": case(optim.Lars, LAM, **lars),
        "lars nesterov": case(optim.Lars, LAM, **lars, nesterov=True),
    }


def pytorch_optimizer_cases() -> Cases:
    import pytorch_optimizer as po

    def wrapper(groups: Any, lr: float, weight_decay: float) -> Any:
        base = plain_sgd(groups, lr)
        return po.ScheduleFreeWrapper(base, momentum=0.9, weight_decay=weight_decay)

    return {
        "adamc": case(po.AdamC, LAM, group={"normalized": True}),
        "adamc unflagged": case(po.AdamC, LAM),
        "adamc coupled": case(po.AdamC, LAM, weight_decouple=False),
        "adamc fixed": case(po.AdamC, SMALL, fixed_decay=True),
        "lion": case(po.Lion, LAM),
        "lion fixed": case(po.Lion, SMALL, fixed_decay=True),
        "sgdw": case(po.SGDW, LAM, momentum=0.9),
        "adams": case(po.AdamS, LAM),
        "adamp": case(po.AdamP, LAM, **TANGENT),
        "sgdp": case(po.SGDP, SGD_LAM, momentum=0.9, **TANGENT),
        "adan proximal": case(po.Adan, LAM, betas=ADAN_AS_ADAM, weight_decouple=False),
        "lamb inside": case(po.Lamb, LAM, weight_decouple=False),
        "lamb outside": case(po.Lamb, LAM),
        "lars": case(po.LARS, LAM, momentum=0.9, trust_coefficient=0.1),
        "schedule-free": case(po.ScheduleFreeAdamW, LAM, averaged=True),
        "schedule-free wrapper": case(
            wrapper,
            strength=LAM,
            averaged=True,
            shown="ScheduleFreeWrapper(torch.optim.SGD)",
            weight_decay=LAM,
        ),
    }


def pytorch_optimizer_39_cases() -> Cases:
    """The cautious helper of 3.9, under plain gradient descent; 4.1 has none."""
    import torch
    from pytorch_optimizer.base.optimizer import BaseOptimizer

    class CautiousSGD(torch.optim.SGD):
        @torch.no_grad()
        def step(self) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    BaseOptimizer.apply_cautious_weight_decay(
                        p, p.grad, group["lr"], group["weight_decay"]
                    )
                    p.add_(p.grad, alpha=-group["lr"])

    shown = "BaseOptimizer.apply_cautious_weight_decay, then p −= lr·g"
    return {"cautious sgd": case(CautiousSGD, LAM, shown=shown)}


def optimi_cases() -> Cases:
    import optimi

    return {
        "adamw": case(optimi.AdamW, LAM),
        "adamw schedule": case(optimi.AdamW, SMALL, decouple_lr=True),
        "sgd schedule": case(optimi.SGD, SMALL, momentum=0.9, decouple_lr=True),
        "lion schedule": case(optimi.Lion, SMALL, decouple_lr=True),
    }


def adamp_cases() -> Cases:
    import adamp

    sgdp = {"momentum": 0.9} | TANGENT
    return {
        "adamp": case(adamp.AdamP, LAM, **TANGENT),
        "sgdp": case(adamp.SGDP, SGD_LAM, **sgdp),
        "sgdp nesterov": case(adamp.SGDP, SGD_LAM, **sgdp, nesterov=True),
    }


def cpr_cases() -> Cases:
    import torch
    from pytorch_cpr import AdamCPR

    @contextlib.contextmanager
    def wide() -> Any:
        """Make Λ, κ and μ float64; the package asks for `torch.float`."""
        narrow, torch.float = torch.float, torch.float64
        try:
            yield
        finally:
            torch.float = narrow

    def row(method: str, number: float, foreach: Any = True, **more: Any) -> Case:
        kappa = {"kappa_init_method": method, "kappa_init_param": number}
        more |= {"foreach": foreach}
        return case(AdamCPR, group={"regularize": True}, **kappa, **more)

    found = {"reg_step_size": 10, "reg_ema_decay": 0.5}
    rows = {
        "uniform": row("uniform", 4.0),
        "dependent": row("dependent", 0.5),
        "warm start": row("warm_start", 20),
        "uniform by lr": row("uniform", 4.0, reg_by_lr=True, kappa_update=5.0),
        "inflection": row("inflection_point", 1000, **found),
    }
    in_float64 = {
        f"{k} float64": dataclasses.replace(v, during=wide) for k, v in rows.items()
    }
    one_by_one = {  # what foreach=None means on a CPU
        "dependent single": row("dependent", 0.5, None),
        "inflection single": row("inflection_point", 1000, None, **found),
    }
    return rows | in_float64 | one_by_one


def heavyball_cases() -> Cases:
    import heavyball
    from heavyball import chainable, utils

    utils.compile_mode = None

    class ToInit(chainable.BaseOpt):
        pull = staticmethod(chainable.weight_decay_to_init)

        def __init__(self, params: Any, **options: Any) -> None:
            options = {"weight_decay_to_ema": 0.0, "multi_tensor": True} | options
            super().__init__(params, options, fns=(self.pull, chainable.update_by_adam))

    class ToEma(ToInit):
        pull = staticmethod(chainable.weight_decay_to_ema)

    anchored: dict[str, Any] = {"strength": LAM, "group": {"weight_decay_to_ema": LAM}}
    narrow: dict[str, Any] = {"betas": (0.9, 0.999), "eps": 1e-8}
    adam: dict[str, Any] = narrow | {"storage_dtype": "float64"}
    sgd: dict[str, Any] = {"beta": 0.9, "storage_dtype": "float64"}
    return {
        "adamw": case(heavyball.AdamW, LAM, **adam),
        "adamw float32": case(heavyball.AdamW, LAM, **narrow),
        "adamc": case(heavyball.AdamC, LAM, **adam, max_lr=0.02),
        "cautious adamw": case(
            heavyball.AdamW, LAM, **adam, cautious_weight_decay=True
        ),
        "cautious sgd": case(heavyball.SGD, LAM, **sgd, cautious_weight_decay=True),
        "to init": case(
            ToInit,
            shown="BaseOpt(fns=(weight_decay_to_init, update_by_adam))",
            **anchored,
            **adam,
        ),
        "to ema": case(
            ToEma,
            shown="BaseOpt(fns=(weight_decay_to_ema, update_by_adam))",
            **anchored,
            **adam,
            ema_beta=0.9,
        ),
        "hyperball": case(heavyball.HyperBallAdamW, **adam),
        "hyperball decayed": case(heavyball.HyperBallAdamW, LAM, **adam),
        "schedule-free": case(heavyball.SFAdamW, LAM, averaged=True, **adam),
    }


def schedulefree_cases() -> Cases:
    import schedulefree as sf
    from schedulefree.adamw_schedulefree_reference import AdamWScheduleFreeReference
    from schedulefree.wrap_schedulefree_reference import ScheduleFreeWrapperReference

    def wrapped(groups: Any, lr: float, weight_decay_at_y: float) -> Any:
        return ScheduleFreeWrapperReference(
            plain_sgd(groups, lr), momentum=0.9, weight_decay_at_y=weight_decay_at_y
        )

    rows = {
        "adamw at y": case(sf.AdamWScheduleFree, LAM, foreach=True),
        "adamw at y, reference": case(AdamWScheduleFreeReference, LAM),
        "adamw at z": case(AdamWScheduleFreeReference, LAM, decay_at_z=True),
        "sgd at y": case(sf.SGDScheduleFree, LAM, momentum=0.9),
        "wrapped sgd at z": case(wrapped, LAM, weight_decay_at_y=0.0),
        "wrapped sgd at y": case(wrapped, strength=LAM, weight_decay_at_y=LAM),
    }
    return {
        k: dataclasses.replace(
            row,
            averaged=True,
            shown="ScheduleFreeWrapperReference(torch.optim.SGD)"
            if row.make is wrapped
            else None,
        )
        for k, row in rows.items()
    }


def keras_cases() -> Cases:
    import keras

    keras.config.set_floatx("float64")
    optimizers = keras.optimizers
    return {
        "adamw": case(optimizers.AdamW, LAM),
        "adam": case(optimizers.Adam, LAM),
        "lion": case(optimizers.Lion, LAM, beta_2=0.99),
        "sgd": case(optimizers.SGD, LAM, momentum=0.9),
        "lamb outside": case(optimizers.Lamb, LAM),
        "schedule-free": case(optimizers.ScheduleFreeAdamW, LAM, averaged=True),
    }


def jestimator_cases() -> Cases:
    """Amos with one v and one b a leaf; its λ, the ½γ of the paper, is no number."""
    # By file: the package's own __init__ wants a JAX of its time.
    found = importlib.metadata.files("jestimator") or []
    file = next(f.locate() for f in found if f.name == "amos.py")
    module = types.ModuleType("jestimator_amos")
    exec(pathlib.Path(file).read_text(), module.__dict__)

    def make(learning_rate: Any, beta: float, eta: float) -> Any:
        return module.amos(
            learning_rate,
            eta_fn=lambda name, shape: eta,
            shape_fn=lambda name, shape: (),
            beta=beta,
        )

    return {
        "amos": case(make, shown="amos(shape_fn=() for every leaf)", beta=0.99, eta=0.3)
    }
