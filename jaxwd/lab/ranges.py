"""Where a hyperparameter is looked for: `log_range`, `linear_range`, `choices`."""

import math
from dataclasses import dataclass
from typing import Any

from jaxwd.errors import InputError, concrete, require

# A winner in the outer tenth of its range may have its optimum beyond it.
_EDGE = 0.1


@dataclass(frozen=True)
class Range:
    """The values one hyperparameter may take.

    Attributes:
        low: lowest value; not of `choices`.
        high: highest value.
        log: equal steps are equal ratios.
        values: the choices, in the order given; empty for a range of numbers.
    """

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    values: tuple[Any, ...] = ()

    def at(self, u: float) -> Any:
        """Return the value at u in [0, 1): low·(high/low)^u, low + u(high − low)."""
        if self.values:
            return self.values[min(int(u * len(self.values)), len(self.values) - 1)]
        if self.log:
            return float(self.low * (self.high / self.low) ** u)
        return float(self.low + u * (self.high - self.low))

    def grid(self, n: int) -> list[Any]:
        """Return n values from end to end; of choices all of them."""
        if self.values:
            return list(self.values)
        return [self.at(i / max(n - 1, 1)) for i in range(n)]

    def edge(self, value: Any, tried: list[Any]) -> str:
        """Return "lower" or "upper" where the best value stands at that end, else "".

        It does if it lies in the outer tenth of the range, or if nothing between it and
        the end was tried. A lowest choice of 0 is no edge: nothing is below.
        """
        if self.values and not all(isinstance(v, int | float) for v in self.values):
            return ""
        numbers = sorted(float(v) for v in (self.values or tried))
        if len(set(numbers)) < 3:
            return ""
        if value == numbers[0]:
            return "lower" if value > 0 else ""
        if value == numbers[-1]:
            return "upper"
        if self.values:
            return ""
        place = self._place(float(value))
        return "lower" if place < _EDGE else "upper" if place > 1 - _EDGE else ""

    def _place(self, value: float) -> float:
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def __str__(self) -> str:
        if self.values:
            return f"{{{', '.join(map(_said, self.values))}}}"
        return f"{self.low:g} to {self.high:g}{' (log)' if self.log else ''}"


def log_range(low: float, high: float) -> Range:
    """Return the numbers from low to high, equal ratios equally likely.

    For strengths and learning rates, whose effect goes by factors. A strength is in the
    unit of its scheme: give unlike schemes unlike ranges.

    Args:
        low: above 0.
        high: above low, finite.

    Raises:
        InputError: ends that are not positive, not finite or in the wrong order.

    >>> [round(x, 6) for x in log_range(1e-4, 1e-2).grid(3)]
    [0.0001, 0.001, 0.01]
    """
    return _between("log_range", low, high, log=True)


def linear_range(low: float, high: float) -> Range:
    """Return the numbers from low to high, all equally likely; for dropout rates.

    Raises:
        InputError: ends that are not finite or in the wrong order.

    >>> linear_range(0.0, 0.5).at(0.5)
    0.25
    """
    return _between("linear_range", low, high, log=False)


def choices(*values: Any) -> Range:
    """Return these values and no others: names, or a ladder of numbers.

    Raises:
        InputError: fewer than two, or one given twice.

    >>> choices(0.0, 0.001, 0.01).grid(2)
    [0.0, 0.001, 0.01]
    """
    if len(values) < 2 or len(set(map(repr, values))) < len(values):
        raise InputError(
            f"choices{values!r}: give at least two values, none of them twice"
        )
    return Range(values=tuple(values))


def _between(name: str, low: float, high: float, *, log: bool) -> Range:
    require(f"{name}: low", low, 0.0 if log else -math.inf, open_low=True)
    require(f"{name}: high", high, float(low), open_low=True)
    a, b = concrete(low), concrete(high)
    if a is None or b is None or not math.isfinite(a) or not math.isfinite(b):
        raise InputError(f"{name}({low}, {high}): give two finite numbers")
    return Range(a, b, log)


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
