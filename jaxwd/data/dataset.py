"""What every loader returns: three checked splits and how to normalise their inputs."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jaxwd.data import checks
from jaxwd.data.splits import Split, balanced, shuffled
from jaxwd.errors import InputError, require, unknown
from jaxwd.losses import TASKS


@dataclass(frozen=True)
class Dataset:
    """A data set with its three splits.

    Attributes:
        name: how reports call it.
        task: `classification`, `regression` or `language`.
        train: what gradients see.
        validation: what choices are made on.
        test: measured once, at the end.
        classes: names of the classes, of `language` the characters; empty for
            regression.
        mean: of the training inputs, per channel or feature, in raw units; 0 for
            characters, whose numbers mean nothing.
        std: standard deviation, likewise; 1 where a feature never changes.
        source: where the bytes came from.
    """

    name: str
    task: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str

    @property
    def outputs(self) -> int:
        """Return the number of model outputs the data asks for."""
        if self.task == "regression":
            return self.train.targets.shape[-1]
        return len(self.classes)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Return the shape of a model's output for one example."""
        if self.task == "language":
            return (*self.train.targets.shape[1:], self.outputs)
        return (self.outputs,)

    @property
    def input_dtype(self) -> np.dtype:
        """Return what a model is given: int32 for characters, else float32."""
        return np.dtype(np.int32 if self.task == "language" else np.float32)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of one input, without batch axis."""
        return tuple(self.train.inputs.shape[1:])

    def fingerprint(self) -> str:
        """Return a short name for exactly these examples in this order."""
        digest = hashlib.sha256(self.name.encode())
        for split in (self.train, self.validation, self.test):
            for array in split:
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def take(self, train_examples: int) -> "Dataset":
        """Return the data with only the first `train_examples` training examples.

        Classes are kept in balance: the first n/classes of each, in stored order, so
        every recipe that asks for n examples gets the same ones. Of a text, the first n
        sequences.

        Raises:
            InputError: more than there are, or fewer than one for each class.
        """
        classes = len(self.classes) if self.task == "classification" else 0
        require("train_examples", train_examples, max(1, classes))
        if train_examples > self.train.examples:
            raise InputError(
                f"train_examples={train_examples} is more than the {self.train.examples} "
                f"training examples of {self.name}"
            )
        rows = balanced(self.train.targets, train_examples, classes)
        train = Split(self.train.inputs[rows], self.train.targets[rows])
        mean, std = _moments(train.inputs)
        return replace(self, train=train, mean=mean, std=std)

    def __str__(self) -> str:
        kind = "x".join(map(str, self.input_shape))
        named = "characters" if self.task == "language" else "classes"
        what = f"{len(self.classes)} {named}" if self.classes else "regression"
        return (
            f"{self.name}: {self.train.examples:,} train, {self.validation.examples:,} "
            f"validation, {self.test.examples:,} test, {kind}, {what} ({self.source})"
        )


def from_splits(
    name: str,
    train: Split,
    validation: Split,
    test: Split,
    *,
    classes: tuple[str, ...] = (),
    task: str = "classification",
    source: str = "arrays",
) -> Dataset:
    """Return a `Dataset` of three given splits, after checking them."""
    splits = {"train": train, "validation": validation, "test": test}
    clean = {
        part: Split(*checks.checked(f"{name} {part}", *split, task, len(classes)))
        for part, split in splits.items()
    }
    checks.same_shape(name, {part: split.inputs for part, split in clean.items()})
    if task == "classification":
        checks.several_classes(name, clean["train"].targets)
    mean, std = _moments(clean["train"].inputs)
    return Dataset(
        name, task, **clean, classes=classes, mean=mean, std=std, source=source
    )


def from_arrays(
    inputs: Any,
    targets: Any,
    *,
    name: str = "arrays",
    task: str = "classification",
    classes: tuple[str, ...] = (),
    validation: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    source: str = "arrays",
) -> Dataset:
    """Return a `Dataset` from NumPy arrays, split at random with classes in balance.

    Args:
        inputs: images (n, h, w) or (n, h, w, c), uint8 or floats; or floats
            (n, features); or, for `language`, integers (n, length).
        targets: integer labels (n,) counted from 0, or floats (n,) or (n, outputs); or,
            for `language`, the integers that follow, (n, length).
        name: how reports call it.
        task: `classification`, `regression` or `language`; sequences of a `language`
            are drawn at random too, so they must not overlap.
        classes: names; default the numbers 0 to max(label).
        validation: share held out for choices.
        test: share held out for the one last measurement.
        seed: of the split; the split belongs to the data, not to a training.
        source: where the bytes came from, for the record.

    Raises:
        InputError: wrong rank or dtype, NaN, labels out of range, one class only,
            nothing left for a split.

    >>> rng = np.random.default_rng(0)
    >>> images = rng.integers(0, 256, (100, 8, 8), np.uint8)
    >>> print(from_arrays(images, np.arange(100) % 2))
    arrays: 68 train, 16 validation, 16 test, 8x8x1, 2 classes (arrays)
    """
    require("validation", validation, 0.0, 1.0, open_low=True)
    require("test", test, 0.0, 1.0, open_low=True)
    if task not in TASKS:
        raise unknown("task", task, TASKS)
    inputs, targets = checks.checked(name, inputs, targets, task, len(classes))
    if task != "regression" and not classes:
        most = max(int(x.max()) for x in _numbers(inputs, targets, task))
        classes = tuple(str(i) for i in range(most + 1))
    parts = shuffled(targets, validation, test, seed, task == "classification")
    if min(map(len, parts)) == 0:
        raise InputError(
            f"{name}: {len(inputs)} examples leave an empty split with validation="
            f"{validation:g} and test={test:g}; give more examples or other shares"
        )
    train, held, final = (Split(inputs[rows], targets[rows]) for rows in parts)
    return from_splits(
        name, train, held, final, classes=classes, task=task, source=source
    )


def _numbers(
    inputs: np.ndarray, targets: np.ndarray, task: str
) -> tuple[np.ndarray, ...]:
    """Return the arrays that count classes from 0."""
    return (inputs, targets) if task == "language" else (targets,)


def _moments(inputs: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation over all axes but the last.

    Integers that are no bytes are numbers of characters: they stay as they are.
    """
    if inputs.dtype == np.int32:
        return (0.0,), (1.0,)
    axes = tuple(range(inputs.ndim - 1))
    if inputs.dtype == np.uint8:  # exact and small: moments from a histogram
        flat = inputs.reshape(-1, inputs.shape[-1])
        counts = np.stack([np.bincount(c, minlength=256) for c in flat.T], -1)
        level = np.arange(256.0)[:, None]
        mean = (counts * level).sum(0) / len(flat)
        std = np.sqrt((counts * level**2).sum(0) / len(flat) - mean**2)
    else:
        mean, std = inputs.mean(axes, np.float64), inputs.std(axes, np.float64)
    std = np.where(std > 0, std, 1.0)
    return tuple(mean.tolist()), tuple(std.tolist())
