"""Where a process finds out which one it is: environments by name."""

import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

from jaxwd.errors import InputError

COORDINATOR, COUNT, INDEX = "JAXWD_COORDINATOR", "JAXWD_PROCESSES", "JAXWD_PROCESS"


class Place(NamedTuple):
    """One process among those of a job.

    Attributes:
        coordinator: `host:port` of process 0.
        count: how many processes there are.
        index: this one's number, from 0.
        local_devices: numbers of the devices that are its own; None: all it sees.
    """

    coordinator: str
    count: int
    index: int
    local_devices: list[int] | None = None


class Environment(NamedTuple):
    """A kind of launcher.

    Attributes:
        is_here: whether its variables say that there are several processes.
        needs: the variables that must be there.
        read: variables → `Place`.
    """

    is_here: Callable[[Mapping[str, str]], bool]
    needs: tuple[str, ...]
    read: Callable[[Mapping[str, str]], Place]


def variables(coordinator: str, processes: int, process: int) -> dict[str, str]:
    """Return the environment of one process, for launchers that know no other way.

    For Ray: `task.options(runtime_env={"env_vars": variables(address, 4, rank)})`, where
    the address is a free port of the node that runs rank 0; Kubernetes sets the same
    variables from the index of an indexed Job.

    >>> variables("10.0.0.1:4000", processes=2, process=1)["JAXWD_PROCESS"]
    '1'
    """
    return {COORDINATOR: coordinator, COUNT: str(processes), INDEX: str(process)}


def _whole(env: Mapping[str, str], name: str) -> int:
    try:
        return int(env[name])
    except ValueError:
        raise InputError(f"{name}={env[name]!r} is not a whole number") from None


def _from_ours(env: Mapping[str, str]) -> Place:
    return Place(env[COORDINATOR], _whole(env, COUNT), _whole(env, INDEX))


def _first_host(nodes: str) -> str:
    """Return the first host of a SLURM node list.

    >>> [_first_host(x) for x in ("n1", "n1,n2", "n[08-11,20],m1", "a-[3,5]")]
    ['n1', 'n1', 'n08', 'a-3']
    """
    head, bracket, rest = nodes.partition("[")
    if not bracket or "," in head:
        return head.split(",")[0]
    return head + rest.replace("-", ",").replace("]", ",").split(",")[0]


def _from_slurm(env: Mapping[str, str]) -> Place:
    """One process a task; the port follows from the job's number."""
    # The step's own number of nodes: it may take fewer than the job has.
    nodes = int(env.get("SLURM_STEP_NUM_NODES", env.get("SLURM_NNODES", 1)))
    count = _whole(env, "SLURM_NTASKS")
    port = 20_000 + _whole(env, "SLURM_JOB_ID") % 20_000
    # Several tasks on a node share its devices, one each; a task alone has them all.
    # One that sees a single device, by --gpus-per-task=1, calls it number 0.
    sees = env.get("CUDA_VISIBLE_DEVICES", env.get("ROCR_VISIBLE_DEVICES", "0,1"))
    shared = count > nodes and "," in sees
    own = [_whole(env, "SLURM_LOCALID")] if shared else None
    host = _first_host(env["SLURM_STEP_NODELIST"])
    return Place(f"{host}:{port}", count, _whole(env, "SLURM_PROCID"), own)


def _is_step(env: Mapping[str, str]) -> bool:
    """Say whether srun started this: a shell in a job, alone, has a reserved number."""
    number = env.get("SLURM_STEP_ID", "")
    return number.isdecimal() and int(number) < _RESERVED


_RESERVED = 0xFFFFFFF0
"""Step numbers of SLURM's own from here: batch script, interactive and external step."""


def _from_tpu(env: Mapping[str, str]) -> Place:
    """One process a host of a slice, slices one after another."""
    hosts = env["TPU_WORKER_HOSTNAMES"].split(",")
    slices, number = int(env.get("MEGASCALE_NUM_SLICES", 1)), 0
    first = hosts[0]
    if slices > 1:
        first = env.get("MEGASCALE_COORDINATOR_ADDRESS", first)
        number = int(env.get("MEGASCALE_SLICE_ID", 0))
    index = number * len(hosts) + _whole(env, "TPU_WORKER_ID")
    return Place(f"{first.split(':')[0]}:8482", slices * len(hosts), index)


ENVIRONMENTS: dict[str, Environment] = {
    "ray": Environment(
        lambda env: COUNT in env or INDEX in env or COORDINATOR in env,
        (COORDINATOR, COUNT, INDEX),
        _from_ours,
    ),
    "slurm": Environment(
        lambda env: env.get("SLURM_NTASKS", "1") != "1" and _is_step(env),
        ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID",
         "SLURM_LOCALID"),
        _from_slurm,
    ),
    "tpu": Environment(
        lambda env: "," in env.get("TPU_WORKER_HOSTNAMES", "")
        or env.get("MEGASCALE_NUM_SLICES", "1") != "1",
        ("TPU_WORKER_HOSTNAMES", "TPU_WORKER_ID"),
        _from_tpu,
    ),
}  # fmt: skip
"""Launchers by name; `ray` is any that sets the variables of `variables`."""


def found(name: str, env: Mapping[str, str] = os.environ) -> Place | None:
    """Return the place that an environment gives; None where none is here."""
    names = ENVIRONMENTS if name == "auto" else (name,)
    for each in names:
        row = ENVIRONMENTS[each]
        if name == "auto" and not row.is_here(env):
            continue
        missing = [key for key in row.needs if key not in env]
        if missing:
            given = [f"{key}={env[key]}" for key in row.needs if key in env]
            raise InputError(
                f"environment {each!r}: {', '.join(missing)} not set (here: "
                f"{', '.join(given) or 'none of its variables'}); start by its launcher, "
                "or give coordinator=, processes= and process="
            )
        return row.read(env)
    return None
