"""Text by characters: what Python ships as documentation, and any UTF-8 file.

A text is cut into three stretches one after another, 80, 10 and 10 %, and each stretch
into sequences of T characters that do not overlap; the target of every character is the
next one. So no character of the validation and test stretches was trained on.
"""

import hashlib
import pathlib
import platform

import numpy as np

from jaxwd.data.dataset import Dataset, from_splits
from jaxwd.data.splits import Split
from jaxwd.errors import InputError, require

CONTEXT = 64
"""Characters in a sequence, unless said otherwise."""

UNKNOWN = "unknown"
"""Name of the character number 0: all that the training stretch does not hold."""

_ENDS = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}


def pydoc(context: int = CONTEXT) -> Dataset:
    """Return the topics of Python's `help()`, English prose and code, about 465,000
    characters; another text in each version of Python, as its hash says.

    Source: Python Software Foundation, `pydoc_data.topics`, PSF licence.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise InputError(
            "dataset 'pydoc' is Python's module pydoc_data, which this Python lacks; use "
            "text:PATH"
        ) from None
    text = "\n\n".join(topics[name] for name in sorted(topics))
    return from_text("pydoc", text, context, f"Python {platform.python_version()}")


def text_file(path: str, context: int = CONTEXT) -> Dataset:
    """Return the text in a UTF-8 file.

    Raises:
        InputError: no such file, or it is no UTF-8.
    """
    file = pathlib.Path(path).expanduser()
    if not file.is_file():
        raise InputError(f"text:{path} is no file; give text:PATH of a text in UTF-8")
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"text:{path} is no UTF-8: byte {error.start} is "
            f"0x{error.object[error.start]:02x}; convert it first"
        ) from None
    return from_text(f"text:{file.name}", text, context, f"file {file}")


def from_text(
    name: str, text: str, context: int = CONTEXT, source: str = "text"
) -> Dataset:
    """Return a text as sequences of `context` characters, each with the next as target.

    Args:
        name: how reports call it.
        text: at least 10 · (context + 1) characters.
        context: T, characters in a sequence.
        source: where the text came from; its SHA-256 is added.

    Returns:
        A `Dataset` with inputs and targets (n, T), integers. Its classes are the
        characters of the training stretch, sorted, behind `UNKNOWN`, number 0.

    Raises:
        InputError: a text that is too short, or of one character only.

    >>> data = from_text("abc", "abcdefgh" * 20, context=4)
    >>> print(data)
    abc: 31 train, 3 validation, 3 test, 4, 9 characters (text, sha256 e86fdd596429)
    >>> data.train.inputs[0], data.train.targets[0]
    (array([1, 2, 3, 4], dtype=int32), array([2, 3, 4, 5], dtype=int32))
    """
    require("context", context, 1, whole=True)
    stretches = {
        part: text[int(low * len(text)) : int(high * len(text))]
        for part, (low, high) in _ENDS.items()
    }
    shortest = min(map(len, stretches.values()))
    if shortest < context + 1:
        raise InputError(
            f"{name}: {len(text):,} characters leave {shortest} for a split, which takes "
            f"at least context + 1 = {context + 1}; give more text or a shorter context"
        )
    characters = sorted(set(stretches["train"]))
    if len(characters) < 2:
        raise InputError(
            f"{name}: the training text is {characters[0]!r} over and over"
        )
    splits = {
        part: _sequences(_numbered(stretch, characters), context)
        for part, stretch in stretches.items()
    }
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return from_splits(
        name,
        splits["train"],
        splits["validation"],
        splits["test"],
        classes=(UNKNOWN, *characters),
        task="language",
        source=f"{source}, sha256 {digest}",
    )


def in_words(data: Dataset, numbers: np.ndarray) -> str:
    """Return the text that numbers of characters stand for; `�` for the unknown.

    >>> data = from_text("abc", "abcdefgh" * 20, context=4)
    >>> in_words(data, data.train.inputs[0])
    'abcd'
    """
    return "".join("�" if n == 0 else data.classes[n] for n in np.ravel(numbers))


def _numbered(text: str, characters: list[str]) -> np.ndarray:
    """Return the number of every character, counted from 1; 0 where it is unknown."""
    known = np.array([ord(c) for c in characters])
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    places = np.minimum(np.searchsorted(known, points), len(known) - 1)
    return np.where(known[places] == points, places + 1, 0).astype(np.int32)


def _sequences(numbers: np.ndarray, context: int) -> Split:
    """Return sequences one after another, and the same moved on by one."""
    count = (len(numbers) - 1) // context
    inputs = numbers[: count * context].reshape(count, context)
    return Split(inputs, numbers[1 : count * context + 1].reshape(count, context))
