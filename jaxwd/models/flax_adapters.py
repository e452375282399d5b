"""Train any Flax module: Linen and NNX behind the same two pure functions."""

import functools
import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxwd.errors import InputError
from jaxwd.models.interface import Model

Tree = Any

# How modules spell "this is training": argument name → value while training.
_MODE_ARGUMENTS = {"train": True, "training": True, "is_training": True} | {
    "deterministic": False
}


def from_linen(module: Any, *, name: str | None = None) -> Model:
    """Return a Flax Linen module as a `Model`.

    The module's mode is passed by the argument its `__call__` has: `train`,
    `training`, `is_training` or `deterministic`. Collections other than `params`
    (running means) become the model's state. A `dropout_rate` argument of `__call__`,
    if there is one, receives the recipe's rate; otherwise the module fixes its own. A
    field `axis_name`, which it hands to its `nn.BatchNorm`s, lets them average over
    devices (`Model.over_axis`); without it a module with a state is trained by
    `layout="sharded"` or `"fsdp"` only, not by `shard_map` or `pmap`.

    Args:
        module: a `flax.linen.Module` instance.
        name: how reports call it; default the class name.

    >>> import flax.linen as nn
    >>> model = from_linen(nn.Dense(3))
    >>> params, state = model.init(jax.random.key(0), jnp.ones(4), 0.0)
    >>> sorted(params), model.takes_dropout
    (['bias', 'kernel'], False)
    """
    import flax.linen as nn

    if not isinstance(module, nn.Module):
        raise InputError(
            f"from_linen takes a flax.linen.Module instance, not {module!r}; for "
            "flax.nnx use from_nnx(lambda rngs: MyModule(rngs=rngs))"
        )
    arguments = inspect.signature(type(module).__call__).parameters
    takes_dropout = "dropout_rate" in arguments

    def call_arguments(train: bool, rate: Any) -> dict[str, Any]:
        given = _mode(arguments, train)
        return given | ({"dropout_rate": rate} if takes_dropout else {})

    def init(key: jax.Array, example: jax.Array, rate: Any) -> tuple[Tree, Tree]:
        variables = dict(
            module.init({"params": key}, example[None], **call_arguments(False, rate))
        )
        return variables.pop("params"), variables

    def apply(
        params: Tree,
        state: Tree,
        inputs: jax.Array,
        *,
        train: bool,
        dropout_rate: Any = 0.0,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, Tree]:
        variables: Any = {"params": params, **state}
        given = call_arguments(train, dropout_rate)
        rngs = None if key is None else {"dropout": key}
        if not train:
            still: Any = module.apply(variables, inputs, **given)
            return still, state
        outputs, changed = module.apply(
            variables, inputs, rngs=rngs, mutable=list(state), **given
        )
        return outputs, {**state, **changed}

    def over_axis(axis: str) -> Model:
        return from_linen(module.clone(axis_name=axis), name=name)

    kind = type(module)
    return Model(
        name or kind.__name__,
        init,
        apply,
        takes_dropout,
        _identity(kind, repr(module)),
        over_axis if hasattr(module, "axis_name") else None,
    )


def from_nnx(build: Callable[[Any], Any], *, name: str | None = None) -> Model:
    """Return a Flax NNX module as a `Model`, given the function that builds it.

    The module is taken apart and put together again inside the pure functions, so
    nothing is mutated outside them. Its random streams are refilled from the explicit
    key of each step and are no part of the state. A module with a state, batch norms
    say, is trained by `layout="sharded"` or `"fsdp"`, not by `shard_map` or `pmap`.

    Args:
        build: `function(nnx.Rngs) → module`, such as `lambda rngs: Net(rngs=rngs)`.
        name: how reports call it; default the class name.

    >>> from flax import nnx
    >>> model = from_nnx(lambda rngs: nnx.Linear(4, 3, rngs=rngs))
    >>> params, state = model.init(jax.random.key(0), jnp.ones(4), 0.0)
    >>> model.apply(params, state, jnp.ones((2, 4)), train=False)[0].shape
    (2, 3)
    """
    from flax import nnx

    @functools.cache
    def skeleton() -> tuple[Any, Any, type]:
        """Return the module's structure and the structure of its random streams."""
        with jax.ensure_compile_time_eval():
            module = build(nnx.Rngs(0))
        graph, _, streams, _ = nnx.split(module, nnx.Param, nnx.RngState, ...)
        return graph, streams, type(module)

    def refill(key: jax.Array | None) -> Any:
        """Return the random streams, each with a key of its own and counter zero."""
        root = jax.random.key(0) if key is None else key
        leaves, structure = jax.tree.flatten(skeleton()[1])
        fresh = [
            jax.random.fold_in(root, i)
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            else jnp.zeros_like(leaf)
            for i, leaf in enumerate(leaves)
        ]
        return jax.tree.unflatten(structure, fresh)

    def init(key: jax.Array, example: jax.Array, rate: Any) -> tuple[Tree, Tree]:
        del example, rate
        _, params, _, state = nnx.split(
            build(nnx.Rngs(key)), nnx.Param, nnx.RngState, ...
        )
        return params, state

    def apply(
        params: Tree,
        state: Tree,
        inputs: jax.Array,
        *,
        train: bool,
        dropout_rate: Any = 0.0,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, Tree]:
        del dropout_rate
        graph, streams, _ = skeleton()
        if train and key is None and jax.tree.leaves(streams):
            raise InputError("training a module with random streams needs key=")
        # A copy: without it the module would write into the caller's state.
        module = nnx.merge(graph, params, refill(key), state, copy=True)
        (module.train if train else module.eval)()
        given = _mode(inspect.signature(type(module).__call__).parameters, train)
        outputs = module(inputs, **given)
        return outputs, nnx.split(module, nnx.Param, nnx.RngState, ...)[3]

    graph, _, kind = skeleton()
    return Model(
        name or kind.__name__, init, apply, False, _identity(kind, repr(graph))
    )


def _identity(kind: type, structure: str) -> str:
    """Return a short name for a module's structure and the code of its class."""
    try:
        source = inspect.getsource(kind)
    except (OSError, TypeError):  # typed at a prompt
        source = ""
    text = f"{kind.__module__}.{kind.__qualname__}\n{structure}\n{source}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _mode(arguments: Any, train: bool) -> dict[str, bool]:
    """Return the mode argument a module's call has, set for training or evaluation."""
    return {
        argument: while_training == train
        for argument, while_training in _MODE_ARGUMENTS.items()
        if argument in arguments
    }
