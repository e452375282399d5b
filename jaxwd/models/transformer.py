"""One block of a transformer, norms first: what the ViT and the GPT are made of."""

from typing import Any

import flax.linen as nn
import jax

from jaxwd.errors import InputError, require
from jaxwd.models.initializers import INITIALIZERS, initializer
from jaxwd.models.parts import drop, scaled


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), with dropout on what is added.

    Attention is Flax's own: kernels `query`, `key`, `value` of shape (width, heads,
    width/heads) and `out` of (heads, width/heads, width). Biases of the first three
    have two axes, so `jaxwd.matrices` decays them and `jaxwd.kernels` does not.

    Attributes:
        heads: of the attention.
        hidden: width of the MLP.
        init: initialiser of every kernel.
        residual: what the kernels that write into the sum are multiplied by at the
            start.
        exact: GELU by the error function; else by tanh.
        qk_norm: normalise queries and keys (Dehghani et al., 2023), which makes their
            kernels scale-free.
    """

    heads: int
    hidden: int
    init: str
    residual: float = 1.0
    exact: bool = True
    qk_norm: bool = False

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        train: bool,
        dropout_rate: Any,
        mask: jax.Array | None = None,
    ) -> jax.Array:
        """Return the sum of residuals after this block, of its shape."""
        start = INITIALIZERS[self.init](0.0)
        last = scaled(start, self.residual)
        y = nn.LayerNorm(name="norm1")(x)
        y = nn.MultiHeadDotProductAttention(
            self.heads,
            kernel_init=start,
            out_kernel_init=last,
            normalize_qk=self.qk_norm,
            name="attention",
        )(y, mask=mask)
        x = x + drop(self, y, dropout_rate, train)
        y = nn.LayerNorm(name="norm2")(x)
        y = nn.Dense(self.hidden, kernel_init=start, name="dense1")(y)
        y = nn.gelu(y, approximate=not self.exact)
        y = nn.Dense(x.shape[-1], kernel_init=last, name="dense2")(y)
        return x + drop(self, y, dropout_rate, train)


def require_sizes(net: Any) -> None:
    """Raise `InputError` for sizes that no transformer can have."""
    for name in ("classes", "width", "depth", "heads"):
        require(name, getattr(net, name), 1, whole=True)
    if net.width % net.heads:
        raise InputError(
            f"width={net.width} does not divide over heads={net.heads}; give a multiple"
        )
    if net.hidden is not None:
        require("hidden", net.hidden, 1, whole=True)
    initializer(net.init)
