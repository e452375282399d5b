"""What a conversion may need to know of a run: rates, sizes, how the rate moves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxwd.errors import InputError, concrete, require, unknown

SCHEDULES = (
    *("constant", "step", "exponential", "inverse_time", "polynomial", "linear"),
    *("cosine", "warm_restarts", "one_cycle", "wsd"),
)
"""Names known without starting JAX; any other is looked up in `jaxwd.schedules`."""


@dataclass(frozen=True)
class Course:
    """How the learning rate moves: s_t of every step, constant, or not said.

    Attributes:
        name: `constant`, the schedule in words, or empty where nothing was said.
        mean: power k → mean of s_t^k over the run; None where nothing was said.
    """

    name: str = ""
    mean: Callable[[int], float] | None = None

    @property
    def constant(self) -> bool:
        """Return whether s_t = 1 in every step is known."""
        return self.name == "constant"


@dataclass(frozen=True)
class Setting:
    """One side of a conversion; None is what nobody said.

    Attributes:
        learning_rate: α, the peak.
        momentum: μ of SGD.
        batch_size: b, examples (or tokens) a step.
        examples: m of the λ/(2m) form.
        dataset_size: B, examples (or tokens) an epoch.
        epochs: T, length of the run in passes over the data.
        course: how the learning rate moves.
    """

    learning_rate: float | None = None
    momentum: float | None = None
    batch_size: float | None = None
    examples: float | None = None
    dataset_size: float | None = None
    epochs: float | None = None
    course: Course = Course()

    def need(self, name: str, why: str) -> float:
        """Return a value that `why` cannot do without, or say that it is missing."""
        value = getattr(self, name)
        if value is None:
            raise InputError(f"{why} needs {name}=")
        return value

    def steps_per_epoch(self, why: str) -> float:
        """Return M = dataset_size / batch_size, a last partial batch counted as such."""
        return self.need("dataset_size", why) / self.need("batch_size", why)


SIZES = {"batch_size": 1.0, "examples": 1.0, "dataset_size": 1.0, "epochs": 0.0}


def sizes(**given: float | None) -> dict[str, float | None]:
    """Return the sizes as floats, each checked against its lower end."""
    for name, value in given.items():
        if value is not None:
            require(name, value, SIZES[name], open_low=SIZES[name] == 0.0)
    found = {name: concrete(value) for name, value in given.items()}
    batch, data = found.get("batch_size"), found.get("dataset_size")
    if batch is not None and data is not None and batch > data:
        raise InputError(f"batch_size={batch:g} is larger than dataset_size={data:g}")
    return found


def number(name: str, value: Any, low: float = 0.0, **limits: Any) -> float:
    """Return one number as a Python float: a traced value or an array is refused."""
    require(name, value, low, **limits)
    found = concrete(value)
    if found is None:
        raise InputError(f"{name}={value!r} is not allowed; give one plain number")
    return found


def rate_and_course(
    learning_rate: Any, schedule: Any, steps: int | None, warmup: int
) -> tuple[float | None, Course]:
    """Return the peak α and how the rate moves.

    Args:
        learning_rate: a number, a schedule made by jaxwd, or None.
        schedule: a name of `jaxwd list schedules`, a schedule made by jaxwd, or None.
        steps: length of the run, for a schedule given by name.
        warmup: steps of linear rise before the shape, for a schedule given by name.
    """
    if callable(learning_rate):
        if schedule is not None:
            raise InputError(
                "learning_rate= is a schedule already; leave schedule= out"
            )
        learning_rate, schedule = None, learning_rate
    alpha = None
    if learning_rate is not None:
        alpha = number("learning_rate", learning_rate, open_low=True)
    if schedule is None:
        return alpha, Course()
    if isinstance(schedule, str):
        return alpha, _by_name(schedule, steps, warmup)
    peak = getattr(schedule, "peak", None)
    if peak is None or not hasattr(schedule, "values"):
        raise InputError(
            f"schedule={schedule!r} is neither a name nor made by jaxwd; give such as "
            "wd.cosine(3e-3, steps=1000)"
        )
    peak = number("the schedule's peak", peak, open_low=True)
    if alpha is not None and alpha != peak:
        raise InputError(
            f"learning_rate={alpha:g} and the schedule's peak {peak:g} differ; give one"
        )
    return peak, _course(
        schedule.shape, schedule.steps, schedule.warmup, schedule.values
    )


def _by_name(name: str, steps: int | None, warmup: int) -> Course:
    if name not in SCHEDULES:
        from jaxwd.schedules import SHAPES

        if name not in SHAPES:
            raise unknown("schedule", name, SHAPES)
    if name == "constant" and not warmup:
        return Course("constant", lambda power: 1.0)
    if steps is None:
        raise InputError(f"schedule={name!r} needs steps=, the length of the run")
    require("steps", steps, 1, whole=True)
    require("warmup", warmup, 0, steps, whole=True)

    def multipliers() -> Any:
        from jaxwd.schedules import schedule  # the only thing here that needs JAX

        return schedule(name, 1.0, steps=steps, warmup=warmup).values()

    return _course(name, steps, warmup, multipliers)


def _course(
    name: str, steps: int, warmup: int, multipliers: Callable[[], Any]
) -> Course:
    if name == "constant" and not warmup:
        return Course("constant", lambda power: 1.0)
    known: list[Any] = []

    def mean(power: int) -> float:
        if not known:
            known.append(multipliers().astype("float64"))
        return float((known[0] ** power).mean())

    after = f" after {warmup} of warm-up" if warmup else ""
    return Course(f"{name} over {steps} steps{after}", mean)
