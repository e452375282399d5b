"""AutoL2: λ falls by itself when the loss stops falling."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxwd.decay.scheme import DecayScheme
from jaxwd.errors import InputError, require
from jaxwd.trees import Tree

Array = jax.Array


class AutoState(NamedTuple):
    """What AutoL2 remembers; losses are those of its measurements.

    Attributes:
        step: counter, from 0.
        factor: what λ has come down to, relative to what was given.
        since: step at which it last came down.
        last: the newest loss.
        lowest: the lowest of those before it; ∞ until there was one.
    """

    step: Array
    factor: Array
    since: Array
    last: Array
    lowest: Array


def start(params: Tree) -> AutoState:
    """Return the state before the first step."""
    zero, infinite = jnp.zeros([], jnp.int32), jnp.full([], jnp.inf)
    return AutoState(zero, jnp.ones([]), zero, infinite, infinite)


def share(
    state: AutoState,
    g: Tree,
    x: Tree,
    multipliers: Tree,
    *,
    value: Any,
    strength: Any,
    refractory: Any,
    divide: Any,
    every: int,
) -> tuple[Tree, AutoState]:
    """Return the factor on λ, one number for all leaves, and the state after the step.

    Raises:
        InputError: no loss was handed to `update`.
    """
    if value is None:
        raise InputError(
            "auto_l2: value=None, and it follows the loss; call "
            "tx.update(gradients, state, params, value=loss)"
        )
    step, factor, since, last, lowest = state
    loss = jnp.asarray(value, last.dtype)
    looks = step % every == 0
    wait = refractory / (strength * factor)  # ∞ for λ = 0: it never falls
    stuck = (lowest <= loss) & (lowest <= last)
    falls = looks & (step > since + wait) & stuck
    factor = jnp.where(falls, factor / divide, factor)
    kept = AutoState(
        step + 1,
        factor,
        jnp.where(falls, step, since),
        jnp.where(looks, loss, last),
        jnp.where(looks, jnp.minimum(lowest, last), lowest),
    )
    return jax.tree.map(lambda _: factor, g), kept


def auto_l2(
    scheme: DecayScheme,
    *,
    refractory: float = 0.1,
    divide: float = 10.0,
    every: int = 10,
) -> DecayScheme:
    """AutoL2: begin with a large λ, and divide it by 10 whenever the loss gets stuck.

    In every `every`-th step, if the last two losses L measured so are no lower than
    the lowest before them, and `refractory`/λ steps have gone by since λ last fell:

        λ ← λ/`divide`

    The loss comes through `update`, without the penalty, as Optax's own
    `reduce_on_plateau` wants it: `tx.update(gradients, state, params, value=loss)`.
    `jaxwd.run` hands it over. The authors' code looks at the error of the batch as
    well; to follow another number, hand that over instead.

    Args:
        scheme: `coupled` (the paper's) or `decoupled`; λ here is where it begins, about
            0.1 with SGD, a hundred times what is usual for a constant λ.
        refractory: steps between two falls are at least this over λ; 0.1, the authors'.
        divide: λ falls by this factor; 10, the authors'.
        every: steps between two looks at the loss; 10, the authors'.

    Raises:
        InputError: a number out of its range; at `update`, no `value=`.

    Not for losses of single, small batches, whose noise alone stops a new minimum from
    being reached: λ then falls as fast as `refractory` lets it.

    Source: Lewkowycz and Gur-Ari, On the training dynamics of deep networks with L2
    regularization, 2020; google/autol2, which this follows.

    Reference: google/autol2.

    >>> from jaxwd import coupled
    >>> print(auto_l2(coupled(0.1)))
    coupled(0.1, auto_l2(refractory=0.1, divide=10.0, every=10))
    """
    require("auto_l2: refractory", refractory, 0.0)
    require("auto_l2: divide", divide, 1.0)
    require("auto_l2: every", every, 1, whole=True)
    return DecayScheme.with_choice(
        scheme,
        "allocation",
        "auto_l2",
        refractory=refractory,
        divide=divide,
        every=every,
    )
