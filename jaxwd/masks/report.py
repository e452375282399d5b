"""What a mask does to a tree, as a table."""

from dataclasses import dataclass

import numpy as np

from jaxwd.masks.rules import Where, rules
from jaxwd.trees import Tree, count, named_leaves


@dataclass(frozen=True)
class MaskRow:
    """One leaf of a mask report."""

    name: str
    shape: tuple[int, ...]
    multiplier: float
    rule: str | None


@dataclass(frozen=True)
class MaskReport:
    """Which leaves decay, by which rule; prints as a table with its totals."""

    rows: tuple[MaskRow, ...]
    decayed: int
    total: int

    @property
    def summary(self) -> str:
        """Return the totals in one line."""
        leaves = sum(row.multiplier != 0 for row in self.rows)
        return (
            f"decays {leaves} of {len(self.rows)} leaves, "
            f"{self.decayed:,} of {self.total:,} parameters"
        )

    def __str__(self) -> str:
        cells = [("leaf", "shape", "λ ×", "rule")] + [
            (r.name or "(the array)", str(r.shape), f"{r.multiplier:g}", r.rule or "-")
            for r in self.rows
        ]
        widths = [max(len(row[i]) for row in cells) for i in range(4)]
        lines = [
            "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
            for row in cells
        ]
        return "\n".join([*lines, self.summary])


def mask_report(where: Where, params: Tree) -> MaskReport:
    """Report which leaves of `params` decay, by which rule and how strongly.

    >>> import jax.numpy as jnp
    >>> params = {"dense": {"kernel": jnp.ones((4, 3)), "bias": jnp.ones(3)}}
    >>> from jaxwd import kernels
    >>> print(mask_report(kernels, params))
    leaf          shape   λ ×  rule
    dense/bias    (3,)    0    -
    dense/kernel  (4, 3)  1    (.*/)?kernel
    decays 1 of 2 leaves, 12 of 15 parameters
    """
    decided = rules(where).decide(params)
    rows = tuple(
        MaskRow(
            name,
            np.shape(leaf),
            0.0 if rule is None else rule.multiplier,
            None if rule is None else rule.leaves,
        )
        for (name, leaf), rule in zip(
            named_leaves(params), decided.values(), strict=True
        )
    )
    decayed = sum(
        np.size(leaf)
        for (_, leaf), row in zip(named_leaves(params), rows, strict=True)
        if row.multiplier
    )
    return MaskReport(rows, decayed, count(params))
