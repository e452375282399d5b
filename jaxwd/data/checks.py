"""Refuse data that would train to nonsense, and say what is wrong with it."""

from typing import Any

import numpy as np

from jaxwd.errors import InputError


def checked(
    name: str, inputs: Any, targets: Any, task: str, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and targets as clean arrays, or raise `InputError`."""
    x, y = np.asarray(inputs), np.asarray(targets)
    if task == "language":
        x = _characters(f"{name} inputs", x, classes)
    else:
        x = _images(name, x) if x.ndim != 2 else _features(name, x)
    if len(x) != len(y):
        raise InputError(f"{name}: {len(x)} inputs but {len(y)} targets; give as many")
    if len(x) == 0:
        raise InputError(f"{name}: no examples")
    if np.issubdtype(x.dtype, np.floating) and not np.isfinite(x).all():
        bad = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(1))
        raise InputError(
            f"{name}: {len(bad)} inputs hold NaN or infinity, the first is example "
            f"{bad[0]}; remove or repair them"
        )
    if task == "language":
        y = _characters(f"{name} targets", y, classes)
        if y.shape != x.shape:
            raise InputError(
                f"{name}: inputs of shape {x.shape} but targets of shape {y.shape}; give "
                "one target for each input"
            )
        return x, y
    y = _labels(name, y, classes) if task == "classification" else _values(name, y)
    return x, y


def _images(name: str, x: np.ndarray) -> np.ndarray:
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim != 4:
        raise InputError(
            f"{name}: inputs of shape {x.shape}; give images (n, height, width) or "
            "(n, height, width, channels), or features (n, features)"
        )
    if x.dtype == np.uint8:
        return x
    if np.issubdtype(x.dtype, np.floating):
        return x.astype(np.float32)
    raise InputError(
        f"{name}: images of dtype {x.dtype}; give uint8 (0 to 255) or floats"
    )


def _characters(name: str, x: np.ndarray, classes: int) -> np.ndarray:
    if x.ndim != 2 or not np.issubdtype(x.dtype, np.integer):
        raise InputError(
            f"{name} of shape {x.shape} and dtype {x.dtype}; give the numbers of "
            "characters, integers (n, length)"
        )
    return _in_range(name, x, classes)


def _features(name: str, x: np.ndarray) -> np.ndarray:
    if not np.issubdtype(x.dtype, np.number) or np.iscomplexobj(x):
        raise InputError(f"{name}: features of dtype {x.dtype}; give numbers")
    return x.astype(np.float32)


def _labels(name: str, y: np.ndarray, classes: int) -> np.ndarray:
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        raise InputError(
            f"{name}: labels of shape {y.shape} and dtype {y.dtype}; give integers (n,)"
        )
    return _in_range(f"{name}: labels", y, classes)


def _in_range(name: str, y: np.ndarray, classes: int) -> np.ndarray:
    low, high = (int(y.min()), int(y.max())) if y.size else (0, 0)
    if low < 0 or (classes and high >= classes):
        allowed = f"0 to {classes - 1}" if classes else "0 and up"
        raise InputError(f"{name} from {low} to {high}; allowed are {allowed}")
    return y.astype(np.int32)


def _values(name: str, y: np.ndarray) -> np.ndarray:
    y = y[:, None] if y.ndim == 1 else y
    if y.ndim != 2 or not np.issubdtype(y.dtype, np.number):
        raise InputError(
            f"{name}: targets of shape {y.shape} and dtype {y.dtype}; give numbers "
            "(n,) or (n, outputs)"
        )
    if not np.isfinite(y).all():
        raise InputError(f"{name}: targets hold NaN or infinity; remove or repair them")
    return y.astype(np.float32)


def several_classes(name: str, labels: np.ndarray) -> None:
    """Raise where the training labels are all the same."""
    if len(np.unique(labels)) < 2:
        raise InputError(
            f"{name}: all training labels are {int(labels[0])}; a classification "
            "needs at least two classes"
        )


def same_shape(name: str, inputs: dict[str, np.ndarray]) -> None:
    """Raise where the splits hold inputs of different shapes."""
    shapes = {part: x.shape[1:] for part, x in inputs.items()}
    if len(set(shapes.values())) > 1:
        raise InputError(f"{name}: the splits differ in shape: {shapes}")
