"""Which numbers hold the weights and which compute: float32, mixed, bfloat16.

The decay is always computed in float32. What differs is whether its small steps survive
being written back: a float32 master keeps them, bfloat16 has 8 bits and drops whatever
is less than half a spacing (2⁻⁹ to 2⁻⁸ of the weight), unless it rounds by chance.
"""

import warnings
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

from jaxwd.trees import Tree

if TYPE_CHECKING:
    from jaxwd.training.recipe import Recipe


class Precision(NamedTuple):
    """One row of the table.

    Attributes:
        held: type of the weights between steps.
        computed: type of the forward and the backward pass.
        by_chance: whether weights are rounded up or down by chance, so that a step is
            right in the mean however small it is.
    """

    held: str
    computed: str
    by_chance: bool = False


PRECISIONS = {
    "float32": Precision("float32", "float32"),
    "mixed": Precision("float32", "bfloat16"),
    "bfloat16": Precision("bfloat16", "bfloat16"),
    "bfloat16_stochastic": Precision("bfloat16", "bfloat16", True),
}
"""Name → row. float32 leaves every type as the model made it."""


def stochastic_round(x: jax.Array, key: jax.Array) -> jax.Array:
    """Return float32 `x` as bfloat16, up or down by chance so that its mean is x.

        P(up) = (x − down)/(up − down)

    Args:
        x: float32, any shape; infinities and NaN stay what they are.
        key: a PRNG key, used once.

    Pure bfloat16 training needs it: with rounding to nearest, a decay of 10⁻⁴ a step
    changes nothing, ever. Not for weights that are held in float32.

    Source: Gupta et al., 2015, "Deep learning with limited numerical precision"; for
    bfloat16 weights Zamirai et al., 2020, "Revisiting BFloat16 training".

    >>> shrunk = stochastic_round(jnp.full(10_000, 0.999), jax.random.key(0))
    >>> sorted(set(shrunk.tolist())), round(float(shrunk.astype(jnp.float32).mean()), 3)
    ([0.99609375, 1.0], 0.999)
    """
    noise = jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.uint32)
    bits = jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
    # The lower 16 bits are what bfloat16 leaves off: the carry of noise rounds up.
    upper = (bits + noise) & jnp.uint32(0xFFFF0000)
    rounded = jax.lax.bitcast_convert_type(upper, jnp.float32)
    return jnp.where(jnp.isfinite(x), rounded, x).astype(jnp.bfloat16)


def cast(tree: Tree, dtype: str) -> Tree:
    """Return a tree with its floats as `dtype`; integers and keys stay."""
    return jax.tree.map(
        lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree
    )


def computing(row: Precision, tree: Tree) -> Tree:
    """Return weights or inputs as the forward pass takes them."""
    return tree if row.computed == "float32" else cast(tree, row.computed)


def masters(row: Precision, params: Tree) -> Tree:
    """Return the weights as the optimizer takes them, in float32."""
    return params if row.held == "float32" else cast(params, "float32")


def written(row: Precision, params: Tree, key: jax.Array) -> Tree:
    """Return float32 weights as they are held until the next step."""
    if row.held == "float32":
        return params
    if not row.by_chance:
        return cast(params, row.held)
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(structure, map(stochastic_round, leaves, keys))


def warn_of_lost_decay(recipe: "Recipe", examples: int) -> None:
    """Warn where weights held in bfloat16 would round the decay's own step away."""
    row = PRECISIONS[recipe.precision]
    if row.held == "float32" or row.by_chance or recipe.decay.kind == "none":
        return
    found = recipe.shrink(examples)
    if found is None or not 0 < found.per_step < 2**-9:
        return
    warnings.warn(
        f"precision='bfloat16': the decay takes {found.per_step:.2g} of a weight a step "
        "in the mean, less than half a spacing of bfloat16 (1/512), so rounding drops it "
        "wherever the gradient is smaller still; precision='mixed' or "
        "'bfloat16_stochastic' keeps it",
        stacklevel=3,
    )
