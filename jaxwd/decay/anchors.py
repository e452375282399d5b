"""Anchors: what weights are pulled to instead of 0. One row each.

An anchor keeps a state beside the optimizer's (copied, so that donated buffers stay
whole) and tells in every step where each leaf is pulled to.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxwd.decay.scheme import DecayScheme
from jaxwd.errors import InputError, concrete, require
from jaxwd.trees import Tree, map_named, named_leaves, over
from jaxwd.trees import norm as norm_of  # `norm` is a setting here

Array = jax.Array


class Held:
    """A tree inside a hashable value, compared by identity."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def __repr__(self) -> str:
        return f"<{len(jax.tree.leaves(self.tree))} leaves>"


class Anchor(NamedTuple):
    """One row of `ANCHORS`, leaf by leaf.

    Attributes:
        start: (θ, **settings) → state of the leaf at the first step.
        move: (state, θ, **settings) → (anchor a, new state).
    """

    start: Callable[..., Any]
    move: Callable[..., tuple[Array, Any]]


def _towards_norm(state: Array, x: Array, norm: Any) -> tuple[Array, Array]:
    return over(state, norm_of(x)) * x, state


def _start_norm(x: Array, norm: Any) -> Array:
    own = norm_of(x)
    return own if norm is None else jnp.asarray(norm, own.dtype)


def _start_ema(x: Array, beta: Any, debias: bool = False) -> tuple[Array, Array]:
    """Σ of the weights taken in and Σ of their shares; θ₀ counts as all of them or none."""
    share = jnp.asarray(0.0 if debias else 1.0, x.dtype)
    return share * x, share


def _ema(
    state: tuple[Array, Array], x: Array, beta: Any, debias: bool = False
) -> tuple[Array, tuple[Array, Array]]:
    total, share = state
    total, share = beta * total + (1 - beta) * x, beta * share + (1 - beta)
    return total / share, (total, share)


ANCHORS: dict[str, Anchor] = {
    "to_init": Anchor(jnp.copy, lambda state, x: (state, state)),
    "to_ema": Anchor(_start_ema, _ema),
    "to_norm": Anchor(_start_norm, _towards_norm),
}
"""Name → row. `to_tree` is not here: its anchor is given, not made from the weights."""


def to_init(scheme: DecayScheme) -> DecayScheme:
    """Decay towards the weights at `init`: θ is replaced by θ − θ₀ in the scheme.

    With pretrained weights this is L2-SP (decoupled or coupled, as `scheme` says);
    from a random start it is regenerative regularisation, L2-Init, which keeps a
    network able to learn new tasks. λ is that of `scheme`. Costs one copy of the
    decayed leaves. A new head should decay to 0: leave it out by `where`.

    Sources: Li et al., Explicit inductive bias for transfer learning, 2018 (coupled);
    Kumar et al., Maintaining plasticity via regenerative regularization, 2023.

    Not for a new head on pretrained weights, nor a resumed run whose state is made
    anew: the anchor is where `init` was called.

    Reference: heavyball's `weight_decay_to_init`.

    >>> from jaxwd import decoupled
    >>> print(to_init(decoupled(0.1)))
    decoupled(0.1, times=lr, to_init)
    """
    return DecayScheme.with_choice(scheme, "anchor", "to_init")


def to_tree(scheme: DecayScheme, tree: Tree) -> DecayScheme:
    """Decay towards a given tree: θ is replaced by θ − a in the scheme.

    Args:
        scheme: any scheme, `penalized` included.
        tree: a, of the parameters' structure. It becomes a constant of the compiled
            program; for a large one prefer `to_init`, which keeps it in the state.

    Not for trees of many megabytes under `jit`, see above.

    Source: Li et al., Explicit inductive bias for transfer learning, 2018.

    Reference: none that takes any tree was found.

    >>> from jaxwd import coupled
    >>> print(to_tree(coupled(0.1), {"kernel": jnp.ones(2)}))
    coupled(0.1, to_tree(tree=<1 leaves>))
    """
    return DecayScheme.with_choice(scheme, "anchor", "to_tree", tree=Held(tree))


def to_ema(
    scheme: DecayScheme, *, beta: float = 0.999, debias: bool = False
) -> DecayScheme:
    """Decay towards the running average of the weights: ē ← βē + (1 − β)θ; θ − ē.

    The average takes the weights before the step in, then pulls. d_tλ = 1 puts θ on ē.

    Args:
        scheme: `coupled`, `decoupled` or `proximal`.
        beta: β in [0, 1); about 1/(1 − β) steps are remembered. Default 0.999.
        debias: how it begins. False, the default: ē = θ₀, so for the first 1/(1 − β)
            steps this is nearly `to_init`. True: ē is the average of the weights seen,
            Σβ^(t−i)θ_i/Σβ^(t−i) over i ≤ t, as in heavyball; the pull is then weak at
            first, and 0 in the first step.

    Raises:
        InputError: β = 1 with `debias`, an average that takes no weight in.

    Source: heavyball's `weight_decay_to_ema`, with `debias`.

    Not for short runs: an average over 1/(1 − β) steps needs as many to move.

    Source: heavyball's own; the average is that of Polyak and Juditsky, Acceleration of
    stochastic approximation by averaging, 1992.

    Reference: heavyball's `weight_decay_to_ema` (`debias=True`).

    >>> from jaxwd import decoupled
    >>> print(to_ema(decoupled(0.1), beta=0.99))
    decoupled(0.1, times=lr, to_ema(beta=0.99))
    """
    require("to_ema: beta", beta, 0.0, 1.0)
    if debias and concrete(beta) == 1:
        raise InputError(
            "to_ema: beta=1 with debias takes no weight in; give a number below 1, or "
            "jaxwd.to_init for an average that stays"
        )
    begin = {"debias": True} if debias else {}
    return DecayScheme.with_choice(scheme, "anchor", "to_ema", beta=beta, **begin)


def to_norm(scheme: DecayScheme, norm: float | None = None) -> DecayScheme:
    """Decay each leaf's length towards r: θ ← θ·(1 − d_tλ(1 − r/‖θ‖)).

    The pull is θ − r·θ/‖θ‖, so it grows leaves that are shorter than r. r = 0 is
    ordinary decay; with a zero gradient ‖θ‖ goes to r at the rate d_tλ.

    Args:
        scheme: `coupled`, `decoupled` or `proximal`.
        norm: r, the same for every decayed leaf; default each leaf's norm at `init`.

    Source: Loshchilov, Weight norm control, 2023 (AdamWN).

    Not for leaves that start at 0: they have no direction to grow in.

    Reference: none public; AdamW is the case r = 0.

    >>> from jaxwd import decoupled
    >>> print(to_norm(decoupled(0.1), 2.0))
    decoupled(0.1, times=lr, to_norm(norm=2.0))
    """
    if norm is not None:
        require("to_norm: norm", norm, 0.0)
    return DecayScheme.with_choice(scheme, "anchor", "to_norm", norm=norm)


def start(scheme: DecayScheme, multipliers: Tree, params: Tree) -> Tree:
    """Return the anchor's state: nothing for a leaf that does not decay."""
    if scheme.anchor is None or scheme.fixed_anchor is not None:
        _fits(scheme.fixed_anchor, params)
        return ()
    row, settings = ANCHORS[scheme.anchor.name], dict(scheme.anchor.settings)
    return jax.tree.map(
        lambda m, x: row.start(x, **settings) if m else (), multipliers, params
    )


def offsets(
    scheme: DecayScheme, multipliers: Tree, state: Tree, params: Tree
) -> tuple[Tree, Tree]:
    """Return θ − a for every leaf, and the anchor's new state."""
    if scheme.anchor is None:
        return params, state
    if scheme.fixed_anchor is not None:
        # By name, since Optax may hold a part of the tree (frozen leaves).
        given = dict(named_leaves(scheme.fixed_anchor))
        return map_named(lambda name, x: x - given[name], params), state
    row, settings = ANCHORS[scheme.anchor.name], dict(scheme.anchor.settings)
    leaves, shape = jax.tree.flatten(params)
    levels = shape.flatten_up_to(multipliers)
    held = shape.flatten_up_to(state)
    moved = [
        row.move(s, x, **settings) if m else (x, s)
        for m, s, x in zip(levels, held, leaves, strict=True)
    ]
    new = shape.unflatten([x - a for x, (a, _) in zip(leaves, moved, strict=True)])
    return new, shape.unflatten([s for _, s in moved])


def _fits(tree: Tree, params: Tree) -> None:
    given = {name: jnp.shape(leaf) for name, leaf in named_leaves(tree)}
    for name, leaf in named_leaves(params):
        if tree is not None and given.get(name) != jnp.shape(leaf):
            raise InputError(
                f"to_tree: the tree has {given.get(name, 'nothing')} where the "
                f"parameters have {name} {jnp.shape(leaf)}; give one leaf for each"
            )
