"""Training as a pure function of a recipe, the same step on one device or many."""

from jaxwd.training.loop import Result as Result
from jaxwd.training.loop import run as run
from jaxwd.training.parallel import LAYOUTS as LAYOUTS
from jaxwd.training.precision import stochastic_round as stochastic_round
from jaxwd.training.recipe import Recipe as Recipe
from jaxwd.training.step import Batch as Batch
from jaxwd.training.step import Info as Info
from jaxwd.training.step import State as State
from jaxwd.training.step import make_step as make_step
from jaxwd.training.streamed import run_streamed as run_streamed
