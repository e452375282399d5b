"""A small vision transformer as a Flax Linen module.

patches → dense → + positions → dropout → blocks → norm → pooling → dense. Dropout acts
on the embedded patches and on what each block adds.
"""

import math
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxwd.errors import InputError, require
from jaxwd.models.initializers import INITIALIZERS
from jaxwd.models.parts import drop, recomputed, require_choice, require_images
from jaxwd.models.products import conv_as_product
from jaxwd.models.transformer import Block, require_sizes

POSITIONS = ("learned", "sincos2d")
POOLS = ("mean", "token")


@dataclass(frozen=True)
class Config:
    """Everything about the ViT that is not a parameter.

    Attributes:
        classes: number of outputs.
        patch: side of a patch; sides of images must be multiples of it.
        width: of the embedding.
        depth: number of blocks.
        heads: of the attention.
        hidden: width of the MLP; None is 4 × width.
        positions: `learned` (the leaf `pos_embedding`) or `sincos2d` (no parameters).
        pool: `mean` over the patches, or a class `token` (the leaf `cls`).
        qk_norm: normalise queries and keys.
        init: initialiser of every kernel.
        remat: the backward pass computes each block again instead of keeping it.
    """

    classes: int = 10
    patch: int = 4
    width: int = 64
    depth: int = 4
    heads: int = 4
    hidden: int | None = None
    positions: str = "learned"
    pool: str = "mean"
    qk_norm: bool = False
    init: str = "glorot"
    remat: bool = False

    def __post_init__(self) -> None:
        require("patch", self.patch, 1, whole=True)
        require_sizes(self)
        require_choice("positions", self.positions, POSITIONS)
        require_choice("pool", self.pool, POOLS)
        if self.positions == "sincos2d" and self.width % 4:
            raise InputError(
                f"positions='sincos2d' takes a width that is a multiple of 4, not "
                f"{self.width}"
            )


class ViT(nn.Module):
    """The ViT: patches as words, norms first, mean pooling or a class token.

    Sources: Dosovitskiy et al., An image is worth 16×16 words, 2020; Beyer et al., Better
    plain ViT baselines for ImageNet-1k, 2022, for `pool="mean"` and `"sincos2d"`.

    >>> import jax.numpy as jnp
    >>> net = ViT(Config(depth=1, width=8, heads=2, pool="token"))
    >>> variables = net.init(jax.random.key(0), jnp.ones((1, 8, 8, 3)), train=False)
    >>> sorted(variables["params"])
    ['block1', 'cls', 'norm', 'output', 'patches', 'pos_embedding']
    """

    config: Config = Config()  # a frozen value

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, dropout_rate: Any = 0.0):
        """Return the logits, shape (batch, classes), of floats NHWC."""
        c = self.config
        rows, columns = self._grid(x.shape)
        x = nn.Conv(
            c.width,
            (c.patch, c.patch),
            (c.patch, c.patch),
            padding="VALID",
            kernel_init=INITIALIZERS[c.init](0.0),
            conv_general_dilated=conv_as_product,
            name="patches",
        )(x)
        x = x.reshape(x.shape[0], rows * columns, c.width)
        start = nn.initializers.normal(0.02)
        if c.pool == "token":
            cls = self.param("cls", nn.initializers.zeros, (1, 1, c.width))
            cls = jnp.broadcast_to(cls, (x.shape[0], 1, c.width))
            x = jnp.concatenate([cls.astype(x.dtype), x], 1)
        if c.positions == "learned":
            x = x + self.param("pos_embedding", start, (1, *x.shape[1:]))
        else:
            fixed = sincos2d(rows, columns, c.width)
            fixed = np.pad(fixed, ((x.shape[1] - len(fixed), 0), (0, 0)))
            x = x + jnp.asarray(fixed, x.dtype)
        x = drop(self, x, dropout_rate, train)
        kind = recomputed(Block, c.remat and train, dropout_rate)
        for i in range(1, c.depth + 1):
            block = kind(
                c.heads,
                c.hidden or 4 * c.width,
                c.init,
                qk_norm=c.qk_norm,
                name=f"block{i}",
            )
            x = block(x, train, dropout_rate)
        x = nn.LayerNorm(name="norm")(x)
        x = x[:, 0] if c.pool == "token" else x.mean(1)
        init = INITIALIZERS[c.init](0.0)
        return nn.Dense(c.classes, kernel_init=init, name="output")(x)

    def _grid(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return the rows and columns of patches."""
        require_images("vit", shape)
        _, height, width, _ = shape
        patch = self.config.patch
        if height % patch or width % patch:
            both = math.gcd(height, width)
            fits = [str(n) for n in range(1, both + 1) if both % n == 0]
            raise InputError(
                f"vit: images of {height}×{width} do not divide into patches of "
                f"{patch}×{patch}; patch may be {', '.join(fits)}"
            )
        return height // patch, width // patch


def sincos2d(rows: int, columns: int, width: int) -> np.ndarray:
    """Return fixed positions (rows · columns, width): sines and cosines of x and of y.

    ω_k = 10000^(−k/(w − 1)) for k = 0 … w − 1, w = width/4, and each position (x, y)
    gets [sin xω, cos xω, sin yω, cos yω]. Source: Chen et al., MoCo v3, 2021.

    >>> sincos2d(2, 3, 8).shape, float(sincos2d(2, 3, 8)[0].sum())
    ((6, 8), 4.0)
    """
    quarter = width // 4
    omega = 10_000.0 ** -(np.arange(quarter) / max(quarter - 1, 1))
    y, x = (axis.reshape(-1, 1) * omega for axis in np.mgrid[:rows, :columns])
    waves = [np.sin(x), np.cos(x), np.sin(y), np.cos(y)]
    return np.concatenate(waves, -1).astype(np.float32)
