"""How the few weights of a picture become parameters: one row each.

A scheme acts on weights, units and leaves, so it matters whether two weights are one
unit, two units, or entries of two matrices.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

Tree = Any


class Layout(NamedTuple):
    """One row of `LAYOUTS`.

    Attributes:
        lay: shown weights, shape (n,) → parameters.
        read: (parameters, n) → shown weights.
        rest: parameters → loss of the entries that are not shown.
        said: what to say of it below a picture.
    """

    lay: Callable[[Array], Tree]
    read: Callable[[Tree, int], Array]
    rest: Callable[[Tree], Any] = lambda params: 0.0
    said: str = ""


def _one_leaf(shape: tuple[int, int], said: str) -> Layout:
    return Layout(
        lambda theta: {"kernel": theta.reshape(shape)},
        lambda params, n: params["kernel"].ravel(),
        said=said,
    )


TAILS = {"heavy": 5, "light": 1, "middle": 3}


def background(name: str) -> np.ndarray:
    """Return a 12 × 6 matrix whose spectrum has the tail that its name says."""
    values = np.random.default_rng(7).normal(size=(12, 6)) ** TAILS[name]
    return np.asarray(values / np.abs(values).max(), np.float32)


def _lay_spectra(theta: Array) -> Tree:
    """Weight after weight becomes the corner of a matrix, in the order of `TAILS`."""
    corners = [*theta, *[0.0] * (len(TAILS) - len(theta))]
    return {
        name: {"kernel": jnp.asarray(background(name)).at[0, 0].set(corner)}
        for name, corner in zip(TAILS, corners, strict=True)
    }


def _rest_spectra(params: Tree) -> Array:
    """½‖M − M₀‖² without the corner: hidden entries are best where they start."""
    gaps = [(params[n]["kernel"] - background(n)).at[0, 0].set(0) for n in TAILS]
    return 0.5 * sum((jnp.sum(jnp.square(gap)) for gap in gaps), jnp.zeros(()))


def _diagonal(params: Tree, n: int) -> Array:
    return jnp.diagonal(params["kernel"])


LAYOUTS = {
    "unit": _one_leaf((-1, 1), "the weights are the inputs of one output unit"),
    "units": _one_leaf((1, -1), "every weight is an output unit of its own"),
    "diagonal": Layout(
        lambda theta: {"kernel": jnp.diag(theta)},
        _diagonal,
        said="the weights are the diagonal of one matrix, so its singular values",
    ),
    "spectra": Layout(
        _lay_spectra,
        lambda params, n: jnp.stack([params[k]["kernel"][0, 0] for k in TAILS][:n]),
        _rest_spectra,
        "each weight is one entry of a 12 × 6 kernel of its own, whose spectrum has a "
        "heavy tail for the first weight, a light one for the second, one between for "
        "the third",
    ),
}
"""Name → row. `unit` is that of most pictures."""
