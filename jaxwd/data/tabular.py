"""Small sets that need no download: two for regression, one of digits."""

from typing import Any

import numpy as np

from jaxwd.data.dataset import Dataset, from_arrays
from jaxwd.errors import InputError


def friedman(examples: int = 3000, *, noise: float = 1.0, seed: int = 0) -> Dataset:
    """Return y = 10 sin(πx₁x₂) + 20(x₃ − ½)² + 10x₄ + 5x₅ + noise, x uniform in [0, 1]¹⁰.

    Five of the ten features are useless. Targets are standardised. Source: Friedman,
    Multivariate adaptive regression splines, 1991, example 1.
    """
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(examples, 10))
    y = (
        10 * np.sin(np.pi * x[:, 0] * x[:, 1])
        + 20 * (x[:, 2] - 0.5) ** 2
        + 10 * x[:, 3]
        + 5 * x[:, 4]
        + noise * rng.standard_normal(examples)
    )
    return from_arrays(
        x, _standardized(y), name="friedman", task="regression", source="generated"
    )


def diabetes() -> Dataset:
    """Return scikit-learn's diabetes set: 442 patients, 10 features, one target.

    Targets are standardised. Source: Efron et al., Least angle regression, 2004.
    """
    bunch = _sklearn("diabetes")
    y = _standardized(bunch.target)
    return from_arrays(
        bunch.data, y, name="diabetes", task="regression", source="scikit-learn"
    )


def digits() -> Dataset:
    """Return scikit-learn's digits: 1,797 handwritten digits of 8×8 pixels."""
    bunch = _sklearn("digits")
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    return from_arrays(
        images, bunch.target.astype(np.int32), name="digits", source="scikit-learn"
    )


def _standardized(y: np.ndarray) -> np.ndarray:
    return (y - y.mean()) / y.std()


def _sklearn(name: str) -> Any:
    try:
        from sklearn import datasets
    except ImportError:
        raise InputError(
            f"dataset {name!r} is shipped by scikit-learn, which is not installed: "
            "pip install 'jaxwd[tabular]'"
        ) from None
    return getattr(datasets, f"load_{name}")()
