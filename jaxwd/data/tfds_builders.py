"""Prepare MNIST-like and CIFAR sets as genuine TFDS data, without TensorFlow.

The stock builders of TFDS 4.9 import TensorFlow to unpack archives and to encode PNG.
These subclasses keep the name, version, features and checksums and replace those two
steps, so `tfds.data_source("fashion_mnist")` reads the result like any other.
"""

# TFDS's base classes take class arguments that type checkers do not see.
# pyright: reportGeneralTypeIssues=false, reportCallIssue=false

import pathlib
import struct
import tarfile
import tempfile
import urllib.parse
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.image_classification import cifar, mnist

from jaxwd.data.formats import Examples, read_cifar, read_idx
from jaxwd.data.network import reachable
from jaxwd.errors import InputError

IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
DEBIAN = pathlib.Path("/usr/share/datasets/fashion-mnist")


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
        except OSError as error:
            raise InputError(f"{name}: {root} cannot be written ({error})") from None
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
