"""Plain text in columns, at most 80 wide."""

from collections.abc import Sequence

WIDTH = 80
_NAME, _SHORTEST = 28, 12  # letters of a leaf's name


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return the cells in columns: words to the left, numbers to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    words = [i for i, name in enumerate(lines[0]) if name in ("leaf", "shape", "decay")]
    return [
        "  ".join(
            cell.ljust(w) if i in words else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def fit(columns: dict[str, list[str]], optional: Sequence[str]) -> None:
    """Make the columns fit: long names lose their middle, then columns go."""
    _shorten_names(columns, _NAME)
    for name in optional:
        if _width(columns) <= WIDTH:
            return
        columns.pop(name, None)
    _shorten_names(columns, _SHORTEST)


def _width(columns: dict[str, list[str]]) -> int:
    widths = [max(map(len, (name, *cells))) for name, cells in columns.items()]
    return sum(widths) + 2 * (len(widths) - 1)


def _shorten_names(columns: dict[str, list[str]], least: int) -> None:
    """Cut the middle out of names as far as needed, `least` letters stay."""
    others = _width({k: v for k, v in columns.items() if k != "leaf"}) + 2
    room = max(least, WIDTH - others)
    for i, name in enumerate(columns["leaf"]):
        if len(name) > room:
            head = (room - 1) // 3
            columns["leaf"][i] = f"{name[:head]}…{name[head + 1 - room :]}"


def number(value: float | None) -> str:
    """Return three digits of a number, nothing for None."""
    return "" if value is None else f"{value:.3g}"


def count(value: float | None) -> str:
    """Return a number of steps with thousands apart, nothing for None."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
