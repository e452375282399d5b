"""Sound files that are then damaged: a ledger, pictures, arrays, idx files."""

import functools
import gzip
import io
import pathlib
import struct
import tempfile

import numpy as np

METRICS = (
    *("running_loss", "running_accuracy", "penalty", "param_norm", "grad_norm"),
    *("update_norm", "decay_share", "learning_rate", "validation_loss"),
    *("validation_accuracy", "seconds"),
)
MINE = '''"""Does decay help?"""
from dataclasses import replace
import jaxwd as wd
from jaxwd.lab import Arm
from jaxwd.lab.experiment import experiment, recipe, scheme
def arms(flags, data):
    plain = recipe(flags)
    return [Arm("plain [/]", plain), Arm("λ <b>", replace(plain, decay=scheme(flags)))]
def main(arguments=None):
    return experiment("mine", __doc__, arms, arguments)
'''
RAISES = (
    "def arms(*_): raise KeyError('x')\ngrid = arms\ndef main(*_): raise IndexError(3)"
)


def curve(epochs: int = 2) -> list[dict]:
    """Return rows as a training writes them."""
    metrics = dict.fromkeys(METRICS, 0.5)
    return [{"epoch": e, "step": 10 * e, **metrics} for e in range(1, epochs + 1)]


def outcome() -> dict:
    """Return final metrics as a training writes them."""
    ends = {f"{p}_{m}": 0.5 for p in ("train", "test") for m in ("loss", "accuracy")}
    return curve()[-1] | ends | {"compile_seconds": 1.0, "images_per_second": 1.0}


def write_ledger(
    path: pathlib.Path, recipe: dict | None = None, **about: object
) -> None:
    """Write a ledger of three runs: one finished, one diverged, one waiting."""
    import jaxwd as wd
    from jaxwd.lab.ledger import Ledger

    with Ledger(path, provenance={"commit": "x", "versions": {"jax": "0"}}) as ledger:
        for seed in range(3):
            made = wd.Recipe(dataset="digits", model="mlp", seed=seed).to_dict()
            words: dict = {"arm": "plain", "labels": {}} | about
            ledger.add(str(seed), recipe or made, seed=seed, **words)
            if seed == 2:
                continue
            ledger.claim([str(seed)])
            ledger.epochs([(str(seed), row) for row in curve()])
            if seed:
                ledger.diverge(str(seed), "the loss became nan", 3)
            else:
                ledger.finish(str(seed), outcome())


@functools.cache
def ledger_bytes() -> bytes:
    """Return the bytes of a sound ledger."""
    with tempfile.TemporaryDirectory(prefix="jaxwd-") as folder:
        path = pathlib.Path(folder) / "x.sqlite"
        write_ledger(path)
        return path.read_bytes()


@functools.cache
def picture_bytes(suffix: str) -> bytes:
    """Return the bytes of a sound picture of 9 × 7 pixels."""
    from PIL import Image

    pixels = np.arange(9 * 7 * 3, dtype=np.uint8).reshape(7, 9, 3)
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    more = {"exif": exif.tobytes()} if suffix in ("png", "jpeg", "webp") else {}
    Image.fromarray(pixels).save(buffer, suffix, **more)
    return buffer.getvalue()


@functools.cache
def npz_bytes() -> bytes:
    """Return the bytes of a sound array file, as the cache of decoded data writes it."""
    buffer = io.BytesIO()
    np.savez(buffer, _images=np.zeros((8, 2, 2, 1), np.uint8), _labels=np.arange(8) % 2)
    return buffer.getvalue()


@functools.cache
def idx_bytes(axes: tuple[int, ...]) -> bytes:
    """Return the bytes of a sound gzipped idx file of zeros."""
    head = bytes((0, 0, 8, len(axes))) + struct.pack(f">{len(axes)}I", *axes)
    return gzip.compress(head + bytes(int(np.prod(axes))))
