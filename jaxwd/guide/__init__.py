"""Carry a λ from one convention to another, find a first one, and scale one.

Nothing here starts JAX, but for the mean of a schedule where one is needed.
"""

from jaxwd.guide.convention import Convention as Convention
from jaxwd.guide.conventions import CONVENTIONS as CONVENTIONS
from jaxwd.guide.conversion import Conversion as Conversion
from jaxwd.guide.convert import convert as convert
from jaxwd.guide.neighbours import PUBLISHED as PUBLISHED
from jaxwd.guide.neighbours import Published as Published
from jaxwd.guide.recommend import Recommendation as Recommendation
from jaxwd.guide.recommend import recommend as recommend
from jaxwd.guide.scaling import RULES as RULES
from jaxwd.guide.scaling import Scaled as Scaled
from jaxwd.guide.scaling import scale as scale
