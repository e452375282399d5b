"""Real images, decoded once, kept as bytes; arrays, folders, TFDS sets, tables, text."""

from jaxwd.data.dataset import Dataset as Dataset
from jaxwd.data.dataset import from_arrays as from_arrays
from jaxwd.data.registry import NAMES as NAMES
from jaxwd.data.registry import PATTERNS as PATTERNS
from jaxwd.data.registry import load as load
from jaxwd.data.splits import Split as Split
