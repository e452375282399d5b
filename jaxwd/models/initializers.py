"""How weights start, by name. Decay acts on absolute size, so the start is recorded.

| name         | variance of a weight          | for                                  |
|--------------|-------------------------------|--------------------------------------|
| `lecun`      | 1/fan_in, truncated normal    | linear, tanh, SELU; Flax's default   |
| `glorot`     | 2/(fan_in + fan_out), uniform | tanh, sigmoid; Keras's default       |
| `he`         | 2/fan_in, truncated normal    | ReLU                                 |
| `orthogonal` | orthogonal columns, gain √2   | deep ReLU                            |
| `normal`     | 0.0004 whatever the fan       | transformers, as in GPT-2            |
| `he_dropout` | 2(1 − p)/fan_in               | ReLU layers whose *input* is dropped |

Inverted dropout at rate p multiplies the second moment of a layer's input by
1/(1 − p); `he_dropout` takes that factor back out (Hendrycks and Gimpel, 2016;
Pretorius et al., 2018). torch's default is 1/(3·fan_in), a sixth of `he`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxwd.errors import require, unknown

Initializer = Callable[..., jax.Array]
"""function(key, shape, dtype) → array; shapes are (…, fan in, fan out)."""


def _plain(build: Callable[[], Initializer]) -> Callable[[Any], Initializer]:
    return lambda input_dropout: build()


def _he_dropout(input_dropout: Any) -> Initializer:
    he = jax.nn.initializers.he_normal()

    def init(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        return he(key, shape, dtype) * jnp.sqrt(1.0 - jnp.asarray(input_dropout, dtype))

    return init


INITIALIZERS: dict[str, Callable[[Any], Initializer]] = {
    "lecun": _plain(jax.nn.initializers.lecun_normal),
    "glorot": _plain(jax.nn.initializers.glorot_uniform),
    "he": _plain(jax.nn.initializers.he_normal),
    "orthogonal": _plain(lambda: jax.nn.initializers.orthogonal(scale=2.0**0.5)),
    "normal": _plain(lambda: jax.nn.initializers.normal(0.02)),
    "he_dropout": _he_dropout,
}
"""Name → function(dropout rate of the layer's input) → initialiser."""


def initializer(name: str, *, input_dropout: Any = 0.0) -> Initializer:
    """Return the initialiser `name` for a layer whose input is dropped at a rate.

    Args:
        name: a row of `INITIALIZERS`.
        input_dropout: the rate at which the layer's *input* is dropped; only
            `he_dropout` looks at it. May be traced.

    Raises:
        InputError: unknown name, or a rate outside [0, 1].

    >>> initializer("he")(jax.random.key(0), (3, 3, 16, 32), jnp.float32).shape
    (3, 3, 16, 32)
    """
    if name not in INITIALIZERS:
        raise unknown("initializer", name, INITIALIZERS)
    require("input_dropout", input_dropout, 0.0, 1.0)
    return INITIALIZERS[name](input_dropout)
