"""The default data: 12,000 real Fashion-MNIST images that ship with the package."""

import importlib.resources
import io

import numpy as np

from jaxwd.data.dataset import Dataset, from_splits
from jaxwd.data.splits import Split

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def fashion_mnist_12k() -> Dataset:
    """Return 8,000 train, 2,000 validation and 2,000 test images 28×28, ten classes.

    Source: Xiao, Rasul and Vollgraf, Fashion-MNIST, 2017 (MIT licence, beside the
    file). `scripts/make_embedded_data.py` draws them from the official files.
    """
    package = importlib.resources.files("jaxwd.data")
    with np.load(
        io.BytesIO(package.joinpath("fashion_mnist_12k.npz").read_bytes())
    ) as file:
        train, validation, test = (
            Split(file[f"{part}_images"], file[f"{part}_labels"].astype(np.int32))
            for part in ("train", "validation", "test")
        )
    return from_splits(
        "fashion_mnist_12k",
        train,
        validation,
        test,
        classes=FASHION_CLASSES,
        source="embedded",
    )
