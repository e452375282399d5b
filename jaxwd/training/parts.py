"""A recipe's model, chain and clip, and whether the model fits the data."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxwd import clip as clips
from jaxwd.errors import InputError
from jaxwd.models import Model, by_name
from jaxwd.optimizers import optimizer
from jaxwd.schedules import value_at
from jaxwd.training.recipe import Recipe


def model_of(recipe: Recipe, outputs: int) -> Model:
    """Return the recipe's model with as many outputs as the data asks for."""
    if isinstance(recipe.model, Model):
        return recipe.model
    return by_name(recipe.model, classes=outputs, **dict(recipe.model_options))


def chain_of(recipe: Recipe, steps: int) -> Any:
    """Return the recipe's Optax chain for a run of `steps` steps."""
    return optimizer(
        recipe.optimizer,
        recipe.rate(steps),
        decay=recipe.decay,
        clip=clip_of(recipe),
        **dict(recipe.optimizer_options),
    )


def clip_of(recipe: Recipe) -> Any:
    """Return the recipe's clip of the raw gradient, or None."""
    return None if recipe.clip is None else clips.by_name(recipe.clip, recipe.clip_at)


@functools.lru_cache(maxsize=64)
def require_outputs(
    structure: Recipe, input_shape: tuple[int, ...], outputs: int
) -> None:
    """Raise unless the model turns a batch into (batch, outputs), as the data asks.

    A regression of shape (batch,) would broadcast against targets (batch, 1) and
    train to nonsense in silence.
    """
    model = model_of(structure, outputs)

    def try_it(key: jax.Array) -> jax.Array:
        example = jnp.zeros(input_shape, jnp.float32)
        params, state = model.init(key, example, value_at(structure.dropout, 0))
        return model.apply(params, state, example[None], train=False)[0]

    got = jax.eval_shape(try_it, jax.random.key(0)).shape
    if got != (1, outputs):
        raise InputError(
            f"model {model.name}: a batch of 1 gives outputs of shape {got}; the data "
            f"asks for (1, {outputs})"
        )
