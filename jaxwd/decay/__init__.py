"""Weight-decay schemes, what multiplies them, and how they enter an Optax chain."""

from jaxwd.decay.allocation import adadecay as adadecay
from jaxwd.decay.allocation import awd as awd
from jaxwd.decay.allocation import stable as stable
from jaxwd.decay.amos import amos as amos
from jaxwd.decay.anchors import to_ema as to_ema
from jaxwd.decay.anchors import to_init as to_init
from jaxwd.decay.anchors import to_norm as to_norm
from jaxwd.decay.anchors import to_tree as to_tree
from jaxwd.decay.auto_l2 import auto_l2 as auto_l2
from jaxwd.decay.compose import compose as compose
from jaxwd.decay.constructors import coupled as coupled
from jaxwd.decay.constructors import decoupled as decoupled
from jaxwd.decay.constructors import none as none
from jaxwd.decay.constructors import penalized as penalized
from jaxwd.decay.constructors import proximal as proximal
from jaxwd.decay.constructors import selective as selective
from jaxwd.decay.cpr import cpr as cpr
from jaxwd.decay.gates import cautious as cautious
from jaxwd.decay.gates import tangent as tangent
from jaxwd.decay.norms import hyperball as hyperball
from jaxwd.decay.norms import lawn as lawn
from jaxwd.decay.norms import max_norm as max_norm
from jaxwd.decay.norms import norm_ball as norm_ball
from jaxwd.decay.norms import radial_brake as radial_brake
from jaxwd.decay.norms import rotational as rotational
from jaxwd.decay.perturb import shrink_and_perturb as shrink_and_perturb
from jaxwd.decay.placement import Placement as Placement
from jaxwd.decay.presets import PRESETS as PRESETS
from jaxwd.decay.presets import preset as preset
from jaxwd.decay.rules import MULTIPLIERS as MULTIPLIERS
from jaxwd.decay.scheme import DecayScheme as DecayScheme
from jaxwd.decay.shrink import Shrink as Shrink
from jaxwd.decay.shrink import shrink as shrink
from jaxwd.decay.spectrum import alpha_decay as alpha_decay

CONSTRUCTORS = (
    *("none", "penalized", "coupled", "decoupled", "proximal", "selective"),
    *(
        "max_norm",
        "norm_ball",
        "radial_brake",
        "lawn",
        "hyperball",
        "rotational",
        "cpr",
        "amos",
    ),
)
"""Names of the functions that make a scheme."""

MODIFIERS = (
    *("cautious", "tangent"),
    *("to_init", "to_tree", "to_ema", "to_norm"),
    *("stable", "awd", "adadecay", "alpha_decay", "auto_l2"),
)
"""Names of the functions that take a scheme and return it with one more choice."""
