"""A training's result for others: weights as safetensors, the forward pass as StableHLO."""

from jaxwd.export.folder import export as export
from jaxwd.export.forward import Forward as Forward
from jaxwd.export.forward import forward as forward
from jaxwd.export.forward import read_forward as read_forward
from jaxwd.export.weights import flat as flat
from jaxwd.export.weights import read_weights as read_weights
from jaxwd.export.weights import write_weights as write_weights
