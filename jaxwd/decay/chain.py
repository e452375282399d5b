"""What a composed chain says of itself, and what is known of its core."""

from typing import NamedTuple

import optax

from jaxwd.decay.scheme import DecayScheme
from jaxwd.masks import Rules
from jaxwd.schedules import Scalar, ScalarOrSchedule


class Gains(NamedTuple):
    """What a core makes of a gradient that stays the same.

    Attributes:
        first: its answer to the first one, over the gradient.
        lasting: its answer in the long run, over the gradient.
    """

    first: float | None
    lasting: float | None


class About(NamedTuple):
    """What a chain was made from, for `jaxwd.explain` to read.

    Attributes:
        decay: the scheme.
        learning_rate: η_t, a number or a function of the step.
        peak: α, where it is known.
        frozen: rules for leaves that never move, or None.
    """

    decay: DecayScheme
    learning_rate: ScalarOrSchedule
    peak: Scalar | None
    frozen: Rules | None


class Chain(optax.GradientTransformationExtraArgs):
    """An ordinary Optax transformation, `(init, update)`, that says what is in it.

    Attributes:
        about: what it was made from. A copy by `_replace` or through a pytree has None.
    """

    about: About | None = None
