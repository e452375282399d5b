"""TFDS sets as streams: prepared array_record files, decoded record by record."""

import os
import pathlib
from typing import Any

import numpy as np

from jaxwd.data import cache
from jaxwd.data.splits import Split
from jaxwd.data.streams.moments import Moments
from jaxwd.data.streams.source import BLOCK, Records, blocks, stacked
from jaxwd.data.streams.stream import Stream, from_sources
from jaxwd.data.tfds_source import (
    _fingerprint,
    _not_prepared,
    _prepared_builder,
    _resized,
)
from jaxwd.errors import InputError, require

MOMENTS: dict[str, Moments] = {
    "fashion_mnist": ((72.89695734693878,), (90.02102966533747,)),
}
"""Mean and deviation of the training split that `load` makes, in raw units."""


class TfdsSplit(Records):
    """A split of a prepared TFDS set."""

    def __init__(self, builder: Any, split: str, image_size: int | None) -> None:
        try:
            records = builder.as_data_source(split)
        except (AssertionError, NotImplementedError, FileNotFoundError):
            raise _not_prepared(builder) from None
        super().__init__(records, f"tfds:{builder.name} {split}")
        self._builder, self._split, self._size = builder, split, image_size

    def read(self, rows: np.ndarray) -> Split:
        """Return these rows, in this order."""
        records = [
            {"image": _resized(record["image"], self._size), "label": record["label"]}
            for record in self.fetch(rows)
        ]
        return stacked(self.name, records, rows)

    def targets(self) -> np.ndarray:
        """Return every label: gone through once without pictures, then from the cache."""
        key = self._builder.info.full_name.replace("/", "-")
        of = _fingerprint(self._builder, None)
        arrays = cache.decoded(f"{key}-{self._split}-labels-{of}", self._labels)
        return arrays["labels"]

    def _labels(self) -> cache.Arrays:
        from tensorflow_datasets.core.decode import SkipDecoding

        decoders = {"image": SkipDecoding()}
        source = self._builder.as_data_source(self._split, decoders=decoders)
        plain = Records(source, self.name)
        found = [r["label"] for b in blocks(len(source), BLOCK) for r in plain.fetch(b)]
        return {"labels": np.array(found, np.int32)}


def tfds_stream(
    name: str,
    *,
    image_size: int | None = None,
    data_dir: str | None = None,
    manual_dir: str | None = None,
    **options: Any,
) -> Stream:
    """Return the TFDS set `name` as a stream, in the splits that `jaxwd.load` makes.

    It is prepared as array_record where jaxwd can do that, else found prepared. Of a
    set without validation split the labels are read once, to hold a sixth of each
    class out; their cache is a few bytes an example.
    """
    if image_size is not None:
        require("image_size", image_size, 1, 4096, whole=True)
    root = pathlib.Path(
        data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    ).expanduser()
    builder = _prepared_builder(name, root, manual_dir)
    features = dict(builder.info.features.items())
    label = features.get("label")
    if label is None or "image" not in features or not label.num_classes:
        raise InputError(
            f"tfds:{name} has the features {', '.join(features)}; an image "
            "classification set with `image` and `label` is needed"
        )
    parts = {
        split: TfdsSplit(builder, split, image_size)
        for split in ("train", "validation", "test")
        if split in builder.info.splits
    }
    if not parts:
        raise _not_prepared(builder)
    if image_size is None and options.get("moments") is None:
        options["moments"] = MOMENTS.get(name)
    return from_sources(
        name,
        parts,
        classes=tuple(label.names),
        source=f"TFDS {builder.info.full_name}",
        **options,
    )
