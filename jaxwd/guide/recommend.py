"""A first λ and a range to sweep, from the time decay should look back."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxwd.errors import InputError
from jaxwd.guide.conventions import find
from jaxwd.guide.conversion import MEAN, Conversion
from jaxwd.guide.convert import convert
from jaxwd.guide.neighbours import Published, nearest
from jaxwd.guide.setting import number

NARROW = 4.0
"""Least factor between the starting λ and either end of the sweep."""
_MOST = 1e15
"""Of examples and epochs: beyond it, counts of steps are no longer exact."""


@dataclass(frozen=True)
class Recommendation:
    """A place to begin, not a result: sweep it.

    Attributes:
        strength: the starting λ, in the convention `scheme`, a `Conversion`.
        scheme: the convention of all λ here.
        tau_epochs: τ in epochs of the starting λ, at the peak learning rate.
        sweep: (λ, τ in epochs), weakest decay first.
        neighbours: published recipes, and λ here at their τ in epochs; None where
            that is less than a step.
        says: sentences on where the numbers come from.
        run: what was asked for.
    """

    strength: Conversion
    scheme: str
    tau_epochs: float
    sweep: tuple[tuple[float, float], ...]
    neighbours: tuple[tuple[Published, float | None], ...]
    says: tuple[str, ...]
    run: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        return {
            "strength": float(self.strength),
            "scheme": self.scheme,
            "jaxwd": self.strength.jaxwd,
            "tau_epochs": self.tau_epochs,
            "sweep": [{"strength": x, "tau_epochs": tau} for x, tau in self.sweep],
            "neighbours": [
                {
                    "name": row.name,
                    "published": row.strength,
                    "convention": row.convention,
                    "learning_rate": row.learning_rate,
                    "momentum": row.momentum,
                    "schedule": row.schedule,
                    "batch_size": row.batch_size,
                    "dataset_size": row.dataset_size,
                    "epochs": row.epochs,
                    "tau_epochs": float(row.tau_epochs),
                    "tau_over_run": row.tau_over_run,
                    "strength_here": here,
                    "source": row.source,
                }
                for row, here in self.neighbours
            ],
            "says": list(self.says),
            "run": self.run,
        }

    def __str__(self) -> str:
        from jaxwd.guide.page import page

        return page(self)


def recommend(
    *,
    dataset_size: float,
    batch_size: float,
    epochs: float,
    learning_rate: float,
    optimizer: str = "adam",
    scheme: str = "lr",
    schedule: str | None = "cosine",
    warmup: int = 0,
    momentum: float | None = None,
) -> Recommendation:
    """Return a starting λ, a sweep around it, and published recipes beside it.

    Under decay the weights are an average of recent updates over τ = 1/(ηλ) steps,
    τ/M epochs at M = dataset_size/batch_size steps an epoch. τ should not be much below
    one epoch, or data is forgotten that was not seen again, nor much above the run, or
    the start is never forgotten:

        1 ≲ τ/M ≲ T      so      1/(αMT) ≲ λ ≲ 1/(αM)

    The starting λ has τ/M = √T, the middle of that range in factors; that choice is
    ours, not the paper's. The sweep covers the range in factors of two, or four-fold
    either way where it is narrower.

    Args:
        dataset_size: examples (or tokens) an epoch.
        batch_size: examples (or tokens) a step.
        epochs: T, at least 1.
        learning_rate: α, the peak: τ is of the peak here, as recipes are quoted.
        optimizer: `adam`, `sgd`, …; chooses the neighbours, and for SGD makes decay in
            the gradient possible as `scheme`.
        scheme: the convention of λ, any name of `jaxwd list conventions`.
        schedule: how the rate moves, by name. It matters to conventions that follow it
            otherwise than the learning rate does: for them the total shrink is kept.
        warmup: steps of linear rise at the start.
        momentum: μ of SGD.

    Returns:
        A value that prints as a table and has `to_dict()`.

    Raises:
        InputError: fewer than one epoch, a batch larger than the data, Adam with decay
            in the gradient, and all that `convert` refuses.

    Source: Wang and Aitchison, How to set AdamW's weight decay as you scale model and
    dataset size, 2025. Do not use it for fine-tuning (the start should be remembered),
    and do not report a λ from here as tuned.

    >>> got = recommend(
    ...     dataset_size=50_000, batch_size=128, epochs=100, learning_rate=1e-3
    ... )
    >>> f"{got.strength:.3g}", got.tau_epochs, len(got.sweep)
    ('0.256', 10.0, 9)
    """
    length = number("epochs", epochs, high=_MOST, open_low=True)
    if length < 1:
        raise InputError(
            f"epochs={length:g}: the range of τ is one epoch to the whole run, and there "
            "is none below one epoch; call the data you will see the data set "
            "(dataset_size smaller, epochs=1)"
        )
    size = number("dataset_size", dataset_size, 1.0, high=_MOST)
    batch = number("batch_size", batch_size, 1.0, high=_MOST)
    rate = number("learning_rate", learning_rate, open_low=True)
    if find(scheme)[0].kind not in ("step", "gradient"):
        raise InputError(
            f"scheme={scheme!r} is no λ of decay; try lr, paper or coupled"
        )

    def at(tau: float) -> Conversion:
        """τ at the peak → λ times the learning rate → λ in the scheme asked for."""
        of_rate = convert(
            tau,
            source="tau_epochs",
            target="lr",
            learning_rate=rate,
            dataset_size=size,
            batch_size=batch,
        )
        return convert(
            of_rate,
            source="lr",
            target=scheme,
            learning_rate=rate,
            schedule=schedule,
            steps=max(1, round(length * size / batch)),
            warmup=warmup,
            match="mean",
            optimizer=optimizer,
            momentum=momentum,
            dataset_size=size,
            batch_size=batch,
            epochs=length,
            examples=batch,
        )

    middle = math.sqrt(length)
    reach = max(middle, NARROW)
    half = math.ceil(math.log2(reach))
    taus = [middle * reach ** (-i / half) for i in range(-half, half + 1)]
    start = at(middle)
    rows = nearest(optimizer=optimizer, epochs=length, dataset_size=size)
    return Recommendation(
        strength=start,
        scheme=start.target,
        tau_epochs=middle,
        sweep=tuple((x, tau) for tau in taus if (x := _or_none(at, tau)) is not None),
        neighbours=tuple((row, _or_none(at, float(row.tau_epochs))) for row in rows),
        says=_says(length, middle, start),
        run={
            "dataset_size": size,
            "batch_size": batch,
            "epochs": length,
            "learning_rate": rate,
            "optimizer": optimizer,
            "schedule": schedule,
            "warmup": warmup,
            "momentum": momentum,
        },
    )


def _or_none(at: Callable[[float], Conversion], tau: float) -> float | None:
    """Return λ, or None for a τ below one step. What else can go wrong did so before."""
    try:
        return float(at(tau))
    except InputError:
        return None


def _says(epochs: float, tau: float, start: Conversion) -> tuple[str, ...]:
    said = [
        f"sweep: τ from one epoch to the run, {epochs:g} (Wang and Aitchison, 2025)",
        f"start: its middle in factors, τ = √T = {tau:.3g} epochs (our choice)",
        "τ is of the peak learning rate, as recipes are quoted",
    ]
    if start.keeps == MEAN:
        said.append(f"λ keeps {start.keeps}")
    return (*said, *start.assumed)
