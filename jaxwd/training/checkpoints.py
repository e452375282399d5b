"""Checkpoints of a training: written in the background, whole or not at all.

The arrays are Orbax's; beside them lies one JSON file with the recipe, the progress,
versions, and the sum of every file.
"""

import os
import pathlib
import threading
import warnings
from collections.abc import Callable
from typing import IO, Any, NamedTuple, Self

import jax

from jaxwd.errors import InputError, require
from jaxwd.training import checkpoint_arrays as arrays
from jaxwd.training import checkpoint_files as files
from jaxwd.training import checkpoint_seal as seal
from jaxwd.training.checkpoint_paper import paper_of, require_same
from jaxwd.training.processes import is_first
from jaxwd.training.processes.agreed import answer_of_first
from jaxwd.training.recipe import Recipe


class Saved(NamedTuple):
    """A checkpoint that was read: its step, the state, and the progress noted beside."""

    step: int
    state: Any
    progress: dict[str, Any]


class Checkpoints:
    """The checkpoints of one training, in a folder of its own.

    A save returns when the arrays are copied; a thread writes them. One save is under
    way at a time, the next waits for it, and none is left out. A kill or a power cut at
    any moment leaves whole checkpoints only: each is on the disk itself before it has
    its name. What is damaged later its sums show, and the one before is used.

    Args:
        folder: made if missing; one that holds anything else is refused.
        keep: how many of the newest stay.
        every: epochs of a training between two saves; its last is saved in any case.
            A save costs some 20 ms of processor: raise it where epochs take that long.
        says: told what a person has to know, such as which checkpoint was damaged;
            default a warning.

    Raises:
        InputError: a folder of something else, of a newer version or of another recipe;
            one that another process is writing to.

    >>> import tempfile
    >>> recipe = Recipe(dataset="friedman", model="mlp")
    >>> state = {"params": jax.numpy.ones(3), "key": jax.random.key(0)}
    >>> with Checkpoints(tempfile.mkdtemp() + "/mine", keep=2) as checkpoints:
    ...     print(checkpoints.latest(state, recipe))
    ...     for step in (10, 20, 30):
    ...         checkpoints.save(step, state, {"epoch": step // 10})
    ...     saved = checkpoints.latest(state, recipe)
    None
    >>> saved.step, saved.progress, saved.state["params"].shape
    (30, {'epoch': 3}, (3,))
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        keep: int = 3,
        every: int = 1,
        says: Callable[[str], None] | None = None,
    ) -> None:
        require("keep", keep, 1, whole=True)
        require("every", every, 1, whole=True)
        self.folder = pathlib.Path(folder).absolute()
        self.keep, self.every = keep, every
        self.restored: Saved | None = None
        """What `latest` last returned."""
        self._says = says or _warn
        self._about: tuple[Recipe, str] | None = None
        self._lock: IO[str] | None = None
        self._open = False
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._failed: BaseException | None = None
        files.require_ours(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def due(self, epoch: int, epochs: int) -> bool:
        """Return whether a training of so many epochs saves behind this one, from 1.

        Of several processes all have to be told the same.
        """
        return epoch % self.every == 0 or epoch == epochs

    def save(self, step: int, state: Any, progress: dict[str, Any]) -> None:
        """Write a state in the background, when the save before has ended.

        Args:
            step: names the checkpoint; one of that name is replaced.
            state: any tree of arrays, typed keys among them, spread over devices in any
                way; it may be donated as soon as this returns.
            progress: what goes on beside the state, JSON values only.

        Raises:
            OSError: the save before this one failed, as on a full disk.
        """
        if self._about is None:
            raise InputError(
                "whose checkpoints are these? call latest(state, recipe) before save"
            )
        require("step", step, 0, whole=True)
        self.wait()
        self._prepare()
        leaves = arrays.named(state)
        together = arrays.small(leaves)
        paper = paper_of(step, leaves, progress, *self._about, together=together)
        writing = self.folder / f"{step}{files.WRITING}"
        if is_first():
            files.remove(writing)
            writing.mkdir()
        under_way = arrays.writing(writing / files.ARRAYS, leaves, together)

        ended = self._ended = threading.Event()

        def finish() -> None:
            try:
                under_way()
                if is_first():
                    files.commit(writing, paper)
                    files.prune(self.folder, self.keep)
            except BaseException as error:  # told at the next call
                self._failed = files.in_plain_words(error, step, self.folder)
                if is_first():
                    files.remove(writing)
            finally:
                ended.set()

        self._thread = threading.Thread(target=finish, name="jaxwd-checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Wait for the save under way.

        Raises:
            OSError: it failed; earlier checkpoints are as they were.
        """
        if self._thread is not None:
            # Not join alone: interrupted by a signal, it takes the thread for ended.
            self._ended.wait()
            self._thread.join()
            self._thread = None
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed

    def close(self) -> None:
        """Wait for the save under way and let others at the folder."""
        try:
            self.wait()
        finally:
            if self._lock is not None:
                self._lock.close()
            self._lock, self._open = None, False

    def latest(self, like: Any, recipe: Recipe, data: str = "") -> Saved | None:
        """Return the newest good checkpoint, or None where there is none.

        A damaged one is renamed to `broken-STEP`, and it is said which and what is
        used instead.

        Args:
            like: a state, or `jax.ShapeDtypeStruct`s, of the same shapes; each array
                comes back in its sharding, whatever devices it was saved from.
            recipe: whose checkpoints these are, also for `save`.
            data: fingerprint of the data.

        Raises:
            InputError: checkpoints of another recipe, of other data or shapes, or of a
                newer version.
        """
        self.wait()
        self._about = (recipe, data)
        leaves = arrays.named(like)
        step = self._chosen(leaves)
        self.restored = None if step is None else self._load(step, like, leaves)
        return self.restored

    def _chosen(self, leaves: dict[str, Any]) -> int | None:
        """Return the newest step that is whole, the same for all processes."""
        step = answer_of_first(lambda: self._newest(leaves), str(self.folder))
        if not (self.folder / files.MARK).exists():  # process 0 has made it
            raise InputError(
                f"process {jax.process_index()} does not see {self.folder}; all "
                "processes need one folder that they share"
            )
        return step

    def _newest(self, leaves: dict[str, Any]) -> int | None:
        assert self._about is not None
        self._prepare()
        for step in reversed(files.steps_in(self.folder)):
            try:
                paper = seal.read(self.folder / str(step))
            except seal.Broken as broken:
                self._set_aside(step, str(broken))
                continue
            for remark in require_same(self.folder, paper, leaves, *self._about):
                self._says(remark)
            return step
        return None

    def _load(self, step: int, like: Any, leaves: dict[str, Any]) -> Saved:
        path = self.folder / str(step)
        try:
            paper = seal.read(path)
        except seal.Broken as broken:  # process 0 has read it a moment ago
            raise InputError(
                f"process {jax.process_index()} cannot read {path}: {broken}; all "
                "processes need one folder that they share"
            ) from None
        try:
            got = arrays.read(path / files.ARRAYS, leaves, paper.get("together", ()))
        except Exception as error:  # its files are whole, so it is not set aside
            raise InputError(
                f"checkpoint {path} is whole and cannot be read here: {files.brief(error)}"
            ) from error
        state = jax.tree.unflatten(jax.tree.structure(like), [got[k] for k in leaves])
        return Saved(step, state, paper["progress"])

    def _set_aside(self, step: int, why: str) -> None:
        if not is_first():
            return
        then = files.set_aside(self.folder, step)
        self._says(f"checkpoint {step} in {self.folder} is broken: {why}; {then}")

    def _prepare(self) -> None:
        if not self._open and is_first():
            self._lock = files.prepare(self.folder)
        self._open = True


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=4)
