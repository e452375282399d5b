"""Which members share one compiled program, and which numbers are its inputs.

λ, learning rate, dropout rate and seed always are. An option that is a number, such as
`optimizer_options.momentum`, becomes one where members of a group differ in it and its
code takes a traced value; what all members share stays a constant, as in a single run.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxwd.data import Dataset
from jaxwd.training import Recipe
from jaxwd.training.arrays import Arrays
from jaxwd.training.functions import functions
from jaxwd.training.recipe import Numbers


class Group(NamedTuple):
    """Members that share one program.

    Attributes:
        structure: what they have in common.
        also: paths of the options that are inputs of the program.
        places: their places in the grid, in order.
        drops: whether anyone drops units; else no program draws masks.
    """

    structure: Recipe
    also: tuple[str, ...]
    places: list[int]
    drops: bool = True

    def numbers(self, recipe: Recipe) -> Numbers:
        """Return a member's numbers, as the group's program takes them."""
        numbers = recipe.numbers(self.also)
        return numbers if self.drops else numbers._replace(dropout=None)


def grouped(recipes: Sequence[Recipe], data: Dataset) -> list[Group]:
    """Return the groups of a grid, in the order of their first members."""
    families: dict[tuple, list[int]] = {}
    for place, recipe in enumerate(recipes):
        options = tuple(sorted(recipe.options()))
        # Members of a family differ in numbers alone, options among them.
        families.setdefault((recipe.structure(options), options), []).append(place)
    found: dict[tuple, Group] = {}
    for (_, options), places in families.items():
        rows = [recipes[place].options() for place in places]
        varied = [path for path in options if len({row[path] for row in rows}) > 1]
        first = recipes[places[0]]
        also = tuple(path for path in varied if traceable(first, path, data))
        for place in places:
            structure = recipes[place].structure(also)
            found.setdefault((structure, also), Group(structure, also, []))
            found[structure, also].places.append(place)
    ordered = sorted(found.values(), key=lambda group: group.places[0])
    return [
        group._replace(drops=any(recipes[place].dropout != 0 for place in group.places))
        for group in ordered
    ]


def traceable(recipe: Recipe, path: str, data: Dataset) -> bool:
    """Say whether a training takes the option as a traced value."""
    examples = recipe.train_examples or data.train.examples
    pure = functions(
        recipe.structure((path,)), data.task, data.outputs, examples, limit=2
    )
    number = jax.ShapeDtypeStruct((), jnp.float32)
    split = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((examples, *x.shape[1:]), x.dtype), data.train
    )
    channels = jax.ShapeDtypeStruct((len(data.mean),), jnp.float32)

    def training(numbers, train, mean, scale):
        arrays = Arrays(train, train, train, mean, scale)
        root = jax.random.key(0)
        state = pure.init(root, numbers, arrays)
        return pure.epoch(state, numbers, root, 0, arrays)[0]

    numbers = recipe.numbers((path,))
    try:
        given = jax.tree.map(lambda _: number, numbers)
        jax.eval_shape(training, given, split, channels, channels)
    except (TypeError, ValueError):  # among them what JAX raises for `if tracer:`
        return False
    return True
