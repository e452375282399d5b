"""Find a data set by name; every loader is imported only when it is used."""

from typing import Any

from jaxwd.data.dataset import Dataset
from jaxwd.errors import InputError, require, unknown

PREPARED = ("fashion_mnist", "mnist", "kmnist", "cifar10", "cifar100")
"""TFDS sets that jaxwd prepares itself, without TensorFlow."""

NAMES = ("fashion_mnist_12k", *PREPARED, "digits", "friedman", "diabetes", "pydoc")
"""Names `load` knows; beside them those of `PATTERNS`."""

PATTERNS = ("tfds:NAME", "folder:PATH", "text:PATH")


def load(
    name: str = "fashion_mnist_12k",
    *,
    image_size: int | None = None,
    grayscale: bool = False,
    data_dir: str | None = None,
    manual_dir: str | None = None,
    context: int | None = None,
) -> Dataset:
    """Return a data set by name.

    Args:
        name: `fashion_mnist_12k` ships with the package. `fashion_mnist`, `mnist`,
            `kmnist`, `cifar10`, `cifar100` are the whole official sets, prepared by
            TFDS without TensorFlow, checksums on. `tfds:NAME` is any other image
            classification set that is already prepared as array_record.
            `folder:PATH` are your own pictures, one sub-folder a class. `digits`,
            `friedman` and `diabetes` are small and need no network. `pydoc` is the
            documentation that Python ships, by characters; `text:PATH` is a UTF-8 file.
        image_size: resize pictures to this side (folders, and TFDS sets of mixed
            sizes); default 64.
        grayscale: one channel (folders only).
        data_dir: where TFDS keeps prepared data; default `$TFDS_DATA_DIR`, else
            `~/tensorflow_datasets`.
        manual_dir: a folder with files you downloaded by hand.
        context: characters in a sequence of a text; default 64.

    Raises:
        InputError: unknown name; missing data, with what to do; broken files.

    >>> print(load("friedman"))
    friedman: 2,100 train, 450 validation, 450 test, 10, regression (generated)
    """
    if image_size is not None:
        require("image_size", image_size, 1, 4096, whole=True)
    kind, colon, rest = name.partition(":")
    if name == "fashion_mnist_12k":
        from jaxwd.data.embedded import fashion_mnist_12k

        return fashion_mnist_12k()
    if name in ("digits", "friedman", "diabetes"):
        from jaxwd.data import tabular

        return getattr(tabular, name)()
    if name == "pydoc" or (kind == "text" and rest):
        from jaxwd.data import text

        length = text.CONTEXT if context is None else context
        return text.text_file(rest, length) if colon else text.pydoc(length)
    if kind == "folder" and colon:
        from jaxwd.data.folder import image_folder

        size: dict[str, Any] = {} if image_size is None else {"image_size": image_size}
        return image_folder(rest, grayscale=grayscale, **size)
    if name in PREPARED or (kind == "tfds" and rest):
        from jaxwd.data.tfds_source import tfds_dataset

        return tfds_dataset(
            rest or name,
            image_size=image_size,
            data_dir=data_dir,
            manual_dir=manual_dir,
        )
    if kind in ("folder", "tfds", "text"):
        raise InputError(f"dataset {name!r} needs a name, as in {kind}:plants")
    raise unknown("dataset", name, [*NAMES, *PATTERNS])
