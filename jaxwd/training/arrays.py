"""A data set as arrays: what a compiled program takes of it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxwd.data import Dataset, Split


class Stats(NamedTuple):
    """What normalises inputs, one number a channel.

    Attributes:
        mean: of the training inputs.
        scale: 1/standard deviation.
    """

    mean: Any
    scale: Any

    def normalize(self, inputs: jax.Array) -> jax.Array:
        """Return (inputs − mean)/std as float32; numbers of characters stay integers.

        As bfloat16 they would be exact up to 256 only, and nothing is large or small
        about them.
        """
        if inputs.dtype == jnp.int32:
            return inputs
        return (inputs.astype(jnp.float32) - self.mean) * self.scale


class Arrays(NamedTuple):
    """A data set on the device: bytes as they are, normalised batch by batch."""

    train: Split
    validation: Split
    test: Split
    mean: Any
    scale: Any

    def normalize(self, inputs: jax.Array) -> jax.Array:
        """Return (inputs − mean)/std as float32; see `Stats`."""
        return Stats(self.mean, self.scale).normalize(inputs)


def arrays_of(data: Dataset) -> Arrays:
    """Return the arrays of a data set, still on the host."""

    def on_host(split: Split) -> Split:
        return Split(np.ascontiguousarray(split.inputs), np.asarray(split.targets))

    return Arrays(
        on_host(data.train),
        on_host(data.validation),
        on_host(data.test),
        np.asarray(data.mean, np.float32),
        1.0 / np.asarray(data.std, np.float32),
    )
