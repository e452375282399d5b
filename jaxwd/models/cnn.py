"""The study's CNN as two pure functions: convolution, pooling, fully connected.

    images → [conv 3×3 → max-pool 2×2 → ReLU] × 2 → dense → ReLU → dropout → dense

Parameters are nested dicts with Flax's names, so every mask rule and every Flax tool
fits: `conv1/kernel` (HWIO), `conv1/bias`, …, `dense1/kernel` (in, out), `output/…`.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxwd.dropout import dropout
from jaxwd.errors import InputError, require
from jaxwd.models.conv import block
from jaxwd.models.initializers import INITIALIZERS, initializer

Params = dict[str, dict[str, jax.Array]]


@dataclass(frozen=True)
class Config:
    """Everything about the CNN that is not a parameter.

    Attributes:
        classes: number of outputs.
        channels: output channels of each convolution block.
        hidden: widths of the fully connected layers before the output.
        kernel: side of the convolution kernels.
        init: initialiser of every kernel, a row of `INITIALIZERS`; biases start at 0.
        conv: implementation of the convolution, `auto` picks by back end.
    """

    classes: int = 10
    channels: tuple[int, ...] = (32, 64)
    hidden: tuple[int, ...] = (128,)
    kernel: int = 3
    init: str = "lecun"
    conv: str = "auto"

    def __post_init__(self) -> None:
        require("classes", self.classes, 1)
        require("kernel", self.kernel, 1)
        for size in (*self.channels, *self.hidden):
            require("channels and hidden", size, 1)
        initializer(self.init)


def init(
    key: jax.Array,
    config: Config,
    image_shape: tuple[int, int, int],
    *,
    dropout_rate: Any = 0.0,
) -> Params:
    """Return the parameters for images of shape (height, width, channels).

    Args:
        key: a JAX key; used up by this call.
        config: the model.
        image_shape: (H, W, C) of one image.
        dropout_rate: only `he_dropout` looks at it, for the layer behind the dropout.

    Raises:
        InputError: images too small to be halved once for each block.

    >>> params = init(jax.random.key(0), Config(), (28, 28, 1))
    >>> params["conv1"]["kernel"].shape, params["output"]["kernel"].shape
    ((3, 3, 1, 32), (128, 10))
    """
    if len(image_shape) != 3:
        raise InputError(
            f"cnn: inputs of shape {image_shape}; give images (height, width, channels), "
            "or use the model mlp"
        )
    height, width, cin = image_shape
    blocks = len(config.channels)
    if min(height, width) < 2**blocks:
        raise InputError(
            f"cnn: images of {height}×{width} cannot be halved {blocks} times; give "
            f"images of at least {2**blocks}×{2**blocks} or fewer channels"
        )
    flat = (height >> blocks) * (width >> blocks) * (config.channels or (cin,))[-1]
    shapes: dict[str, tuple[int, ...]] = {}
    for i, cout in enumerate(config.channels, 1):
        shapes[f"conv{i}"] = (config.kernel, config.kernel, cin, cout)
        cin = cout
    for i, width in enumerate(config.hidden, 1):
        shapes[f"dense{i}"] = (flat, width)
        flat = width
    shapes["output"] = (flat, config.classes)
    keys = jax.random.split(key, len(shapes))

    def layer(name: str, key: jax.Array) -> dict[str, jax.Array]:
        rate = dropout_rate if name == "output" else 0.0
        start = INITIALIZERS[config.init](rate)
        shape = shapes[name]
        return {
            "kernel": start(key, shape, jnp.float32),
            "bias": jnp.zeros(shape[-1:], jnp.float32),
        }

    return {name: layer(name, k) for name, k in zip(shapes, keys, strict=True)}


def apply(
    params: Params,
    images: jax.Array,
    config: Config = Config(),  # a frozen value
    *,
    train: bool,
    dropout_rate: Any = 0.0,
    key: jax.Array | None = None,
) -> jax.Array:
    """Return the logits, shape (batch, classes).

    Args:
        params: from `init`.
        images: floats NHWC.
        config: the same as in `init`.
        train: False evaluates: no dropout, no key. There is no default on purpose.
        dropout_rate: share of the last hidden layer that is dropped; may be traced.
        key: for the dropout mask.

    Raises:
        InputError: images of wrong rank, training with dropout and no key.

    >>> params = init(jax.random.key(0), Config(), (28, 28, 1))
    >>> apply(params, jnp.ones((2, 28, 28, 1)), train=False).shape
    (2, 10)
    """
    if images.ndim != 4:
        raise InputError(
            f"cnn: images of shape {images.shape}; give (batch, height, width, channels)"
        )
    x = images
    for i in range(1, len(config.channels) + 1):
        x = block(x, params[f"conv{i}"], config.conv)
    x = x.reshape(x.shape[0], -1)
    for i in range(1, len(config.hidden) + 1):
        x = jax.nn.relu(x @ params[f"dense{i}"]["kernel"] + params[f"dense{i}"]["bias"])
    x = dropout(x, dropout_rate, train=train, key=key)
    return x @ params["output"]["kernel"] + params["output"]["bias"]
