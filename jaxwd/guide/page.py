"""A recommendation as a person reads it: a line, a sweep, the neighbours."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxwd.guide.recommend import Recommendation


def page(got: "Recommendation") -> str:
    """Return the recommendation as text of at most 80 columns."""
    short = f"{got.strength:.3g}"
    scheme = got.strength.jaxwd.replace(repr(got.strength), short)
    lines = [f"λ = {short}   {scheme or f'in the convention {got.scheme}'}", ""]
    lines += aligned(
        ("sweep λ", "τ epochs", "τ/T"),
        [
            (f"{strength:.3g}", f"{tau:.3g}", f"{tau / got.run['epochs']:.3g}")
            for strength, tau in got.sweep
        ],
    )
    lines.append("")
    lines += aligned(
        ("published", "λ there", "convention", "τ epochs", "τ/T", "λ here"),
        [
            (
                f"{i} {row.name}",
                f"{row.strength:g}",
                row.convention,
                f"{row.tau_epochs:.3g}",
                f"{row.tau_over_run:.2g}",
                "–" if here is None else f"{here:.3g}",
            )
            for i, (row, here) in enumerate(got.neighbours, 1)
        ],
    )
    lines.append("")
    lines += [f"{i} {row.source}" for i, (row, _) in enumerate(got.neighbours, 1)]
    return "\n".join([*lines, "", *got.says])


def aligned(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Return lines whose columns line up: the first to the left, others to the right.

    >>> aligned(("a", "bb"), [("x", "1"), ("yy", "22")])
    ['a   bb', 'x    1', 'yy  22']
    """
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]
