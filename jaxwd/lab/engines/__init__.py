"""Engines: how many trainings become few programs, and who drives them."""

from jaxwd.lab.engines.halving import halving as halving
from jaxwd.lab.engines.many import run_many as run_many
from jaxwd.lab.engines.outcome import Outcome as Outcome
from jaxwd.lab.engines.outcome import Silent as Silent
from jaxwd.lab.engines.outcome import Watcher as Watcher
from jaxwd.lab.engines.table import ENGINES as ENGINES
