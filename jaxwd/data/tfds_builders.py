"""Prepare MNIST-like and CIFAR sets as genuine TFDS data, without TensorFlow.

The stock builders of TFDS 4.9 import TensorFlow to unpack archives and to encode PNG.
These subclasses keep the name, version, features and checksums and replace those two
steps, so `tfds.data_source("fashion_mnist")` reads the result like any other.
"""

# TFDS's base classes take class arguments that type checkers do not see.
# pyright: reportGeneralTypeIssues=false, reportCallIssue=false

import gzip
import io
import pathlib
import socket
import struct
import tarfile
import tempfile
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.image_classification import cifar, mnist

from jaxwd.errors import InputError

IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
DEBIAN = pathlib.Path("/usr/share/datasets/fashion-mnist")
_CONNECT_SECONDS = 3.0

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


class _WithoutTensorFlow:
    """Split generators for the idx sets; mixed into TFDS's own builder classes."""

    pkg_dir_path = None
    URL: str

    @classmethod
    def urls(cls) -> dict[str, str]:
        return {name: urllib.parse.urljoin(cls.URL, name) for name in IDX_FILES}

    def _split_generators(self, dl_manager: Any) -> dict[str, Examples]:
        got = {k: pathlib.Path(v) for k, v in dl_manager.download(self.urls()).items()}
        return {
            "train": read_idx(got[IDX_FILES[0]], got[IDX_FILES[1]]),
            "test": read_idx(got[IDX_FILES[2]], got[IDX_FILES[3]]),
        }


class MNIST(_WithoutTensorFlow, mnist.MNIST, skip_registration=True):
    """MNIST, prepared without TensorFlow."""


class FashionMNIST(_WithoutTensorFlow, mnist.FashionMNIST, skip_registration=True):
    """Fashion-MNIST, prepared without TensorFlow."""


class KMNIST(_WithoutTensorFlow, mnist.KMNIST, skip_registration=True):
    """Kuzushiji-MNIST, prepared without TensorFlow."""


class _CifarWithoutTensorFlow:
    """Split generators for the CIFAR sets."""

    pkg_dir_path = None
    info: Any
    _cifar_info: Any

    def urls(self) -> dict[str, str]:
        url = self._cifar_info.url
        return {url.rsplit("/", 1)[-1]: url}

    def _split_generators(self, dl_manager: Any) -> dict[str, Examples]:
        about = self._cifar_info
        archive = pathlib.Path(dl_manager.download(about.url))
        with tarfile.open(archive) as tar:
            for key, name in zip(about.label_keys, about.label_files, strict=True):
                file = tar.extractfile(about.prefix + name)
                names = file.read().decode().split() if file else []
                self.info.features[key].names = names
        return {
            part: read_cifar(
                archive,
                [about.prefix + name for name in files],
                about.label_keys,
                f"{part}_",
            )
            for part, files in (
                ("train", about.train_files),
                ("test", about.test_files),
            )
        }


class Cifar10(_CifarWithoutTensorFlow, cifar.Cifar10, skip_registration=True):
    """CIFAR-10, prepared without TensorFlow."""


class Cifar100(_CifarWithoutTensorFlow, cifar.Cifar100, skip_registration=True):
    """CIFAR-100, prepared without TensorFlow."""


BUILDERS: dict[str, Any] = {
    "fashion_mnist": FashionMNIST,
    "mnist": MNIST,
    "kmnist": KMNIST,
    "cifar10": Cifar10,
    "cifar100": Cifar100,
}


def prepare(name: str, root: pathlib.Path, manual_dir: str | None = None) -> None:
    """Prepare the set `name` under `root`, unless it lies there already.

    Files come from `manual_dir`, for Fashion-MNIST from Debian's package, or from the
    network; TFDS checks their SHA-256 in each case.

    Raises:
        InputError: no files and no network, or files with a wrong checksum.
    """
    builder = BUILDERS[name](data_dir=root, file_format="array_record")
    if pathlib.Path(builder.data_dir).exists():
        return
    urls = builder.urls()
    with tempfile.TemporaryDirectory(prefix="jaxwd-") as scratch:
        folder = manual_dir
        if folder is None and name == "fashion_mnist" and DEBIAN.is_dir():
            folder = _restore_debian(pathlib.Path(scratch))
        missing = [
            file
            for file in urls
            if not (folder and (pathlib.Path(folder) / file).exists())
        ]
        if missing:
            _require_network(name, urls[missing[0]], missing, manual_dir)
        config = tfds.download.DownloadConfig(
            manual_dir=folder, force_checksums_validation=True
        )
        try:
            builder.download_and_prepare(download_config=config)
        except tfds.download.DownloadError as error:
            raise InputError(f"{name}: download failed: {_first_line(error)}") from None
        except Exception as error:
            if type(error).__name__ != "NonMatchingChecksumError":
                raise
            raise InputError(
                f"{name}: a file has the wrong checksum, it is damaged or another "
                f"version: {_first_line(error)}; download it again"
            ) from None


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


def _restore_debian(target: pathlib.Path) -> str:
    """Write Debian's four files as the official ones, byte for byte.

    Debian's copies lack only the original name and time in the gzip header; with both
    put back they have the SHA-256 that TFDS publishes.
    """
    times = {"train": 1504176606, "t10k": 1504176627}
    for name in IDX_FILES:
        packed = (DEBIAN / name).read_bytes()
        if not packed[3] & 8:  # no file name in the header
            packed = (
                b"\x1f\x8b\x08\x08"
                + struct.pack("<I", times[name.split("-")[0]])
                + packed[8:10]
                + name.removesuffix(".gz").encode()
                + b"\0"
                + packed[10:]
            )
        (target / name).write_bytes(packed)
    return str(target)


def _require_network(
    name: str, url: str, missing: list[str], manual_dir: str | None
) -> None:
    """Raise unless the server answers within seconds."""
    if reachable(url):
        return
    here = f"not in manual_dir={manual_dir}" if manual_dir else "not on this machine"
    debian = (
        "`apt-get install dataset-fashion-mnist`, or "
        if name == "fashion_mnist"
        else ""
    )
    raise InputError(
        f"{name}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} {here} and "
        f"{urllib.parse.urlsplit(url).hostname} does not answer; {debian}download by "
        "hand and give the folder (--manual-dir), or use --dataset fashion_mnist_12k"
    )


def reachable(url: str, seconds: float = _CONNECT_SECONDS) -> bool:
    """Say whether a connection to the server (or the proxy set for it) opens soon."""
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        parts = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    opened: list[bool] = []

    def connect() -> None:
        try:
            socket.create_connection((parts.hostname or "", port), seconds).close()
            opened.append(True)
        except OSError:
            pass

    # A thread, since looking up a name cannot be given a time limit.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(opened)
