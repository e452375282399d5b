"""Loss and score of a split that is read from its source."""

import functools

import jax
import jax.numpy as jnp

from jaxwd.losses import task
from jaxwd.training.epochs import Row
from jaxwd.training.step import State
from jaxwd.training.streaming.feed import once_through
from jaxwd.training.streaming.program import Totals
from jaxwd.training.streaming.setup import Setup


def measured(setup: Setup, state: State, part: str) -> Row:
    """Return mean loss and score over every example of a split, read once."""
    source, turn = getattr(setup.data, part), setup.turns[part]
    measure = setup.program.evaluate(turn.length, turn.batch)
    place = setup.spread.place_batch
    totals = setup.spread.place(Totals(jnp.zeros(()), jnp.zeros(())))
    for batches, counts in once_through(source, turn, setup.reading):
        totals = measure(
            state.measured, state.model_state, totals, place(batches), place(counts),
            setup.stats,
        )  # fmt: skip
    loss, score = _mean(totals, len(source))
    name = task(setup.data.task).score_name
    return {f"{part}_loss": loss.item(), f"{part}_{name}": score.item()}


@functools.partial(jax.jit, static_argnums=1)
def _mean(totals: Totals, examples: int) -> tuple[jax.Array, jax.Array]:
    """Return the means; compiled as in `run`, where the division has XLA's last bit."""
    return totals.loss / examples, totals.score / examples
