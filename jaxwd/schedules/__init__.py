"""Step → value, for learning rate, λ and dropout alike; a schedule carries its peak.

A schedule is `peak · s(t)` with the shape s(t) in [0, 1]. The two factors are kept
apart because decay schemes differ exactly in which of them multiplies λ.
"""

from jaxwd.schedules.named import constant as constant
from jaxwd.schedules.named import cosine as cosine
from jaxwd.schedules.named import early as early
from jaxwd.schedules.named import exponential as exponential
from jaxwd.schedules.named import inverse_time as inverse_time
from jaxwd.schedules.named import late as late
from jaxwd.schedules.named import linear as linear
from jaxwd.schedules.named import log_time as log_time
from jaxwd.schedules.named import one_cycle as one_cycle
from jaxwd.schedules.named import opposite as opposite
from jaxwd.schedules.named import polynomial as polynomial
from jaxwd.schedules.named import rising_cosine as rising_cosine
from jaxwd.schedules.named import schedule as schedule
from jaxwd.schedules.named import step as step
from jaxwd.schedules.named import warm_restarts as warm_restarts
from jaxwd.schedules.named import wsd as wsd
from jaxwd.schedules.shapes import SHAPES as SHAPES
from jaxwd.schedules.value import Scalar as Scalar
from jaxwd.schedules.value import ScalarOrSchedule as ScalarOrSchedule
from jaxwd.schedules.value import Schedule as Schedule
from jaxwd.schedules.value import peak_of as peak_of
from jaxwd.schedules.value import value_at as value_at
