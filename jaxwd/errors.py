"""One kind of error for bad input: what was given, what is allowed, what to do."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A value a person gave that cannot be used; the message is one line.

    The command line prints it without a traceback and exits with code 2. Being a
    `ValueError`, it can be caught as one by importers who do not know its name.
    """


class Diverged(RuntimeError):
    """A training whose loss stopped being finite; names the steps and the recipe.

    Attributes:
        step: the first step with a loss that is not finite, where it is known.
    """

    def __init__(self, message: str, step: int | None = None) -> None:
        super().__init__(message)
        self.step = step


def unknown(kind: str, given: object, allowed: Iterable[str]) -> InputError:
    """Return the error for a name that is not in a table, nearest names first.

    >>> print(unknown("optimizer", "adamm", ["sgd", "adam", "lion"]))
    unknown optimizer 'adamm'; did you mean 'adam'? choose from: adam, lion, sgd
    """
    names = sorted(allowed)
    near = difflib.get_close_matches(str(given), names, n=3, cutoff=0.6)
    hint = f" did you mean {' or '.join(map(repr, near[:2]))}?" if near else ""
    return InputError(
        f"unknown {kind} {str(given)!r};{hint} choose from: {', '.join(names)}"
    )


def nearest(size: int, unit: int) -> str:
    """Return the multiples of a unit next to a size, as words of an error.

    >>> nearest(7, 2), nearest(3, 8)
    ('6 or 8', '8')
    """
    low = size // unit * unit
    return " or ".join(str(n) for n in (low, low + unit) if n)


def concrete(value: object) -> float | None:
    """Return a scalar as a float, or None where its value is not known yet.

    Traced arrays (under `jit`, `vmap`, `grad`), schedules and arrays with more than
    one element have no single value that could be checked, so checks skip them.
    """
    if value is None or callable(value):
        return None
    if isinstance(value, int | float):
        return float(value)
    # Imported here so that `--help` and a typing mistake need not wait for JAX.
    import numpy as np
    from jax.core import Tracer

    if isinstance(value, Tracer):
        return None
    array = np.asarray(value)
    return float(array) if array.ndim == 0 else None


def require(
    name: str,
    value: object,
    low: float,
    high: float = float("inf"),
    *,
    open_low: bool = False,
    whole: bool = False,
) -> None:
    """Raise `InputError` unless `low <= value <= high`; NaN never passes.

    With `open_low` the lower end itself is not allowed, with `whole` the value must be
    an integer. Traced values and schedules pass.
    """
    if value is None or isinstance(value, str | bytes | dict | list | tuple | set):
        raise InputError(f"{name}={value!r} is not allowed; give a number")
    try:
        number = concrete(value)
    except (TypeError, ValueError):
        raise InputError(f"{name}={value!r} is not allowed; give a number") from None
    except OverflowError:  # an integer of more than 308 digits
        raise InputError(f"{name} is not allowed; give a smaller number") from None
    if whole and (
        number is None or not number.is_integer() or isinstance(value, float)
    ):
        raise InputError(f"{name}={value} is not allowed; give a whole number")
    if number is None:
        return
    above = number > low if open_low else number >= low
    if above and number <= high:
        return
    left = "(" if open_low else "["
    right = f"{high:g}]" if high != float("inf") else "inf)"
    raise InputError(
        f"{name}={number:g} is not allowed; give a number in {left}{low:g}, {right}"
    )
