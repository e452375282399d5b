"""Convolution of any stride as one product of matrices, for `nn.Conv`.

XLA's CPU convolution is many times slower inside `lax.scan` than outside
(jax-ml/jax#12868), and `vmap` over weights turns it into a grouped one. Patches times a
matrix know neither, for kh·kw times the memory of the images.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxwd.errors import InputError, unknown

Convolution = Callable[..., jax.Array]


def conv_as_product(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: Sequence[tuple[int, int]] | str,
    **others: Any,
) -> jax.Array:
    """Return `lax.conv_general_dilated` of NHWC and HWIO, by patches and one product.

    Args:
        lhs: images (batch, height, width, channels).
        rhs: kernel (height, width, in, out).
        window_strides: of rows and columns.
        padding: (before, after) of rows and of columns, or `SAME`, `VALID`.
        **others: what `nn.Conv` hands over beside; dilations and groups must be 1.

    Raises:
        InputError: dilated or grouped convolutions.

    >>> x, kernel = jnp.ones((1, 5, 5, 2)), jnp.ones((3, 3, 2, 4))
    >>> conv_as_product(x, kernel, (2, 2), ((1, 1), (1, 1))).shape
    (1, 3, 3, 4)
    """
    dilated = [*(others.get("lhs_dilation") or ()), *(others.get("rhs_dilation") or ())]
    if any(d != 1 for d in dilated) or others.get("feature_group_count", 1) != 1:
        raise InputError(
            "conv='im2col' knows no dilation and no groups; use conv='lax' for these"
        )
    (kh, kw, cin, cout), (sh, sw) = rhs.shape, window_strides
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(
            lhs.shape[1:3], (kh, kw), window_strides, padding
        )

    x = jnp.pad(lhs, ((0, 0), *padding, (0, 0)))
    h, w = (x.shape[1] - kh) // sh + 1, (x.shape[2] - kw) // sw + 1
    rows, columns = sh * (h - 1) + 1, sw * (w - 1) + 1
    shifted = [
        x[:, i : i + rows : sh, j : j + columns : sw]
        for i in range(kh)
        for j in range(kw)
    ]
    patches = jnp.concatenate(shifted, -1)
    flat = patches.reshape(-1, kh * kw * cin) @ rhs.reshape(-1, cout)
    return flat.reshape(lhs.shape[0], h, w, cout)


IMPLEMENTATIONS: dict[str, Convolution | None] = {
    "auto": None,
    "im2col": conv_as_product,
    "lax": jax.lax.conv_general_dilated,
}
"""Name → what `nn.Conv` is to call; `auto` goes by back end."""


def implementation(name: str) -> Convolution:
    """Return the convolution `name`; `auto` is `im2col` on the CPU, else `lax`.

    Raises:
        InputError: unknown name.
    """
    if name not in IMPLEMENTATIONS:
        raise unknown("convolution", name, IMPLEMENTATIONS)
    chosen = IMPLEMENTATIONS[name]
    if chosen is None:
        chosen = IMPLEMENTATIONS["im2col" if jax.default_backend() == "cpu" else "lax"]
    assert chosen is not None
    return chosen
