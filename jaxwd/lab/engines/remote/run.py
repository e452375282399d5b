"""Train members on a cluster: connect, see who is there, let the driver drive."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxwd.data import Dataset
from jaxwd.lab.engines.many import Sweep
from jaxwd.lab.engines.outcome import Outcome, Watcher
from jaxwd.lab.engines.remote.cluster import Cluster, connected
from jaxwd.lab.engines.remote.driver import Driver
from jaxwd.lab.engines.remote.pool import Pool
from jaxwd.lab.engines.remote.staff import Staff
from jaxwd.lab.grid import Member
from jaxwd.training import Recipe

if TYPE_CHECKING:
    from jaxwd.lab.ledger import Ledger


def run_remote(
    members: Sequence[Member | Recipe],
    data: Dataset,
    cluster: Cluster,
    *,
    chunk: int | None = None,
    ledger: "Ledger | None" = None,
    watcher: Watcher | None = None,
    splits: Sequence[str] = ("train", "test"),
) -> list[Outcome]:
    """Train members on a cluster; `run_many(engine="ray")` calls it.

    Raises:
        InputError: as `run_many`; no Ray, none at the address, no room for a worker,
            workers with other code.
        OSError: workers are lost again and again, and none trains an epoch.
    """

    def sweep(hardware: str | None) -> Sweep:
        return Sweep(
            *(members, data, "auto", chunk, ledger, watcher, splits),
            hardware=hardware,
        )

    # Runs are named after the hardware they run on; ours is theirs, or they have to say.
    known = cluster.where is None and not cluster.worker_gpus
    made = sweep(None) if known else None
    with connected(cluster, _bytes(data)) as ray:
        _send_experiments_along(ray)
        pool = Pool(ray, cluster, data, known and len(ray.nodes()) == 1)
        try:
            staff = Staff(pool, cluster)
            say = watcher.says if watcher else lambda _: None
            made = made or sweep(staff.first(say).about["hardware"])
            return Driver(made, staff, ledger).run()
        finally:
            pool.close()


def _send_experiments_along(ray: Any) -> None:
    """Let models of experiment files, which no worker can import, travel as they are."""
    for name, module in [*sys.modules.items()]:
        if name.startswith("jaxwd_experiment_"):
            ray.cloudpickle.register_pickle_by_value(module)


def _bytes(data: Dataset) -> int:
    splits = (data.train, data.validation, data.test)
    return sum(array.nbytes for split in splits for array in split)
