"""Find a stream by name; every reader is imported only when it is used."""

import importlib
from typing import Any, NamedTuple

from jaxwd.data.dataset import Dataset
from jaxwd.data.registry import NAMES, PREPARED, load
from jaxwd.data.streams.moments import Moments
from jaxwd.data.streams.stream import Stream, from_dataset
from jaxwd.errors import InputError, unknown


class Kind(NamedTuple):
    """A kind of stream.

    Attributes:
        written: how its name is written.
        module: where its reader is, below `jaxwd.data.streams`.
        reader: `(path or name, **options) → Stream`.
        takes: the options it has.
    """

    written: str
    module: str
    reader: str
    takes: tuple[str, ...] = ()


KINDS = {
    "npy": Kind("npy:FOLDER", "npy", "npy_stream"),
    "array_record": Kind(
        "array_record:PATH", "records", "array_record_stream", ("image_size",)
    ),
    "folder": Kind(
        "folder:PATH", "pictures", "folder_stream", ("image_size", "grayscale")
    ),
    "tfds": Kind(
        "tfds:NAME", "tfds", "tfds_stream", ("image_size", "data_dir", "manual_dir")
    ),
}
"""What can be streamed from disk, by the word before the colon."""

_LOADED = ("image_size", "grayscale", "data_dir", "manual_dir", "context")


def stream(
    name: str | Dataset, *, moments: Moments | None = None, **options: Any
) -> Stream:
    """Return data that is read while it is trained on, for `jaxwd.run_streamed`.

    Splits and row numbers are those of `jaxwd.load`, so a training on the stream is the
    training on the arrays.

    Args:
        name: `npy:FOLDER`, pairs of .npy files; `array_record:PATH`, a file or a folder
            of `tf.train.Example` records; `folder:PATH`, pictures in one sub-folder a
            class; `tfds:NAME`, or `fashion_mnist`, `mnist`, `kmnist`, `cifar10`,
            `cifar100`, as prepared by TFDS. Other names of `jaxwd.load`, and a
            `Dataset`, are held in memory and streamed from there.
        moments: mean and standard deviation of each channel in raw units. None: those
            that are known, else measured over 10,000 evenly spaced training examples;
            `print(stream)` says which.
        options: of `jaxwd.load`, where the kind has them: image_size, grayscale,
            data_dir, manual_dir.

    Raises:
        InputError: unknown name or option; missing data, with what to do; files that
            cannot be read.

    >>> stream("friedman").normalized_by
    'mean and std of all training examples'
    """
    if isinstance(name, Dataset):
        return from_dataset(name)
    word, _, rest = name.partition(":")
    word, rest = ("tfds", name) if name in PREPARED else (word, rest)
    held = (name in NAMES and word != "tfds") or (word == "text" and bool(rest))
    if not held and word not in KINDS:
        written = [kind.written for kind in KINDS.values()]
        raise unknown("stream", name, [*NAMES, *written, "text:PATH"])
    if not rest and not held:
        raise InputError(f"stream {name!r} needs more: {KINDS[word].written}")
    takes = _LOADED if held else KINDS[word].takes
    given = {
        key: value
        for key, value in options.items()
        if value is not None and value is not False
    }
    for key in given:
        if key not in takes:
            what = f"it takes {', '.join(takes)}" if takes else "it takes none"
            raise InputError(
                f"stream {name!r} does not take {key}={given[key]}; {what}"
            )
    if held:
        return from_dataset(load(name, **given))
    module = importlib.import_module(f"jaxwd.data.streams.{KINDS[word].module}")
    return getattr(module, KINDS[word].reader)(rest, moments=moments, **given)
