"""Where a scheme stands in the chain, and the rates its rule is told."""

from typing import NamedTuple

import optax

from jaxwd.schedules import Scalar, ScalarOrSchedule

Chain = tuple[optax.GradientTransformation, ...]


class Placement(NamedTuple):
    """What a scheme puts into the chain's three brackets.

    clip → [gradient] → core → [direction] → × −η_t → [step]
    """

    gradient: Chain = ()
    direction: Chain = ()
    step: Chain = ()


class Rates(NamedTuple):
    """The learning rate η_t (number or function of the step) and its peak α."""

    learning_rate: ScalarOrSchedule
    peak: Scalar
