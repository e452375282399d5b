"""What the Flax models share: dropout by an explicit rate, norms, checks of options."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax

from jaxwd.dropout import dropout
from jaxwd.errors import InputError, require, unknown
from jaxwd.models.initializers import INITIALIZERS, Initializer, initializer
from jaxwd.models.products import implementation

NORMS = ("batch", "group")


def drop(module: nn.Module, x: jax.Array, rate: Any, train: bool) -> jax.Array:
    """Return `x` with units dropped while training; the rate may be traced."""
    has_key = train and module.has_rng("dropout")
    key = module.make_rng("dropout") if has_key else None
    return dropout(x, rate, train=train, key=key)


def recomputed(block: type[nn.Module], remat: bool, rate: Any = None) -> Any:
    """Return a class of blocks that the backward pass computes again if `remat`.

    Their calls take `(x, train)` or `(x, train, rate, …)`; a rate that is a plain
    number stays one, so that without dropout no key is asked for.
    """
    if not remat:
        return block
    static = (2, 3) if isinstance(rate, int | float) else (2,)
    return nn.remat(block, static_argnums=static)


def scaled(init: Initializer, factor: float) -> Initializer:
    """Return the initialiser whose weights are `factor` times those of another."""
    return lambda *arguments: factor * init(*arguments)


def head(
    module: nn.Module, x: jax.Array, classes: int, init: str, train: bool, rate: Any
) -> jax.Array:
    """Return the logits of feature maps: mean over positions, dropout, dense."""
    x = drop(module, x.mean((1, 2)), rate, train)
    return nn.Dense(classes, kernel_init=INITIALIZERS[init](rate), name="output")(x)


def require_images(model: str, shape: Sequence[int]) -> None:
    """Raise `InputError` unless inputs are (batch, height, width, channels)."""
    if len(shape) != 4:
        raise InputError(
            f"{model}: inputs of shape {tuple(shape)}; give images (batch, height, "
            "width, channels), or use the model mlp"
        )


def require_counts(values: Sequence[int], name: str) -> None:
    """Raise `InputError` unless `values` are whole numbers from 1, one or more."""
    if not isinstance(values, tuple | list) or not values:
        raise InputError(f"{name}={values!r} is not allowed; give numbers as in (2, 2)")
    for value in values:
        require(name, value, 1, whole=True)


def require_choice(name: str, value: Any, allowed: Sequence[str]) -> None:
    """Raise `InputError` unless `value` is one of the names."""
    if value not in allowed:
        raise unknown(name, value, allowed)


@dataclass(frozen=True)
class ImageLayers:
    """How the layers of an image network are made.

    Attributes:
        norm: `batch` (Ioffe and Szegedy, 2015) or `group` (Wu and He, 2018), which
            knows no batch and keeps no state.
        groups: groups of a group norm; a layer takes the largest divisor of its
            channels up to this that leaves two channels a group.
        init: initialiser of every kernel, a row of `INITIALIZERS`.
        conv: `auto`, `im2col` or `lax`.
        axis_name: axis of devices over which batch norms average while training.
    """

    norm: str
    groups: int
    init: str
    conv: str
    axis_name: str | None

    def __post_init__(self) -> None:
        require_choice("norm", self.norm, NORMS)
        require("groups", self.groups, 1, whole=True)
        initializer(self.init)
        implementation(self.conv)

    def convolution(
        self,
        channels: int,
        side: int,
        stride: int = 1,
        *,
        name: str,
        input_dropout: Any = 0.0,
    ) -> nn.Conv:
        """Return a convolution without bias: a norm behind it would take it out."""
        edge = ((side - 1) // 2, side // 2)
        return nn.Conv(
            channels,
            (side, side),
            (stride, stride),
            padding=(edge, edge),
            use_bias=False,
            kernel_init=INITIALIZERS[self.init](input_dropout),
            conv_general_dilated=implementation(self.conv),
            name=name,
        )

    def normalized(self, x: jax.Array, train: bool, *, name: str) -> jax.Array:
        """Return `x` normalised, scaled and shifted."""
        if self.norm == "batch":
            return nn.BatchNorm(
                use_running_average=not train,
                momentum=0.9,
                axis_name=self.axis_name,
                name=name,
            )(x)
        channels = x.shape[-1]
        most = min(self.groups, max(channels // 2, 1))
        groups = next(g for g in range(most, 0, -1) if channels % g == 0)
        return nn.GroupNorm(groups, epsilon=1e-5, name=name)(x)
