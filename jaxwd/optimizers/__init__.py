"""Optimizers by name: cores without learning rate and decay, one table row each."""

from jaxwd.optimizers.row import Core as Core
from jaxwd.optimizers.schedule_free import schedule_free as schedule_free
from jaxwd.optimizers.table import OPTIMIZERS as OPTIMIZERS
from jaxwd.optimizers.table import core as core
from jaxwd.optimizers.table import optimizer as optimizer
