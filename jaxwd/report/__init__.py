"""From a study to what a person reads: tables, a sentence, pictures, one page."""

from jaxwd.report.basins import basin_table as basin_table
from jaxwd.report.basins import basins as basins
from jaxwd.report.comparison import comparison_table as comparison_table
from jaxwd.report.comparison import tuning_table as tuning_table
from jaxwd.report.html import write_html as write_html
from jaxwd.report.page import write_report as write_report
from jaxwd.report.pairs import compared as compared
from jaxwd.report.summary import summary as summary
from jaxwd.report.tables import decay_table as decay_table
from jaxwd.report.tables import fit_table as fit_table
from jaxwd.report.tables import result_table as result_table
from jaxwd.report.verdict import verdict as verdict
