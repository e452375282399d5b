"""One block, conv 3×3 → bias → ReLU → max-pool 2×2, in several equal forms.

XLA's CPU convolution is 14 to 29 times slower inside `lax.scan` than outside
(jax-ml/jax#12868), and `vmap` over weights turns a convolution into a grouped one.
Written as matrix products neither happens. All forms compute the same numbers to
rounding, gradients included; `block` picks one by back end and shape.

Max-pooling commutes with ReLU and with adding a bias, so those two run last, on a
quarter of the values. Pooling is the maximum of four strided slices: its gradient is
elementwise, where `reduce_window`'s gradient is a scatter.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxwd.errors import InputError, unknown

Params = dict[str, Any]


def max_pool(x: jax.Array) -> jax.Array:
    """Return the maxima of 2×2 windows, NHWC; an odd last row or column is left out.

    >>> max_pool(jnp.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0]
    Array([[ 5.,  7.],
           [13., 15.]], dtype=float32)
    """
    h, w = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    corner = [x[:, i:h:2, j:w:2] for i in range(2) for j in range(2)]
    return jnp.maximum(
        jnp.maximum(corner[0], corner[1]), jnp.maximum(corner[2], corner[3])
    )


def conv_lax(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve NHWC with HWIO, stride 1, same padding, by `lax.conv`."""
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def conv_im2col(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve NHWC with HWIO, stride 1, same padding: patches times a matrix."""
    kh, kw, cin, cout = kernel.shape
    b, h, w, _ = x.shape
    before, after = ((kh - 1) // 2, (kw - 1) // 2), (kh // 2, kw // 2)
    padded = jnp.pad(x, ((0, 0), (before[0], after[0]), (before[1], after[1]), (0, 0)))
    patches = jnp.concatenate(
        [padded[:, i : i + h, j : j + w] for i in range(kh) for j in range(kw)], -1
    )
    flat = patches.reshape(b * h * w, kh * kw * cin)
    return (flat @ kernel.reshape(kh * kw * cin, cout)).reshape(b, h, w, cout)


# Winograd's minimal filtering F(2×2, 3×3): Y = Aᵀ[(G K Gᵀ) ⊙ (Bᵀ D B)]A turns a 4×4
# tile D and a 3×3 kernel K into 2×2 outputs with 16 products where 36 are usual.
# Source: Lavin and Gray, Fast algorithms for convolutional neural networks, 2016.
_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])


def _input_transform(a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any, Any, Any]:
    """Return Bᵀ applied to four rows."""
    return a - c, b + c, c - b, b - d


def _output_transform(a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any]:
    """Return Aᵀ applied to four rows."""
    return a + b + c, b - c - d


def pooled_winograd(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Return `max_pool(conv(x, kernel))` for 3×3 kernels and even heights and widths.

    Each 2×2 output tile of Winograd's form is one pooling window, so the pooling is
    the maximum of four arrays and no strided slice is needed after the products.
    """
    b, h, w, cin = x.shape
    cout = kernel.shape[-1]
    th, tw = h // 2, w // 2
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    tile = [
        [padded[:, i : i + 2 * th : 2, j : j + 2 * tw : 2] for j in range(4)]
        for i in range(4)
    ]
    columns = [_input_transform(*(tile[i][j] for i in range(4))) for j in range(4)]
    g = jnp.asarray(_G, kernel.dtype)
    u = jnp.einsum("ai,ijco,bj->abco", g, kernel, g)
    products = []
    for i in range(4):
        row = _input_transform(*(columns[j][i] for j in range(4)))
        products.append([row[j].reshape(-1, cin) @ u[i, j] for j in range(4)])
    halves = [_output_transform(*(products[i][j] for i in range(4))) for j in range(4)]
    y = [_output_transform(*(halves[j][i] for j in range(4))) for i in range(2)]
    pooled = jnp.maximum(jnp.maximum(*y[0]), jnp.maximum(*y[1]))
    return pooled.reshape(b, th, tw, cout)


def _pooled_lax(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return max_pool(conv_lax(x, kernel))


def _pooled_im2col(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return max_pool(conv_im2col(x, kernel))


IMPLEMENTATIONS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "lax": _pooled_lax,
    "im2col": _pooled_im2col,
    "winograd": pooled_winograd,
}
"""Name → function(x, kernel) → max_pool(conv(x, kernel))."""


def _winograd_fits(x: Any, kernel: Any) -> bool:
    even = x.shape[1] % 2 == 0 and x.shape[2] % 2 == 0
    return kernel.shape[:2] == (3, 3) and even


def choose(implementation: str, x: Any, kernel: Any, backend: str) -> str:
    """Return the implementation that `auto` means for these shapes on this back end.

    Measured on two CPU cores with the study's CNN, batch 32 (`scripts/bench`): the
    Winograd form wins where there are many input channels; with few, its additions
    cost more than the products they save. On GPU and TPU `lax.conv` is native.
    """
    if implementation != "auto":
        return implementation
    if backend != "cpu":
        return "lax"
    return "winograd" if x.shape[-1] >= 16 and _winograd_fits(x, kernel) else "im2col"


def block(x: jax.Array, params: Params, implementation: str = "auto") -> jax.Array:
    """Return relu(max_pool(conv(x, kernel)) + bias).

    Args:
        x: images NHWC.
        params: `kernel` HWIO and `bias` of shape (O,).
        implementation: `auto`, or a row of `IMPLEMENTATIONS`.

    Returns:
        Array of shape (N, H // 2, W // 2, O).

    Raises:
        InputError: unknown implementation, or winograd for a shape it cannot do.

    >>> x = jnp.ones((2, 8, 8, 3))
    >>> params = {"kernel": jnp.ones((3, 3, 3, 5)), "bias": jnp.zeros(5)}
    >>> block(x, params).shape
    (2, 4, 4, 5)
    """
    kernel = params["kernel"]
    name = choose(implementation, x, kernel, jax.default_backend())
    if name not in IMPLEMENTATIONS:
        raise unknown("conv implementation", name, ["auto", *IMPLEMENTATIONS])
    if name == "winograd" and not _winograd_fits(x, kernel):
        raise InputError(
            f"winograd cannot convolve images {x.shape[1]}×{x.shape[2]} with a "
            f"{kernel.shape[0]}×{kernel.shape[1]} kernel; it needs a 3×3 kernel, even "
            "height and width (choose im2col or auto)"
        )
    return jax.nn.relu(IMPLEMENTATIONS[name](x, kernel) + params["bias"])
