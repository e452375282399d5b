"""ResNet-18 as a Flax Linen module: a norm behind each convolution.

Up to 64 pixels the stem is a convolution 3×3 (He et al., 2016, on CIFAR); above, 7×7
with stride 2 and max-pooling 3×3 with stride 2 (He et al., 2015, on ImageNet). Then
stages of blocks, each stage with half the side and twice the channels, the mean over
positions, dropout, dense. A shortcut whose shape changes is a convolution 1×1 with a
norm.
"""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax

from jaxwd.errors import require
from jaxwd.models.parts import (
    ImageLayers,
    head,
    recomputed,
    require_choice,
    require_counts,
    require_images,
)

STEMS = ("auto", "small", "large")
_LARGE = 64  # pixels; above, the stem takes three quarters of them off each side


@dataclass(frozen=True)
class Config:
    """Everything about the ResNet that is not a parameter.

    Attributes:
        classes: number of outputs.
        blocks: of each stage.
        width: channels of the first stage.
        norm: `batch` (Ioffe and Szegedy, 2015) or `group` (Wu and He, 2018).
        groups: at most so many groups in a group norm.
        stem: `small`, `large`, or `auto` by the images' side.
        init: initialiser of every kernel.
        conv: how convolutions are computed: `auto`, `im2col` or `lax`.
        remat: the backward pass computes each block again instead of keeping it.
    """

    classes: int = 10
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    width: int = 64
    norm: str = "batch"
    groups: int = 32
    stem: str = "auto"
    init: str = "he"
    conv: str = "auto"
    remat: bool = False

    def __post_init__(self) -> None:
        require("classes", self.classes, 1, whole=True)
        require_counts(self.blocks, "blocks")
        require("width", self.width, 1, whole=True)
        require_choice("stem", self.stem, STEMS)
        self.layers()

    def layers(self, axis_name: str | None = None) -> ImageLayers:
        """Return how its layers are made."""
        return ImageLayers(self.norm, self.groups, self.init, self.conv, axis_name)


class _Block(nn.Module):
    """conv → norm → ReLU → conv → norm, plus the input, then ReLU."""

    channels: int
    stride: int
    layers: ImageLayers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        layers, stride = self.layers, self.stride
        y = layers.convolution(self.channels, 3, stride, name="conv1")(x)
        y = nn.relu(layers.normalized(y, train, name="norm1"))
        y = layers.convolution(self.channels, 3, name="conv2")(y)
        y = layers.normalized(y, train, name="norm2")
        if x.shape != y.shape:
            x = layers.convolution(self.channels, 1, stride, name="shortcut")(x)
            x = layers.normalized(x, train, name="shortcut_norm")
        return nn.relu(x + y)


class ResNet(nn.Module):
    """The ResNet; batch norms average over the devices of `axis_name` while training.

    Source: He et al., Deep residual learning for image recognition, 2015.

    >>> import jax.numpy as jnp
    >>> variables = ResNet(Config(blocks=(1,), width=4)).init(
    ...     jax.random.key(0), jnp.ones((1, 8, 8, 3)), train=False)
    >>> sorted(variables["params"])
    ['conv1', 'norm1', 'output', 'stage1_block1']
    """

    config: Config = Config()  # a frozen value
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, dropout_rate: Any = 0.0):
        """Return the logits, shape (batch, classes), of floats NHWC."""
        require_images("resnet18", x.shape)
        c, layers = self.config, self.config.layers(self.axis_name)
        small = max(x.shape[1:3]) <= _LARGE if c.stem == "auto" else c.stem == "small"
        side, stride = (3, 1) if small else (7, 2)
        x = layers.convolution(c.width, side, stride, name="conv1")(x)
        x = nn.relu(layers.normalized(x, train, name="norm1"))
        if not small:
            edges: Any = ((1, 1), (1, 1))
            x = nn.max_pool(x, (3, 3), (2, 2), edges)
        block: Any = recomputed(_Block, c.remat and train)
        for stage, count in enumerate(c.blocks, 1):
            for i in range(1, count + 1):
                stride = 2 if stage > 1 and i == 1 else 1
                channels = c.width * 2 ** (stage - 1)
                name = f"stage{stage}_block{i}"
                x = block(channels, stride, layers, name=name)(x, train)
        return head(self, x, c.classes, c.init, train, dropout_rate)
