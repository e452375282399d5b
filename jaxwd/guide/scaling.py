"""How λ changes when batch, data, epochs or width do: named rules, and who says so."""

from dataclasses import dataclass
from typing import Any

from jaxwd.errors import InputError, unknown
from jaxwd.guide.conventions import find
from jaxwd.guide.setting import number

LH = "Loshchilov and Hutter, Decoupled weight decay regularization, 2019, appendix"
WA = "Wang and Aitchison, How to set AdamW's weight decay, 2025"
PL = "Bergsma et al., Power lines, 2025"


@dataclass(frozen=True)
class Rule:
    """One rule: λ ∝ x^power and α ∝ x^rate_power, with λ as torch's AdamW has it.

    Attributes:
        says: the rule in words.
        power: the power of λ in the `lr` convention.
        rate_power: the power of the peak learning rate, which the rule takes along.
        source: who says so.
    """

    says: str
    power: float
    rate_power: float
    source: str


RULES: dict[str, Rule] = {
    "batch.timescale": Rule("λ ∝ b, α fixed: τ in epochs stays", 1.0, 0.0, PL),
    "batch.linear": Rule(
        "α ∝ b, λ fixed: τ in epochs stays",
        0.0,
        1.0,
        "Goyal et al., Accurate, large minibatch SGD, 2017",
    ),
    "batch.normalized": Rule("λ ∝ √b, α fixed", 0.5, 0.0, LH),
    "data.timescale": Rule("λ ∝ 1/B: τ in epochs stays", -1.0, 0.0, WA),
    "data.normalized": Rule("λ ∝ 1/√B", -0.5, 0.0, LH),
    "data.power_lines": Rule(
        "λ ∝ B^−0.473, one pass of a language model of fixed size",
        -1.0 + 0.527,
        0.0,
        f"{PL}: τ/T ∝ (tokens per parameter)^−0.527",
    ),
    "epochs.timescale": Rule("λ fixed: τ in epochs stays", 0.0, 0.0, WA),
    "epochs.normalized": Rule("λ ∝ 1/√T", -0.5, 0.0, LH),
    "epochs.run": Rule(
        "λ ∝ 1/T: τ stays the same share of the run",
        -1.0,
        0.0,
        "arithmetic, no claim that it is best: ηλ times the number of steps stays",
    ),
    "width.shrink": Rule(
        "matrices: α ∝ 1/d, λ ∝ d, so that ηλ stays",
        1.0,
        -1.0,
        f"Kosson et al., Weight decay may matter more than μP, 2025; {WA}",
    ),
    "width.gain": Rule(
        "matrices: α ∝ 1/d, λ ∝ √d; vectors: α fixed, λ = 0",
        0.5,
        -1.0,
        "Fan et al., Robust layerwise scaling rules, 2025",
    ),
    "rate.shrink": Rule(
        "λ ∝ 1/α: ηλ stays",
        -1.0,
        1.0,
        "arithmetic: the shrink of a step is ηλ",
    ),
}
"""What grows, and by which rule; b batch, B data set, T epochs, d width, α peak rate.

Rules of one family contradict each other; none is the default.
"""


class Scaled(float):
    """The scaled λ, a float, with the rule it follows.

    Attributes:
        rule: the rule's name.
        says: the rule in words.
        source: who says so.
        learning_rate_factor: what the rule multiplies the peak learning rate by.
    """

    rule: str
    says: str
    source: str
    learning_rate_factor: float

    def __new__(cls, value: float, **about: Any) -> "Scaled":
        """Return the number with its rule."""
        self = super().__new__(cls, value)
        self.__dict__.update(about)
        return self

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a scaled λ cannot be changed ({name}={value!r})")

    def __repr__(self) -> str:
        return f"{float(self):.12g}"

    __str__ = __repr__


def scale(
    strength: float, *, rule: str, factor: float, convention: str = "lr"
) -> Scaled:
    """Return λ for a run that is `factor` times as large in what the rule names.

        λ′ = λ · factor^e      α′ = α · factor^r

    A rule's e is for λ times the learning rate; where a convention takes α^p instead,
    e + r·(1 − p) keeps the same shrink.

    Args:
        strength: λ.
        rule: a row of `RULES`, such as `batch.timescale`. A family alone (`batch`) is
            refused with its rules, because they disagree.
        factor: how many times as large batch, data set, number of epochs, width or
            learning rate is; below 1 where it shrinks.
        convention: what λ is multiplied by; the default is torch's AdamW.

    Returns:
        A float that also has `says`, `source` and `learning_rate_factor`: change the
        learning rate too, or the rule is not the rule.

    Raises:
        InputError: an unknown rule, a family, a factor that is not positive, or a
            convention that is a time, L1, or has sizes of the run in it.

    Not for Adam with decay in the gradient: the rules are about ηλ.

    >>> scale(0.1, rule="batch.timescale", factor=4)
    0.4
    >>> wide = scale(0.1, rule="width.shrink", factor=4)
    >>> wide, wide.learning_rate_factor
    (0.4, 0.25)
    >>> scale(1e-4, rule="width.shrink", factor=4, convention="paper")
    0.0001
    """
    value = number("strength", strength)
    times = number("factor", factor, open_low=True)
    row = _rule(rule)
    unit, _ = find(convention)
    if unit.kind not in ("step", "gradient") or set(unit.needs) - {"momentum"}:
        raise InputError(
            f"scale: convention={convention!r} is none the rules are about (a time, L1, "
            "or a factor that changes with the run itself); convert to lr first"
        )
    power = unit.alpha if unit.kind == "step" else 1
    return Scaled(
        value * times ** (row.power + row.rate_power * (1 - power)),
        rule=rule,
        says=row.says,
        source=row.source,
        learning_rate_factor=times**row.rate_power,
    )


def _rule(name: str) -> Rule:
    if name in RULES:
        return RULES[name]
    family = [rule for rule in RULES if rule.startswith(f"{name}.")]
    if family:
        choices = "; ".join(f"{rule} ({RULES[rule].says})" for rule in family)
        raise InputError(f"rule {name!r} is a family; choose from: {choices}")
    raise unknown("rule", name, RULES)


def table() -> list[str]:
    """Return one line a rule: name, what it says, source."""
    return [f"{name:19}{rule.says} [{rule.source}]" for name, rule in RULES.items()]
