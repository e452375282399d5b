"""A grain pipeline from a source to the batches of a training, in the training's order.

One element is one step: this process's rows of that step's batch. So the iterator's
state is the number of the step, the same in every process and for any number of them.
"""

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxwd.data.splits import Split
from jaxwd.data.streams.source import Source
from jaxwd.errors import InputError, nearest, require

AHEAD = 16
"""Steps read ahead at most; grain looks at all of them for each step it gives."""


class Order:
    """Epoch → row numbers, made when it is first asked for.

    The two latest epochs are kept, because reading ahead crosses from one to the next:
    4 bytes an example each, so 8 bytes an example in all.
    """

    def __init__(self, of_epoch: Callable[[int], Any]) -> None:
        self._of_epoch = of_epoch
        self._kept: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def __call__(self, epoch: int) -> np.ndarray:
        """Return the row numbers of an epoch."""
        with self._lock:
            if epoch not in self._kept:
                for old in sorted(self._kept)[:-1]:
                    del self._kept[old]
                self._kept[epoch] = np.asarray(self._of_epoch(epoch), np.int32)
            return self._kept[epoch]


class Steps:
    """Step → this process's rows of its batch: what grain reads from.

    batch t of epoch e is order(e)[t·B : (t+1)·B];
    process p of P reads its rows p·B/P to (p+1)·B/P, and nothing else.
    """

    def __init__(
        self,
        source: Source,
        order: Callable[[int], np.ndarray],
        batch: int,
        steps_per_epoch: int,
        epochs: int,
        process: int = 0,
        processes: int = 1,
        change: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    ) -> None:
        share = shared(batch, process, processes)
        self._source, self._order, self._change = source, order, change
        self._batch, self._mine = batch, slice(process * share, (process + 1) * share)
        self._steps, self._epochs = steps_per_epoch, epochs

    def __len__(self) -> int:
        return self._steps * self._epochs

    def rows(self, step: int) -> np.ndarray:
        """Return the row numbers that this process reads for a step."""
        epoch, at = divmod(step, self._steps)
        whole = self._order(epoch)[at * self._batch : (at + 1) * self._batch]
        return whole[self._mine]

    def __getitem__(self, step: int) -> Split:
        rows = self.rows(step)
        found = self._source.read(rows)
        if self._change is None:
            return found
        return Split(found.inputs, self._change(rows, found.targets))

    def __repr__(self) -> str:
        return f"Steps({self._source.name})"


def require_grain() -> Any:
    """Return grain, or raise what to install."""
    try:
        import grain
    except ImportError:
        raise InputError(
            "streaming needs grain; install it: pip install 'jaxwd[stream]'"
        ) from None
    return grain


def shared(batch: int, process: int, processes: int) -> int:
    """Return the rows of a batch that each process reads."""
    require("processes", processes, 1, whole=True)
    require("process", process, 0, processes - 1, whole=True)
    if batch % processes:
        raise InputError(
            f"batch_size={batch} does not divide over {processes} processes; nearest: "
            f"{nearest(batch, processes)}"
        )
    return batch // processes


def batches(
    source: Source,
    order: Callable[[int], np.ndarray],
    batch: int,
    steps_per_epoch: int,
    epochs: int = 1,
    *,
    process: int = 0,
    processes: int = 1,
    threads: int | None = None,
    ahead: int = AHEAD,
    change: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> Any:
    """Return a grain iterator over the steps of a training.

    Each element is a `Split` of batch/processes rows. `get_state()` is
    `{"next_index": step}`, JSON; `set_state` goes on from there, `close()` ends the
    threads.

    Args:
        source: one split.
        order: epoch → row numbers, at least steps_per_epoch·batch of them.
        batch: rows of a step over all processes.
        steps_per_epoch: steps of an epoch.
        epochs: how often the order is asked for.
        process: number of this process, from 0.
        processes: how many share each batch.
        threads: how many read at the same time; default 2 for each core, at most 16.
            0 reads in the calling thread.
        ahead: how many steps are read ahead at most.
        change: `(rows, targets) → targets`, as for noisy labels.

    Raises:
        InputError: grain is not installed; a batch the processes cannot share.

    >>> from jaxwd.data.streams import stream
    >>> order = lambda epoch: np.arange(2100)
    >>> steps = batches(stream("friedman").train, order, 100, 21)
    >>> next(steps).inputs.shape, steps.get_state()
    ((100, 10), {'next_index': 1})
    >>> steps.close()
    """
    grain = require_grain()
    if threads is None:
        threads = min(16, 2 * (os.cpu_count() or 1))
    require("threads", threads, 0, 1024, whole=True)
    steps: Any = Steps(
        source, order, batch, steps_per_epoch, epochs, process, processes, change
    )
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
    return iter(grain.MapDataset.source(steps).to_iter_dataset(options))
