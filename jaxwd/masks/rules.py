"""Which leaves decay, and how strongly: rules on leaf names, first match wins."""

import difflib
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxwd.errors import InputError, require
from jaxwd.trees import Tree, map_named, named_leaves


@dataclass(frozen=True)
class Rule:
    """One line of a `Rules` table: leaves whose whole name matches get `multiplier`.

    Attributes:
        pattern: regular expression, matched against the *whole* leaf name, as in
            `conv1/kernel` (keys joined by slashes).
        multiplier: λ of the matched leaves is `multiplier` × the scheme's strength;
            0 exempts them.
        min_ndim: only leaves with at least this many axes match. Stacked layers
            (`nn.scan`, `vmap`) give biases a second axis: prefer names to axes.
    """

    pattern: str
    multiplier: float = 1.0
    min_ndim: int = 0

    def __post_init__(self) -> None:
        try:
            with warnings.catch_warnings():
                # `[[` may mean something else in a Python to come, and nothing here.
                warnings.simplefilter("ignore", FutureWarning)
                re.compile(self.pattern)
        except re.error as error:
            raise InputError(
                f"where={self.pattern!r} is no regular expression: {error}"
            ) from None
        require(f"multiplier of rule {self.pattern!r}", self.multiplier, 0.0)

    @property
    def leaves(self) -> str:
        """Return in words which leaves are meant: the pattern, and how many axes."""
        return self.pattern + (f" (ndim ≥ {self.min_ndim})" if self.min_ndim else "")

    def matches(self, name: str, leaf: Any) -> bool:
        """Say whether the leaf `name` is meant by this rule."""
        fits = np.ndim(leaf) >= self.min_ndim
        return fits and re.fullmatch(self.pattern, name) is not None


@dataclass(frozen=True)
class Rules:
    """An ordered table of rules. The first rule that matches a leaf decides it.

    A leaf that no rule matches does not decay. A rule that decides no leaf at all is
    an error, because a typing mistake would otherwise switch decay off in silence.

    >>> import jax.numpy as jnp
    >>> params = {"conv": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
    ...           "head": {"kernel": jnp.ones((2, 2))}}
    >>> where = rules({"head/.*": 0.1, ".*kernel": 1.0})
    >>> where.multipliers(params)
    {'conv': {'bias': 0.0, 'kernel': 1.0}, 'head': {'kernel': 0.1}}
    """

    table: tuple[Rule, ...]

    def decide(self, tree: Tree, *, strict: bool = True) -> dict[str, Rule | None]:
        """Return for every leaf name the rule that decides it, or None.

        Raises:
            InputError: a rule decides no leaf. Not with `strict=False`, for a tree
                that is a part of one already checked.
        """
        leaves = named_leaves(tree)
        decided = {
            name: next((rule for rule in self.table if rule.matches(name, leaf)), None)
            for name, leaf in leaves
        }
        for rule in self.table:
            if strict and leaves and rule not in decided.values():
                raise _idle_rule(rule, leaves)
        return decided

    def multipliers(self, tree: Tree, *, strict: bool = True) -> Tree:
        """Return the tree of multipliers, 0 where a leaf does not decay."""
        decided = self.decide(tree, strict=strict)

        def multiplier(name: str, _leaf: Any) -> float:
            rule = decided[name]
            return 0.0 if rule is None else rule.multiplier

        return map_named(multiplier, tree)

    def mask(self, tree: Tree) -> Tree:
        """Return a tree of booleans: True where a leaf decays.

        Pass the bound method itself to Optax, as in `mask=jaxwd.kernels.mask`.
        """
        return jax.tree.map(lambda m: m != 0, self.multipliers(tree))

    def levels(self) -> tuple[float, ...]:
        """Return the different multipliers other than 0, in table order."""
        return tuple(dict.fromkeys(r.multiplier for r in self.table if r.multiplier))

    def __str__(self) -> str:
        return ", ".join(
            r.leaves + (f" ×{r.multiplier:g}" if r.multiplier != 1 else "")
            for r in self.table
        )


Where = str | Rules | Mapping[str, float] | Sequence[tuple[str, float]]
"""What a `where=` argument takes: a pattern, a table of patterns, or `Rules`."""


def rules(where: Where) -> Rules:
    """Return the `Rules` meant by a pattern, a table of (pattern, multiplier), or both.

    Args:
        where: `"head/.*"`, `{"head/.*": 0.1, ".*kernel": 1}`, the same as a list of
            pairs, or a `Rules` such as `jaxwd.kernels`. True and False mean 1 and 0.

    Raises:
        InputError: no rule at all, a broken pattern, or a negative multiplier.

    >>> print(rules([("head/.*", False), (".*kernel", True)]))
    head/.* ×0, .*kernel
    """
    if isinstance(where, Rules):
        return where
    if isinstance(where, str):
        return Rules((Rule(where),))
    pairs = list(where.items()) if isinstance(where, Mapping) else where
    if not isinstance(pairs, Sequence) or not all(map(_is_rule, pairs)):
        raise InputError(
            f"where={where!r} is not allowed; give a pattern of leaf names, a table "
            '{pattern: multiplier} such as {"head/.*": 0, ".*kernel": 1}, or Rules '
            "such as jaxwd.kernels"
        )
    if not pairs:
        raise InputError("where=[] names no leaf; use jaxwd.none() for no decay")
    return Rules(tuple(Rule(pattern, float(number)) for pattern, number in pairs))


def _is_rule(pair: object) -> bool:
    """Say whether this is (pattern, multiplier)."""
    return (
        isinstance(pair, Sequence)
        and len(pair) == 2
        and isinstance(pair[0], str)
        and isinstance(pair[1], int | float)
    )


def by_depth(patterns: Sequence[str], factor: float = 0.75) -> Rules:
    """Return rules of falling strength towards the input: m = factor^(L − 1 − l).

    Args:
        patterns: one for each layer, from input to output; the last has multiplier 1.
        factor: between two layers; below 1 the first layers decay least. Layer-wise
            learning rates of BEiT take 0.65 to 0.9 and scale `decoupled` decay alike.

    >>> print(by_depth(["conv1/kernel", "conv2/kernel", "dense/kernel"], 0.5))
    conv1/kernel ×0.25, conv2/kernel ×0.5, dense/kernel
    """
    require("by_depth: factor", factor, 0.0)
    last = len(patterns) - 1
    return rules([(name, factor ** (last - i)) for i, name in enumerate(patterns)])


kernels = Rules((Rule(r"(.*/)?kernel"),))
"""Leaves named `kernel`: Flax's weights, without biases, norms and embeddings."""

matrices = Rules((Rule(r".*", min_ndim=2),))
"""Leaves with two axes or more, whatever their name (Haiku's `w`, Equinox's `weight`).
"""

everything = Rules((Rule(r".*"),))
"""Every leaf, biases and normalisation scales included."""


def by_ndim(*, matrices: float = 1.0, vectors: float = 0.0) -> Rules:
    """λ × `matrices` on leaves with two axes or more, λ × `vectors` on all others.

    Both strengths are said aloud and printed, as optimizers want them that treat the
    two kinds differently, such as Muon.

    Args:
        matrices: multiplier of the strength on leaves with two axes or more.
        vectors: on all others: biases, scales, scalars. The default 0 is what
            `optax.contrib.muon` does without saying so.

    Raises:
        InputError: a negative number. At `init`: parameters without one of the kinds.

    Stacked layers (`nn.scan`, `vmap`) give biases a second axis: use names there.

    >>> print(by_ndim(matrices=1.0, vectors=0.1))
    .* (ndim ≥ 2), .* ×0.1
    """
    require("by_ndim: matrices", matrices, 0.0)
    require("by_ndim: vectors", vectors, 0.0)
    return Rules((Rule(".*", matrices, min_ndim=2), Rule(".*", vectors)))


def _idle_rule(rule: Rule, leaves: list[tuple[str, Any]]) -> InputError:
    """Say why `rule` decides nothing, with the leaf names nearest to it."""
    names = [name for name, _ in leaves]
    if any(rule.matches(name, leaf) for name, leaf in leaves):
        return InputError(
            f"where: rule {rule.pattern!r} decides no leaf, earlier rules take all "
            "it matches; put it first or remove it"
        )
    plain = re.sub(r"[\\^$.*+?()\[\]{}|]", "", rule.pattern)
    key = plain.rsplit("/", 1)[-1]
    by_key = sorted(
        names,
        key=lambda n: (
            -max(
                difflib.SequenceMatcher(None, plain, n).ratio(),
                difflib.SequenceMatcher(None, key, n.rsplit("/", 1)[-1]).ratio(),
            )
        ),
    )
    nearest = ", ".join(repr(name) for name in by_key[:4])
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return InputError(
        f"where: rule {rule.pattern!r} matches no leaf; nearest of the {len(names)} "
        f"leaves: {nearest}{more} (patterns match the whole name; "
        "jaxwd.everything and jaxwd.matrices take leaves of any name)"
    )
