"""The models that have a name: pure functions and Flax modules in one table."""

import dataclasses
import importlib
from typing import Any, NamedTuple

import jax

from jaxwd.errors import InputError, unknown
from jaxwd.models.flax_adapters import from_linen
from jaxwd.models.interface import Model, Tree


class Row(NamedTuple):
    """Where a model is; it is imported when it is used.

    Attributes:
        room: the module with its `Config`, whose fields are its options.
        linen: name of the Flax Linen module there; None for `init` and `apply`.
    """

    room: str
    linen: str | None = None


MODELS = {
    "cnn": Row("jaxwd.models.cnn"),
    "mlp": Row("jaxwd.models.mlp"),
    "resnet18": Row("jaxwd.models.resnet", "ResNet"),
    "wrn": Row("jaxwd.models.wide_resnet", "WideResNet"),
    "vit": Row("jaxwd.models.vit", "ViT"),
    "gpt": Row("jaxwd.models.gpt", "GPT"),
}
"""Name → row."""


def room_of(name: str) -> Any:
    """Return the module of the model `name`.

    Raises:
        InputError: unknown name.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return importlib.import_module(MODELS[name].room)


def options_of(name: str) -> dict[str, Any]:
    """Return the options of the model `name` and their defaults.

    >>> options_of("mlp")
    {'hidden': (128,), 'init': 'lecun'}
    """
    fields = dataclasses.fields(room_of(name).Config)
    return {field.name: field.default for field in fields if field.name != "classes"}


def by_name(name: str, /, *, classes: int, **options: Any) -> Model:
    """Return the model `name`, a row of `MODELS`, with its options.

    Args:
        name: `cnn`, `mlp`, `resnet18`, `wrn`, `vit` or `gpt`.
        classes: number of outputs; for `gpt` the size of the vocabulary.
        **options: as `jaxwd list models` says.

    Raises:
        InputError: unknown name or option, or a value that the model cannot have.

    >>> model = by_name("mlp", classes=3, hidden=(8,))
    >>> params, state = model.init(jax.random.key(0), jax.numpy.ones(4), 0.0)
    >>> model.apply(params, state, jax.numpy.ones((2, 4)), train=False)[0].shape
    (2, 3)
    """
    room, known = room_of(name), options_of(name)
    for option in options:
        if option not in known:
            raise InputError(
                f"model {name!r} does not take {option}={options[option]}; it takes "
                f"{', '.join(known)}"
            )
    config, linen = room.Config(classes=classes, **options), MODELS[name].linen
    if linen is not None:
        return from_linen(getattr(room, linen)(config), name=name)
    return _pure(name, room, config)


def _pure(name: str, room: Any, config: Any) -> Model:
    """Return the model of a room with `init` and `apply` and of its `Config`."""

    def init(key: jax.Array, example: jax.Array, rate: Any) -> tuple[Tree, Tree]:
        return room.init(key, config, example.shape, dropout_rate=rate), {}

    def apply(
        params: Tree,
        state: Tree,
        inputs: jax.Array,
        *,
        train: bool,
        dropout_rate: Any = 0.0,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, Tree]:
        outputs = room.apply(
            params, inputs, config, train=train, dropout_rate=dropout_rate, key=key
        )
        return outputs, state

    return Model(name, init, apply)
