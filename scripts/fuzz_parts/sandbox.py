"""A folder to work in, and a watch over every write that lands outside of it."""

import contextlib
import os
import pathlib
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Event → which of its arguments are paths that it changes.
_CHANGES = {
    "os.mkdir": (0,),
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.link": (1,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.utime": (0,),
    "sqlite3.connect": (0,),
}
_SCRATCH = ("jaxwd-", "tmp", "matplotlib-")
_HARMLESS = ("/dev/null", "/dev/tty", "/proc/self/fd")

_allowed: list[pathlib.Path] | None = None
_outside: list[str] = []
_installed = False


@contextlib.contextmanager
def watched(
    *folders: str | os.PathLike, scratch: tuple[str, ...] = _SCRATCH
) -> Iterator[None]:
    """Raise `AssertionError` behind the block if Python wrote outside of `folders`.

    Bytecode (`__pycache__`) and what `tempfile` makes in its own folder are left out.
    Writes by C code are not seen here: compare `listing` before and after.
    """
    global _allowed, _installed
    if not _installed:
        sys.addaudithook(_hook)  # it cannot be taken out again
        _installed = True
    temporary = pathlib.Path(tempfile.gettempdir())
    _outside.clear()
    _allowed = [pathlib.Path(f).resolve() for f in (*folders, *_compiled())] + [
        temporary / x for x in scratch
    ]
    try:
        yield
    finally:
        _allowed = None
    assert not _outside, f"written outside of the sandbox: {_outside[:5]}"


def _compiled() -> list[str]:
    """Return the folder where JAX keeps compiled programs, if a command has set one."""
    jax = sys.modules.get("jax")
    folder = jax and getattr(jax.config, "jax_compilation_cache_dir", None)
    if not folder:
        return []
    os.makedirs(folder, exist_ok=True)
    return [folder]


def listing(folder: pathlib.Path) -> dict[str, Any]:
    """Return every file below a folder with its bytes, to compare later."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if not path.is_fifo()
    }


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _allowed is None:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = (
            flags & _WRITES if isinstance(flags, int) else set(mode or "") & {*"wax+"}
        )
        if writes:
            _judge(event, path)
    for at in _CHANGES.get(event, ()):
        _judge(event, arguments[at])


def _judge(event: str, path: Any) -> None:
    if _allowed is None or isinstance(path, int):
        return
    text = os.fsdecode(path)
    if event == "sqlite3.connect":
        if "mode=ro" in text or text == ":memory:":
            return
        text = urllib.request.url2pathname(urllib.parse.urlsplit(text).path)
    if text.startswith(_HARMLESS) or "__pycache__" in text:
        return
    # Not resolved: a link that is followed outwards is looked at by `listing`.
    real = os.path.realpath(text)
    if not any(real.startswith(str(folder)) for folder in _allowed):
        _outside.append(f"{event} {text}")
