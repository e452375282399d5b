"""Models as pure functions, and one adapter for Flax modules."""

from jaxwd.models import cnn as cnn
from jaxwd.models import mlp as mlp
from jaxwd.models.flax_adapters import from_linen as from_linen
from jaxwd.models.flax_adapters import from_nnx as from_nnx
from jaxwd.models.initializers import INITIALIZERS as INITIALIZERS
from jaxwd.models.initializers import initializer as initializer
from jaxwd.models.interface import Model as Model
from jaxwd.models.table import MODELS as MODELS
from jaxwd.models.table import by_name as by_name
