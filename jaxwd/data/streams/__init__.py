"""Data larger than memory: sources with random access, read in a training's order."""

from jaxwd.data.streams.pipeline import batches as batches
from jaxwd.data.streams.pipeline import require_grain as require_grain
from jaxwd.data.streams.registry import KINDS as KINDS
from jaxwd.data.streams.registry import stream as stream
from jaxwd.data.streams.source import Records as Records
from jaxwd.data.streams.source import Source as Source
from jaxwd.data.streams.stream import Stream as Stream
from jaxwd.data.streams.stream import from_sources as from_sources
