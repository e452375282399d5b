"""What a training needs of a model: two pure functions and a name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from jaxwd.errors import InputError, unknown
from jaxwd.models import cnn, mlp

Tree = Any


@dataclass(frozen=True)
class Model:
    """A model as pure functions; make one with `by_name`, `from_linen` or `from_nnx`.

    Attributes:
        name: how reports call it.
        init: `(key, example, dropout_rate) → (params, state)`; `example` is one input
            without batch axis. `state` holds what training changes and no gradient
            does, such as running means of a BatchNorm; `{}` for most models.
        apply: `(params, state, inputs, train=, dropout_rate=, key=) → (outputs, state)`.
        takes_dropout: whether `dropout_rate` has an effect; a Flax module that
            fixes its own rates inside says no.
        identity: what tells it from other models of the same name, for records of
            finished runs; the adapters fill it in.
    """

    name: str
    init: Callable[[jax.Array, jax.Array, Any], tuple[Tree, Tree]]
    apply: Callable[..., tuple[jax.Array, Tree]]
    takes_dropout: bool = True
    identity: str = ""


_MODULES: dict[str, Any] = {"cnn": cnn, "mlp": mlp}


def by_name(name: str, *, classes: int, **options: Any) -> Model:
    """Return the model `name` (`cnn` or `mlp`) with `options` of its `Config`.

    Raises:
        InputError: unknown name or option.

    >>> model = by_name("mlp", classes=3, hidden=(8,))
    >>> params, state = model.init(jax.random.key(0), jax.numpy.ones(4), 0.0)
    >>> model.apply(params, state, jax.numpy.ones((2, 4)), train=False)[0].shape
    (2, 3)
    """
    if name not in _MODULES:
        raise unknown("model", name, _MODULES)
    module = _MODULES[name]
    fields = module.Config.__dataclass_fields__
    for option in options:
        if option not in fields:
            raise InputError(
                f"model {name!r} does not take {option}={options[option]}; it takes "
                f"{', '.join(fields)}"
            )
    config = module.Config(classes=classes, **options)

    def init(key: jax.Array, example: jax.Array, rate: Any) -> tuple[Tree, Tree]:
        return module.init(key, config, example.shape, dropout_rate=rate), {}

    def apply(
        params: Tree,
        state: Tree,
        inputs: jax.Array,
        *,
        train: bool,
        dropout_rate: Any = 0.0,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, Tree]:
        outputs = module.apply(
            params, inputs, config, train=train, dropout_rate=dropout_rate, key=key
        )
        return outputs, state

    return Model(name, init, apply)
