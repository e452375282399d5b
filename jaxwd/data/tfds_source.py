"""Any TFDS image classification set through `tfds.data_source`, decoded once.

No TensorFlow: reading array_record needs none, and the sets named in `PREPARED` are
prepared by `tfds_builders`. Missing data is found out before TFDS is asked, because
TFDS itself retries for minutes when there is no network.
"""

import hashlib
import logging
import os
import pathlib
import re
from typing import Any

import numpy as np

from jaxwd.data import cache
from jaxwd.data.dataset import Dataset, from_splits
from jaxwd.data.registry import PREPARED
from jaxwd.data.splits import Split, three_splits
from jaxwd.errors import InputError, require

_NAME = re.compile(r"\w+(/[\w.\-]+)?(:[\d.*]+)?")


def tfds_dataset(
    name: str,
    *,
    image_size: int | None = None,
    data_dir: str | None = None,
    manual_dir: str | None = None,
) -> Dataset:
    """Return the TFDS set `name` (also `name/config:version`); see `jaxwd.load`.

    The official test split stays the test split. Where there is no validation split,
    a class-balanced sixth of the training images becomes it; where there is no test
    split either, another sixth.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"tfds:{name} is no name of a dataset, as in tfds:beans")
    if image_size is not None:
        require("image_size", image_size, 1, 4096, whole=True)
    root = pathlib.Path(
        data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    ).expanduser()
    builder = _prepared_builder(name, root, manual_dir)
    info = builder.info
    features = dict(info.features.items())
    label = features.get("label")
    if label is None or "image" not in features or not label.num_classes:
        raise InputError(
            f"tfds:{name} has the features {', '.join(features)}; an image "
            "classification set with `image` and `label` is needed"
        )
    arrays = cache.decoded(
        f"{info.full_name.replace('/', '-')}-{_fingerprint(builder, image_size)}",
        lambda: _decode(builder, image_size),
    )
    parts = {
        split: Split(arrays[f"{split}_images"], arrays[f"{split}_labels"])
        for split in info.splits
        if f"{split}_images" in arrays
    }
    train, validation, test = three_splits(f"tfds:{name}", parts)
    return from_splits(
        name,
        train,
        validation,
        test,
        classes=tuple(label.names),
        source=f"TFDS {info.full_name}",
    )


def _prepared_builder(name: str, root: pathlib.Path, manual_dir: str | None) -> Any:
    """Return the builder of a set that lies prepared under `root`."""
    # TFDS logs an advice to install OpenCV; Pillow decodes as well.
    logging.getLogger("absl").setLevel(logging.ERROR)
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.registered import DatasetNotFoundError

    if name in PREPARED:
        from jaxwd.data import tfds_builders

        tfds_builders.prepare(name, root, manual_dir)
    try:
        return tfds.builder(name, data_dir=root, file_format="array_record")
    except DatasetNotFoundError:
        raise InputError(
            f"tfds:{name} is no dataset that TFDS knows; see the names at "
            "https://www.tensorflow.org/datasets/catalog"
        ) from None
    except ImportError as error:
        raise InputError(
            f"tfds:{name} needs {error.name or 'TensorFlow'}, which is not installed; "
            "install it, or use another set"
        ) from None
    except (ValueError, AssertionError) as error:  # a version there is none of
        raise InputError(f"tfds:{name}: {str(error).splitlines()[0]}") from None


def _fingerprint(builder: Any, image_size: int | None) -> str:
    """Return a name for exactly these prepared files, decoded to this size."""
    folder = pathlib.Path(builder.data_dir)
    digest = hashlib.sha256(f"{folder.resolve()} {image_size}".encode())
    for file in sorted(folder.glob("*")):
        stat = file.stat()
        digest.update(f"\n{file.name} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def _decode(builder: Any, image_size: int | None) -> cache.Arrays:
    """Return images and labels of every split as arrays of bytes."""
    arrays: cache.Arrays = {}
    for split in builder.info.splits:
        try:
            source = builder.as_data_source(split)
        except (AssertionError, NotImplementedError, FileNotFoundError):
            raise _not_prepared(builder) from None
        records = source.__getitems__(range(len(source)))
        images = [_resized(record["image"], image_size) for record in records]
        sizes = {image.shape for image in images}
        if len(sizes) > 1:
            raise InputError(
                f"tfds:{builder.name} has images of {len(sizes)} different shapes; give "
                "image_size (--image-size) to bring them to one"
            )
        arrays[f"{split}_images"] = np.stack(images)
        arrays[f"{split}_labels"] = np.array([r["label"] for r in records], np.int32)
    if not arrays:
        raise _not_prepared(builder)
    return arrays


def _not_prepared(builder: Any) -> InputError:
    return InputError(
        f"tfds:{builder.name} is not prepared as array_record under {builder.data_dir}; "
        f"with TensorFlow installed, `tfds build {builder.name} "
        "--file_format=array_record` makes it"
    )


def _resized(image: np.ndarray, size: int | None) -> np.ndarray:
    if size is None or image.shape[:2] == (size, size):
        return image
    from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    array = np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))
    return array.reshape(size, size, image.shape[-1])
