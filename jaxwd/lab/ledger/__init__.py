"""One SQLite file a sweep: what was run, how it ended, every epoch, made by what."""

from jaxwd.lab.ledger.book import Ledger
from jaxwd.lab.ledger.file import FILE, ledger_file, writable_folder
from jaxwd.lab.ledger.merging import merge
from jaxwd.lab.ledger.reading import Run

__all__ = ["FILE", "Ledger", "Run", "ledger_file", "merge", "writable_folder"]
