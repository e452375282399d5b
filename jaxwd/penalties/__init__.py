"""Penalties on weights as pure functions: L2 in its written forms, L1 and others."""

from jaxwd.penalties.functions import elastic_net as elastic_net
from jaxwd.penalties.functions import half_l2 as half_l2
from jaxwd.penalties.functions import l1 as l1
from jaxwd.penalties.functions import l2 as l2
from jaxwd.penalties.functions import l2_per_example as l2_per_example
from jaxwd.penalties.functions import of_scheme as of_scheme
from jaxwd.penalties.functions import penalty as penalty
from jaxwd.penalties.functions import reported as reported
from jaxwd.penalties.functions import srip as srip
from jaxwd.penalties.table import PENALTIES as PENALTIES
from jaxwd.penalties.table import Penalty as Penalty
