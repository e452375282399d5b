"""File formats of the prepared sets, read into TFDS examples without TensorFlow."""

import gzip
import io
import pathlib
import tarfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxwd.errors import InputError

Examples = Iterator[tuple[int, dict[str, Any]]]


def png(image: np.ndarray) -> bytes:
    """Return an image (h, w, 1 or 3) as PNG; TFDS stores such bytes as they are."""
    from PIL import Image

    buffer = io.BytesIO()
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def read_idx(images: pathlib.Path, labels: pathlib.Path) -> Examples:
    """Yield TFDS examples from a pair of gzipped idx files."""
    x = np.frombuffer(gzip.decompress(images.read_bytes()), np.uint8, offset=16)
    y = np.frombuffer(gzip.decompress(labels.read_bytes()), np.uint8, offset=8)
    for i, image in enumerate(x.reshape(len(y), 28, 28, 1)):
        yield i, {"image": png(image), "label": int(y[i])}


def read_cifar(
    archive: pathlib.Path, members: list[str], label_keys: list[str], prefix: str
) -> Examples:
    """Yield TFDS examples from the binary records of a CIFAR archive.

    A record is one byte for each label key, then 3 × 32 × 32 bytes, channels first.
    """
    width = len(label_keys) + 3072
    index = 0
    with tarfile.open(archive) as tar:
        for member in members:
            file = tar.extractfile(member)
            if file is None:
                raise InputError(f"{archive}: {member} is missing; download it again")
            records = np.frombuffer(file.read(), np.uint8).reshape(-1, width)
            for record in records:
                labels, pixels = np.split(record, [len(label_keys)])
                image = pixels.reshape(3, 32, 32).transpose(1, 2, 0)
                yield (
                    index,
                    {
                        "id": f"{prefix}{index:05d}",
                        "image": png(np.ascontiguousarray(image)),
                        **{k: int(v) for k, v in zip(label_keys, labels, strict=True)},
                    },
                )
                index += 1
