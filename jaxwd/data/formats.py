"""File formats of the prepared sets, read into TFDS examples without TensorFlow."""

import contextlib
import gzip
import io
import math
import pathlib
import tarfile
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxwd.errors import InputError

_MOST_EXAMPLES = 1_000_000
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
    x, y = _idx(images, (28, 28)), _idx(labels, ())
    if len(x) != len(y):
        raise InputError(
            f"{images} holds {len(x)} images and {labels} {len(y)} labels; they are no "
            "pair, download them again"
        )
    for i, image in enumerate(x[..., None]):
        yield i, {"image": png(image), "label": int(y[i])}


def _idx(path: pathlib.Path, item: tuple[int, ...]) -> np.ndarray:
    """Return the bytes of a gzipped idx file, no more than its header says.

    The header is 0 0 8 and the number of axes, then the axes, four bytes each.
    """
    axes = 1 + len(item)
    try:
        with gzip.open(path) as file:
            head = file.read(4 + 4 * axes)
            length, *rest = np.frombuffer(head, ">u4", offset=4).tolist()
            sound = head[:4] == bytes((0, 0, 8, axes)) and tuple(rest) == item
            if not sound or length > _MOST_EXAMPLES:
                raise ValueError(f"a header of {head.hex()}")
            # One byte more, to see whether it goes on; a packed file might for ever.
            data = np.frombuffer(file.read(length * math.prod(item) + 1), np.uint8)
            return data.reshape(length, *item)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(
            f"{path} is no idx file of this kind ({error}); download it again"
        ) from None


@contextlib.contextmanager
def _opened(archive: pathlib.Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(archive) as tar:
            yield tar
    except (OSError, EOFError, ValueError, KeyError, tarfile.TarError, zlib.error) as e:
        if isinstance(e, InputError):
            raise
        raise InputError(
            f"{archive} is no archive of this set ({e}); download it again"
        ) from None


def _records(tar: tarfile.TarFile, member: str, width: int) -> np.ndarray:
    file = tar.extractfile(member)
    most = _MOST_EXAMPLES * width
    if file is None or tar.getmember(member).size > most:
        raise ValueError(f"{member} is missing, or larger than any of its kind")
    return np.frombuffer(file.read(), np.uint8).reshape(-1, width)


def read_cifar(
    archive: pathlib.Path, members: list[str], label_keys: list[str], prefix: str
) -> Examples:
    """Yield TFDS examples from the binary records of a CIFAR archive.

    A record is one byte for each label key, then 3 × 32 × 32 bytes, channels first.
    """
    width = len(label_keys) + 3072
    index = 0
    with _opened(archive) as tar:
        for member in members:
            for record in _records(tar, member, width):
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
