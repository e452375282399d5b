"""Make jaxwd/data/fashion_mnist_12k.npz from the four official Fashion-MNIST files.

    python scripts/make_embedded_data.py /usr/share/datasets/fashion-mnist

The folder is that of Debian's package `dataset-fashion-mnist`, or any with the four
`*-ubyte.gz` files. 10,000 of the official training images (8,000 train and 2,000
validation) and 2,000 of the official test images, the same number of every class, in
random order from one fixed seed. The result is the same bytes every time.
"""

import gzip
import pathlib
import sys

import numpy as np

OUT = pathlib.Path(__file__).parent.parent / "jaxwd" / "data" / "fashion_mnist_12k.npz"
CLASSES = 10


def read(folder: pathlib.Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return images, labels


def draw(rng, images, labels, each):
    """Return `each` images of every class for each entry, disjoint, shuffled."""
    drawn = [[] for _ in each]
    for c in range(CLASSES):
        rows = rng.permutation(np.flatnonzero(labels == c))
        start = 0
        for part, n in enumerate(each):
            drawn[part].append(rows[start : start + n])
            start += n
    shuffled = [rng.permutation(np.concatenate(rows)) for rows in drawn]
    return [(images[rows], labels[rows]) for rows in shuffled]


def main(folder: str) -> None:
    rng = np.random.default_rng(20170828)  # the day Fashion-MNIST was published
    source = pathlib.Path(folder)
    train, validation = draw(rng, *read(source, "train"), (800, 200))
    (test,) = draw(rng, *read(source, "t10k"), (200,))
    arrays = {}
    for name, (x, y) in {
        "train": train,
        "validation": validation,
        "test": test,
    }.items():
        arrays |= {f"{name}_images": x, f"{name}_labels": y}
    np.savez_compressed(OUT, **arrays)
    print(f"{OUT}: {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
