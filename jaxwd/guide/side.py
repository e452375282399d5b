"""One side of a conversion: a convention, the optimizer it is used with, the setting."""

import math
from dataclasses import dataclass, replace

from jaxwd.errors import InputError, unknown
from jaxwd.guide.convention import Convention, lasting_gain
from jaxwd.guide.conventions import find
from jaxwd.guide.setting import Setting

WITH_MOMENTUM = ("momentum", "nesterov")
SGD = ("sgd", *WITH_MOMENTUM)


KNOWN = (
    *("adam", "adamax", "nadam", "amsgrad", "radam", "adabelief", "yogi", "lion"),
    *("adagrad", "adadelta", "rmsprop", "adafactor", "muon", *SGD),
)
"""Names known without starting JAX; any other is looked up in the table."""


def family(optimizer: str | None) -> str | None:
    """Return the optimizer without `torch.`, the three SGDs as one.

    >>> family("torch.nesterov"), family("adam")
    ('sgd', 'adam')
    """
    if optimizer is None:
        return None
    plain = optimizer.casefold().removeprefix("torch.")
    if plain not in KNOWN:
        from jaxwd.optimizers import OPTIMIZERS

        if plain not in OPTIMIZERS:
            raise unknown("optimizer", optimizer, {*OPTIMIZERS, *KNOWN})
    return "sgd" if plain in SGD else plain


@dataclass(frozen=True)
class Amount:
    """What a step takes off: λ·factor·α^alpha·s_t^shape, and how it is written."""

    factor: float
    alpha: int
    shape: int
    takes: str

    def text(self, symbol: str) -> str:
        """Return it with the number's symbol filled in."""
        return self.takes.replace("{λ}", symbol)


@dataclass(frozen=True)
class Side:
    """Source or target: its name as given, its row, optimizer and setting.

    `rate_argument` is how its learning rate is given, for messages.
    """

    name: str
    row: Convention
    optimizer: str | None
    setting: Setting
    rate_argument: str = "learning_rate"

    @property
    def symbol(self) -> str:
        """Return the number's letter."""
        if self.row.kind != "time":
            return "λ"
        return "τ" if self.row.name.startswith("tau") else "h"

    @property
    def steps_per_unit(self) -> float:
        """Return M for a time in epochs, 1 for one in steps."""
        return self.setting.steps_per_epoch(self.name) if self.row.needs else 1.0

    def at_rate(self, learning_rate: float | None) -> "Side":
        """Return this target with its own learning rate, None where it is missing."""
        setting = replace(self.setting, learning_rate=learning_rate)
        argument = "target_learning_rate"
        return replace(self, setting=setting, rate_argument=argument)

    def another_optimizer(self, other: "Side") -> bool:
        """Return whether both say their optimizer and it is not the same."""
        return (
            None not in (self.optimizer, other.optimizer)
            and self.optimizer != other.optimizer
        )

    def same_rate(self, other: "Side") -> bool:
        """Return whether both sides have one learning rate, known or not."""
        one, two = self.setting.learning_rate, other.setting.learning_rate
        return one == two and not self.another_optimizer(other)

    def amount(self) -> Amount:
        """Return what a step takes off; only SGD has that for decay in the gradient."""
        row = self.row
        if row.kind == "step":
            return Amount(row.factor(self.setting), row.alpha, row.shape, row.takes)
        if self.optimizer is None:
            raise InputError(
                f"{self.name}: what decay in the gradient takes off depends on the "
                "optimizer; say optimizer=sgd, with momentum= where it has one"
            )
        if self.optimizer != "sgd":
            raise InputError(
                f"{self.name}: {self.optimizer} rescales the gradient with λθ in it, so "
                "what it takes off depends on the data and no number of another "
                "convention equals it; tune both, at equal cost"
            )
        gain = lasting_gain(self.setting.momentum or 0.0)
        pull = row.takes.replace("θ", "")
        takes = f"η_t{pull}" if pull.startswith("{") else f"η_t·{pull}"
        after = "/(1−μ)" if self.setting.momentum else ""
        return Amount(row.factor(self.setting) * gain, 1, 1, takes + after)

    def rate_power(self, power: int) -> float:
        """Return α^power; a power of 0 needs no α."""
        if power == 0:
            return 1.0
        if self.setting.learning_rate is None:
            raise InputError(
                f"{self.name}: this conversion needs {self.rate_argument}=, since λ is "
                "multiplied by it"
            )
        return self.setting.learning_rate**power

    def unit_shrink(self) -> float:
        """Return d of λ = 1: its mean over the run, or at the peak if nothing is said."""
        amount, mean = self.amount(), self.setting.course.mean
        share = 1.0 if mean is None else mean(amount.shape)
        return amount.factor * self.rate_power(amount.alpha) * share

    def shrink(self, given: float) -> float:
        """Return d of a number in this convention."""
        if self.row.clock is None:
            return given * self.unit_shrink()
        return self.row.clock.rate(given * self.steps_per_unit)

    def from_shrink(self, d: float) -> float:
        """Return the number in this convention whose shrink is d."""
        if self.row.clock is None:
            return d / self.unit_shrink()
        if d == 0:
            return math.inf
        self.require_below_one(d)
        return self.row.clock.value(d) / self.steps_per_unit

    def written(self, amount: Amount, prime: str) -> str:
        """Return λ·f·α^p·s_t^k in letters; a learning rate of its own has a prime."""
        text = amount.text("λ" + prime)
        if self.rate_argument == "learning_rate":
            return text
        return text.replace("η", "η′").replace("α", "α′")

    def shrink_text(self, prime: str) -> str:
        """Return d as it is written here, with the letter of this side."""
        if self.row.clock is not None:
            return self.row.text(self.symbol + prime)
        amount, course = self.amount(), self.setting.course
        text = self.written(amount, prime)
        if amount.shape == 0 or course.constant:
            return text
        return f"{text} at the peak" if course.mean is None else f"mean({text})"

    def check(self, value: float) -> None:
        """Raise where one step at the peak would take off more than the weight."""
        row = self.row
        if row.kind == "step" and (row.alpha == 0 or self.setting.learning_rate):
            unit = row.factor(self.setting) * self.rate_power(row.alpha)
            self.require_below_one(value * unit)

    def require_below_one(self, d: float) -> None:
        """Raise for a shrink above 1, but for rounding."""
        if d > 1 + 1e-9:
            raise InputError(
                f"{self.name}: a step would take {d:.4g} times the whole weight off; "
                "check the unit and the learning rate"
            )

    def rate_sentences(self) -> list[str]:
        """Say the learning rate, where it is known."""
        alpha = self.setting.learning_rate
        prime = "" if self.rate_argument == "learning_rate" else "′"
        said = [] if alpha is None else [f"peak learning rate α{prime} = {alpha:g}"]
        return [*said, "both learning rates move alike"] if prime else said

    def momentum_sentences(self, nesterov: bool) -> list[str]:
        """Say the momentum of SGD with decay in the gradient."""
        mu = self.setting.momentum
        if not mu:
            return ["SGD without momentum" + (", none was given" if mu is None else "")]
        name = "Nesterov's momentum" if nesterov else "momentum"
        gain = lasting_gain(mu)
        return [f"{name} μ = {mu:g} makes {gain:g} of a lasting gradient of 1"]

    def in_jaxwd(self, value: float) -> str:
        """Return the scheme as jaxwd writes it, empty where there is none."""
        text = self.row.jaxwd.replace("{λ}", f"{value:.12g}")
        for need in self.row.needs:
            known = getattr(self.setting, need)
            text = text.replace(f"{{{need}}}", f"{known:.12g}" if known else "")
        return text


def sides(
    source: str, target: str, optimizer: str | None, setting: Setting
) -> tuple[Side, Side]:
    """Return both sides, each with its optimizer: by its name, as given, as the other.

    Raises:
        InputError: an unknown convention, or an optimizer that its name contradicts.
    """
    (one, says), (two, wants) = find(source), find(target)
    given = family(optimizer)
    for name, own in ((source, says), (target, wants)):
        if None not in (given, own) and given != own:
            raise InputError(
                f"{name} is a convention of {own}, not of optimizer={optimizer}; leave "
                "optimizer= out"
            )
    return (
        Side(str(source), one, says or given or wants, setting),
        Side(str(target), two, wants or given or says, setting),
    )
