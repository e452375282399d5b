"""What a conversion returns: a number that remembers how it came about."""

from typing import Any

EVERY_STEP = "every step: with either number the training is the same"
STEADY = (
    "the steady shrink, once the momentum buffer is full and to first order in it; "
    "not the path there"
)
SHRINK = "the shrink of every step; the two optimizers' own steps differ"
MEAN = "the shrink summed over the run, not when it happens"
PEAK_TIME = "the shrink of a step at the peak learning rate"
MEAN_TIME = "the mean shrink of a step over the run"
TIMES = (PEAK_TIME, MEAN_TIME)


class Conversion(float):
    """The converted number, a float, with what was kept and what was assumed.

    Attributes:
        source: the name of the convention it comes from.
        target: the name of the convention it is in.
        given: the number that was converted.
        equation: what was set equal, and the solution.
        keeps: what stays the same in the training.
        assumed: sentences on what the number depends on.
        jaxwd: the same in jaxwd's own words; empty where no scheme is that convention.
    """

    source: str
    target: str
    given: float
    equation: str
    keeps: str
    assumed: tuple[str, ...]
    jaxwd: str

    def __new__(cls, value: float, **about: Any) -> "Conversion":
        """Return the number with its history, which cannot be changed afterwards."""
        self = super().__new__(cls, value)
        self.__dict__.update(about)
        return self

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a conversion cannot be changed ({name}={value!r})")

    def __repr__(self) -> str:
        return f"{float(self):.12g}"

    __str__ = __repr__

    @property
    def strength(self) -> float:
        """Return the number alone."""
        return float(self)

    def to_dict(self) -> dict[str, Any]:
        """Return number, equation, what is kept and what was assumed, for JSON."""
        return {"strength": float(self), **self.__dict__}

    def explain(self) -> str:
        """Return number, equation, what is kept and what was assumed, in lines."""
        lines = [
            repr(self),
            f"  equation  {self.equation}",
            f"  keeps     {self.keeps}",
        ]
        lines += [f"  assumes   {sentence}" for sentence in self.assumed]
        if self.jaxwd:
            lines.append(f"  in jaxwd  {self.jaxwd}")
        return "\n".join(lines)
