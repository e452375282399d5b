"""The same step on one device or many; the only room that knows about devices.

    single     one device
    sharded    one program over the whole batch, which XLA splits (jit, NamedSharding)
    shard_map  the step on each device's share; gradients are averaged by name
    pmap       the same by JAX's older map over devices; one process only
    fsdp       as sharded, and each device keeps a part of weights and optimizer state

Under `single`, `sharded` and `fsdp` the program is that of one device, so its numbers
are to rounding, dropout included. Under `shard_map` and `pmap` every device draws a
dropout mask of its own; without dropout the numbers are the same again.
"""

from jaxwd.training.parallel.layout import Layout as Layout
from jaxwd.training.parallel.layout import layout as layout
from jaxwd.training.parallel.layout import require_parts as require_parts
from jaxwd.training.parallel.places import AXIS as AXIS
from jaxwd.training.parallel.table import LAYOUTS as LAYOUTS
