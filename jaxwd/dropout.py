"""Dropout in two halves: `sample_mask` is random, `apply` is not.

Masks never agree between frameworks, so the arithmetic is tested with given masks and
the sampling by its moments. The same key gives the same mask, always.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxwd.errors import InputError, require

Scalar = Any


def sample_mask(
    key: jax.Array,
    shape: Sequence[int],
    rate: Scalar,
    *,
    broadcast_dims: Sequence[int] = (),
) -> jax.Array:
    """Draw which units are kept: booleans, True with probability 1 − rate.

    Args:
        key: a JAX key; used up by this call.
        shape: shape of the array the mask is for.
        rate: share of units to drop, in [0, 1]; a number or a traced scalar.
        broadcast_dims: axes along which one draw is shared. For images NHWC,
            `(1, 2)` drops whole channels (spatial dropout).

    Returns:
        Booleans of `shape`, with length 1 along `broadcast_dims`.

    >>> sample_mask(jax.random.key(0), (2, 4, 4, 3), 0.5, broadcast_dims=(1, 2)).shape
    (2, 1, 1, 3)
    """
    require("dropout rate", rate, 0.0, 1.0)
    for axis in broadcast_dims:
        require("broadcast_dims", axis, -len(shape), len(shape) - 1, whole=True)
    axes = {axis % len(shape) for axis in broadcast_dims}
    drawn = [1 if axis in axes else size for axis, size in enumerate(shape)]
    return jax.random.bernoulli(key, 1.0 - rate, drawn)


def apply(x: jax.Array, mask: jax.Array, rate: Scalar) -> jax.Array:
    """Return y = x·m/(1 − rate): inverted scaling keeps E[y] = x.

    At rate 0 this is x bit for bit; at rate 1 it is 0, with gradient 0 and no NaN.

    >>> apply(jnp.ones(4), jnp.array([True, False, True, False]), 0.5)
    Array([2., 0., 2., 0.], dtype=float32)
    """
    kept = 1.0 - jnp.asarray(rate, x.dtype)
    scale = jnp.where(kept > 0, kept, 1)
    return jnp.where(mask, x / scale, 0)


def dropout(
    x: jax.Array,
    rate: Scalar,
    *,
    train: bool,
    key: jax.Array | None = None,
    broadcast_dims: Sequence[int] = (),
) -> jax.Array:
    """Drop units of `x` while training; the identity when `train=False`.

    Args:
        x: any array.
        rate: share of units to drop, in [0, 1]; may be traced or come from a
            schedule, so one compilation serves a whole grid of rates.
        train: False says "this is an evaluation" and needs no key.
        key: needed when training, unless the rate is the literal number 0.
        broadcast_dims: axes that share one draw.

    Raises:
        InputError: training without a key, or a rate outside [0, 1].

    Source: Srivastava et al., Dropout, 2014.

    >>> dropout(jnp.ones(3), 0.5, train=False)
    Array([1., 1., 1.], dtype=float32)
    """
    require("dropout rate", rate, 0.0, 1.0)
    if not train or (isinstance(rate, int | float) and rate == 0):
        return x
    if key is None:
        raise InputError(
            f"dropout with rate={rate} needs a key; pass key=jax.random.key(…) to "
            "train, or train=False to evaluate"
        )
    return apply(
        x, sample_mask(key, x.shape, rate, broadcast_dims=broadcast_dims), rate
    )
