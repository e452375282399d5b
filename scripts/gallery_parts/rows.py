"""The gallery's table: axis → its pictures, in the order of the page."""

from gallery_parts.row import Row
from gallery_parts.rows_control import ALLOCATIONS, ANCHORS, GATES, NORMS
from gallery_parts.rows_entry import ENTRY, MULTIPLIERS, SHAPES

GALLERY: dict[str, tuple[Row, ...]] = {
    "Where it enters": ENTRY,
    "What multiplies λ": MULTIPLIERS,
    "Shape": SHAPES,
    "Gate": GATES,
    "Anchor": ANCHORS,
    "Allocation": ALLOCATIONS,
    "Norm control": NORMS,
}
ROWS = tuple(row for rows in GALLERY.values() for row in rows)
