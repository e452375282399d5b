"""All that is exported of a training, in one folder."""

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxwd.data import Dataset
from jaxwd.errors import InputError
from jaxwd.export.forward import forward
from jaxwd.export.weights import write_weights, write_whole

WEIGHTS, FORWARD, ABOUT = "weights.safetensors", "forward.jax_export", "model.json"


def export(
    folder: str | os.PathLike,
    result: Any,
    data: Dataset,
    *,
    platforms: Sequence[str] | None = None,
) -> list[pathlib.Path]:
    """Write a training's weights, forward pass and normalisation; return their paths.

    `weights.safetensors` holds θ by path, `forward.jax_export` the function of
    normalised inputs x = (raw − mean)/std, and `model.json` says mean, std, classes and
    shapes.

    Args:
        folder: made if missing; files of these names are replaced.
        result: of `jaxwd.run`.
        data: what it was trained on, whose mean and std it was normalised by.
        platforms: of the forward pass, see `forward`.

    Raises:
        InputError: as `forward` and `write_weights`; a folder that is a file.

    >>> import tempfile, jaxwd as wd
    >>> recipe = wd.Recipe(dataset="friedman", model="mlp", epochs=1, learning_rate=0.01)
    >>> data = wd.load("friedman")
    >>> files = export(tempfile.mkdtemp(), wd.run(recipe, data), data)
    >>> [file.name for file in files]
    ['weights.safetensors', 'forward.jax_export', 'model.json']
    """
    recipe = result.recipe
    if recipe.train_examples is not None:  # as `run` does: mean and std are theirs
        data = data.take(recipe.train_examples)
    text = data.input_dtype == np.int32
    made = forward(
        recipe,
        result.params,
        data.input_shape,
        data.outputs,
        model_state=result.model_state,
        dtype=np.int32 if text else np.float32,
        platforms=platforms,
    )
    folder = pathlib.Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{folder} is a file; give the name of a folder") from None
    weights, program, about = (folder / name for name in (WEIGHTS, FORWARD, ABOUT))
    write_weights(weights, result.params, model_state=result.model_state, recipe=recipe)
    write_whole(program, bytes(made.artifact))
    said = {
        "recipe": recipe.to_dict(),
        "recipe_digest": recipe.digest(),
        "inputs": {
            "shape": ["batch" if made.batch is None else made.batch, *data.input_shape],
            "dtype": "int32" if text else "float32",
            "normalised": None if text else "(raw - mean) / std",
            "mean": [float(x) for x in data.mean],
            "std": [float(x) for x in data.std],
        },
        "outputs": data.outputs,
        "task": data.task,
        "classes": list(data.classes),
        "platforms": list(made.platforms),
        "metrics": {k: v for k, v in result.final.items() if "_" in k},
    }
    text_of = json.dumps(said, ensure_ascii=False, indent=1) + "\n"
    write_whole(about, text_of.encode())
    return [weights, program, about]
