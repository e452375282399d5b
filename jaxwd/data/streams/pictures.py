"""A folder of pictures as a stream: listed at once, decoded when a batch asks."""

import pathlib
from typing import Any

import numpy as np

from jaxwd.data import folder, limits
from jaxwd.data.splits import Split, shuffled
from jaxwd.data.streams.source import Rows, Source
from jaxwd.data.streams.stream import Stream, from_sources
from jaxwd.errors import InputError, require
from jaxwd.terminal import one_line


def decoded(file: Any, size: int | None, grayscale: bool | None) -> np.ndarray:
    """Return one picture as `folder.decode` does, in its own colours where None.

    A picture that says it is larger than any is refused before it is unpacked. Pillow
    itself only warns, and warnings cannot be turned into errors in a thread.
    """
    from PIL import Image

    with Image.open(file, formats=limits.PICTURES) as opened:
        pixels, most = opened.width * opened.height, Image.MAX_IMAGE_PIXELS or 0
        if most and pixels > most:
            raise ValueError(f"{pixels:,} pixels; at most {most:,} are unpacked")
        gray = opened.mode in ("1", "L") or opened.mode.startswith("I")
    if hasattr(file, "seek"):
        file.seek(0)
    return folder.decode(file, size, gray if grayscale is None else grayscale)


class Pictures(Source):
    """Picture files and their labels; 64 bytes or so of memory a picture."""

    def __init__(
        self,
        files: list[tuple[pathlib.Path, int]],
        name: str,
        size: int,
        grayscale: bool,
    ) -> None:
        self.name, self._size, self._grayscale = name, size, grayscale
        self._files = [file for file, _ in files]
        self._labels = np.array([label for _, label in files], np.int32)

    def __len__(self) -> int:
        return len(self._files)

    def read(self, rows: np.ndarray) -> Split:
        """Return these rows, in this order."""
        images = [self._picture(row) for row in rows.tolist()]
        return Split(np.stack(images), self._labels[rows])

    def targets(self) -> np.ndarray:
        """Return every target."""
        return self._labels

    def _picture(self, row: int) -> np.ndarray:
        file = self._files[row]
        try:
            return decoded(file, self._size, self._grayscale)
        except Exception as error:  # Pillow raises many kinds
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"{self.name}: {one_line(file)} cannot be read ({why}); repair or remove it"
            ) from None


def folder_stream(
    path: str,
    *,
    image_size: int | None = None,
    grayscale: bool = False,
    seed: int = 0,
    **options: Any,
) -> Stream:
    """Return the pictures below `path` as a stream, in the splits of `jaxwd.load`.

    One sub-folder a class, or `train`, `validation` and `test` with the classes inside.
    Every read decodes and resizes anew, so a training costs a decoding an epoch; `load`
    decodes once, where the result fits into memory.
    """
    size = 64 if image_size is None else image_size
    require("image_size", size, 1, 4096, whole=True)
    root, classes, files = folder.listing(path)
    name = f"folder:{one_line(root.name)}"
    classes = [one_line(word) for word in classes]
    parts: dict[str, Source] = {
        part: Pictures(listed, f"{name} {part}".rstrip(), size, grayscale)
        for part, listed in files.items()
    }
    whole = parts.pop("", None)
    if whole is not None:
        folder.enough(path, whole.targets(), classes)
        rows = shuffled(whole.targets(), 0.15, 0.15, seed, True)
        parts = {
            part: Rows(whole, own, f"{name} {part}")
            for part, own in zip(("train", "validation", "test"), rows, strict=True)
        }
    return from_sources(
        name,
        parts,
        classes=tuple(classes),
        source=f"folder {one_line(root)}",
        **options,
    )
