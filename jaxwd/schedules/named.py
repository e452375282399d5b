"""Schedules by name, one function a shape, each with its formula and defaults."""

from typing import Any

from jaxwd.errors import require
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


def log_time(
    omega: float = 4.0, *, steps: int, timescale: float | None = None
) -> Schedule:
    """λ(t) = ω/(t + T₀), for `decoupled(…, times="schedule")`: ADANA's logarithmic time.

    A weight then forgets by a factor in log t, whatever the length of the run.

    Args:
        omega: ω; about 4 in the paper.
        steps: T, length of the run.
        timescale: T₀ in steps; default T/10.

    Source: logarithmic-time schedules (ADANA), 2026.

    >>> [round(log_time(4.0, steps=1000)(t).item(), 4) for t in (0, 900)]
    [0.04, 0.004]
    """
    timescale = steps / 10 if timescale is None else timescale
    require("log_time: omega", omega, 0.0)
    require("log_time: timescale", timescale, 0.0, open_low=True)
    return inverse_time(omega / timescale, steps=steps, rate=steps / timescale)


def rising_cosine(
    peak: Scalar, *, steps: int, warmup: int = 0, start: float = 0.1
) -> Schedule:
    """s(t) = start + (1 − start)·½(1 − cos πt/T): DINO's λ rises from 0.04 to 0.4.

    >>> rising_cosine(0.4, steps=100)(0).round(3).item()
    0.04...
    """
    return schedule("rising_cosine", peak, steps=steps, warmup=warmup, start=start)


def early(peak: Scalar, *, steps: int, warmup: int = 0, until: float = 0.5) -> Schedule:
    """s(t) = 1 while t < until·T, then 0: decay in the early phase only.

    Source: Golatkar et al., Time matters in regularizing deep networks, 2019.
    """
    return schedule("early", peak, steps=steps, warmup=warmup, until=until)


def late(peak: Scalar, *, steps: int, warmup: int = 0, after: float = 0.5) -> Schedule:
    """s(t) = 0 while t < after·T, then 1: the control arm of `early`."""
    return schedule("late", peak, steps=steps, warmup=warmup, after=after)


def opposite(
    peak: Scalar, *, steps: int, of: str = "cosine", warmup: int = 0, **options: Any
) -> Schedule:
    """s(t) = 1 − the shape `of`: λ rises as the learning rate falls.

    >>> opposite(0.1, steps=100, of="linear")(75).round(3).item()
    0.075...
    """
    return schedule("opposite", peak, steps=steps, warmup=warmup, of=of, **options)
