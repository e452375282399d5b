"""Which leaves decay, and how strongly: rules on leaf names, first match wins."""

from jaxwd.masks.report import MaskReport as MaskReport
from jaxwd.masks.report import MaskRow as MaskRow
from jaxwd.masks.report import mask_report as mask_report
from jaxwd.masks.rules import Rule as Rule
from jaxwd.masks.rules import Rules as Rules
from jaxwd.masks.rules import Where as Where
from jaxwd.masks.rules import by_depth as by_depth
from jaxwd.masks.rules import by_ndim as by_ndim
from jaxwd.masks.rules import everything as everything
from jaxwd.masks.rules import kernels as kernels
from jaxwd.masks.rules import matrices as matrices
from jaxwd.masks.rules import rules as rules
