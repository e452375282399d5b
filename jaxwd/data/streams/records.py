"""array_record files with one `tf.train.Example` a record, without TensorFlow."""

import io
import pathlib
import re
from typing import Any

import numpy as np

from jaxwd.data.splits import Split
from jaxwd.data.streams.source import BLOCK, Records, blocks, stacked
from jaxwd.data.streams.stream import Stream, from_sources
from jaxwd.errors import InputError, require

_PARTS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
_FILE = re.compile(r"\.array_record(?:-(\d+)-of-(\d+))?$")


class ArrayRecord(Records):
    """A split in one or several array_record files, as TFDS writes them.

    A record is a `tf.train.Example` with `image` (an encoded picture) or `inputs`
    (numbers), and `label` (a whole number) or `target`/`targets` (numbers). The file's
    index is held in memory, 8 bytes a record, and nothing else.
    """

    def __init__(
        self, files: list[pathlib.Path], name: str, image_size: int | None = None
    ) -> None:
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        try:
            super().__init__(ArrayRecordDataSource([str(f) for f in files]), name)
            self._index()
        except RuntimeError as error:
            raise InputError(
                f"{name}: no whole array_record file ({_first_line(error)}); it may be "
                "cut short: copy or prepare it again"
            ) from None
        self.files, self.image_size = files, image_size

    def _index(self) -> None:
        if len(self.records):
            self.records[0]

    def read(self, rows: np.ndarray) -> Split:
        """Return these rows, in this order."""
        found = [
            self._parsed(record, row, True)
            for record, row in zip(self.fetch(rows), rows.tolist(), strict=True)
        ]
        return stacked(self.name, found, rows)

    def targets(self) -> np.ndarray:
        """Return every target; pictures are not decoded for it."""
        found = [
            self._parsed(record, row, False)["target"]
            for block in blocks(len(self), BLOCK)
            for record, row in zip(self.fetch(block), block.tolist(), strict=True)
        ]
        return np.asarray(found)

    def _parsed(self, record: bytes, row: int, inputs: bool) -> dict[str, Any]:
        try:
            return _example(record, inputs, self.image_size)
        except InputError as error:
            raise InputError(f"{self.name}: record {row} {error}") from None
        except Exception as error:
            raise InputError(
                f"{self.name}: record {row} is no tf.train.Example with a picture or "
                f"numbers ({_first_line(error)})"
            ) from None


def _example(record: bytes, inputs: bool, size: int | None) -> dict[str, Any]:
    from tensorflow_datasets.proto import tf_example_pb2

    Example: Any = vars(tf_example_pb2)["Example"]  # made when it is imported

    features = Example.FromString(record).features.feature
    target = next((k for k in ("label", "target", "targets") if k in features), None)
    given = next((k for k in ("image", "inputs") if k in features), None)
    if target is None or given is None:
        raise InputError(
            f"has the features {', '.join(sorted(features)) or 'none'}; it needs image "
            "or inputs, and label or target"
        )
    found = {"target": _numbers(features[target], target == "label")}
    if inputs:
        found["inputs"] = _inputs(features[given], size)
    return found


def _numbers(feature: Any, label: bool) -> Any:
    values = feature.int64_list.value or feature.float_list.value
    array = np.asarray(values)
    if not label:
        return array.astype(np.float32)
    if len(array) != 1 or not np.issubdtype(array.dtype, np.integer):
        raise InputError(
            f"has the label {array.tolist()[:3]}; a label is one whole number, numbers "
            "to fit are a target"
        )
    return np.int32(array[0])


def _inputs(feature: Any, size: int | None) -> np.ndarray:
    if feature.HasField("bytes_list"):
        return _picture(feature.bytes_list.value[0], size)
    return np.asarray(feature.float_list.value or feature.int64_list.value, np.float32)


def _picture(encoded: bytes, size: int | None) -> np.ndarray:
    from jaxwd.data.streams.pictures import decoded

    return decoded(io.BytesIO(encoded), size, None)


def array_record_stream(
    path: str, *, image_size: int | None = None, **options: Any
) -> Stream:
    """Return the stream of an array_record file, or of a folder of such.

    In a folder the last such word of a file's name says the split: `train`, `validation`
    (or `val`) and `test`, as in `train.array_record` or
    `mine-train.array_record-00000-of-00004`, whose four shards have to be there. What is
    missing is held out of `train`, a sixth of each class.
    """
    if image_size is not None:
        require("image_size", image_size, 1, 4096, whole=True)
    root = pathlib.Path(path).expanduser()
    if not root.exists():
        raise InputError(f"array_record:{path} does not exist; give a file or a folder")
    parts: dict[str, list[pathlib.Path]] = {}
    if root.is_dir():
        for file in sorted(f for f in root.iterdir() if _FILE.search(f.name)):
            part = _part_of(file)
            if part is not None:
                parts.setdefault(part, []).append(file)
    else:
        parts["train"] = [root]
    if "train" not in parts:
        raise InputError(
            f"array_record:{path} has no file with train in its name that ends in "
            ".array_record"
        )
    for files in parts.values():
        _require_all(files)
    sources = {
        part: ArrayRecord(files, f"array_record:{path} {part}", image_size)
        for part, files in parts.items()
    }
    task = _task_of(sources["train"])
    return from_sources(
        f"array_record:{path}", sources, task=task, source=f"{root}", **options
    )


def _require_all(files: list[pathlib.Path]) -> None:
    """Raise unless the shards of a split are those of one writing, and all of them."""
    found = [_FILE.search(file.name) for file in files]
    shards = [(int(m[1]), int(m[2])) for m in found if m and m[1] is not None]
    if not shards:
        return
    counts = {count for _, count in shards}
    if len(counts) > 1 or len(shards) < len(files):
        names = ", ".join(file.name for file in files[:3])
        raise InputError(
            f"array_record: {names} in {files[0].parent} are of different writings; "
            "leave the files of one"
        )
    count = max(counts)
    missing = [n for n in range(count) if n not in dict(shards)]
    if missing:
        raise InputError(
            f"array_record: {len(missing)} of the {count} shards of {files[0].name} are "
            f"missing, the first is number {missing[0]}; copy them all"
        )


def _part_of(file: pathlib.Path) -> str | None:
    words = re.split(r"[^a-z]+", file.name.lower())
    return next((_PARTS[w] for w in reversed(words) if w in _PARTS), None)


def _task_of(source: ArrayRecord) -> str:
    if not len(source):
        raise InputError(f"{source.name}: no examples")
    target = source.read(np.array([0])).targets
    whole = np.issubdtype(target.dtype, np.integer)
    return "classification" if whole and target.ndim == 1 else "regression"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
