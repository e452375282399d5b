"""WideResNet as a Flax Linen module: few blocks, many channels, norms first.

conv 3×3 to 16 channels, three stages of (depth − 4)/6 blocks with 16k, 32k and 64k
channels, norm, ReLU, the mean over positions, dense. Dropout stands between the two
convolutions of a block, as in the paper, and nowhere else.
"""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax

from jaxwd.errors import InputError, require
from jaxwd.models.parts import ImageLayers, drop, head, recomputed, require_images


@dataclass(frozen=True)
class Config:
    """Everything about the WideResNet that is not a parameter.

    Attributes:
        classes: number of outputs.
        depth: 6n + 4: 10, 16, 22, 28, 40, …
        widen: the factor k.
        width: channels before widening, 16 in the paper.
        norm: `batch` (Ioffe and Szegedy, 2015) or `group` (Wu and He, 2018).
        groups: at most so many groups in a group norm.
        init: initialiser of every kernel.
        conv: how convolutions are computed: `auto`, `im2col` or `lax`.
        remat: the backward pass computes each block again instead of keeping it.

    >>> Config(depth=17)
    Traceback (most recent call last):
    jaxwd.errors.InputError: depth=17 is not 6n + 4; nearest: 16 or 22
    """

    classes: int = 10
    depth: int = 16
    widen: int = 4
    width: int = 16
    norm: str = "batch"
    groups: int = 32
    init: str = "he"
    conv: str = "auto"
    remat: bool = False

    def __post_init__(self) -> None:
        for name in ("classes", "widen", "width"):
            require(name, getattr(self, name), 1, whole=True)
        require("depth", self.depth, 10, whole=True)
        low = 6 * self.blocks + 4
        if self.depth != low:
            raise InputError(
                f"depth={self.depth} is not 6n + 4; nearest: {low} or {low + 6}"
            )
        self.layers()

    @property
    def blocks(self) -> int:
        """Return the blocks of each stage, n."""
        return (self.depth - 4) // 6

    def layers(self, axis_name: str | None = None) -> ImageLayers:
        """Return how its layers are made."""
        return ImageLayers(self.norm, self.groups, self.init, self.conv, axis_name)


class _Block(nn.Module):
    """norm → ReLU → conv → norm → ReLU → dropout → conv, plus the input."""

    channels: int
    stride: int
    layers: ImageLayers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, dropout_rate: Any) -> jax.Array:
        layers, stride = self.layers, self.stride
        y = nn.relu(layers.normalized(x, train, name="norm1"))
        if x.shape[-1] != self.channels or stride != 1:
            x = layers.convolution(self.channels, 1, stride, name="shortcut")(y)
        y = layers.convolution(self.channels, 3, stride, name="conv1")(y)
        y = nn.relu(layers.normalized(y, train, name="norm2"))
        y = drop(self, y, dropout_rate, train)
        last = layers.convolution(
            self.channels, 3, name="conv2", input_dropout=dropout_rate
        )
        return x + last(y)


class WideResNet(nn.Module):
    """The WideResNet; batch norms average over the devices of `axis_name` in training.

    Source: Zagoruyko and Komodakis, Wide residual networks, 2016.

    >>> import jax.numpy as jnp
    >>> variables = WideResNet(Config(depth=10, width=2, widen=1)).init(
    ...     jax.random.key(0), jnp.ones((1, 8, 8, 3)), train=False)
    >>> sorted(variables["params"])[:3]
    ['conv1', 'norm', 'output']
    """

    config: Config = Config()  # a frozen value
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, dropout_rate: Any = 0.0):
        """Return the logits, shape (batch, classes), of floats NHWC."""
        require_images("wrn", x.shape)
        c, layers = self.config, self.config.layers(self.axis_name)
        x = layers.convolution(c.width, 3, name="conv1")(x)
        kind = recomputed(_Block, c.remat and train, dropout_rate)
        for stage in (1, 2, 3):
            channels = c.width * c.widen * 2 ** (stage - 1)
            for i in range(1, c.blocks + 1):
                stride = 2 if stage > 1 and i == 1 else 1
                name = f"stage{stage}_block{i}"
                block = kind(channels, stride, layers, name=name)
                x = block(x, train, dropout_rate)
        x = nn.relu(layers.normalized(x, train, name="norm"))
        return head(self, x, c.classes, c.init, train, 0.0)
