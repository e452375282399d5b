"""Labels that are wrong on purpose."""

from typing import Any

import jax
import jax.numpy as jnp


def noisy_labels(
    key: jax.Array, labels: jax.Array, classes: int, share: Any
) -> jax.Array:
    """Return labels of which a share is another class, each with equal chance.

    With one key the labels that are wrong at a share are wrong at every larger one.

    Args:
        key: drawn from once for all examples.
        labels: integers (examples,), or (examples, length) of sequences.
        classes: how many there are.
        share: chance of each label to be wrong; may be traced.

    >>> labels = jnp.zeros(1000, jnp.int32)
    >>> wrong = noisy_labels(jax.random.key(0), labels, 10, 0.2) != labels
    >>> 0.15 < float(wrong.mean()) < 0.25
    True
    """
    which, where = jax.random.split(key)
    others = jax.random.randint(where, labels.shape, 1, classes, labels.dtype)
    wrong = jax.random.uniform(which, labels.shape) < share
    return jnp.where(wrong, (labels + others) % classes, labels)
