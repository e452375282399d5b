"""Means with intervals, paired differences, and how small a difference could be seen.

Runs of one seed share their start, their data order and their dropout key between
arms, so arms are compared seed by seed. Below 20 seeds Student's t keeps its coverage
where the bootstrap does not (0.75 instead of 0.95 at n = 3).
"""

from jaxwd.lab.statistics.bootstrap import seeds_by_examples as seeds_by_examples
from jaxwd.lab.statistics.equivalence import Equivalence as Equivalence
from jaxwd.lab.statistics.equivalence import equivalence as equivalence
from jaxwd.lab.statistics.intervals import LEVEL as LEVEL
from jaxwd.lab.statistics.intervals import Interval as Interval
from jaxwd.lab.statistics.intervals import Share as Share
from jaxwd.lab.statistics.intervals import improvement as improvement
from jaxwd.lab.statistics.intervals import interval as interval
from jaxwd.lab.statistics.pairs import Difference as Difference
from jaxwd.lab.statistics.pairs import effect_size as effect_size
from jaxwd.lab.statistics.pairs import holm as holm
from jaxwd.lab.statistics.pairs import paired as paired
from jaxwd.lab.statistics.pairs import without_spread as without_spread
from jaxwd.lab.statistics.power import pairs_needed as pairs_needed
from jaxwd.lab.statistics.power import power as power
from jaxwd.lab.statistics.separability import separability as separability
from jaxwd.lab.statistics.signs import SignFlip as SignFlip
from jaxwd.lab.statistics.signs import sign_flip as sign_flip
