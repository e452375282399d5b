"""The score of every single test example, for the bootstrap over seeds and examples."""

import pathlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxwd.data import Dataset
from jaxwd.errors import InputError
from jaxwd.losses import task
from jaxwd.schedules import value_at
from jaxwd.training import Recipe, Result
from jaxwd.training.arrays import arrays_of
from jaxwd.training.parts import model_of

if TYPE_CHECKING:
    from jaxwd.lab.study import Study

_BATCH = 256


def example_scores(result: Result, data: Dataset) -> np.ndarray:
    """Return the score of every test example, (examples,), without dropout.

    Their mean is the run's test score. Stack those of several seeds for
    `jaxwd.lab.seeds_by_examples`.

    Args:
        result: of `jaxwd.run`.
        data: what it was run on.

    Raises:
        InputError: a model with a state beside its parameters, which a result does not
            hold.

    >>> import jaxwd as wd
    >>> recipe = wd.Recipe(dataset="friedman", model="mlp", epochs=1, learning_rate=0.01)
    >>> data = wd.load("friedman")
    >>> result = wd.run(recipe, data)
    >>> scores = example_scores(result, data)
    >>> bool(abs(scores.mean() - result.final["test_negative_mse"]) < 1e-5)
    True
    """
    recipe = result.recipe
    n = recipe.train_examples
    arrays = arrays_of(data if n is None else data.take(n))
    model, score = model_of(recipe, data.outputs), task(data.task).score
    _, state = jax.eval_shape(
        lambda key, x: model.init(key, x, value_at(recipe.dropout, 0)),
        jax.random.key(0),
        jax.ShapeDtypeStruct(data.input_shape, data.input_dtype),
    )
    if jax.tree.leaves(state):
        raise InputError(
            f"model {model.name} keeps a state beside its parameters, which a result does "
            "not hold; compare without --examples"
        )

    @jax.jit
    def scores(inputs: Any, targets: Any) -> jax.Array:
        outputs, _ = model.apply(
            result.params, state, arrays.normalize(inputs), train=False
        )
        return score(outputs, targets)

    test = arrays.test
    found = [
        np.asarray(scores(test.inputs[i : i + _BATCH], test.targets[i : i + _BATCH]))
        for i in range(0, test.examples, _BATCH)
    ]
    return np.concatenate(found)


class Examples:
    """Where the scores of single examples are kept: in memory, or beside the ledger."""

    def __init__(self, folder: pathlib.Path | None) -> None:
        self.folder = None if folder is None else folder / "examples"
        self.memory: dict[str, np.ndarray] = {}

    def keep(self, result: Result, data: Dataset) -> None:
        """Measure a run's examples and keep them."""
        scores = example_scores(result, data)
        key = result.recipe.digest()
        self.memory[key] = scores
        if self.folder is not None:
            self.folder.mkdir(exist_ok=True)
            np.save(self.folder / f"{key}.npy", scores)

    def of(self, recipe: Recipe) -> np.ndarray | None:
        """Return a run's examples, None where they were not kept."""
        key = recipe.digest()
        if key in self.memory:
            return self.memory[key]
        path = None if self.folder is None else self.folder / f"{key}.npy"
        return np.load(path) if path is not None and path.exists() else None

    def of_study(self, study: "Study") -> dict[str, dict[int, np.ndarray]]:
        """Return arm → seed → examples, of the runs that finished and were kept."""
        return {
            arm.name: {
                seed: scores
                for seed in study.finals[arm.name]
                if (scores := self.of(replace(arm.recipe, seed=seed))) is not None
            }
            for arm in study.arms
            if study.finals[arm.name]
        }
