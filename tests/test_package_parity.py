"""Trajectories of nine other packages, committed as a fixture: who computes what.

`TABLE` holds what a scheme of jaxwd computes too, `RULES` what is written out in NumPy
in package_rules.py. When jaxwd gets a scheme for a case of `RULES`, give it a row in
`TABLE`, as was done for Hyperball:

    "heavyball/hyperball": Row("adam", lambda s: wd.hyperball(), {"b1": 0.0}),

Settings, version and λ of every case lie in the fixture, under "about".
"""

import functools
import json
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import package_rules
import pytest
import rules
import scheme_rules
from package_rules import (
    cpr,
    hyperball,
    keras_lamb,
    lars,
    plain,
    pytorch_optimizer_lamb,
    root,
    schedule_free,
    sgdp_in_place,
    timm_lamb,
    timm_lamb_default,
)

import jaxwd as wd

FIXTURE = dict(
    np.load(pathlib.Path(__file__).parent / "fixtures/package_trajectories.npz")
)
ABOUT = json.loads(str(FIXTURE.pop("about")))
VERSIONS = {
    "timm": "1.0.31",
    "pytorch_optimizer": "4.1.0",
    "pytorch_optimizer 3.9": "3.9.0",
    "pytorch-cpr": "0.3.1",
    "adamp": "0.3.0",
    "schedulefree": "1.4.1",
    "heavyball": "3.2.1",
    "torch-optimi": "0.3.3",
    "keras": "3.15.1",
    "jestimator": "0.3.3",
}
EXACT = 1e-13


class Row(NamedTuple):
    """One case that jaxwd computes.

    Attributes:
        core: a row of `wd.OPTIMIZERS`, or rates → a core.
        scheme: λ → the scheme.
        hyper: the core's settings where its defaults are not the package's.
        gap: no weight differs by more, and, above `EXACT`, one by a tenth of it.
        why: they differ.
    """

    core: str | Callable[[Any], optax.GradientTransformation]
    scheme: Callable[[float], wd.DecayScheme]
    hyper: dict[str, Any] = {}  # noqa: RUF012
    gap: float = EXACT
    why: str = ""


def corrected(s):
    return wd.decoupled(s, times="corrected")


def schedule(s):
    return wd.decoupled(s, times="schedule")


def constant(s):
    return wd.decoupled(s, times="constant")


def tangent(s):
    return wd.tangent(wd.decoupled(s), delta=0.9, ratio=0.25)


def tangent_sgd(s):
    return tangent(s / (1 - 0.9))


def by_signbit(s):
    return wd.cautious(wd.decoupled(s), ties="signbit")


def momentum_of_steps(rate):
    """Keras's SGD: the buffer holds steps, v ← μv + ηg, not gradients."""
    return optax.chain(
        optax.scale_by_schedule(rate),
        optax.trace(0.9),
        optax.scale_by_schedule(lambda step: 1 / rate(step)),
    )


OPTIMI = {"b2": 0.99, "eps": 1e-6}  # its defaults
# Where ε stands, if not in √v̂ + ε:
BEFORE_CORRECTION = {"gap": 1e-7, "why": "(√v + ε)/√(1 − β₂^t)"}
INSIDE_TOO = {"gap": 1e-7, "why": "(√(v + 1e-15) + ε)/√(1 − β₂^t)"}
CLAMPED = {"gap": 2e-8, "why": "max(√v̂, ε)"}
KERAS_EPS = {"gap": 1e-6, "why": "(√v + ε)/√(1 − β₂^t), ε = 1e-7"}

TABLE = {
    "timm/adamw": Row("adam", wd.decoupled),
    "timm/sgdw": Row("nesterov", wd.decoupled),
    "timm/lion": Row("lion", wd.decoupled),
    "timm/adamc": Row("adam", corrected),
    "timm/sgdc": Row("nesterov", corrected),
    "timm/lionc": Row("lion", corrected),
    "timm/adamp": Row("adam", tangent),
    "timm/sgdp": Row("momentum", tangent_sgd),
    "timm/sgdp nesterov": Row("nesterov", tangent_sgd),
    "timm/adan proximal": Row("adam", wd.proximal),
    "timm/adan additive": Row("adam", wd.decoupled),
    "pytorch_optimizer/adamc": Row("adam", corrected, **INSIDE_TOO),
    "pytorch_optimizer/adamc unflagged": Row("adam", wd.decoupled, **INSIDE_TOO),
    "pytorch_optimizer/adamc coupled": Row("adam", wd.coupled, **INSIDE_TOO),
    "pytorch_optimizer/adamc fixed": Row("adam", constant, **INSIDE_TOO),
    "pytorch_optimizer/lion": Row("lion", wd.decoupled),
    "pytorch_optimizer/lion fixed": Row("lion", constant),
    "pytorch_optimizer/sgdw": Row("momentum", wd.decoupled),
    "pytorch_optimizer/adams": Row("adam", lambda s: wd.stable(wd.decoupled(s))),
    "pytorch_optimizer/adamp": Row("adam", tangent, **BEFORE_CORRECTION),
    "pytorch_optimizer/sgdp": Row("momentum", tangent_sgd),
    "pytorch_optimizer/adan proximal": Row("adam", wd.proximal),
    "pytorch_optimizer 3.9/cautious sgd": Row(
        "sgd", lambda s: wd.cautious(wd.decoupled(s))
    ),
    "adamp/adamp": Row("adam", tangent),
    "adamp/sgdp": Row(
        "momentum", tangent_sgd, gap=0.5, why="projects the momentum buffer itself"
    ),
    "adamp/sgdp nesterov": Row("nesterov", tangent_sgd),
    "torch-optimi/adamw": Row("adam", wd.decoupled, OPTIMI),
    "torch-optimi/adamw schedule": Row("adam", schedule, OPTIMI),
    "torch-optimi/sgd schedule": Row("momentum", schedule),
    "torch-optimi/lion schedule": Row("lion", schedule),
    "heavyball/adamw": Row("adam", wd.decoupled, **CLAMPED),
    "heavyball/adamw float32": Row(
        "adam", wd.decoupled, gap=1e-6, why="keeps moments in float32"
    ),
    "heavyball/adamc": Row("adam", corrected, **CLAMPED),
    "heavyball/cautious adamw": Row("adam", by_signbit, **CLAMPED),
    "heavyball/cautious sgd": Row("momentum", by_signbit),
    "heavyball/to init": Row("adam", lambda s: wd.to_init(wd.decoupled(s)), **CLAMPED),
    "heavyball/to ema": Row(
        "adam",
        lambda s: wd.to_ema(wd.decoupled(s), beta=0.9, debias=True),
        **CLAMPED,
    ),
    "keras/adamw": Row("adam", wd.decoupled, {"eps": 1e-7}, **KERAS_EPS),
    "keras/adam": Row("adam", wd.decoupled, {"eps": 1e-7}, **KERAS_EPS),
    "keras/lion": Row("lion", wd.decoupled),
    "keras/sgd": Row(momentum_of_steps, wd.decoupled),
}

DECAYED_FIRST = {"gap": 0.02, "why": "the ratio is that of the decayed weights"}
TABLE |= {
    "heavyball/hyperball": Row(
        "adam", lambda s: wd.hyperball(), {"b1": 0.0}, **CLAMPED
    ),
    "jestimator/amos": Row(
        "amos", lambda s: wd.amos(scale=0.3, b2=0.99, where=wd.everything), {"b2": 0.99}
    ),
    "timm/lamb inside": Row("lamb.inside", wd.decoupled),
    "timm/lamb outside": Row("lamb", wd.decoupled, **DECAYED_FIRST),
    "keras/lamb outside": Row("lamb", wd.decoupled, {"eps": 1e-7}, **DECAYED_FIRST),
}

CPR_BOUNDS = {
    "uniform": {"bound": "uniform", "kappa": 4.0},
    "dependent": {"bound": "dependent", "factor": 0.5},
    "warm start": {"bound": "warm_start", "steps": 20},
    "uniform by lr": {"bound": "uniform", "kappa": 4.0, "update": 5.0, "times": "lr"},
    "inflection": {"bound": "inflection", "every": 10, "average": 0.5},
}
TABLE |= {
    f"pytorch-cpr/{name} float64": Row("adam", lambda s, words=words: wd.cpr(**words))
    for name, words in CPR_BOUNDS.items()
}

part = functools.partial
IN_FLOAT32 = 1e-7  # what is left when the rule rounds where the package does
CPR = {
    "uniform": part(cpr, kappa=4.0),
    "dependent": part(cpr, kappa=("of start", 0.5)),
    "warm start": part(cpr, kappa=("at", 20)),
    "uniform by lr": part(cpr, kappa=4.0, mu=5.0, by_lr=True),
    "inflection": part(cpr, kappa=("inflection", 10, 0.5)),
}
ADAM, CLAMPED_ROOT = root(1e-8), root(1e-8, clamp=True)

# case → (its rule, how close)
RULES = {
    "timm/lamb as it comes": (timm_lamb_default, EXACT),
    "timm/lamb inside": (timm_lamb, EXACT),
    "timm/lamb outside": (part(timm_lamb, outside=True), EXACT),
    "timm/lamb corrected": (part(timm_lamb, outside=True, corrected=True), EXACT),
    "timm/lars": (lars, EXACT),
    "timm/lars nesterov": (part(lars, nesterov=True), EXACT),
    "pytorch_optimizer/lamb inside": (
        part(pytorch_optimizer_lamb, outside=False),
        EXACT,
    ),
    "pytorch_optimizer/lamb outside": (pytorch_optimizer_lamb, EXACT),
    "pytorch_optimizer/lars": (part(lars, eps=0.0, vectors=False), EXACT),
    "pytorch_optimizer/schedule-free": (
        part(schedule_free, core=root(1e-8, inside=1e-15)),
        EXACT,
    ),
    "pytorch_optimizer/schedule-free wrapper": (
        part(schedule_free, core=plain, at="z and y", everywhere=0.5),
        EXACT,
    ),
    "adamp/sgdp": (sgdp_in_place, EXACT),
    "schedulefree/adamw at y": (part(schedule_free, core=ADAM), EXACT),
    "schedulefree/adamw at y, reference": (part(schedule_free, core=ADAM), EXACT),
    "schedulefree/adamw at z": (part(schedule_free, core=ADAM, at="z"), EXACT),
    "schedulefree/sgd at y": (part(schedule_free, core=plain), EXACT),
    "schedulefree/wrapped sgd at z": (part(schedule_free, core=plain, at="z"), EXACT),
    "schedulefree/wrapped sgd at y": (
        part(schedule_free, core=plain, everywhere=0.5),
        EXACT,
    ),
    "heavyball/schedule-free": (
        part(schedule_free, core=CLAMPED_ROOT, largest=False),
        EXACT,
    ),
    "heavyball/hyperball": (hyperball, EXACT),
    "heavyball/hyperball decayed": (hyperball, EXACT),
    "keras/lamb outside": (keras_lamb, EXACT),
    "keras/schedule-free": (
        part(schedule_free, core=ADAM, at="y alone", weigh=False),
        EXACT,
    ),
    **{
        f"pytorch-cpr/{k}": (part(rule, wide=False), IN_FLOAT32)
        for k, rule in CPR.items()
    },
    "pytorch-cpr/dependent single": (part(CPR["dependent"], wide=False), IN_FLOAT32),
    # κ is tried against 1000 and begins at 1e6: nothing is ever regularised.
    "pytorch-cpr/inflection single": (part(cpr, kappa=np.inf), EXACT),
}


def in_flax(name):
    """The fixture holds a kernel as torch does, output units first."""
    leaves = {k: jnp.asarray(FIXTURE[f"{name}/{k}"]) for k in ("kernel", "bias")}
    return leaves | {"kernel": jnp.swapaxes(leaves["kernel"], -1, -2)}


def rate(step):
    return jnp.asarray(FIXTURE["rates"])[step]


def ours(row, decay):
    """Return our weights at the kept steps, laid out as in the fixture."""
    alpha = float(FIXTURE["peak"])
    if callable(row.core):
        core = row.core(rate)
        tx = wd.compose(core, learning_rate=rate, decay=decay, peak=alpha)
    else:
        tx = wd.optimizer(row.core, rate, decay=decay, peak=alpha, **row.hyper)
    return walk(tx)


def walk(tx, read=lambda state, params: params):
    """Return what `read` finds after each of the kept steps, laid out as there."""
    h, z, params = in_flax("curvature"), in_flax("noise"), in_flax("start")

    def step(carry, t):
        params, state = carry
        grads = {k: h[k] * (x - 1.0) + z[k][t] for k, x in params.items()}
        updates, state = tx.update(grads, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        return (params, state), read(state, params)

    steps = jnp.arange(len(FIXTURE["rates"]))
    _, path = jax.jit(lambda c: jax.lax.scan(step, c, steps))((params, tx.init(params)))
    path = path | {"kernel": path["kernel"].swapaxes(-1, -2)}
    kept = FIXTURE["kept"] - 1
    flat = [
        np.asarray(path[k])[kept].reshape(len(kept), -1) for k in ("kernel", "bias")
    ]
    return np.concatenate(flat, 1)


@functools.cache
def undecayed(core, hyper):
    return ours(Row(core, wd.decoupled, dict(hyper)), wd.none())


def apart(a, b):
    return np.abs(a - b).max()


def test_the_table_has_every_case_and_no_other():
    assert set(ABOUT) == set(TABLE) | set(RULES)
    made = {(case.split("/")[0], about["version"]) for case, about in ABOUT.items()}
    assert made == set(VERSIONS.items())
    paths = {k for k in FIXTURE if k.split("/")[0] in VERSIONS}
    assert {k.removesuffix("/averaged") for k in paths} == set(ABOUT)
    assert all(np.isfinite(FIXTURE[k]).all() for k in paths)


@pytest.mark.parametrize("case", TABLE)
def test_scheme_follows_the_package(case, x64):
    row = TABLE[case]
    decay = row.scheme(ABOUT[case]["strength"])
    gap = apart(ours(row, decay), FIXTURE[case])
    assert gap < row.gap
    if row.gap > EXACT:
        assert row.why
        assert gap > row.gap / 10  # the table says how far, not how far at most
    # The case could tell: without decay the weights end elsewhere.
    without = undecayed(row.core, tuple(row.hyper.items()))
    assert apart(without, FIXTURE[case]) > 1e-2


@pytest.mark.parametrize("case", RULES)
def test_rule_follows_the_package(case):
    rule, close = RULES[case]
    # CPR's strength is no λ: there 1 marks the leaf that is regularised.
    decay = 1.0 if case.startswith("pytorch-cpr") else ABOUT[case]["strength"]
    path, means = package_rules.trajectory(rule, FIXTURE, decay)
    assert apart(path, FIXTURE[case]) < close
    if f"{case}/averaged" in FIXTURE:
        assert apart(means, FIXTURE[f"{case}/averaged"]) < close


SCHEDULE_FREE = {
    "schedulefree/adamw at y": ("adam", "y", wd.kernels),
    "schedulefree/adamw at y, reference": ("adam", "y", wd.kernels),
    "schedulefree/adamw at z": ("adam", "z", wd.kernels),
    "schedulefree/sgd at y": ("sgd", "y", wd.kernels),
    "schedulefree/wrapped sgd at z": ("sgd", "z", wd.kernels),
    "schedulefree/wrapped sgd at y": ("sgd", "y", wd.everything),
}


@pytest.mark.parametrize("case", SCHEDULE_FREE)
def test_schedule_free_follows_the_authors(case, x64):
    """Both points, y of the gradients and the average x, to the last digits."""
    name, at, where = SCHEDULE_FREE[case]
    decay = wd.decoupled(ABOUT[case]["strength"], where=where)
    paths = {
        weigh_by: (
            walk(tx),
            walk(tx, optax.contrib.schedule_free_eval_params),
        )
        for weigh_by in ("this", "next")
        for tx in [
            wd.schedule_free(name, rate, decay=decay, decay_at=at, weigh_by=weigh_by)
        ]
    }
    for got, wanted in zip(paths["this"], ("", "/averaged"), strict=True):
        assert apart(got, FIXTURE[case + wanted]) < EXACT
    assert apart(paths["next"][0], FIXTURE[case]) > 1e-3  # Optax's way of weighing


OTHER_TIES = [
    ("heavyball/cautious sgd", {"decay", "skip", "sign"}),
    ("pytorch_optimizer 3.9/cautious sgd", {"skip", "sign", "signbit"}),
]


@pytest.mark.parametrize(("case", "others"), OTHER_TIES)
def test_only_one_way_with_ties_is_the_package_s(case, others, x64):
    """Two weights never have a gradient: one is above 0, one below."""
    for ties in others:
        decay = wd.cautious(wd.decoupled(ABOUT[case]["strength"]), ties=ties)
        got = ours(TABLE[case], decay)
        assert apart(got, FIXTURE[case]) > 1e-2


@pytest.mark.parametrize("core", ["adam", "momentum", "nesterov"])
def test_tangent_cases_take_every_branch(core):
    start = {k: np.asarray(x) for k, x in in_flax("start").items()}
    h, z = in_flax("curvature"), in_flax("noise")
    _, seen = scheme_rules.trajectory(
        part(scheme_rules.tangent, lam=0.5),
        {k: rules.CORES[core]() for k in start},
        start,
        lambda theta, t: {
            k: np.asarray(h[k] * (x - 1.0) + z[k][t]) for k, x in theta.items()
        },
        FIXTURE["rates"],
        float(FIXTURE["peak"]),
    )
    assert seen == {"unit", "leaf", "neither"}
