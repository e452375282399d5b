"""Joining the processes of a job, on `jax.distributed`."""

import atexit
import contextlib
import os
import sys
from types import TracebackType
from typing import NamedTuple

import jax
from jax.experimental.multihost_utils import sync_global_devices

from jaxwd.errors import InputError, require, unknown
from jaxwd.terminal import one_line
from jaxwd.training.processes.places import ENVIRONMENTS, Place, found
from jaxwd.training.processes.watch import Watch, answer_the_roll, call_the_roll

_here: Watch | None = None


class Processes(NamedTuple):
    """This process among all; as a context it leaves when its block has worked.

    Attributes:
        index: its number, from 0.
        count: how many there are.
    """

    index: int
    count: int

    def __enter__(self) -> "Processes":
        return self

    def __exit__(
        self,
        kind: type | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            leave()
        else:
            tell(error)


def join(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    *,
    environment: str = "auto",
    wait: float = 300.0,
    lost_after: float = 60.0,
) -> Processes:
    """Join the processes of a job; call it before anything that uses a device.

    Afterwards `jax.devices()` are those of all processes, and a layout spreads over
    them: each process trains with its own rows of every batch, all get the same result.
    Where nothing says that there are several processes, nothing happens.

    A process that ends without `leave`, is killed, or is silent ends all others: each
    says in one line which one was lost and exits with code 4. A killed process is seen
    at once, a silent one after `lost_after` seconds. One that ends by an error does so
    at once, with code 1, and does not wait for the others.

    Args:
        coordinator: `host:port` where process 0 listens; a free port on its host. JAX's
            own service takes another free one.
        processes: how many there are.
        process: this one's number, from 0.
        environment: `auto`, or a row of `ENVIRONMENTS` that has to be here: `slurm`
            (tasks of `srun`), `tpu` (hosts of a slice), `ray` (the variables
            JAXWD_COORDINATOR, JAXWD_PROCESSES and JAXWD_PROCESS, from Ray's
            `runtime_env` or any launcher).
        wait: seconds in which all have to come.
        lost_after: seconds of silence after which a process is lost.

    Returns:
        This process's number and how many there are; (0, 1) where it is alone.

    Raises:
        InputError: some of the three are given and others not, an environment that is
            not here, processes that do not come in time, JAX has started already.

    Use neither for a sweep: its members are trained one a process, without a word
    between them; see `jaxwd sweep --engine`.

    >>> join()
    Processes(index=0, count=1)
    """
    place = _place(coordinator, processes, process, environment)
    if place is None or place.count == 1:
        return Processes(0, 1)
    require("wait", wait, 0.0, open_low=True)
    require("lost_after", lost_after, 0.0, open_low=True)
    global _here
    if _here is not None or jax.distributed.is_initialized():
        raise InputError("this process has joined already; leave() comes first")
    address = _address(place.coordinator)
    if place.index == 0:
        watch, port = call_the_roll(address, place.count, wait, lost_after)
    else:
        watch, port = answer_the_roll(
            address, place.count, place.index, wait, lost_after
        )
    patience = 2 * int(lost_after) + 100  # the watch speaks first
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    service = f"{host}:{port}"
    watch.start()
    try:
        jax.distributed.initialize(
            service,
            place.count,
            place.index,
            local_device_ids=place.local_devices,
            cluster_detection_method="deactivate",
            heartbeat_timeout_seconds=patience,
            shutdown_timeout_seconds=patience,
            coordinator_bind_address=service if address[0] in _LOCAL else None,
        )
        # Connections between devices are made at the first collective, which fails
        # where one process comes 30 s behind another: now they come together.
        sync_global_devices("jaxwd")
    except RuntimeError as error:
        first = str(error).strip().splitlines()[0]
        watch.tell_lost(first)
        watch.close()
        raise InputError(f"process {place.index} cannot join: {first}") from None
    _here = watch
    return Processes(place.index, place.count)


_LOCAL = ("127.0.0.1", "localhost", "::1")


def expected(processes: int | None) -> int:
    """Return how many processes `join` will find: those said, or the environment's."""
    if processes is not None:
        return processes
    place = found("auto")
    return 1 if place is None else place.count


def leave() -> None:
    """Part from the others in peace, when all are done; nothing where none joined."""
    global _here
    watch, _here = _here, None
    if watch is None:
        return
    watch.leave()
    jax.distributed.shutdown()  # waits until all have come to their end
    watch.close()


def tell(error: BaseException) -> None:
    """Let the others know why this process ends; nothing where none joined."""
    if _here is not None:
        _here.tell_lost(one_line(error)[:500] or type(error).__name__)


def abandon(code: int) -> None:
    """End this process at once where others may still train; else do nothing.

    JAX's own end would wait for the others, minutes, and then abort with a stack trace.
    """
    if _here is None:
        return
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    _here.close()
    os._exit(code)


def is_first() -> bool:
    """Return whether this is process 0, the one that writes."""
    return jax.process_index() == 0


@atexit.register
def _gone() -> None:
    """Who ends without leaving lets the others know at once, and does not wait."""
    if _here is not None and not hasattr(sys, "last_value"):  # no error was told
        sys.stderr.write(
            f"error: process {_here.index} ended without leave(): the others end too; "
            "call it when all is done, or write `with join(...):`\n"
        )
    abandon(1)


def _place(
    coordinator: str | None,
    processes: int | None,
    process: int | None,
    environment: str,
) -> Place | None:
    if environment != "auto" and environment not in ENVIRONMENTS:
        raise unknown("environment", environment, ["auto", *ENVIRONMENTS])
    given = {"coordinator": coordinator, "processes": processes, "process": process}
    said = {name: value for name, value in given.items() if value is not None}
    if not said:
        place = found(environment)
    elif processes == 1 and coordinator is None and process in (None, 0):
        return None
    elif len(said) < 3:
        missing = ", ".join(name for name in given if name not in said)
        shown = ", ".join(f"{name}={value}" for name, value in said.items())
        raise InputError(
            f"{shown} given, {missing} missing; give all three, or none where a launcher "
            "sets the environment"
        )
    else:
        assert coordinator is not None and processes is not None and process is not None
        place = Place(coordinator, processes, process)
    if place is not None:
        require("processes", place.count, 1, whole=True)
        require("process", place.index, 0, place.count - 1, whole=True)
    return place


def _address(coordinator: str) -> tuple[str, int]:
    host, colon, port = coordinator.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")  # as in [::1]:4000
    number = port.isascii() and port.isdecimal() and 0 < int(port) < 2**16
    if not (host and colon and number):
        raise InputError(
            f"coordinator={coordinator!r} is not allowed; give host:port, as in "
            "10.0.0.1:4000"
        )
    return host, int(port)
