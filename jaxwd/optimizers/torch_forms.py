"""Cores in torch's form, for the optimizers where Optax computes something else.

| optimizer | Optax 0.2.8                         | torch 2.13                       |
|-----------|-------------------------------------|----------------------------------|
| adagrad   | g/√(Σg² + ε), Σ from 0.1, ε = 1e-7  | g/(√Σg² + ε), Σ from 0, ε = 1e-10 |
| rmsprop   | g/√(v + ε), decay 0.9               | g/(√v + ε), decay 0.99           |
| nadam     | β₁ constant in the look-ahead       | β₁(1 − ½·0.96^(0.004t)) there    |
| radam     | ε added to √v̂                       | ε added to √v, then corrected    |
| amsgrad   | maximum of the corrected v̂          | maximum of v, corrected after    |

SGD, momentum, Nesterov, Adadelta, Adamax and Adam (so AdamW) agree to rounding.
Read in torch/optim (2.13.0) and optax/_src/transform.py (0.2.8); the trajectories
committed under tests/fixtures hold both sides to it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

Tree = Any


class _Moments(NamedTuple):
    """Step counter and the moments a core keeps."""

    count: jax.Array
    mu: Tree
    nu: Tree
    extra: Any = ()


def _zeros(params: Tree) -> Tree:
    return jax.tree.map(jnp.zeros_like, params)


def _average(old: Tree, new: Tree, b: Any) -> Tree:
    """b·old + (1 − b)·new."""
    return jax.tree.map(lambda m, g: b * m + (1 - b) * g, old, new)


def _squares(tree: Tree) -> Tree:
    return jax.tree.map(jnp.square, tree)


def scale_by_adagrad(eps: float = 1e-10) -> optax.GradientTransformation:
    """U = g / (√(Σ g²) + ε), torch's Adagrad; Optax adds ε under the root."""

    def init(params: Tree) -> Tree:
        return _zeros(params)

    def update(updates: Tree, state: Tree, params: Any = None) -> Any:
        del params
        total = jax.tree.map(lambda t, g: t + g * g, state, updates)
        u = jax.tree.map(lambda g, t: g / (jnp.sqrt(t) + eps), updates, total)
        return u, total

    return optax.GradientTransformation(init, update)


def scale_by_nadam(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    momentum_decay: float = 4e-3,
) -> optax.GradientTransformation:
    """U = (μ_{t+1}m/(1 − Πμ_{≤t+1}) + (1 − μ_t)g/(1 − Πμ_{≤t})) / (√v̂ + ε).

    μ_t = β₁(1 − ½·0.96^(t·ψ)), ψ = `momentum_decay`: the schedule of Dozat's paper
    (Incorporating Nesterov momentum into Adam, 2016), kept by torch, not by Optax.
    """

    def mu_at(t: Any) -> Any:
        return b1 * (1.0 - 0.5 * 0.96 ** (t * momentum_decay))

    def init(params: Tree) -> _Moments:
        return _Moments(
            jnp.zeros([], jnp.int32), _zeros(params), _zeros(params), jnp.ones([])
        )

    def update(updates: Tree, state: Any, params: Any = None) -> Any:
        del params
        t = state.count + 1
        now, after = mu_at(t), mu_at(t + 1)
        product = state.extra * now
        mu = _average(state.mu, updates, b1)
        nu = _average(state.nu, _squares(updates), b2)

        def direction(g: Any, m: Any, v: Any) -> Any:
            look_ahead = (1 - now) / (1 - product) * g + after / (
                1 - product * after
            ) * m
            return look_ahead / (jnp.sqrt(v / (1 - b2**t)) + eps)

        u = jax.tree.map(direction, updates, mu, nu)
        return u, _Moments(t, mu, nu, product)

    return optax.GradientTransformation(init, update)


def scale_by_radam(
    b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
    """U = r_t·m̂·√(1 − β₂^t)/(√v + ε) once ρ_t > 5, else m̂; torch's RAdam."""
    rho_inf = 2.0 / (1.0 - b2) - 1.0

    def init(params: Tree) -> _Moments:
        return _Moments(jnp.zeros([], jnp.int32), _zeros(params), _zeros(params))

    def update(updates: Tree, state: Any, params: Any = None) -> Any:
        del params
        t = state.count + 1
        mu = _average(state.mu, updates, b1)
        nu = _average(state.nu, _squares(updates), b2)
        rho = rho_inf - 2 * t * b2**t / (1 - b2**t)
        rectify = ((rho - 4) * (rho - 2) * rho_inf) / (
            (rho_inf - 4) * (rho_inf - 2) * rho
        )
        r = jnp.sqrt(jnp.maximum(rectify, 0.0))

        def direction(m: Any, v: Any) -> Any:
            m_hat = m / (1 - b1**t)
            adapted = r * m_hat * jnp.sqrt(1 - b2**t) / (jnp.sqrt(v) + eps)
            return jnp.where(rho > 5, adapted, m_hat)

        return jax.tree.map(direction, mu, nu), _Moments(t, mu, nu)

    return optax.GradientTransformation(init, update)


def scale_by_amsgrad(
    b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
    """U = m̂ / (√(max v)/√(1 − β₂^t) + ε), torch's Adam(amsgrad=True)."""

    def init(params: Tree) -> _Moments:
        zeros = _zeros(params)
        return _Moments(jnp.zeros([], jnp.int32), zeros, zeros, zeros)

    def update(updates: Tree, state: Any, params: Any = None) -> Any:
        del params
        t = state.count + 1
        mu = _average(state.mu, updates, b1)
        nu = _average(state.nu, _squares(updates), b2)
        largest = jax.tree.map(jnp.maximum, state.extra, nu)
        u = jax.tree.map(
            lambda m, v: m / (1 - b1**t) / (jnp.sqrt(v) / jnp.sqrt(1 - b2**t) + eps),
            mu,
            largest,
        )
        return u, _Moments(t, mu, nu, largest)

    return optax.GradientTransformation(init, update)
