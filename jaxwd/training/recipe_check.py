"""What a recipe may not say, whatever the data."""

from typing import TYPE_CHECKING, Any

from jaxwd import clip as clips
from jaxwd.errors import InputError, nearest, require, unknown
from jaxwd.models import MODELS, Model
from jaxwd.optimizers.table import lookup
from jaxwd.schedules import SHAPES, ScalarOrSchedule, Schedule
from jaxwd.training.gradient import REMAT
from jaxwd.training.precision import PRECISIONS

if TYPE_CHECKING:
    from jaxwd.training.recipe import Recipe


def require_sound(recipe: "Recipe") -> None:
    """Refuse values that are not allowed, and names that nothing has.

    Raises:
        InputError: what was given, what is allowed.
    """
    if not isinstance(recipe.model, str | Model):
        raise InputError(f"model={recipe.model!r} is not allowed; give a name")
    for name in ("dataset", "optimizer", "schedule", "precision", "clip", "remat"):
        value = getattr(recipe, name)
        optional = value is None and name in ("clip", "remat")
        if not (isinstance(value, str) or optional):
            raise InputError(f"{name}={value!r} is not allowed; give a name")
    if isinstance(recipe.learning_rate, Schedule) or callable(recipe.learning_rate):
        raise InputError(
            "learning_rate takes the peak; give the shape by schedule=, as in "
            "learning_rate=0.1, schedule='cosine'"
        )
    for name, value in (
        ("dropout", recipe.dropout),
        ("strength", recipe.decay_strength),
    ):
        if callable(value) and not isinstance(value, Schedule):
            raise InputError(
                f"{name}={value!r}: a recipe is a value on paper; give a number or "
                "a schedule of jaxwd such as jaxwd.linear(0.5, steps=1000)"
            )
    require("learning_rate", recipe.learning_rate, 0.0)
    require("dropout", peak(recipe.dropout), 0.0, 1.0)
    require("label_noise", recipe.label_noise, 0.0, 1.0)
    require("batch_size", recipe.batch_size, 1, whole=True)
    require("epochs", recipe.epochs, 1, whole=True)
    require("warmup", recipe.warmup, 0, whole=True)
    require("seed", recipe.seed, 0, 2**32 - 1, whole=True)
    require("accumulate", recipe.accumulate, 1, whole=True)
    if recipe.batch_size % recipe.accumulate:
        raise InputError(
            f"accumulate={recipe.accumulate} does not divide "
            f"batch_size={recipe.batch_size}: parts of a batch are equal; nearest "
            f"batch_size: {nearest(recipe.batch_size, recipe.accumulate)}"
        )
    if recipe.average is not None:
        require("average", recipe.average, 0.0, 1.0)
        if recipe.average == 1:
            raise InputError("average=1 keeps the start for ever; give 0.999, say")
    if recipe.precision not in PRECISIONS:
        raise unknown("precision", recipe.precision, PRECISIONS)
    if recipe.remat is not None and recipe.remat not in REMAT:
        raise unknown("remat", recipe.remat, REMAT)
    if recipe.train_examples is not None:
        require("train_examples", recipe.train_examples, 1, whole=True)
    if recipe.schedule not in SHAPES:
        raise unknown("schedule", recipe.schedule, SHAPES)
    if recipe.clip is not None:
        clips.by_name(recipe.clip, recipe.clip_at)
    row, _ = lookup(recipe.optimizer, dict(recipe.optimizer_options), recipe.decay)
    if row.needs:
        raise InputError(
            f"optimizer={recipe.optimizer!r} needs {row.needs[0]}= at every update, "
            "which a training does not give; use jaxwd.optimizer in a loop of yours"
        )
    if not isinstance(recipe.model, Model) and recipe.model not in MODELS:
        raise unknown("model", recipe.model, MODELS)


def peak(value: ScalarOrSchedule) -> Any:
    """Return a number, or the number that a schedule shapes."""
    return value.peak if isinstance(value, Schedule) else value


def frozen_options(name: str, options: Any) -> tuple[tuple[str, Any], ...]:
    """Return options given as pairs or as a dict as hashable pairs."""
    try:
        pairs = options.items() if isinstance(options, dict) else options
        frozen = tuple((key, _as_tuple(value)) for key, value in pairs)
        if all(isinstance(key, str) for key, _ in frozen):
            return frozen
        raise TypeError("names are text")
    except (TypeError, ValueError):
        raise InputError(
            f"{name}={options!r} is not allowed; give pairs or a dict, as in "
            f"{name}={{'hidden': (64,)}}"
        ) from None


def _as_tuple(value: Any) -> Any:
    if isinstance(value, dict | set):  # has no hash: no program could be shared
        raise TypeError(f"{value!r} is no number, name or list of them")
    return tuple(map(_as_tuple, value)) if isinstance(value, list | tuple) else value
