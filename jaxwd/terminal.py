"""The terminal: names are shown as they are, whatever brackets and bytes they hold."""

import io
import sys
from typing import Any


def console(**options: Any) -> Any:
    """Return a console for text with names in it.

    A folder may be called `[/]` or `:smile:`, which rich would take for its own markup
    and refuse or replace.
    """
    from rich.console import Console

    return Console(markup=False, emoji=False, **options)


def take_any_letter() -> None:
    """Let the standard streams escape what they cannot write, instead of failing.

    A terminal that is not UTF-8 knows no λ, and no terminal half a surrogate pair,
    which is how Python spells a file name of other bytes.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def one_line(text: object) -> str:
    r"""Return text without line breaks and other characters that move a cursor.

    >>> print(one_line("no file a\nb\x1b[31m"))
    no file a\nb\x1b[31m
    """
    return "".join(x if x.isprintable() else repr(x)[1:-1] for x in str(text).strip())
