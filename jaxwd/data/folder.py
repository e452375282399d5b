"""Pictures in one sub-folder a class: any size, colour or gray, bad files named."""

import concurrent.futures
import hashlib
import os
import pathlib
import threading
import warnings
from typing import Any

import numpy as np

from jaxwd.data import cache, limits
from jaxwd.data.dataset import Dataset, from_arrays, from_splits
from jaxwd.data.splits import Split, three_splits
from jaxwd.errors import InputError, require
from jaxwd.terminal import one_line

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
_SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test",),
}


def image_folder(
    path: str, *, image_size: int = 64, grayscale: bool = False, seed: int = 0
) -> Dataset:
    """Return the pictures below `path`, one sub-folder a class.

    Every picture is turned upright by its EXIF note, resized to a square and decoded
    once; the result is cached by the folder and its files' names, sizes and times.
    Folders named `train`, `validation` (or `val`) and `test` with the classes inside are
    taken as the splits, and what is missing of them is held out of `train`, a sixth each;
    otherwise 70 / 15 / 15 % are drawn at random with classes in balance.

    Args:
        path: the folder. Hidden files and files that are no pictures are left out.
        image_size: side of the square in pixels.
        grayscale: one channel instead of three.
        seed: of the random split.

    Raises:
        InputError: no such folder, no pictures, one class only, symbolic links, pipes
            or devices, more than the memory holds, or files that cannot be decoded or
            say they are larger than any picture: each is named.
    """
    require("image_size", image_size, 1, 4096)
    root, classes, files = listing(path)
    count = sum(map(len, files.values()))
    size = image_size**2 * (1 if grayscale else 3)
    # Twice: the pictures as they are decoded, and the array they are put into.
    limits.require_room(
        f"{count:,} pictures of {image_size} × {image_size}", 2 * count * size
    )
    arrays = cache.decoded(
        f"folder-{_fingerprint(root, files, image_size, grayscale)}",
        lambda: _decode_all(files, image_size, grayscale),
    )
    source = f"folder {one_line(root)}"
    name = f"folder:{one_line(root.name)}"
    if "" not in files:
        given = {
            part: Split(arrays[f"{part}_images"], arrays[f"{part}_labels"])
            for part in files
        }
        parts = three_splits(f"folder:{path}", given)
        return from_splits(name, *parts, classes=tuple(classes), source=source)
    enough(path, arrays["_labels"], classes)
    return from_arrays(
        arrays["_images"],
        arrays["_labels"],
        name=name,
        classes=tuple(classes),
        seed=seed,
        source=source,
    )


def listing(
    path: str,
) -> tuple[pathlib.Path, list[str], dict[str, list[tuple[pathlib.Path, int]]]]:
    """Return folder, classes, and for each split the pictures with their labels.

    The one key `""` stands for a folder without splits. Nothing is decoded.
    """
    root = pathlib.Path(path).expanduser()
    if not root.is_dir():
        raise InputError(f"folder:{path} is no folder; give folder:PATH with one "
                         "sub-folder of pictures for each class")  # fmt: skip
    limits.refuse_odd_files(root, SUFFIXES)
    splits = _split_folders(root)
    class_roots = splits or {"": root}
    classes = sorted({d.name for part in class_roots.values() for d in _folders(part)})
    if not classes:
        raise InputError(f"folder:{path} is empty; it needs one sub-folder of pictures "
                         "for each class")  # fmt: skip
    if len(classes) == 1:
        raise InputError(
            f"folder:{path} has the one class {classes[0]!r}; a classification needs at "
            "least two sub-folders"
        )
    files = {
        part: [
            (file, label)
            for label, name in enumerate(classes)
            for file in _pictures(folder / name)
        ]
        for part, folder in class_roots.items()
    }
    for part, listed in files.items():
        found = {label for _, label in listed}
        missing = [name for label, name in enumerate(classes) if label not in found]
        if missing:
            where = f"{path}/{part}" if part else path
            raise InputError(
                f"folder:{where}: no pictures for class {', '.join(missing)} (endings "
                f"read: {' '.join(sorted(SUFFIXES))})"
            )
    return root, [one_line(name) for name in classes], files


def enough(path: str, labels: np.ndarray, classes: list[str]) -> None:
    """Raise where a class has too few pictures to be in every split."""
    fewest = int(np.bincount(labels).min())
    if fewest < 4:
        rarest = classes[int(np.bincount(labels).argmin())]
        raise InputError(
            f"folder:{path}: class {rarest!r} has {fewest} pictures; at least 4 are "
            "needed to have some in train, validation and test"
        )


def _folders(path: pathlib.Path) -> list[pathlib.Path]:
    return [d for d in path.iterdir() if d.is_dir() and not d.name.startswith(".")]


def _split_folders(root: pathlib.Path) -> dict[str, pathlib.Path]:
    """Return split → folder where the sub-folders are splits, not classes."""
    below = {d.name.lower(): d for d in _folders(root)}
    found = {
        part: below[name]
        for part, names in _SPLIT_NAMES.items()
        for name in names
        if name in below
    }
    # Classes that happen to be called `test` stand among others that are no split.
    return found if "train" in found and len(found) == len(below) else {}


def _pictures(folder: pathlib.Path) -> list[pathlib.Path]:
    if not folder.is_dir():
        return []
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
    )


def _fingerprint(
    root: pathlib.Path, files: dict[str, list], size: int, grayscale: bool
) -> str:
    """Return a name for exactly these files decoded in this way."""
    digest = hashlib.sha256(os.fsencode(root.resolve()))
    digest.update(f" {size} {grayscale}".encode())
    for part, listed in files.items():
        for file, label in listed:
            stat = file.stat()
            name = file.relative_to(root)
            about = f"\n{part} {label} {name} {stat.st_size} {stat.st_mtime_ns}"
            digest.update(
                about.encode(errors="surrogateescape")
            )  # any bytes are a name
    return digest.hexdigest()[:24]


def _decode_all(files: dict[str, list], size: int, grayscale: bool) -> cache.Arrays:
    """Return images and labels of every part; raise with the names of bad files."""
    arrays: cache.Arrays = {}
    bad: list[tuple[pathlib.Path, str]] = []
    from PIL import Image

    with (
        concurrent.futures.ThreadPoolExecutor() as pool,
        warnings.catch_warnings(),  # before any thread begins: it holds for all
    ):
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for part, listed in files.items():
            jobs = [pool.submit(decode, file, size, grayscale) for file, _ in listed]
            images = []
            for (file, _), job in zip(listed, jobs, strict=True):
                try:
                    images.append(job.result())
                except Exception as error:  # Pillow raises many kinds
                    bad.append((file, str(error) or type(error).__name__))
            if not bad:
                arrays[f"{part}_images"] = np.stack(images)
                arrays[f"{part}_labels"] = np.array([c for _, c in listed], np.int32)
    if bad:
        named = "; ".join(f"{file} ({why})" for file, why in bad[:5])
        more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise InputError(
            f"{len(bad)} unreadable image file(s): {named}{more}; repair or remove them"
        )
    return arrays


def decode(file: Any, size: int | None, grayscale: bool) -> np.ndarray:
    """Return one picture as uint8 (height, width, 1 or 3), upright and resized."""
    from PIL import Image

    with Image.open(file, formats=limits.PICTURES) as opened:
        if opened.width * opened.height < limits.LARGE:
            return _decoded(opened, size, grayscale)
        with _LARGE:
            return _decoded(opened, size, grayscale)


_LARGE = threading.Lock()


def _decoded(opened: Any, size: int | None, grayscale: bool) -> np.ndarray:
    from PIL import Image, ImageOps

    image: Any = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow would cut 16-bit values off at 255; keep their high byte.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image = image.convert("L" if grayscale else "RGB")
    if size is not None and image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    array = np.asarray(image, np.uint8)
    return array[..., None] if grayscale else array
