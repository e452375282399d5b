"""Weight-decay schemes, what multiplies them, and how they enter an Optax chain."""

from jaxwd.decay.compose import compose as compose
from jaxwd.decay.rules import MULTIPLIERS as MULTIPLIERS
from jaxwd.decay.rules import Placement as Placement
from jaxwd.decay.scheme import DecayScheme as DecayScheme
from jaxwd.decay.scheme import coupled as coupled
from jaxwd.decay.scheme import decoupled as decoupled
from jaxwd.decay.scheme import none as none
from jaxwd.decay.scheme import penalized as penalized
from jaxwd.decay.shrink import Shrink as Shrink
from jaxwd.decay.shrink import shrink as shrink
