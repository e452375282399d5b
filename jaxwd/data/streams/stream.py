"""A data set that is read while it is trained on: three sources and how to normalise."""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jaxwd.data.dataset import Dataset
from jaxwd.data.splits import Split, balanced, three_splits
from jaxwd.data.streams.moments import Moments, measured
from jaxwd.data.streams.source import Checked, Held, Records, Rows, Source, blocks
from jaxwd.errors import InputError, require, unknown
from jaxwd.losses import TASKS


@dataclass(frozen=True)
class Stream:
    """What a `Dataset` says, with sources in place of arrays.

    Attributes:
        name: how reports call it.
        task: a row of `jaxwd.losses.TASKS`.
        train: what gradients see.
        validation: what choices are made on; read through once an epoch.
        test: read through once, at the end.
        classes: names of the classes; empty for regression.
        mean: of the training inputs, per channel or feature, in raw units.
        std: standard deviation, likewise.
        source: where the bytes come from.
        normalized_by: how mean and std were found.
    """

    name: str
    task: str
    train: Source
    validation: Source
    test: Source
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    normalized_by: str

    @property
    def outputs(self) -> int:
        """Return the number of model outputs the data asks for."""
        if self.task == "regression":
            return self.first.targets.shape[-1]
        return len(self.classes)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Return the shape of a model's output for one example."""
        if self.task == "language":
            return (*self.first.targets.shape[1:], self.outputs)
        return (self.outputs,)

    @property
    def input_dtype(self) -> np.dtype:
        """Return what a model is given: int32 for characters, else float32."""
        return np.dtype(np.int32 if self.task == "language" else np.float32)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of one input, without batch axis."""
        return tuple(self.first.inputs.shape[1:])

    @functools.cached_property
    def first(self) -> Split:
        """Return the first training example, as a batch of one."""
        return self.train.read(np.array([0]))

    def take(self, train_examples: int) -> "Stream":
        """Return the stream with the training examples that `Dataset.take` takes.

        Raises:
            InputError: more than there are, or fewer than one for each class.
        """
        classes = len(self.classes) if self.task == "classification" else 0
        require("train_examples", train_examples, max(1, classes))
        if train_examples > len(self.train):
            raise InputError(
                f"train_examples={train_examples} is more than the {len(self.train)} "
                f"training examples of {self.name}"
            )
        targets = self.train.targets() if classes else np.zeros(0)
        rows = balanced(targets, train_examples, classes)
        train = Rows(self.train, rows)
        (mean, std), n = measured(train)
        return replace(
            self, train=train, mean=mean, std=std, normalized_by=_measured_over(n)
        )

    def known_by(self) -> str:
        """Return what a checkpoint notes of the data, to know it again.

        Lengths, shape and moments; no paths, so that a copy elsewhere will do.
        """
        kind = "x".join(map(str, self.input_shape))
        about = repr((self.outputs, self.mean, self.std))
        return (
            f"{len(self.train)}/{len(self.validation)}/{len(self.test)} of {kind}, "
            f"{hashlib.sha256(about.encode()).hexdigest()[:8]}"
        )

    def fingerprint(self) -> str:
        """Return a short name for the data, as far as `known_by` tells."""
        about = f"{self.name} {self.known_by()}"
        return hashlib.sha256(about.encode()).hexdigest()[:16]

    def __str__(self) -> str:
        kind = "x".join(map(str, self.input_shape))
        named = "characters" if self.task == "language" else "classes"
        what = f"{len(self.classes)} {named}" if self.classes else "regression"
        return (
            f"{self.name}: {len(self.train):,} train, {len(self.validation):,} "
            f"validation, {len(self.test):,} test, {kind}, {what} ({self.source}; "
            f"{self.normalized_by})"
        )


def from_sources(
    name: str,
    parts: Mapping[str, Any],
    *,
    task: str = "classification",
    classes: tuple[str, ...] | int | None = None,
    moments: Moments | None = None,
    source: str = "sources",
    check: bool = True,
) -> Stream:
    """Return a `Stream` of sources with random access.

    Args:
        name: how reports call it.
        parts: `train`, and `validation` and `test` where there are such: a `Source`, or
            anything with `len` and `[row]` that gives records with `image` or `inputs`
            and `label`, `target` or `targets`. A part that is missing is held out of
            `train`: the last sixth of each class in stored order.
        task: a row of `jaxwd.losses.TASKS`.
        classes: their names or their number. None: every training target is read
            once to count them.
        moments: mean and standard deviation for each channel. None: measured over
            10,000 evenly spaced training examples.
        source: where the bytes come from, for the record.
        check: hold every read to one shape and to the range of the labels.

    Raises:
        InputError: no `train`, an empty part, records that cannot be used.

    >>> record = {"inputs": np.ones(3), "label": 1}
    >>> stream = from_sources("mine", {"train": [record] * 12}, classes=2)
    >>> len(stream.train), len(stream.validation), len(stream.test)
    (8, 2, 2)
    """
    if task not in TASKS:
        raise unknown("task", task, TASKS)
    named = {
        part: given if isinstance(given, Source) else Records(given, f"{name} {part}")
        for part, given in parts.items()
    }
    for part, given in named.items():
        if not len(given):
            raise InputError(f"{name} {part}: no examples")
    sources = held_out(name, named, task)
    names: tuple[str, ...] = ()
    if task != "regression":
        given = _most(named["train"], task) + 1 if classes is None else classes
        names = tuple(map(str, range(given) if isinstance(given, int) else given))
    if check:
        train = Checked(sources["train"], task, len(names), None)
        shape = train.read(np.array([0])).inputs.shape[1:]
        sources = {
            part: Checked(given, task, len(names), shape)
            for part, given in sources.items()
        }
    train = sources["train"]
    by = "mean and std given"
    if moments is None:
        moments, n = measured(train)
        by = _measured_over(n)
    mean, std = moments
    return Stream(name, task, **sources, classes=names, mean=mean, std=std,
                  source=source, normalized_by=by)  # fmt: skip


def from_dataset(data: Dataset) -> Stream:
    """Return a data set in memory as a stream."""
    parts = {
        part: Held(getattr(data, part), f"{data.name} {part}")
        for part in ("train", "validation", "test")
    }
    return Stream(data.name, data.task, **parts, classes=data.classes,
                  mean=data.mean, std=data.std, source=data.source,
                  normalized_by="mean and std of all training examples")  # fmt: skip


def held_out(name: str, parts: dict[str, Source], task: str) -> dict[str, Source]:
    """Return the three parts; what is missing is held out of train, by row number."""
    if "train" not in parts:
        raise InputError(f"{name} has the splits {', '.join(parts)}; no train")
    if {"validation", "test"} <= parts.keys():
        return {part: parts[part] for part in ("train", "validation", "test")}
    train = parts["train"]
    grouped = train.targets() if task == "classification" else np.zeros(len(train), int)
    rows = {part: Split(np.arange(len(given)), grouped if part == "train" else ())
            for part, given in parts.items()}  # fmt: skip
    found = zip(("train", "validation", "test"), three_splits(name, rows), strict=True)
    return {
        part: parts[part]
        if part != "train" and part in parts
        else Rows(train, split.inputs, f"{name} {part}")
        for part, split in found
    }


def _most(source: Source, task: str) -> int:
    """Return the largest label, or the largest character of inputs and targets."""
    if task == "classification":
        return int(source.targets().max())
    parts = (source.read(rows) for rows in blocks(len(source)))
    return max(int(side.max()) for part in parts for side in part)


def _measured_over(n: int) -> str:
    return f"mean and std measured over {n:,} training examples"
