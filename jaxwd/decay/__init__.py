"""Weight-decay schemes, what multiplies them, and how they enter an Optax chain."""

from jaxwd.decay.allocation import adadecay as adadecay
from jaxwd.decay.allocation import awd as awd
from jaxwd.decay.allocation import stable as stable
from jaxwd.decay.anchors import to_ema as to_ema
from jaxwd.decay.anchors import to_init as to_init
from jaxwd.decay.anchors import to_norm as to_norm
from jaxwd.decay.anchors import to_tree as to_tree
from jaxwd.decay.compose import compose as compose
from jaxwd.decay.constructors import coupled as coupled
from jaxwd.decay.constructors import decoupled as decoupled
from jaxwd.decay.constructors import none as none
from jaxwd.decay.constructors import penalized as penalized
from jaxwd.decay.constructors import proximal as proximal
from jaxwd.decay.constructors import selective as selective
from jaxwd.decay.gates import cautious as cautious
from jaxwd.decay.gates import tangent as tangent
from jaxwd.decay.rules import MULTIPLIERS as MULTIPLIERS
from jaxwd.decay.rules import Placement as Placement
from jaxwd.decay.scheme import DecayScheme as DecayScheme
from jaxwd.decay.shrink import Shrink as Shrink
from jaxwd.decay.shrink import shrink as shrink
