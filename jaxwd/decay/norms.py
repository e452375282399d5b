"""Norms held in place instead of weights shrunk: the constructors.

| scheme         | what it does to a leaf in each step                          |
|----------------|--------------------------------------------------------------|
| `max_norm`     | every output unit is scaled back to ‖θ_j‖ ≤ c                |
| `norm_ball`    | the leaf is scaled back to ‖θ‖ ≤ r                           |
| `radial_brake` | only a part of a growth of ‖θ‖ is let through                |
| `lawn`         | free at first; later ‖θ‖ is held and g is made tangent       |
| `hyperball`    | ‖θ‖ is held at its start, the step has length η‖θ‖           |
| `rotational`   | every unit turns by the angle of its equilibrium             |
"""

import math
from typing import Any

from jaxwd.decay.scheme import DecayScheme
from jaxwd.errors import require, unknown
from jaxwd.masks import Where, kernels, rules
from jaxwd.schedules import ScalarOrSchedule


def _scheme(kind: str, where: Where, **settings: Any) -> DecayScheme:
    return DecayScheme(kind, where=rules(where), settings=tuple(settings.items()))


def max_norm(limit: float, *, where: Where = kernels) -> DecayScheme:
    """Max-norm constraint: after each step θ_j ← θ_j·min(1, c/‖θ_j‖) for every unit j.

    Args:
        limit: c, in units of weights. Usual values lie between 2 and 4.
        where: which leaves; default kernels only. A unit is the last axis.

    Source: Srivastava et al., Dropout, 2014.

    Not for units that feed a normalisation: their length changes nothing but the
    effective learning rate.

    Reference: `keras.constraints.MaxNorm`; torch `renorm`.

    >>> print(max_norm(3.0))
    max_norm(limit=3.0)
    """
    require("max_norm: limit", limit, 0.0, open_low=True)
    return _scheme("max_norm", where, limit=limit)


def norm_ball(radius: float, *, where: Where = kernels) -> DecayScheme:
    """Projection on a ball: after each step θ ← θ·min(1, r/‖θ‖), leaf by leaf.

    Args:
        radius: r, in units of weights.
        where: which leaves; default kernels only.

    Not for leaves of different sizes under one radius: a large leaf has a large
    norm.

    Source: Goodfellow et al., Deep learning, 2016, §7.2.

    Reference: `optax.projections.projection_l2_ball`.

    >>> print(norm_ball(10.0))
    norm_ball(radius=10.0)
    """
    require("norm_ball: radius", radius, 0.0, open_low=True)
    return _scheme("norm_ball", where, radius=radius)


def radial_brake(
    *, outward: float = 0.5, inward: float = 1.0, where: Where = kernels
) -> DecayScheme:
    """Let through only a part of each change of length: ‖θ'‖ = ‖θ‖ + s(‖θ̃‖ − ‖θ‖).

    Args:
        outward: s where the step makes the leaf longer; 0 forbids growth, from 0 as
            well.
        inward: s where it makes it shorter.
        where: which leaves; default kernels only.

    Source: NVIDIA's Emerging-Optimizers, RadialBrake, with the same defaults.

    Not for leaves that start at 0, with `outward=0`: they never leave it.

    Reference: NVIDIA's Emerging-Optimizers.

    >>> print(radial_brake())
    radial_brake(outward=0.5, inward=1.0)
    """
    require("radial_brake: outward", outward, 0.0, 1.0)
    require("radial_brake: inward", inward, 0.0, 1.0)
    return _scheme("radial_brake", where, outward=outward, inward=inward)


def lawn(free_steps: int, *, where: Where = kernels) -> DecayScheme:
    """Logit attenuating weight normalisation: free for E steps, then norms are fixed.

    From step E on the gradient loses its radial part, ĝ = g − ⟨g, θ̂⟩θ̂, and after the
    step the leaf is scaled back to the length it had. Per leaf.

    Args:
        free_steps: E, steps before the norms freeze.
        where: which leaves; default kernels only.

    Source: Ghosh et al., Logit attenuating weight normalization, 2021. The order of
    projection and renormalisation is ours; the paper ties it to its own optimizers.

    Not for leaves that still have to find their size when E is over: it stays.

    Reference: none public was found.

    >>> print(lawn(500))
    lawn(free_steps=500)
    """
    require("lawn: free_steps", free_steps, 0, whole=True)
    return _scheme("lawn", where, free_steps=free_steps)


def hyperball(*, where: Where = kernels) -> DecayScheme:
    """Fixed norm, fixed step length: θ̃ = θ − η_t‖θ‖·u/‖u‖, θ' = θ̃·‖θ₀‖/‖θ̃‖.

    There is no λ: the learning rate is the angle of a step, whatever the core makes of
    the gradient. √(η·λ) of the AdamW you come from is the rule of thumb for it. Weight
    decay beside it would change nothing to first order, so it takes none.

    Args:
        where: which leaves, whole leaves at a time; default kernels only. Leave out
            embeddings, the weights of normalisations, and a head that starts at 0: its
            norm is held too.

    Source: Wen et al., Fantastic pretraining optimizers, Hyperball, 2026.

    Not for embeddings, weights of normalisations, heads that start at 0.

    Reference: heavyball's `HyperBallAdamW`.

    >>> print(hyperball())
    hyperball()
    """
    return _scheme("hyperball", where)


ROTATIONS = {
    "sgd": lambda momentum=0.0: 1 / (1 + momentum),
    "adam": lambda b1=0.9, **_: (1 - b1) / (1 + b1),
    "lion": lambda b1=0.9, b2=0.99: (
        math.pi / 2 * ((1 - b1) ** 2 + b1**2 * (1 - b2) / (1 + b2))
    ),
}
"""Core → c of the equilibrium's angle a step, √(2η_tλc)."""


def rotational(
    strength: ScalarOrSchedule,
    *,
    core: str = "adam",
    beta: float = 0.9,
    center: bool = True,
    where: Where = kernels,
    **hyper: float,
) -> DecayScheme:
    """Turn every unit by the angle that decay would lead to: η_r = √(2η_tλc).

    û is u without its part along θ_j and, with `center`, without its mean; ν = EMA of
    ‖û‖²; θ̃_j = θ_j − η_r‖θ_j‖û/√ν, scaled back to the length at `init`. From the first
    step on every unit moves as in the equilibrium of decay and gradient.

    Args:
        strength: λ of the decoupled decay (`sgd`: coupled) it replaces; it sets the
            angle only, lengths never change.
        core: whose law of the equilibrium holds: `adam` c = (1−β₁)/(1+β₁), `sgd`
            (with momentum μ) c = 1/(1+μ), `lion`.
        beta: of the average of ‖û‖²; lower is stricter.
        center: drop the mean of each unit's step. The authors' code centres the
            weights themselves once as well: do so before `init` if you want that.
        where: which leaves; default kernels only. A unit is the last axis; one that
            starts at 0 stays there.
        **hyper: b1, b2 or momentum of the core, where they are not the defaults.

    Source: Kosson et al., Rotational equilibrium, 2024; epfml/REQ.

    Not for leaves whose length matters, such as a last layer without normalisation.

    Reference: epfml/REQ.

    >>> print(rotational(0.1))
    rotational(0.1, angle=0.05..., beta=0.9, center=True)
    """
    if core not in ROTATIONS:
        raise unknown("core", core, ROTATIONS)
    require("rotational: beta", beta, 0.0, 1.0)
    settings = {"angle": ROTATIONS[core](**hyper), "beta": beta, "center": center}
    return DecayScheme(
        "rotational", strength, where=rules(where), settings=tuple(settings.items())
    )
