"""Ray actors as workers: started, given chunks, listened to, ended."""

import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxwd.data import Dataset
from jaxwd.errors import InputError
from jaxwd.lab.engines.remote import same
from jaxwd.lab.engines.remote.cluster import Cluster
from jaxwd.lab.engines.remote.messages import About, Message, Order
from jaxwd.lab.engines.remote.worker import Worker

_PASSED_ON = ("XLA_FLAGS", "JAXWD_CACHE", "TF_CPP_MIN_LOG_LEVEL")
_GPU_SHARE = 0.9
"""Of a GPU's memory that its workers take together, where several share it."""


_PAUSE = 50e-6
"""Seconds by worker in which answers gather: 50 ms for a thousand."""


class Joined(NamedTuple):
    """A worker is ready."""

    worker: int
    about: About


class Told(NamedTuple):
    """A worker tells what happened."""

    worker: int
    messages: list[Message]


class Done(NamedTuple):
    """A worker is at the end of its chunk."""

    worker: int


class Lost(NamedTuple):
    """A worker is gone, or its node with it, and why; or it raised an error."""

    worker: int
    why: str
    node: bool
    error: BaseException | None = None


@dataclass
class _Actor:
    handle: Any
    answer: Any
    """A reference until it has joined, then the stream of its chunk, or None."""
    about: About | None = None


class Pool:
    """The workers on a cluster.

    Args:
        ray: the module, connected.
        cluster: what each worker gets.
        data: for all of them; it goes into the object store once.
        local: whether the cluster is this machine alone.
    """

    def __init__(self, ray: Any, cluster: Cluster, data: Dataset, local: bool) -> None:
        self.ray, self.cluster = ray, cluster
        self.actors: dict[int, _Actor] = {}
        self.started = 0
        self._data = ray.put(data)
        self._settings = same.settings()
        self._code = same.code()
        self._actor = ray.remote(Worker).options(
            num_cpus=cluster.worker_cpus,
            num_gpus=cluster.worker_gpus,
            max_restarts=0,
            runtime_env={"env_vars": _variables(cluster, local)},
        )

    def room(self) -> int:
        """Return how many workers the cluster can hold as it is now."""
        found = self.ray.cluster_resources()
        rooms = [found.get("CPU", 0) / self.cluster.worker_cpus]
        if self.cluster.worker_gpus:
            rooms.append(found.get("GPU", 0) / self.cluster.worker_gpus)
        return math.floor(min(rooms) + 1e-9)

    def start(self) -> None:
        """Start one more worker; it joins when it is ready."""
        handle = self._actor.remote(self._data, self._settings)
        self.actors[self.started] = _Actor(handle, handle.about.remote())
        self.started += 1

    def give(self, worker: int, order: Order) -> None:
        """Give an idle worker something to do."""
        actor = self.actors[worker]
        actor.answer = actor.handle.train.options(num_returns="streaming").remote(order)

    def end(self, worker: int) -> None:
        """End a worker, whatever it does."""
        self.ray.kill(self.actors.pop(worker).handle, no_restart=True)

    def close(self) -> None:
        """End all workers."""
        for worker in [*self.actors]:
            self.end(worker)

    def wait(self, seconds: float) -> Iterator[Joined | Told | Done | Lost]:
        """Yield what the workers say, after waiting for the first for so long at most.

        Raises:
            InputError: a worker with other code, or that refuses its members.
        """
        by_answer = {a.answer: w for w, a in self.actors.items() if a.answer}
        if not by_answer:  # nodes may come yet
            time.sleep(seconds)
            return
        answers = list(by_answer)
        heard, _ = self.ray.wait(answers, num_returns=1, timeout=seconds)
        if heard and len(answers) > 1:  # and all others that have something to say
            # To ask costs by the number asked, so many are asked less often.
            time.sleep(_PAUSE * len(answers))
            heard, _ = self.ray.wait(answers, num_returns=len(answers), timeout=0)
        for answer in heard:
            yield self._hear(by_answer[answer])

    def _hear(self, worker: int) -> Joined | Told | Done | Lost:
        actor = self.actors[worker]
        try:
            if actor.about is None:
                about = self.ray.get(actor.answer)
                same.require_same(self._code, about["code"], about["worker"]["host"])
                actor.about, actor.answer = about, None
                return Joined(worker, about)
            got = self.ray.get(next(actor.answer))
        except StopIteration:
            actor.answer = None
            return Done(worker)
        except self.ray.exceptions.RayError as error:
            return self._lost(worker, actor, error)
        return Told(worker, got)

    def _lost(self, worker: int, actor: _Actor, error: Any) -> Lost:
        """Say why a worker is gone; raise where another one would fare no better."""
        cause = getattr(error, "cause", None)
        if isinstance(cause, InputError):
            raise InputError(str(cause)) from None
        text = str(error)
        if "ModuleNotFoundError: No module named 'jaxwd" in text:
            raise InputError(
                "workers cannot import jaxwd: install the same version on every node "
                "of the cluster, or start the job with a runtime_env that has it"
            ) from None
        if cause is not None and not _may_pass(cause):
            raise cause from error
        self.end(worker)
        # A node that is gone is known to be so after many seconds; until then Ray says
        # that the actor is unavailable. Of a process alone it knows how it ended.
        node = (
            "its node has died" in text
            or type(error).__name__ == "ActorUnavailableError"
            or getattr(error, "preempted", False)
        )
        if cause is not None:
            why = f"{type(cause).__name__}: {_first_line(cause)}"
            return Lost(worker, why, False, cause)
        return Lost(worker, "its node is gone" if node else _died_of(error), node)


def _may_pass(cause: BaseException) -> bool:
    """Say whether another worker, or another try, might do better."""
    names = {kind.__name__ for kind in type(cause).__mro__}
    return bool(
        names & {"JaxRuntimeError", "XlaRuntimeError", "MemoryError", "OSError"}
    )


def _died_of(error: BaseException) -> str:
    """Return Ray's reason in a few words."""
    if type(error).__name__ == "OutOfMemoryError":
        return "Ray ended it, since the memory of its node was nearly full"
    detail = str(error).partition("Worker exit detail: ")[2] or _first_line(error)
    return detail.partition(". ")[0].strip().rstrip(".")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return next(filter(None, lines), "")


def _variables(cluster: Cluster, local: bool) -> dict[str, str]:
    """Return the environment of a worker: how many threads, which device."""
    own = same.threads() if local else math.ceil(cluster.worker_cpus)
    found = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    found["NPROC"] = str(cluster.threads or own)
    found["JAX_NUM_CPU_DEVICES"] = "1"
    if not cluster.worker_gpus:
        found["JAX_PLATFORMS"] = "cpu"
    elif cluster.worker_gpus < 1:
        share = _GPU_SHARE * cluster.worker_gpus
        found["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{share:.3f}"
    return found
