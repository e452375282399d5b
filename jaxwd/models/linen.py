"""The study's CNN as a Flax Linen module: the same parameter tree, equal outputs.

For people whose code is Linen already. `jaxwd.cnn` needs no module and is what the
experiments train; a test holds the two equal.
"""

from typing import Any

import flax.linen as nn
import jax

from jaxwd.dropout import dropout
from jaxwd.models.cnn import Config
from jaxwd.models.conv import max_pool
from jaxwd.models.initializers import INITIALIZERS


class CNN(nn.Module):
    """The CNN of `jaxwd.cnn`, with `nn.Conv` and `nn.Dense`.

    >>> import jax.numpy as jnp
    >>> variables = CNN().init(jax.random.key(0), jnp.ones((1, 28, 28, 1)), train=False)
    >>> sorted(variables["params"])
    ['conv1', 'conv2', 'dense1', 'output']
    """

    config: Config = Config()  # a frozen value

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, dropout_rate: Any = 0.0):
        """Return the logits, shape (batch, classes), of floats NHWC."""
        c = self.config
        start = INITIALIZERS[c.init](0.0)
        for i, channels in enumerate(c.channels, 1):
            side = (c.kernel, c.kernel)
            x = nn.Conv(channels, side, kernel_init=start, name=f"conv{i}")(x)
            x = max_pool(nn.relu(x))
        x = x.reshape(x.shape[0], -1)
        for i, width in enumerate(c.hidden, 1):
            x = nn.relu(nn.Dense(width, kernel_init=start, name=f"dense{i}")(x))
        key = self.make_rng("dropout") if train and self.has_rng("dropout") else None
        x = dropout(x, dropout_rate, train=train, key=key)
        last = INITIALIZERS[c.init](dropout_rate)
        return nn.Dense(c.classes, kernel_init=last, name="output")(x)
