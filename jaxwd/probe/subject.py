"""What is explained: a transformation with its parameters, run length and rates."""

from dataclasses import dataclass
from typing import Any

import jax

from jaxwd.decay import DecayScheme
from jaxwd.decay.chain import About
from jaxwd.errors import InputError, require
from jaxwd.masks import Rules
from jaxwd.penalties import of_scheme
from jaxwd.probe.answers import Penalty
from jaxwd.schedules import ScalarOrSchedule, Schedule
from jaxwd.trees import Tree

_MOST_STEPS = 10_000_000
"""Of a run that is explained: every step's shrink is held, for every leaf."""


@dataclass(frozen=True)
class Subject:
    """A transformation and what is known about it without asking.

    Attributes:
        tx: the transformation.
        params: its parameters, arrays or shapes.
        steps: T, or None where nobody said.
        steps_per_epoch: or None.
        learning_rate: η_t, or None where nobody said.
        scheme: the scheme of a chain made by jaxwd, else None.
        frozen: its rules for frozen leaves, else None.
    """

    tx: Any
    params: Tree
    steps: int | None
    steps_per_epoch: int | None
    learning_rate: ScalarOrSchedule | None
    scheme: DecayScheme | None
    frozen: Rules | None

    @property
    def penalty(self) -> Penalty | None:
        """Return what the loss adds for this scheme: only `penalized` stands there."""
        scheme = self.scheme
        if scheme is None or scheme.kind != "penalized":
            return None
        return lambda params, step: of_scheme(scheme, params, step)


def of_transformation(
    tx: Any,
    params: Tree,
    steps: int | None,
    steps_per_epoch: int | None,
    learning_rate: ScalarOrSchedule | None,
) -> Subject:
    """Return the subject of a transformation; jaxwd's own say the rest themselves."""
    if params is None:
        raise InputError(
            "params=None; explain needs the parameters, or their shapes from "
            "jax.eval_shape: explain(tx, params)"
        )
    about: About | None = getattr(tx, "about", None)
    if learning_rate is None and about is not None:
        learning_rate = about.learning_rate
    if (
        steps is None
        and isinstance(learning_rate, Schedule)
        and learning_rate.steps > 1
    ):
        steps = learning_rate.steps
    if steps is not None:
        require("steps", steps, 1, _MOST_STEPS, whole=True)
    if steps_per_epoch is not None:
        require("steps_per_epoch", steps_per_epoch, 1, whole=True)
    scheme, frozen = (None, None) if about is None else (about.decay, about.frozen)
    return Subject(tx, params, steps, steps_per_epoch, learning_rate, scheme, frozen)


def of_recipe(recipe: Any, params: Tree | None, data: Any) -> Subject:
    """Return the subject of a recipe: its chain, and its model's weights at the start."""
    from jaxwd.data import load
    from jaxwd.schedules import value_at
    from jaxwd.training.parts import chain_of, model_of

    data = load(recipe.dataset) if data is None else data
    examples = recipe.train_examples or data.train.examples
    per_epoch = recipe.steps_per_epoch(examples)
    steps = per_epoch * recipe.epochs
    if params is None:
        model = model_of(recipe, data.outputs)
        example = jax.numpy.zeros(data.input_shape, data.input_dtype)
        key = jax.random.fold_in(jax.random.key(recipe.seed), 0)
        params, _ = jax.jit(model.init)(key, example, value_at(recipe.dropout, 0))
    tx = chain_of(recipe, steps)
    return of_transformation(tx, params, steps, per_epoch, recipe.rate(steps))
