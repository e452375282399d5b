"""Make tests/fixtures/package_trajectories.npz: what nine other packages really do.

The two versions of pytorch_optimizer need an environment each. A run replaces the cases
of the packages it finds at the right version and keeps the others.

    python -m venv a
    a/bin/pip install torch==2.13.0 numpy pytorch_optimizer==4.1.0 pytorch-cpr==0.3.1 \
        adamp==0.3.0 schedulefree==1.4.1 heavyball==3.2.1 torch-optimi==0.3.3 \
        keras==3.15.1 jax==0.10.2
    a/bin/pip install --no-deps timm==1.0.31 jestimator==0.3.3
    a/bin/pip install flax optax
    a/bin/python scripts/make_package_fixtures.py
    python -m venv b && b/bin/pip install torch==2.13.0 numpy pytorch_optimizer==3.9.0
    b/bin/python scripts/make_package_fixtures.py "pytorch_optimizer 3.9"

Problem: gradient h(θ − 1) + z_t of a kernel (4, 3), output units first as in torch, and
a bias (4,), float64, 120 steps, a rate that rises to 0.02 and falls. Two weights of the
kernel never have a gradient, which is where ways with ties differ. The kernel decays,
the bias does not. Weights after the steps `kept` are stored, a row a step, the kernel
first; under "about" the class, version, settings and λ of each case.

What the methods without a scheme of jaxwd compute is below, as read in their sources,
and again in NumPy in tests/package_rules.py, which the fixture holds to 1e-13. One leaf
at a time; n its size, η the rate of the step, α its peak, t from 1, u Adam's direction
m̂/(√v̂ + ε) unless said, ‖·‖ the Frobenius norm.

**CPR**, pytorch-cpr `AdamCPR`, statistic `l2`. R(θ) = ‖θ‖², no ½. After Adam's step:

    θ̃ = θ − ηu;  Λ ← max(0, Λ + (μ/n)(R(θ̃) − κ));  θ' = θ̃ − 2Λθ̃

Λ is updated first and used in the same step, κ is compared with the weights after
Adam's step, and η does not multiply the pull unless `reg_by_lr` (then 2ηΛθ̃). Λ = 0 at
first, μ = `kappa_update` = 1. State a leaf: Λ, κ, μ/n, all float32 (here also run with
float64: "… float64"). Only groups with `regularize=True`, else plain Adam; there is no
λ. κ:

- `uniform`: κ = `kappa_init_param`.
- `dependent`: κ = `kappa_init_param`·R(θ₀).
- `warm_start`: κ = R(θ̃) at step `kappa_init_param`; pulls from the step after.
- `inflection_point` (default), by foreach: κ = 1e6 (off) until found. In every step,
  with N = ‖θ'‖: e ← N if t < s, else ρe + (1 − ρ)N, s = `reg_step_size`,
  ρ = `reg_ema_decay`. In every s-th step after the first s: q = (e − e₋)/e, e₋ ← e; if
  t > 3s and q₋ > q > 0.01, κ = R(θ'); if t > 2s, q₋ ← q. Begins with e₋ = q₋ = 0.
  Leaf by leaf (`foreach=False`, and the default on CPU) κ is tried against 1000, so it
  is never found: plain Adam.

`l1` by foreach pulls along θ instead of sign θ; `std` has μ for μ/n (read, not run).

**HyperBall**, heavyball `HyperBallAdamW`, leaves with two axes or more:

    w = g/max(√v̂, ε) + λθ;  θ̃ = θ − η‖θ₀‖·w/‖w‖;  θ' = θ̃·‖θ₀‖/‖θ̃‖

No first moment, although β₁ is asked for. ‖w‖ and ‖θ̃‖ are at least 1e-12. State: v and
‖θ₀‖, a scalar taken from the weights at the first step, in `storage_dtype` (float32
unless told; here float64). Other leaves: θ' = θ(1 − ηλ) − η·g/max(√v̂, ε).

**Schedule-free.** Gradients are taken at y. w_t = (max η so far)², c = w_t/Σw:

    z' = z − η(u + λp);  x' = (1 − c)x + cz';  y' = βx' + (1 − β)z'

x = y = z = θ₀ at first; u = g/(√v̂ + ε), no first moment, for "adamw", g for "sgd".

- schedulefree: p = y; AdamWScheduleFreeReference(decay_at_z=True): p = z, and so with
  a torch optimizer's own decay inside ScheduleFreeWrapperReference.
- pytorch_optimizer ScheduleFreeAdamW: p = y, u = g/(√(v̂ + 1e-15) + ε).
- pytorch_optimizer ScheduleFreeWrapper: p = z, but y shrinks by its own value,
  y(1 − ηλ(1 − β)), so that x moves too: x ← x − ηλ(1 − β)(x − z) before averaging.
- heavyball SFAdamW: p = y, u = g/max(√v̂, ε), w_t = η_t² of this step, not the largest.
- Keras ScheduleFreeAdamW: w_t = 1; y ← y(1 − ηλ) first, z is not decayed, and x is what
  y and z imply, so x ← x − ηλy/β.

**LAMB.** r = ‖a‖/‖b‖, 1 where a norm is 0. ε = 1e-6, Keras 1e-7.

- timm Lamb: w = u + λθ, θ' = θ − η·(‖θ‖/‖w‖)·w. `decoupled_decay`: θ̄ = θ − ηλθ,
  θ' = θ̄ − η(‖θ̄‖/‖u‖)u; `corrected_weight_decay` there: η²/α for ηλ's η. Default: all
  gradients are first divided by max(1, ‖g of all leaves‖), and leaves of groups with
  λ = 0 have r = 1; here `max_grad_norm=None, always_adapt=True` but for "as it comes".
- pytorch_optimizer Lamb: u = m/(√v + ε), neither corrected; outside (default)
  θ̄ = θ − ηλθ, r = min(‖θ̄‖, 10)/(‖u‖ + ε), θ' = θ̄ − η/(1 − β₁^t)·ru; inside
  (`weight_decouple=False`): u + λθ for u and θ for θ̄. The first step is
  η‖θ‖/(1 − β₁) long, ten times that of the others.
- Keras Lamb: outside, as timm's `decoupled_decay`.

**LARS.** μ = 0.9, c = `trust_coeff(icient)` = 0.1:

    d = c‖θ‖/(‖g‖ + λ‖θ‖ + ε)·(g + λθ);  b ← μb + d;  θ' = θ − ηb

or θ − η(d + μb) with Nesterov. timm: ε = 1e-8, leaves of groups with λ = 0 take d = g
unless `always_adapt` (here set). pytorch_optimizer: ε = 0, leaves of one axis d = g.
"""

import importlib.metadata
import json
import os
import pathlib
import sys
import warnings
from typing import Any

os.environ |= {"KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}

import numpy as np
import package_cases as cases
from package_runs import descend, descend_keras, descend_optax

OUT = pathlib.Path(__file__).parent.parent / "tests/fixtures/package_trajectories.npz"
STEPS, PEAK = 120, 0.02
SHAPES = {"kernel": (4, 3), "bias": (4,)}
KEPT = (1, 2, 3, 5, 8, 13, 21, 34, 48, 60, 72, 90, 105, 120)
UNTOUCHED = {(0, 0): 0.7, (1, 1): -0.9}  # weights that no gradient ever reaches

# name → (distribution, version, its cases, how they are run)
PACKAGES = {
    "timm": ("timm", "1.0.31", cases.timm_cases, descend),
    "pytorch_optimizer": (
        "pytorch_optimizer",
        "4.1.0",
        cases.pytorch_optimizer_cases,
        descend,
    ),
    "pytorch_optimizer 3.9": (
        "pytorch_optimizer",
        "3.9.0",
        cases.pytorch_optimizer_39_cases,
        descend,
    ),
    "pytorch-cpr": ("pytorch-cpr", "0.3.1", cases.cpr_cases, descend),
    "adamp": ("adamp", "0.3.0", cases.adamp_cases, descend),
    "schedulefree": ("schedulefree", "1.4.1", cases.schedulefree_cases, descend),
    "heavyball": ("heavyball", "3.2.1", cases.heavyball_cases, descend),
    "torch-optimi": ("torch-optimi", "0.3.3", cases.optimi_cases, descend),
    "keras": ("keras", "3.15.1", cases.keras_cases, descend_keras),
    "jestimator": ("jestimator", "0.3.3", cases.jestimator_cases, descend_optax),
}


def make_problem() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    t = np.arange(STEPS)
    problem: dict[str, Any] = {
        "peak": np.float64(PEAK),
        "kept": np.array(KEPT),
        "rates": PEAK * (0.2 + 0.8 * np.sin(np.pi * (t + 1) / STEPS) ** 2),
    }
    for name, shape in SHAPES.items():
        problem[f"start/{name}"] = rng.normal(size=shape)
        problem[f"curvature/{name}"] = rng.uniform(0.5, 2.0, shape)
        problem[f"noise/{name}"] = rng.normal(0, 0.3, (STEPS, *shape))
    for place, value in UNTOUCHED.items():
        problem["start/kernel"][place] = value
        problem["curvature/kernel"][place] = 0.0
        problem["noise/kernel"][(slice(None), *place)] = 0.0
    return problem


def installed(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def run_package(name: str, problem: dict[str, Any]) -> tuple[dict, dict]:
    """Return the trajectories of a package and what they are."""
    _, version, its_cases, run = PACKAGES[name]
    paths, about = {}, {}
    for title, case in its_cases().items():
        about[f"{name}/{title}"] = case.about(version)
        for tail, path in run(case, problem).items():
            paths[f"{name}/{title}{tail}"] = path
    return paths, about


def main() -> None:
    warnings.simplefilter("ignore")
    problem = make_problem()
    old = dict(np.load(OUT)) if OUT.exists() else {}
    about = json.loads(str(old.get("about", "{}")))
    paths = {k: v for k, v in old.items() if k.split("/")[0] in PACKAGES}
    for name in sys.argv[1:] or PACKAGES:
        distribution, version, *_ = PACKAGES[name]
        if (found := installed(distribution)) != version:
            print(f"{name}: needs {distribution} {version}, found {found}; kept as is")
            continue
        new_paths, new_about = run_package(name, problem)
        for kept, new in ((paths, new_paths), (about, new_about)):
            for k in [k for k in kept if k.split("/")[0] == name]:
                del kept[k]
            kept.update(new)
        print(f"{name} {version}: {len(new_about)} cases")
    everything = problem | dict(sorted(paths.items()))
    np.savez_compressed(OUT, **everything, about=np.array(json.dumps(about)))
    print(f"{OUT.name}: {len(paths)} trajectories, {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
