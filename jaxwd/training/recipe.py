"""All that determines one training, as one frozen value; equal recipes, equal bits."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jaxwd.decay import DecayScheme, Shrink, none, shrink
from jaxwd.errors import InputError
from jaxwd.models import Model
from jaxwd.optimizers.table import OPTIMIZERS, gain
from jaxwd.schedules import ScalarOrSchedule, Schedule, schedule
from jaxwd.training.recipe_check import frozen_options, peak, require_sound
from jaxwd.training.step import Arithmetic
from jaxwd.training.words import described, plain

Options = tuple[tuple[str, Any], ...]


_MOST_STEPS = 2**31 - 1
"""Steps are counted in 32 bits, as JAX does by itself."""


class Numbers(NamedTuple):
    """The numbers of a recipe that one compiled program takes as inputs.

    Attributes:
        learning_rate: peak α.
        strength: λ, the peak of a scheduled one.
        dropout: its rate, the peak of a scheduled one; None where a grid never drops,
            which leaves the drawing of masks out of its program.
        more: a dict of further ones by path, as in `optimizer_options.momentum`;
            empty in a single training, in a grid those that members do not share.
    """

    learning_rate: Any
    strength: Any
    dropout: Any
    more: Any = ()


@dataclass(frozen=True)
class Recipe:
    """Everything a training depends on, its seed included.

    Attributes:
        dataset: a name for `jaxwd.load`; recorded when the data is given directly.
        train_examples: use only the first n training examples, classes in balance.
        model: a name of `jaxwd list models`, or a `Model` made from a Flax module.
        model_options: options of the model's `Config`, as pairs.
        optimizer: a row of `jaxwd.OPTIMIZERS`.
        optimizer_options: its hyperparameters, as pairs.
        learning_rate: peak α.
        schedule: shape of the learning rate over the run.
        schedule_options: options of the shape, as pairs.
        warmup: steps of linear rise to the peak.
        decay: the decay scheme.
        dropout: rate before the output layer; a number or a `Schedule`.
        clip: name of a gradient clip, or None.
        clip_at: its threshold.
        label_noise: share of the training labels that are another class instead, chosen
            once from the seed; what is measured on the training split stays clean.
        batch_size: examples a step; a last, smaller batch of an epoch is left out,
            another one each epoch since the order is drawn anew.
        epochs: passes over the training examples.
        seed: root of every random draw: start, order, dropout.
        precision: `float32`; `mixed`, bfloat16 passes over float32 weights; `bfloat16`;
            `bfloat16_stochastic`, rounded by chance. The decay is computed in float32.
        accumulate: take a step's batch in so many parts, to save memory.
        average: β of a moving average of the weights, which is then what is measured;
            0.999 is usual. None: the weights themselves. A batch norm's running
            moments stay those of the weights that are trained.
        remat: `elementwise` or `blocks`: what the backward pass computes again.
    """

    dataset: str = "fashion_mnist_12k"
    train_examples: int | None = None
    model: str | Model = "cnn"
    model_options: Options = ()
    optimizer: str = "sgd"
    optimizer_options: Options = ()
    learning_rate: float = 0.1
    schedule: str = "constant"
    schedule_options: Options = ()
    warmup: int = 0
    decay: DecayScheme = field(default_factory=none)
    dropout: ScalarOrSchedule = 0.0
    clip: str | None = None
    clip_at: float = 1.0
    label_noise: float = 0.0
    batch_size: int = 32
    epochs: int = 20
    seed: int = 0
    precision: str = "float32"
    accumulate: int = 1
    average: float | None = None
    remat: str | None = None

    def __post_init__(self) -> None:
        for name in ("model_options", "optimizer_options", "schedule_options"):
            object.__setattr__(self, name, frozen_options(name, getattr(self, name)))
        require_sound(self)

    @property
    def decay_strength(self) -> ScalarOrSchedule:
        """Return the scheme's λ; raise where `decay` is no scheme."""
        if not isinstance(self.decay, DecayScheme):
            raise InputError(
                f"decay={self.decay!r} is no scheme; say which one, such as "
                f"decay=jaxwd.decoupled({self.decay!r})"
            )
        return self.decay.strength

    @property
    def decays_inside(self) -> bool:
        """Say whether λθ passes through a part of the core, as in `lamb.inside`."""
        inside = OPTIMIZERS[self.optimizer].around is not None
        return inside and self.decay.kind == "decoupled"

    @property
    def arithmetic(self) -> Arithmetic:
        """Return how its steps are computed."""
        return Arithmetic(self.precision, self.accumulate, self.average, self.remat)

    def steps_per_epoch(self, examples: int) -> int:
        """Return the whole batches in `examples` training examples.

        Raises:
            InputError: the batch is larger than the data.
        """
        if self.batch_size > examples:
            raise InputError(
                f"batch_size={self.batch_size} is larger than the {examples} training "
                f"examples; give at most {examples}"
            )
        steps = examples // self.batch_size
        if steps * self.epochs > _MOST_STEPS:
            raise InputError(
                f"epochs={self.epochs} of {steps} steps are more than {_MOST_STEPS} steps, "
                f"all that a step's number can count; give at most {_MOST_STEPS // steps}"
            )
        return steps

    def rate(self, steps: int) -> Schedule:
        """Return the learning-rate schedule of a run of `steps` steps."""
        return schedule(
            self.schedule,
            self.learning_rate,
            steps=steps,
            warmup=self.warmup,
            **dict(self.schedule_options),
        )

    def shrink(self, examples: int) -> Shrink | None:
        """Return the realised shrink over the run; None where it is core-dependent."""
        if self.decays_inside:
            return None
        steps = self.steps_per_epoch(examples) * self.epochs
        own_gain = gain(self.optimizer, **dict(self.optimizer_options))
        return shrink(self.decay, self.rate(steps), steps=steps, gain=own_gain)

    # --- one program for many recipes --------------------------------------------

    def numbers(self, also: tuple[str, ...] = ()) -> Numbers:
        """Return the numbers that a compiled program takes as inputs.

        Args:
            also: paths of further ones, among those of `options()`.
        """
        more = self.options()
        return Numbers(
            self.learning_rate,
            peak(self.decay.strength),
            peak(self.dropout),
            {path: more[path] for path in also} or (),
        )

    def options(self) -> dict[str, Any]:
        """Return the numbers among the options by path, the threshold and the noise."""
        found = {"clip_at": self.clip_at, "label_noise": self.label_noise}
        for group in ("optimizer_options", "schedule_options"):
            for key, value in getattr(self, group):
                if isinstance(value, int | float) and not isinstance(value, bool):
                    found[f"{group}.{key}"] = value
        return found

    def with_numbers(self, numbers: Numbers) -> "Recipe":
        """Return the recipe with other numbers, traced ones included."""
        decay = dataclasses.replace(
            self.decay, strength=_with_peak(self.decay.strength, numbers.strength)
        )
        changed: dict[str, Any] = {}
        for path, value in dict(numbers.more).items():
            name, _, key = path.partition(".")
            if key:
                rest = changed.get(name, getattr(self, name))
                value = (*((k, v) for k, v in rest if k != key), (key, value))
            changed[name] = value
        return dataclasses.replace(
            self,
            learning_rate=numbers.learning_rate,
            decay=decay,
            dropout=self.dropout
            if numbers.dropout is None
            else _with_peak(self.dropout, numbers.dropout),
            **changed,
        )

    def structure(self, also: tuple[str, ...] = ()) -> "Recipe":
        """Return what is left when numbers and seed are taken out.

        Recipes with equal structure share one compiled program.

        Args:
            also: paths of options that are taken out too, see `numbers`.
        """
        left: dict[str, Any] = {}
        for path in also:
            name, _, key = path.partition(".")
            pairs = left.get(name, getattr(self, name))
            left[name] = (
                tuple(pair for pair in pairs if pair[0] != key)
                if key
                else type(self).__dataclass_fields__[name].default
            )
        return dataclasses.replace(
            self.with_numbers(Numbers(0.0, 0.0, 0.0)), seed=0, dataset="", **left
        )

    # --- on paper -------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain JSON values."""
        return plain(self)

    def digest(self) -> str:
        """Return a short name for exactly this recipe."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def __str__(self) -> str:
        return described(self)


def _with_peak(value: ScalarOrSchedule, new: Any) -> ScalarOrSchedule:
    if isinstance(value, Schedule):
        return dataclasses.replace(value, peak=new)
    return new
