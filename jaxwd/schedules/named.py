"""Schedules by name, one function a shape, each with its formula and defaults."""

from typing import Any

from jaxwd.schedules.value import Scalar, Schedule


def schedule(
    name: str, peak: Scalar, *, steps: int, warmup: int = 0, **options: Any
) -> Schedule:
    """Return the schedule `name`; see the functions below for each shape's options.

    Args:
        name: one of `SHAPES`.
        peak: largest value; a number, or an array so that one compilation serves many.
        steps: steps of the run, warm-up included.
        warmup: linear rise from 0 at step 0 to the peak at step `warmup`.
        **options: settings of the shape.

    Raises:
        InputError: unknown name or option, negative peak, warm-up longer than the run.

    >>> schedule("linear", 0.1, steps=10)(5).item()
    0.05...
    """
    return Schedule(name, peak, steps, warmup, tuple(sorted(options.items())))


def constant(peak: Scalar, *, steps: int = 1, warmup: int = 0) -> Schedule:
    """s(t) = 1: the peak from the end of the warm-up on."""
    return schedule("constant", peak, steps=max(steps, warmup), warmup=warmup)


def step(
    peak: Scalar,
    *,
    steps: int,
    warmup: int = 0,
    factor: float = 0.1,
    every: int | None = None,
) -> Schedule:
    """s(t) = factor^⌊t / every⌋; by default three stairs over the run.

    >>> step(1.0, steps=90, every=30).values()[[0, 29, 30, 60]].round(3)
    array([1.  , 1.  , 0.1 , 0.01], dtype=float32)
    """
    options = {"factor": factor} | ({} if every is None else {"every": every})
    return schedule("step", peak, steps=steps, warmup=warmup, **options)


def exponential(
    peak: Scalar, *, steps: int, warmup: int = 0, end: float = 0.01
) -> Schedule:
    """s(t) = end^(t/T): falls by the same factor every step, to `end` of the peak."""
    return schedule("exponential", peak, steps=steps, warmup=warmup, end=end)


def inverse_time(
    peak: Scalar, *, steps: int, warmup: int = 0, rate: float = 9.0
) -> Schedule:
    """s(t) = 1 / (1 + rate·t/T); with the default 9 it ends at a tenth of the peak."""
    return schedule("inverse_time", peak, steps=steps, warmup=warmup, rate=rate)


def polynomial(
    peak: Scalar, *, steps: int, warmup: int = 0, power: float = 2.0, end: float = 0.0
) -> Schedule:
    """s(t) = (1 − end)·(1 − t/T)^power + end."""
    return schedule(
        "polynomial", peak, steps=steps, warmup=warmup, power=power, end=end
    )


def linear(peak: Scalar, *, steps: int, warmup: int = 0, end: float = 0.0) -> Schedule:
    """s(t) = (1 − end)·(1 − t/T) + end; the default falls to exactly zero."""
    return schedule("linear", peak, steps=steps, warmup=warmup, end=end)


def cosine(peak: Scalar, *, steps: int, warmup: int = 0, end: float = 0.0) -> Schedule:
    """s(t) = end + (1 − end)·½(1 + cos πt/T).

    Source: Loshchilov and Hutter, SGDR, 2017, one cycle.

    >>> cosine(3e-3, steps=10_000, warmup=500).peak
    0.003
    """
    return schedule("cosine", peak, steps=steps, warmup=warmup, end=end)


def warm_restarts(
    peak: Scalar,
    *,
    steps: int,
    warmup: int = 0,
    cycles: int = 3,
    stretch: float = 2.0,
    end: float = 0.0,
) -> Schedule:
    """Cosines that start again at the peak, each `stretch` times as long as the last.

    Source: Loshchilov and Hutter, SGDR: stochastic gradient descent with warm
    restarts, 2017.
    """
    return schedule(
        "warm_restarts",
        peak,
        steps=steps,
        warmup=warmup,
        cycles=cycles,
        stretch=stretch,
        end=end,
    )


def one_cycle(
    peak: Scalar,
    *,
    steps: int,
    warmup: int = 0,
    rise: float = 0.3,
    start: float = 1 / 25,
    end: float = 1e-4,
) -> Schedule:
    """Cosine up from `start` over the first `rise` of the run, cosine down after.

    The last value is `start·end` of the peak, as in torch's `OneCycleLR` and Optax.
    Source: Smith and Topin, Super-convergence, 2018.
    """
    return schedule(
        "one_cycle", peak, steps=steps, warmup=warmup, rise=rise, start=start, end=end
    )


def wsd(
    peak: Scalar,
    *,
    steps: int,
    warmup: int = 0,
    cooldown: float = 0.2,
    end: float = 0.0,
) -> Schedule:
    """Warm-up, stable, decay: flat, then linear to `end` over the last `cooldown`."""
    return schedule("wsd", peak, steps=steps, warmup=warmup, cooldown=cooldown, end=end)
