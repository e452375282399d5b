"""A multi-layer perceptron as two pure functions, for tables and for small images.

inputs (flattened) → [dense → ReLU] × hidden → dropout → dense
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import jax.numpy as jnp

from jaxwd.dropout import dropout
from jaxwd.errors import require
from jaxwd.models.initializers import INITIALIZERS, initializer

Params = dict[str, dict[str, jax.Array]]


@dataclass(frozen=True)
class Config:
    """Everything about the MLP that is not a parameter.

    Attributes:
        classes: number of outputs (1 for one regression target).
        hidden: widths of the hidden layers; empty gives a linear model.
        init: initialiser of every kernel; biases start at 0.
    """

    classes: int = 10
    hidden: tuple[int, ...] = (128,)
    init: str = "lecun"

    def __post_init__(self) -> None:
        require("classes", self.classes, 1)
        for size in self.hidden:
            require("hidden", size, 1)
        initializer(self.init)


def init(
    key: jax.Array,
    config: Config,
    input_shape: tuple[int, ...],
    *,
    dropout_rate: Any = 0.0,
) -> Params:
    """Return the parameters for inputs of `input_shape` (without the batch axis).

    >>> params = init(jax.random.key(0), Config(classes=1, hidden=(16,)), (10,))
    >>> params["dense1"]["kernel"].shape, params["output"]["kernel"].shape
    ((10, 16), (16, 1))
    """
    sizes = (prod(input_shape), *config.hidden, config.classes)
    names = [f"dense{i}" for i in range(1, len(config.hidden) + 1)] + ["output"]
    keys = jax.random.split(key, len(names))

    def layer(i: int) -> dict[str, jax.Array]:
        rate = dropout_rate if names[i] == "output" else 0.0
        start = INITIALIZERS[config.init](rate)
        return {
            "kernel": start(keys[i], sizes[i : i + 2], jnp.float32),
            "bias": jnp.zeros(sizes[i + 1], jnp.float32),
        }

    return {name: layer(i) for i, name in enumerate(names)}


def apply(
    params: Params,
    inputs: jax.Array,
    config: Config = Config(),  # a frozen value
    *,
    train: bool,
    dropout_rate: Any = 0.0,
    key: jax.Array | None = None,
) -> jax.Array:
    """Return the outputs, shape (batch, classes); arguments as in `jaxwd.cnn.apply`.

    >>> params = init(jax.random.key(0), Config(), (28, 28, 1))
    >>> apply(params, jnp.ones((2, 28, 28, 1)), train=False).shape
    (2, 10)
    """
    x = inputs.reshape(inputs.shape[0], -1)
    for i in range(1, len(config.hidden) + 1):
        x = jax.nn.relu(x @ params[f"dense{i}"]["kernel"] + params[f"dense{i}"]["bias"])
    x = dropout(x, dropout_rate, train=train, key=key)
    return x @ params["output"]["kernel"] + params["output"]["bias"]
