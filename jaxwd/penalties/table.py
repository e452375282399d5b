"""The shapes of a penalty, one row each: R, ∇R and the proximal step of one leaf.

"λ = 0.0005" names a different amount of decay in each written form:

| form              | penalty        | gradient | equals torch `weight_decay` |
|-------------------|----------------|----------|-----------------------------|
| `l2`              | λ‖θ‖²          | 2λθ      | 2λ                          |
| `half_l2`         | ½λ‖θ‖²         | λθ       | λ                           |
| `l2_per_example`  | λ/(2m)‖θ‖²     | λθ/m     | λ/m                         |

With m = 32, a mini-batch, the first pulls 2m = 64 times as hard as the last. The other
shapes pull by |θ|: `l1`, `elastic_net`, `huber`, `p_norm`, `group_lasso`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxwd.errors import InputError, require, unknown
from jaxwd.trees import over, unit_norm

Array = jax.Array
Settings = dict[str, Any]


class Penalty(NamedTuple):
    """One row of `PENALTIES`. Every function takes the row's settings by name.

    Attributes:
        value: leaf → R, a scalar; λ times it is added to the loss.
        gradient: leaf → ∇R, of the leaf's shape; 0 where R has a corner.
        prox: (y, t, before) → argmin_z t·R(z) + ½‖z − y‖². `before` is the leaf before
            the step, for the one form that is evaluated there. None where there is no
            closed form.
        settings: names and defaults; ... marks one that must be given.
        linear: settings → c where ∇R = c·θ, None where it is not linear in θ.
    """

    value: Callable[..., Array]
    gradient: Callable[..., Array]
    prox: Callable[..., Array] | None
    settings: Settings
    linear: Callable[[Settings], float | None] = lambda settings: None


def _quadratic(half_curvature: Callable[..., Any], settings: Settings) -> Penalty:
    """R = a‖θ‖² with a from the settings: ∇R = 2aθ, prox y/(1 + 2at)."""
    return Penalty(
        lambda x, **s: half_curvature(**s) * jnp.sum(jnp.square(x)),
        lambda x, **s: 2 * half_curvature(**s) * x,
        lambda y, t, before, **s: y / (1 + 2 * half_curvature(**s) * t),
        settings,
        lambda s: 2 * half_curvature(**s),
    )


def soft_threshold(y: Array, t: Any) -> Array:
    """Return sign(y)·max(|y| − t, 0): exact zeros inside [−t, t]."""
    return jnp.sign(y) * jnp.maximum(jnp.abs(y) - t, 0)


def _elastic_gradient(x: Array, l1_ratio: Any) -> Array:
    return l1_ratio * jnp.sign(x) + (1 - l1_ratio) * x


def _elastic_prox(y: Array, t: Any, before: Array, l1_ratio: Any) -> Array:
    return soft_threshold(y, t * l1_ratio) / (1 + t * (1 - l1_ratio))


def _huber_value(x: Array, delta: Any) -> Array:
    size = jnp.abs(x)
    inside = 0.5 * jnp.square(x)
    return jnp.sum(jnp.where(size <= delta, inside, delta * (size - 0.5 * delta)))


def _huber_prox(y: Array, t: Any, before: Array, delta: Any) -> Array:
    far = y - t * delta * jnp.sign(y)
    return jnp.where(jnp.abs(y) <= (1 + t) * delta, y / (1 + t), far)


def _p_norm_gradient(x: Array, p: Any) -> Array:
    size = jnp.where(x == 0, 1, jnp.abs(x))  # below p = 1 the slope at 0 is infinite
    return jnp.where(x == 0, 0, size ** (p - 1) * jnp.sign(x))


def _p_norm_prox(y: Array, t: Any, before: Array, p: Any) -> Array:
    """y/(1 + t|θ|^(p−2)) at the old |θ|: the divisor of pWD, stable for every p."""
    size = jnp.where(before == 0, 1, jnp.abs(before))
    below_two = jnp.where(p < 2, 0.0, y / (1 + t * (p == 2)))
    return jnp.where(before == 0, below_two, y / (1 + t * size ** (p - 2)))


def _group_gradient(x: Array) -> Array:
    return over(x, unit_norm(x))


def _group_prox(y: Array, t: Any, before: Array) -> Array:
    return y * jnp.maximum(1 - over(jnp.asarray(t), unit_norm(y)), 0)


def gram_gap(x: Array) -> Array:
    """Return WᵀW − I of the leaf as a matrix (in × out), by its shorter side."""
    matrix = x.reshape(-1, x.shape[-1])
    matrix = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    return matrix.T @ matrix - jnp.eye(matrix.shape[1], dtype=x.dtype)


def _orthogonality(x: Array) -> Array:
    return jnp.sum(jnp.square(gram_gap(x))) if x.ndim > 1 else jnp.zeros((), x.dtype)


def _spectral(x: Array) -> Array:
    matrix = x.reshape(-1, x.shape[-1] if x.ndim > 1 else 1)
    return 0.5 * jnp.linalg.norm(matrix, ord=2) ** 2


PENALTIES: dict[str, Penalty] = {
    "half_l2": _quadratic(lambda: 0.5, {}),
    "l2": _quadratic(lambda: 1.0, {}),
    "l2_per_example": _quadratic(lambda examples: 0.5 / examples, {"examples": ...}),
    "l1": Penalty(
        lambda x: jnp.sum(jnp.abs(x)),
        jnp.sign,
        lambda y, t, before: soft_threshold(y, t),
        {},
    ),
    "elastic_net": Penalty(
        lambda x, l1_ratio: (
            l1_ratio * jnp.sum(jnp.abs(x))
            + 0.5 * (1 - l1_ratio) * jnp.sum(jnp.square(x))
        ),
        _elastic_gradient,
        _elastic_prox,
        {"l1_ratio": 0.5},
    ),
    "huber": Penalty(
        _huber_value,
        lambda x, delta: jnp.clip(x, -delta, delta),
        _huber_prox,
        {"delta": ...},
    ),
    "p_norm": Penalty(
        lambda x, p: jnp.sum(jnp.abs(x) ** p) / p,
        _p_norm_gradient,
        _p_norm_prox,
        {"p": ...},
    ),
    "group_lasso": Penalty(
        lambda x: jnp.sum(unit_norm(x)), _group_gradient, _group_prox, {}
    ),
    "soft_orthogonality": Penalty(_orthogonality, jax.grad(_orthogonality), None, {}),
    "spectral": Penalty(_spectral, jax.grad(_spectral), None, {}),
}
"""Written form → R, ∇R, prox.

| row           | R of one leaf                                | source                  |
|---------------|----------------------------------------------|-------------------------|
| `l1`          | Σ\\|θ\\|                                       | Tibshirani, 1996        |
| `elastic_net` | ρΣ\\|θ\\| + ½(1−ρ)Σθ², ρ = `l1_ratio`          | Zou and Hastie, 2005    |
| `huber`       | ½θ² up to `delta`, then linear               | AdamHD, 2025            |
| `p_norm`      | Σ\\|θ\\|^p / p                                 | pWD, 2024               |
| `group_lasso` | Σ_G ‖θ_G‖, a group an output unit (last axis) | Yuan and Lin, 2006      |
| `soft_orthogonality` | ‖WᵀW − I‖², the shorter side of in × out | Bansal et al., 2018    |
| `spectral`    | ½σ₁², the largest singular value             | Yoshida and Miyato, 2017 |
"""

_RANGES = {
    "examples": (1.0, float("inf"), False),
    "l1_ratio": (0.0, 1.0, False),
    "delta": (0.0, float("inf"), True),
    "p": (0.0, float("inf"), True),
}


def settings_of(penalty: str, given: Settings) -> tuple[tuple[str, Any], ...]:
    """Return the row's settings, `given` ones filled in, as pairs.

    Raises:
        InputError: an unknown penalty, a setting it does not have, one that is missing
            or out of its range.
    """
    if penalty not in PENALTIES:
        raise unknown("penalty", penalty, PENALTIES)
    known = PENALTIES[penalty].settings
    needs = ", ".join(known) or "no settings"
    for name, value in given.items():
        if name not in known:
            raise InputError(
                f"penalty={penalty!r} does not take {name}={value}; it takes {needs}"
            )
    filled = known | given
    for name, value in filled.items():
        if value is ...:
            raise InputError(f"penalty={penalty!r} needs {name}=; it takes {needs}")
        low, high, open_low = _RANGES[name]
        require(f"{penalty}: {name}", value, low, high, open_low=open_low)
    return tuple(filled.items())
