"""Engine `ray`: a grid on the workers of a cluster, and one driver that writes.

    jaxwd sweep FILE --engine ray                          # a Ray of this machine's own
    jaxwd sweep FILE --engine ray --address auto --worker-gpus 1 --max-in-flight 1000
    run_many(grid, data, engine="ray", cluster=Cluster(worker_cpus=2), ledger=ledger)

Each worker is a process that stays, with its compiled programs; the data is put into
the object store once. The driver hands out chunks of members of one structure, one
chunk a worker, sized by measured times to last about a minute, ever shorter at the end;
workers send epochs and ends as they come, and the driver alone writes the ledger, many
members in one transaction. It may be killed and started again: what has ended there is
not run again, here as in every engine. So no queue on the cluster ever holds the grid:
`max_in_flight` bounds the workers, and what is handed out.

Numbers. A member's are those of the same engine in one process, bit for bit: workers
take over the driver's JAX settings and, on a CPU, the number of threads among which XLA
splits sums (`NPROC`), however many cores they are given. On a cluster that number is
`worker_cpus` unless `threads` says else. A worker with other versions or other files of
jaxwd is refused. Runs are named after the workers' hardware, and each notes its worker;
where nodes differ, the first worker to answer gives the name, so keep kinds apart.

Losses. A worker that dies, or is silent for twenty times its longest silence (a minute
at least, half an hour before a chunk's first epoch, for compiling), is replaced; its
members begin again, first half as many at a time, then one by one, and one that was
there for three losses is recorded as stopped, with the reason. A lost node is not
blamed on its members until the tenth time. When ten workers in a row (two for each
there were, where that is more) are lost before anybody trains an epoch, the sweep ends.
Errors of another kind, as in a model of one's own, end it at once.

Programs. One worker chooses the engine and compiles a structure first; the others find
it in the persistent cache, if its folder (`JAXWD_CACHE`) is shared between nodes, and
workers stay with a structure while it lasts.

Left to Ray: TLS (`RAY_USE_TLS=1` and its certificates), tokens (`RAY_AUTH_MODE=token`),
the dashboard, autoscaling, `runtime_env`. A Ray that is started here has no dashboard,
reports no usage and listens on 127.0.0.1 alone; anyone who can reach a cluster's ports
can run code on it, so keep these closed to the outside. Every node needs the same
installation, such as one image or one shared file system. Successive halving is not
offered with this engine.
"""

from jaxwd.lab.engines.remote.cluster import Cluster as Cluster
from jaxwd.lab.engines.remote.queues import Rules as Rules
