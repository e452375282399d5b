"""Which cluster, and what of it: options, and a Ray that is started or connected to."""

import contextlib
import functools
import os
import re
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from jaxwd.errors import InputError, require
from jaxwd.lab.engines.remote.queues import Rules
from jaxwd.lab.engines.table import engine as engine_of
from jaxwd.runtime import cores

_STORE = 100 << 20
"""Bytes of the object store beside the data."""
_KNOCK = 5.0
"""Seconds in which whoever listens at an address has to answer."""
_KINDS = re.compile(r"\b\w+Error\b")


@dataclass(frozen=True)
class Cluster:
    """Where the workers of `engine="ray"` are, and what each of them gets.

    Attributes:
        address: `host:port` or `auto`; None is `$RAY_ADDRESS`, else a Ray that is
            started on this machine, reachable from it alone, and ended at the end.
        max_in_flight: the most chunks handed out at a time, so the most workers;
            None as many as there is room for. On a cluster that grows by itself give it:
            so many workers are asked for.
        worker_cpus: cores that Ray counts for each worker; a fraction is allowed.
        worker_gpus: GPUs of each; a fraction shares one, its memory too.
        worker_engine: how a worker trains its members: a row of
            `jaxwd.lab.engines.ENGINES`, or `auto`, which the first worker at a group
            measures for all.
        threads: among how many threads XLA splits sums on a CPU, on which the last
            bits of results depend; None is the number of this process on this
            machine, and `worker_cpus` on a cluster.
        cpus: of a Ray that is started here; None all that this process may use.
        rules: how work is handed out, what counts as hung, when to give up.
    """

    address: str | None = None
    max_in_flight: int | None = None
    worker_cpus: float = 1.0
    worker_gpus: float = 0.0
    worker_engine: str = "auto"
    threads: int | None = None
    cpus: int | None = None
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        for name in ("max_in_flight", "threads", "cpus"):
            if getattr(self, name) is not None:
                require(name, getattr(self, name), 1, whole=True)
        require("worker_cpus", self.worker_cpus, 0.0, open_low=True)
        require("worker_gpus", self.worker_gpus, 0.0)
        require("losses", self.rules.losses, 2, whole=True)
        if self.worker_engine != "auto":
            engine_of(self.worker_engine)
        if (self.where or "").startswith("ray://"):
            raise InputError(
                f"address={self.where}: Ray's client cannot stream results; run the "
                "command on a node of the cluster (ray job submit) with address auto"
            )

    @property
    def where(self) -> str | None:
        """Return the address to connect to, None for a Ray of our own."""
        said = self.address or os.environ.get("RAY_ADDRESS") or None
        return None if said == "local" else said


def ray_module() -> Any:
    """Return Ray.

    Raises:
        InputError: it is not installed.
    """
    # It asks and reports at its first import, and where it listens is decided there:
    # `_node_ip_address` is put aside by Ray 2.60 and all its ports would be open.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise InputError(
            "engine ray needs Ray, which is not installed: pip install 'jaxwd[ray]'"
        ) from None
    return ray


@contextlib.contextmanager
def connected(cluster: Cluster, data_bytes: int) -> Iterator[Any]:
    """Connect to a cluster, or start one on this machine, while the block runs.

    A Ray that this process is connected to already is used as it is, and left.

    Raises:
        InputError: nothing answers at the address.
    """
    ray = ray_module()
    if ray.is_initialized():
        yield ray
        return
    common: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": "ERROR",
        "configure_logging": True,
        "include_dashboard": False,
    }
    with _quiet(), _signals_kept():
        if cluster.where is None:
            with _on_loopback(ray), _token_of_its_own():
                ray.init(
                    address="local",
                    num_cpus=cluster.cpus or cores(),
                    object_store_memory=_STORE + 2 * data_bytes,
                    **common,
                )
        else:
            del common["include_dashboard"]
            try:
                _require_somebody(cluster.where)
                ray.init(address=cluster.where, **common)
            except (OSError, RuntimeError, ValueError) as error:
                if "AuthenticationError" in _causes(error):
                    raise InputError(
                        f"address={cluster.where}: the Ray there asks for a token; set "
                        "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to that of the cluster"
                    ) from None
                first = str(error).strip().splitlines()[0]
                raise InputError(
                    f"address={cluster.where}: no Ray there ({first}); leave it out to "
                    "start one on this machine"
                ) from None
    try:
        yield ray
    finally:
        with _quiet():  # it may forget its own processes without asking how they ended
            ray.shutdown()


@contextlib.contextmanager
def _token_of_its_own() -> Iterator[None]:
    """Give Ray a token where there is none: it would write one into the user's home.

    The same for every Ray of this process, which remembers the first that it was given.
    """
    ours = "RAY_AUTH_TOKEN" not in os.environ
    if ours:
        os.environ["RAY_AUTH_TOKEN"] = _token()
    try:
        yield
    finally:
        if ours:
            del os.environ["RAY_AUTH_TOKEN"]


@functools.cache
def _token() -> str:
    return secrets.token_hex(32)


def _require_somebody(address: str) -> None:
    """Raise `OSError` where nobody listens: Ray itself would knock for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), _KNOCK).close()


def _causes(error: BaseException | None) -> set[str]:
    """Return the kinds of an error and of those that led to it."""
    names = set()
    while error is not None:
        names |= {type(error).__name__, *_KINDS.findall(str(error))}
        error = error.__cause__ or error.__context__
    return names


@contextlib.contextmanager
def _on_loopback(ray: Any) -> Iterator[None]:
    """Make a Ray that is started in the block listen on 127.0.0.1 alone.

    Ray does so on systems on which it takes no other machines in, and has a switch for
    these; `_node_ip_address="127.0.0.1"` is replaced by the machine's address.
    """
    from ray._private import ray_constants

    switch = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before = ray_constants.ENABLE_RAY_CLUSTER, os.environ.get(switch)
    ray_constants.ENABLE_RAY_CLUSTER, os.environ[switch] = False, "0"
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before[0]
        if before[1] is None:
            del os.environ[switch]
        else:
            os.environ[switch] = before[1]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray's warnings about its own next release from being errors of the user."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Put back what Ray replaces: its SIGTERM ends the process with a code of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
