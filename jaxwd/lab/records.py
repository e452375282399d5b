"""One JSON line for each epoch and each finished run; a finished run is not run twice.

`metrics.jsonl` only grows. A process killed at any moment leaves at most one broken
last line, which the next start leaves out.
"""

import datetime
import functools
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
from typing import Any

from jaxwd.errors import InputError

FILE = "metrics.jsonl"
_PACKAGES = ("jaxwd", "jax", "jaxlib", "flax", "optax", "numpy", "scipy")


class Records:
    """The records of one output folder.

    Args:
        folder: made if missing.

    Raises:
        InputError: the folder is a file or cannot be written, or its records are
            damaged or foreign.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = writable_folder(folder)
        self.path = self.folder / FILE
        self.lines = self._read()

    def write(self, kind: str, **values: Any) -> None:
        """Append one line and hand it to the operating system at once."""
        line = {"kind": kind, **values}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=True) + "\n")
        self.lines.append(line)

    def finished(self, key: str) -> dict[str, Any] | None:
        """Return the record of the finished run `key`, if there is one."""
        found = [x for x in self.lines if x["kind"] == "run" and x["key"] == key]
        return found[-1] if found else None

    def epochs(self, key: str) -> list[dict[str, Any]]:
        """Return the last record of every epoch of run `key`, in order."""
        rows = {
            x["epoch"]: x
            for x in self.lines
            if x["kind"] == "epoch" and x["key"] == key
        }
        return [rows[epoch] for epoch in sorted(rows)]

    def _read(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        if not self.path.is_file():
            raise InputError(
                f"{self.path} is no file; move it away or give another --out"
            )
        text = self.path.read_text(encoding="utf-8", errors="replace")
        lines: list[dict[str, Any]] = []
        whole, _, rest = text.rpartition("\n")
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                record = json.loads(line)
                record["kind"]
            except (ValueError, KeyError, TypeError):
                raise InputError(
                    f"{self.path}, line {number} is no record of jaxwd; move the file "
                    "away or give another --out"
                ) from None
            lines.append(record)
        if rest:  # a line cut short by a kill; the next one begins on a fresh line
            self.path.write_text(whole + "\n" if whole else "", encoding="utf-8")
        return lines


def writable_folder(folder: pathlib.Path) -> pathlib.Path:
    """Return the folder, made if missing; raise where nothing can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"out={folder} is a file; give the name of a folder") from None
    except OSError as error:
        raise InputError(f"out={folder} cannot be made ({error.strerror})") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"out={folder} is not writable; give another folder")
    return folder


def run_key(recipe: Any, data_fingerprint: str, layout: str) -> str:
    """Return a name for one run: recipe, data, versions, code, hardware and layout."""
    import jax

    parts = [
        recipe.digest(),
        data_fingerprint,
        importlib.metadata.version("jax"),
        _own_version(),
        str(commit()),
        processor(),
        f"{jax.devices()[0].device_kind} × {jax.device_count()}",
        os.environ.get("XLA_FLAGS", ""),
        layout,
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def provenance() -> dict[str, Any]:
    """Return versions, commit, hardware and the command, to stand beside results."""
    import jax

    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": " ".join([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]),
        "versions": {name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "devices": [f"{d.platform}: {d.device_kind}" for d in jax.devices()],
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "commit": commit(),
    }


def processor() -> str:
    """Return the processor's name."""
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@functools.cache
def commit() -> str | None:
    """Return the commit jaxwd was run from, marked where files were changed since."""
    root = pathlib.Path(__file__).parents[2]
    if not (root / ".git").exists():  # installed, perhaps inside somebody's checkout
        return None
    try:
        got = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return got.stdout.strip()


def _own_version() -> str:
    from jaxwd import __version__

    return __version__


def _version(name: str) -> str | None:
    if name == "jaxwd":
        return _own_version()
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
