"""The forward pass as a StableHLO artifact that needs JAX only, not jaxwd, to run."""

import importlib.util
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxwd.errors import InputError
from jaxwd.training.parts import model_of
from jaxwd.training.precision import cast
from jaxwd.training.recipe import Recipe
from jaxwd.trees import Tree


@dataclass(frozen=True)
class Forward:
    """An exported forward pass.

    Attributes:
        artifact: what `jax.export.deserialize` reads; `.call(inputs)` runs it.
        batch: examples a call takes, or None for any number.
        platforms: where it runs.
        text: the program as StableHLO, to read.
    """

    artifact: bytearray
    batch: int | None
    platforms: tuple[str, ...]
    text: str


def forward(
    recipe: Recipe,
    params: Tree,
    input_shape: Sequence[int],
    outputs: int,
    *,
    model_state: Tree = (),
    dtype: Any = jnp.float32,
    batch: int | None = None,
    platforms: Sequence[str] | None = None,
) -> Forward:
    """Return a recipe's trained model as one function of normalised inputs.

    y = f(θ, x), without dropout, in float32, θ inside: (batch, *input_shape) →
    (batch, outputs).

    Args:
        recipe: whose model it is.
        params: as trained, `Result.params`.
        input_shape: of one example, `Dataset.input_shape`.
        outputs: `Dataset.outputs`.
        model_state: `Result.model_state`.
        dtype: of the inputs; int32 for text.
        batch: examples a call takes. Default any number where the model's program does
            not depend on it, else the recipe's batch size.
        platforms: of `cpu`, `cuda`, `rocm`, `tpu`, one program for all of them; default
            where JAX runs now.

    Raises:
        InputError: an unknown platform; flatbuffers not installed.

    Reference: `jax.export`; artifacts are readable for at least six months by later
    versions of JAX. Not for training on: there are no gradients in it.

    >>> recipe = Recipe(model="mlp", model_options={"hidden": (8,)})
    >>> model = model_of(recipe, 3)
    >>> params, state = model.init(jax.random.key(0), jnp.ones(4), 0.0)
    >>> got = forward(recipe, params, (4,), 3)
    >>> got.batch, jax.export.deserialize(got.artifact).call(jnp.ones((5, 4))).shape
    (None, (5, 3))
    """
    if importlib.util.find_spec("flatbuffers") is None:  # JAX does not bring it along
        raise InputError("flatbuffers is not installed; pip install 'jaxwd[export]'")
    if platforms is not None:
        _require_platforms(platforms)
    model = model_of(recipe, outputs)
    weights = cast(params, "float32") if recipe.precision != "float32" else params
    # Every process of many holds the same values: constants are taken from the host.
    weights, state = jax.device_get((weights, model_state))

    def apply(inputs: jax.Array) -> jax.Array:
        return model.apply(weights, state, inputs, train=False)[0]

    def export(size: Any) -> Any:
        shape = jax.ShapeDtypeStruct((size, *input_shape), dtype)
        return jax.export.export(jax.jit(apply), platforms=platforms)(shape)

    if batch is None:
        try:
            made = export(*jax.export.symbolic_shape("batch"))
        except InputError:
            raise
        except Exception:  # whatever a model does with the size of its batch
            batch = recipe.batch_size
            made = export(batch)
    else:
        made = export(batch)
    return Forward(made.serialize(), batch, made.platforms, made.mlir_module())


def read_forward(path: str | pathlib.Path) -> Any:
    """Return the exported function of a file; `.call(inputs)` runs it.

    Raises:
        InputError: no such file, or none that this version of JAX reads.
    """
    try:
        return jax.export.deserialize(bytearray(pathlib.Path(path).read_bytes()))
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"{path} is no exported function: {reason[0]}") from None


def _require_platforms(platforms: Sequence[str]) -> None:
    known = ("cpu", "cuda", "rocm", "tpu")
    for name in platforms:
        if name not in known:
            raise InputError(
                f"platforms={list(platforms)}: {name!r} is unknown; choose from: "
                f"{', '.join(known)}"
            )
