from .explaining import explain as explain
from .explanation import Explanation as Explanation
from .explanation import LeafRow as LeafRow
from .findings import Finding as Finding
