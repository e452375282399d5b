"""`jaxwd train` in several processes: the first decides and writes, the others follow."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from jaxwd.errors import Diverged


def alike(value: int) -> int:
    """Return the largest of all processes' values, the same for each."""
    import jax

    if jax.process_count() == 1:
        return value
    import numpy as np
    from jax.experimental.multihost_utils import process_allgather

    return int(np.max(process_allgather(np.int32(value))))


@contextlib.contextmanager
def leading(train: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Yield the training function that the others follow, and dismiss them at the end.

    Only the first process knows its ledger, and whether there is anything to train.
    """

    def together(*given: Any, **how: Any) -> Any:
        alike(1)
        return train(*given, **how)

    yield together
    alike(0)


def follow(train: Callable[[], Any]) -> None:
    """Train whenever the first process does, until it dismisses this one.

    Raises:
        Diverged: the training did, in all processes at the same step.
    """
    trouble: Diverged | None = None
    while alike(0):
        try:
            train()
        except Diverged as error:
            trouble = error
    if trouble is not None:
        raise trouble
