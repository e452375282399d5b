"""Data losses and scores of a batch, by task. None of them contains a penalty."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxwd.errors import unknown


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return −ln softmax(logits)[label] in nats, of the labels' shape.

    Args:
        logits: (batch, classes), or (batch, length, classes) for sequences.
        labels: integers (batch,) or (batch, length).

    >>> cross_entropy(jnp.zeros((1, 2)), jnp.array([0])).round(4)
    Array([0.6931], dtype=float32)
    """
    return jax.nn.logsumexp(logits, -1) - _of_label(logits, labels)


def squared_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Return the mean over outputs of (y − t)² for each example, shape (batch,).

    >>> squared_error(jnp.array([[1.0], [3.0]]), jnp.array([[0.0], [0.0]]))
    Array([1., 9.], dtype=float32)
    """
    return jnp.mean(jnp.square(outputs - targets), -1)


def hit(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return 1.0 where the largest logit is the label's, of the labels' shape.

    Of equal logits the first counts as the largest, as in `argmax`.

    >>> hit(jnp.array([[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]), jnp.array([1, 2]))
    Array([1., 0.], dtype=float32)
    """
    own = _of_label(logits, labels)[..., None]
    first = jnp.arange(logits.shape[-1]) >= labels[..., None]
    return jnp.all((logits < own) | ((logits == own) & first), -1).astype(jnp.float32)


def _of_label(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the logit of each label.

    A sum over a mask and no gather: the gradient of a gather is a scatter, which XLA
    does element by element, and in a stack of members member by member.
    """
    mine = jnp.arange(logits.shape[-1]) == labels[..., None]
    return jnp.sum(jnp.where(mine, logits, 0), -1)


def bits_per_character(loss: float) -> float:
    """Return loss/ln 2: bits a character of a `language` loss, which is in nats.

    >>> bits_per_character(math.log(8))
    3.0
    """
    return loss / math.log(2)


class Task(NamedTuple):
    """What is minimised and what is reported.

    Attributes:
        loss: per-example data loss; its mean is the data loss.
        score: per-example score; the mean is reported under `score_name`.
        score_name: `accuracy` (higher is better) or `negative_mse`.
    """

    loss: Callable[[jax.Array, jax.Array], jax.Array]
    score: Callable[[jax.Array, jax.Array], jax.Array]
    score_name: str


TASKS: dict[str, Task] = {
    "classification": Task(cross_entropy, hit, "accuracy"),
    "regression": Task(
        squared_error, lambda y, t: -squared_error(y, t), "negative_mse"
    ),
    # Of each sequence the mean over its characters; the score is their share right.
    "language": Task(
        lambda y, t: jnp.mean(cross_entropy(y, t), -1),
        lambda y, t: jnp.mean(hit(y, t), -1),
        "accuracy",
    ),
}


def task(name: str) -> Task:
    """Return the row `name` of `TASKS`."""
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]
