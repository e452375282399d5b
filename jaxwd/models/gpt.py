"""A small GPT on characters as a Flax Linen module.

embedding + positions → dropout → blocks → norm → logits of the next character at every
position, which depend on the characters up to it and on no later one. Kernels that write
into the sum of residuals start at 1/√(2·depth) of their size; what each block adds is
dropped at `dropout_rate`.

`jaxwd.kernels` decays the kernels of the blocks and no embedding. With a tied head the
embedding is the output layer too and then does not decay either; name it to decay it:
`where="(.*/)?(kernel|embedding)"`.
"""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxwd.errors import InputError
from jaxwd.models.initializers import INITIALIZERS
from jaxwd.models.parts import drop, recomputed
from jaxwd.models.transformer import Block, require_sizes


@dataclass(frozen=True)
class Config:
    """Everything about the GPT that is not a parameter.

    Attributes:
        classes: size of the vocabulary.
        width: of the embedding.
        depth: number of blocks.
        heads: of the attention.
        hidden: width of the MLP; None is 4 × width.
        tied: the embedding is the output layer; else a kernel of its own, no bias.
        qk_norm: normalise queries and keys.
        init: initialiser of every kernel; embeddings start as `normal`.
        remat: the backward pass computes each block again instead of keeping it.
    """

    classes: int = 256
    width: int = 128
    depth: int = 4
    heads: int = 4
    hidden: int | None = None
    tied: bool = True
    qk_norm: bool = False
    init: str = "normal"
    remat: bool = False

    def __post_init__(self) -> None:
        require_sizes(self)


class GPT(nn.Module):
    """The GPT: norms first, causal attention, learned positions.

    Source: Radford et al., Language models are unsupervised multitask learners, 2019.

    >>> ids = jnp.zeros((1, 16), jnp.int32)
    >>> net = GPT(Config(classes=50, depth=1))
    >>> sorted(net.init(jax.random.key(0), ids, train=False)["params"])
    ['block1', 'norm', 'pos_embedding', 'token']
    """

    config: Config = Config()  # a frozen value

    @nn.compact
    def __call__(self, ids: jax.Array, *, train: bool, dropout_rate: Any = 0.0):
        """Return the logits, shape (batch, length, classes), of integers (batch, length).

        The length may be shorter than at `init`, not longer.
        """
        if ids.ndim != 2 or not jnp.issubdtype(ids.dtype, jnp.integer):
            raise InputError(
                f"gpt: inputs of shape {ids.shape} and dtype {ids.dtype}; give whole "
                "numbers (batch, length), as the data sets pydoc and text:PATH do"
            )
        c = self.config
        length, start = ids.shape[1], INITIALIZERS["normal"](0.0)
        table = nn.Embed(c.classes, c.width, embedding_init=start, name="token")
        known = self.get_variable("params", "pos_embedding")
        longest = length if known is None else known.shape[0]
        if length > longest:
            raise InputError(
                f"gpt: {length} characters; its positions end at {longest}, the length "
                "at init"
            )
        positions = self.param("pos_embedding", start, (longest, c.width))
        x = drop(self, table(ids) + positions[:length], dropout_rate, train)
        causal = jnp.tril(jnp.ones((1, 1, length, length), bool))
        kind = recomputed(Block, c.remat and train, dropout_rate)
        for i in range(1, c.depth + 1):
            block = kind(
                c.heads,
                c.hidden or 4 * c.width,
                c.init,
                residual=(2 * c.depth) ** -0.5,
                exact=False,
                qk_norm=c.qk_norm,
                name=f"block{i}",
            )
            x = block(x, train, dropout_rate, causal)
        x = nn.LayerNorm(name="norm")(x)
        if c.tied:
            return table.attend(x)
        init = INITIALIZERS[c.init](0.0)
        return nn.Dense(c.classes, use_bias=False, kernel_init=init, name="output")(x)
