"""Try an optimizer of your own: does its decay do what it says, also under wrappers?"""

from jaxwd.testing.check import check_decay as check_decay
from jaxwd.testing.report import DecayCheckFailed as DecayCheckFailed
from jaxwd.testing.report import DecayReport as DecayReport
from jaxwd.testing.report import Row as Row
