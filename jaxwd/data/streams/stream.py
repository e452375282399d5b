"""A data set that is read while it is trained on: three sources and how to normalise."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jaxwd.data.dataset import Dataset, Split, _balanced, three_splits
from jaxwd.data.streams.moments import Moments, measured
from jaxwd.data.streams.source import Checked, Held, Records, Rows, Source
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
        outputs: number of model outputs the data asks for.
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
    outputs: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    normalized_by: str

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of one input, without batch axis."""
        return tuple(self.first().inputs.shape[1:])

    def first(self) -> Split:
        """Return the first training example, as a batch of one."""
        return self.train.read(np.array([0]))

    def take(self, train_examples: int) -> "Stream":
        """Return the stream with the training examples that `Dataset.take` takes.

        Raises:
            InputError: more than there are, or fewer than one for each class.
        """
        require("train_examples", train_examples, max(1, len(self.classes)))
        if train_examples > len(self.train):
            raise InputError(
                f"train_examples={train_examples} is more than the {len(self.train)} "
                f"training examples of {self.name}"
            )
        rows = _balanced(self.train.targets(), train_examples, len(self.classes))
        train = Rows(self.train, rows)
        (mean, std), n = measured(train)
        return replace(
            self, train=train, mean=mean, std=std, normalized_by=_measured_over(n)
        )

    def facts(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the data, to know it again."""
        return {
            "name": self.name,
            "examples": [len(self.train), len(self.validation), len(self.test)],
            "input_shape": list(self.input_shape),
            "outputs": self.outputs,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def __str__(self) -> str:
        kind = "x".join(map(str, self.input_shape))
        what = f"{len(self.classes)} classes" if self.classes else "regression"
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
    if task != "classification":
        names: tuple[str, ...] = ()
    elif classes is None:
        found = int(named["train"].targets().max()) + 1
        names = tuple(map(str, range(found)))
    else:
        names = tuple(map(str, range(classes) if isinstance(classes, int) else classes))
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
    outputs = len(names) or train.read(np.array([0])).targets.shape[-1]
    return Stream(name, task, **sources, classes=names, outputs=outputs,
                  mean=moments[0], std=moments[1], source=source, normalized_by=by)  # fmt: skip


def from_dataset(data: Dataset) -> Stream:
    """Return a data set in memory as a stream."""
    parts = {
        part: Held(getattr(data, part), f"{data.name} {part}")
        for part in ("train", "validation", "test")
    }
    return Stream(data.name, data.task, **parts, classes=data.classes,
                  outputs=data.outputs, mean=data.mean, std=data.std,
                  source=data.source,
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
    split = dict(zip(("train", "validation", "test"), three_splits(name, rows)))
    return {
        part: parts[part]
        if part != "train" and part in parts
        else Rows(train, found.inputs, f"{name} {part}")
        for part, found in split.items()
    }


def _measured_over(n: int) -> str:
    return f"mean and std measured over {n:,} training examples"
