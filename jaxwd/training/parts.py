"""A recipe's model, chain and clip, and whether the model fits the data."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxwd import clip as clips
from jaxwd.errors import InputError
from jaxwd.models import Model, by_name
from jaxwd.models.table import MODELS, options_of
from jaxwd.optimizers import optimizer
from jaxwd.schedules import value_at
from jaxwd.training.recipe import Recipe


def model_of(recipe: Recipe, outputs: int) -> Model:
    """Return the recipe's model with as many outputs as the data asks for."""
    blocks = recipe.remat == "blocks"
    if isinstance(recipe.model, Model):
        if blocks:
            raise InputError(
                f"remat='blocks': the blocks of {recipe.model.name} are its own; wrap "
                "them in flax.linen.remat, or give remat='elementwise'"
            )
        return recipe.model
    if blocks and "remat" not in options_of(recipe.model):
        able = [name for name in MODELS if "remat" in options_of(name)]
        raise InputError(
            f"remat='blocks': model {recipe.model!r} has no blocks; those of "
            f"{', '.join(able)} have; or give remat='elementwise'"
        )
    options = dict(recipe.model_options) | ({"remat": True} if blocks else {})
    if "classes" in options:
        raise InputError(
            f"model_options: classes={options['classes']} is not allowed, the data set "
            f"says how many outputs there are ({outputs}); leave it out"
        )
    return by_name(recipe.model, classes=outputs, **options)


def require_one_batch(model: Model, model_state: Any, layout: Any) -> None:
    """Raise where devices with rows of their own would train another model.

    Args:
        model: of the recipe.
        model_state: its state, or the shapes of it; `{}` for most models.
        layout: a `jaxwd.training.parallel.Layout`.
    """
    alone = layout.axis is None or layout.devices == 1
    if alone or model.over_axis is not None or not jax.tree.leaves(model_state):
        return
    raise InputError(
        f"layout={layout.name!r}: {model.name} keeps a state beside its weights, and "
        "batch norms would take the moments of each device's rows alone; use "
        "layout='sharded' or 'fsdp', or give a Flax Linen module a field axis_name that "
        "it hands to its nn.BatchNorm (any other Model: its over_axis)"
    )


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
    structure: Recipe,
    input_shape: tuple[int, ...],
    outputs: int,
    input_dtype: Any = jnp.float32,
    output_shape: tuple[int, ...] | None = None,
) -> None:
    """Raise unless the model gives outputs of the shape that the data asks for.

    A regression of shape (batch,) would broadcast against targets (batch, 1) and
    train to nonsense in silence.

    Args:
        structure: `recipe.structure()`.
        input_shape: of one example.
        outputs: number of classes, characters or targets.
        input_dtype: of the examples as a model is given them.
        output_shape: of one example's outputs; default `(outputs,)`.
    """
    wanted = (1, *((outputs,) if output_shape is None else output_shape))
    model = model_of(structure, outputs)

    def try_it(key: jax.Array) -> jax.Array:
        example = jnp.zeros(input_shape, input_dtype)
        params, state = model.init(key, example, value_at(structure.dropout, 0))
        return model.apply(params, state, example[None], train=False)[0]

    got = jax.eval_shape(try_it, jax.random.key(0)).shape
    if got != wanted:
        raise InputError(
            f"model {model.name}: a batch of 1 gives outputs of shape {got}; the data "
            f"asks for {wanted}"
        )
