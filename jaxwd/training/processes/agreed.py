"""What all processes of a job have to agree on, and how one decides for all."""

import zlib
from collections.abc import Callable

import jax
import numpy as np

from jaxwd.errors import InputError
from jaxwd.training.processes.joining import is_first


def require_agreed(**given: object) -> None:
    """Raise where another process was given something else; all have to ask together.

    Nothing else would show it: each would train on in its own way, and the numbers would
    be of no recipe at all.

    Args:
        **given: values, compared by their text; the same names everywhere.

    Raises:
        InputError: which processes differ from process 0, and in what. In all of them.
    """
    if jax.process_count() == 1:
        return
    from jax.experimental.multihost_utils import process_allgather

    own = [zlib.crc32(str(value).encode()) for value in given.values()]
    found = np.asarray(process_allgather(np.array(own, np.uint32)))
    unlike = found != found[0]
    if not unlike.any():
        return
    who = ", ".join(map(str, np.flatnonzero(unlike.any(1))))
    what = " and ".join(
        name for name, other in zip(given, unlike.any(0), strict=True) if other
    )
    raise InputError(
        f"process {jax.process_index()}: the {what} of process {who} differ from those of "
        "process 0; start all with the same flags"
    )


def answer_of_first(ask: Callable[[], int | None], about: str) -> int | None:
    """Return what process 0 answers, in all processes; the others are not asked.

    Raises:
        InputError: process 0 did; `about` is what the others know of it.
    """
    if jax.process_count() == 1:
        return ask()
    from jax.experimental.multihost_utils import broadcast_one_to_all

    answer, refusal = None, None
    if is_first():
        try:
            answer = ask()
        except InputError as error:
            refusal = error
    code = _REFUSED if refusal else _NONE if answer is None else answer
    code = int(broadcast_one_to_all(np.int64(code)))
    if code == _REFUSED:
        raise refusal or InputError(f"process 0 refused {about}")
    return None if code == _NONE else code


_NONE, _REFUSED = -1, -2
