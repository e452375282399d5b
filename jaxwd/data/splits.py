"""Train, validation and test: who is in which, always the same examples."""

from typing import Any, NamedTuple

import numpy as np

from jaxwd.errors import InputError

_HELD_OUT = 1 / 6
"""Share of the training examples held out for each split that a set lacks."""


class Split(NamedTuple):
    """Examples of one split, on the host or on a device.

    Attributes:
        inputs: images uint8 (n, height, width, channels), or floats (n, features), or
            characters int32 (n, length).
        targets: labels int32 (n,), or regression targets float32 (n, outputs), or the
            next characters int32 (n, length).
    """

    inputs: Any
    targets: Any

    @property
    def examples(self) -> int:
        """Return the number of examples."""
        return self.inputs.shape[0]


def three_splits(name: str, parts: dict[str, Split]) -> tuple[Split, Split, Split]:
    """Return train, validation and test; what is missing is held out of train."""
    if "train" not in parts:
        raise InputError(f"{name} has the splits {', '.join(parts)}; no train")
    train = parts["train"]
    held = []
    for part in ("validation", "test"):
        if part in parts:
            held.append(parts[part])
            continue
        train, taken = _hold_out(train)
        held.append(taken)
    return train, held[0], held[1]


def _hold_out(split: Split) -> tuple[Split, Split]:
    """Return (rest, held): the last sixth of each class, in stored order, is held."""
    labels = np.asarray(split.targets)
    taken = np.zeros(len(labels), bool)
    for c in np.unique(labels):
        rows = np.flatnonzero(labels == c)
        taken[rows[len(rows) - round(_HELD_OUT * len(rows)) :]] = True
    return (
        Split(split.inputs[~taken], labels[~taken]),
        Split(split.inputs[taken], labels[taken]),
    )


def shuffled(
    targets: np.ndarray, validation: float, test: float, seed: int, by_class: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return row numbers of train, validation and test, shuffled."""
    rng = np.random.default_rng(seed)
    groups = (
        [np.flatnonzero(targets == c) for c in np.unique(targets)]
        if by_class
        else [np.arange(len(targets))]
    )
    parts: tuple[list, list, list] = ([], [], [])
    for rows in groups:
        rows = rng.permutation(rows)
        n_test, n_held = round(test * len(rows)), round(validation * len(rows))
        parts[2].append(rows[:n_test])
        parts[1].append(rows[n_test : n_test + n_held])
        parts[0].append(rows[n_test + n_held :])
    train, held, final = (rng.permutation(np.concatenate(part)) for part in parts)
    return train, held, final


def balanced(targets: np.ndarray, n: int, classes: int) -> np.ndarray:
    """Return n row numbers in stored order, the same number of each class (±1)."""
    if not classes:
        return np.arange(n)
    # Position of each example within its class; the n smallest are in balance.
    position = np.empty(len(targets), np.int64)
    for c in range(classes):
        rows = np.flatnonzero(targets == c)
        position[rows] = np.arange(len(rows))
    return np.sort(np.argsort(position, kind="stable")[:n])
