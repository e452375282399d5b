"""What a training needs of a model: two pure functions and a name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

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
        over_axis: `axis name → Model`, the model whose batch norms take mean and
            variance over that axis of devices too while training. None where it has
            none that could: then a model with a state is not trained by shard_map or
            pmap, whose devices see their own rows only.
    """

    name: str
    init: Callable[[jax.Array, jax.Array, Any], tuple[Tree, Tree]]
    apply: Callable[..., tuple[jax.Array, Tree]]
    takes_dropout: bool = True
    identity: str = ""
    over_axis: "Callable[[str], Model] | None" = None
