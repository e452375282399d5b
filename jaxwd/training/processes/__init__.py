"""Many processes that train one recipe: joining, knowing the first, ending together."""

from jaxwd.training.processes.joining import Processes as Processes
from jaxwd.training.processes.joining import abandon as abandon
from jaxwd.training.processes.joining import expected as expected
from jaxwd.training.processes.joining import is_first as is_first
from jaxwd.training.processes.joining import join as join
from jaxwd.training.processes.joining import leave as leave
from jaxwd.training.processes.joining import tell as tell
from jaxwd.training.processes.places import ENVIRONMENTS as ENVIRONMENTS
from jaxwd.training.processes.places import variables as variables
from jaxwd.training.processes.watch import LOST as LOST
