"""The same step on one device or many; the only room that knows about devices.

    single     one device
    sharded    one program over the whole batch, which XLA splits (jit, NamedSharding)
    shard_map  the step on each device's share; gradients are averaged by name
    pmap       the same by JAX's older map over devices; one process only
    fsdp       as sharded, and each device keeps a part of weights and optimizer state

Under `single`, `sharded` and `fsdp` the program is that of one device, so its numbers
are to rounding, dropout included. Under `shard_map` and `pmap` every device draws a
dropout mask of its own; without dropout the numbers are the same again. Batch norms
take their moments over all devices; a model whose batch norms cannot is refused.

`fsdp` keeps less than the weights themselves on each device while its batch, or the
part of it that `accumulate` takes at once, is small beside the layers' width: XLA then
sends activations between devices. Beyond that it gathers all weights in a step, to
send less: of 16 layers of 512, 15 MB, an epoch with Adam on 8 CPU devices needs 48 MB
beside its state with a batch of 512, and 8 MB in 8 parts (XLA's account, JAX 0.10.2). An
evaluation gathers one layer at a time.
"""

from jaxwd.training.parallel.choosing import layout as layout
from jaxwd.training.parallel.layout import Layout as Layout
from jaxwd.training.parallel.places import AXIS as AXIS
from jaxwd.training.parallel.table import LAYOUTS as LAYOUTS
