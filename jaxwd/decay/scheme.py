"""What kind of decay, how strong, on which leaves: the value `DecayScheme`."""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from jaxwd.errors import InputError, concrete, require, unknown
from jaxwd.masks import Rules, kernels
from jaxwd.penalties.table import PENALTIES, settings_of
from jaxwd.schedules import ScalarOrSchedule

Settings = tuple[tuple[str, Any], ...]

TIMES = ("lr", "schedule", "constant", "corrected", "lr_squared")

# Which further axes each kind has. What is missing is refused, with the reason below.
AXES: dict[str, tuple[str, ...]] = {
    "none": (),
    "penalized": ("penalty", "anchor"),
    "coupled": ("penalty", "anchor", "allocation"),
    "decoupled": ("penalty", "anchor", "allocation", "gate"),
    "proximal": ("penalty", "anchor"),
    "selective": ("anchor",),
}
_WHY_NOT = {
    "gate": "a gate compares weights with the optimizer's direction, which only "
    "decoupled decay stands beside",
    "allocation": "an allocation keeps a state beside the optimizer's: use coupled or "
    "decoupled",
    "anchor": "it has no anchor to move",
    "penalty": "it has no penalty",
}


class Choice(NamedTuple):
    """One choice on an axis: a row's name and its settings."""

    name: str
    settings: Settings = ()

    def __str__(self) -> str:
        words = ", ".join(f"{key}={value}" for key, value in self.settings)
        return f"{self.name}({words})" if words else self.name


@dataclass(frozen=True)
class DecayScheme:
    """One decay scheme: a plain value, one choice on each axis.

    It does nothing by itself: `jaxwd.compose` turns it into a part of an Optax chain,
    `jaxwd.penalties.of_scheme` into a term of the loss. It prints, compares,
    serialises, and hashes where its strength is a number.

    Attributes:
        kind: where it enters: the constructor that made it.
        strength: λ; its unit stands in the constructor's docstring.
        times: what multiplies λ in each step (`decoupled` and `proximal`).
        where: rules that say which leaves decay.
        penalty: its shape, a row of `jaxwd.penalties.PENALTIES`; ½‖θ‖² by default.
        settings: of the penalty, or of the kind itself.
        gate: when a weight decays at all: `cautious`, `tangent`.
        anchor: what weights are pulled to, 0 by default: `to_init`, `to_ema`, ….
        allocation: how λ is shared out in each step: `stable`, `adadecay`, ….
    """

    kind: str
    strength: ScalarOrSchedule = 0.0
    times: str = "lr"
    where: Rules = field(default=kernels)
    penalty: str = "half_l2"
    settings: Settings = ()
    gate: Choice | None = None
    anchor: Choice | None = None
    allocation: Choice | None = None

    def __post_init__(self) -> None:
        require(f"{self.kind}: strength", self.strength, 0.0)
        if concrete(self.strength) == float("inf"):
            raise InputError(f"{self.kind}: strength=inf; give a finite number")
        if self.times not in TIMES:
            raise unknown("times", self.times, TIMES)
        axes = AXES.get(self.kind, ())
        for axis in ("gate", "anchor", "allocation"):
            if getattr(self, axis) is not None and axis not in axes:
                raise InputError(
                    f"{self.kind} does not go with {getattr(self, axis).name}: "
                    f"{_WHY_NOT[axis]}"
                )
        if self.anchor and self.gate and self.gate.name == "tangent":
            raise InputError(
                f"tangent does not go with {self.anchor}: it asks whether a leaf's own "
                "length matters, and decay to another point than 0 changes more than "
                "that; use cautious, or no anchor"
            )
        if self.kind == "penalized" and self.has_state:
            raise InputError(
                f"penalized does not go with {self.anchor}: a loss keeps no state; "
                "coupled is equal and does, or give the tree to jaxwd.to_tree"
            )
        if "penalty" in axes:
            settings = settings_of(self.penalty, dict(self.settings))
            object.__setattr__(self, "settings", settings)
            if self.kind == "proximal" and PENALTIES[self.penalty].prox is None:
                raise InputError(
                    f"proximal does not go with penalty={self.penalty!r}: its minimum "
                    "has no closed form; use penalized, coupled or decoupled"
                )

    @property
    def gradient_factor(self) -> float | None:
        """Return c where the penalty's gradient is c·θ; None where it is not linear."""
        return PENALTIES[self.penalty].linear(dict(self.settings))

    @property
    def is_plain(self) -> bool:
        """Say whether decay is c·λθ and nothing else, which Optax itself can add."""
        axes = (self.gate, self.anchor, self.allocation)
        return axes == (None, None, None) and self.gradient_factor is not None

    @property
    def has_state(self) -> bool:
        """Say whether its size can be known only with the optimizer's state at hand."""
        anchored = self.anchor is not None and self.anchor.name != "to_tree"
        return anchored or self.allocation is not None

    @property
    def fixed_anchor(self) -> Any:
        """Return the tree that weights are pulled to, None for 0."""
        given = dict(self.anchor.settings).get("tree") if self.anchor else None
        return None if given is None else given.tree

    def with_choice(self, axis: str, name: str, **settings: Any) -> "DecayScheme":
        """Return the scheme with one more choice; refuse to make the same one twice."""
        if not isinstance(self, DecayScheme):
            raise InputError(
                f"{name} takes a scheme, not {self!r}; as in "
                f"jaxwd.{name}(jaxwd.decoupled({self!r}))"
            )
        if getattr(self, axis) is not None:
            raise InputError(
                f"{self} has a{'n' if axis[0] in 'aeiou' else ''} {axis} already; "
                f"{name} would replace it"
            )
        return replace(self, **{axis: Choice(name, tuple(settings.items()))})

    @property
    def name(self) -> str:
        """Return the scheme's name with what multiplies λ: `decoupled lr`."""
        words = [self.kind]
        if self.kind in ("decoupled", "proximal"):
            words.append(self.times)
        if self.penalty != "half_l2":
            words.append(self.penalty)
        words += [c.name for c in (self.gate, self.anchor, self.allocation) if c]
        return " ".join(words)

    def __str__(self) -> str:
        if self.kind == "none":
            return "none"
        number = concrete(self.strength)
        words = [f"{number:g}" if number is not None else str(self.strength)]
        if self.kind not in AXES and not number:
            words = []
        if self.kind in ("decoupled", "proximal"):
            words.append(f"times={self.times}")
        if self.penalty != "half_l2":
            words.append(self.penalty)
        words += [f"{key}={value}" for key, value in self.settings]
        words += [str(c) for c in (self.gate, self.anchor, self.allocation) if c]
        return f"{self.kind}({', '.join(words)})"
