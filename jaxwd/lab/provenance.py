"""What a result was made by: versions, commit, flags, hardware; and a run's name."""

import datetime
import functools
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys
from typing import Any

_PACKAGES = ("jaxwd", "jax", "jaxlib", "flax", "optax", "numpy", "scipy")


_PATIENCE = (5, 20, 60)
"""Seconds that git is given, one time after another."""


def run_key(
    recipe: Any, data_fingerprint: str, layout: str, on: str | None = None
) -> str:
    """Return a name for one run: recipe, data, versions, code, hardware and layout.

    `on` is the `hardware()` it runs on, where that is not this process's.
    """
    import jax

    parts = [
        recipe.digest(),
        data_fingerprint,
        jax.__version__,
        _own_version(),
        str(commit()),
        on or hardware(),
        os.environ.get("XLA_FLAGS", ""),
        layout,
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def hardware() -> str:
    """Return the processor and the devices that this process computes on."""
    import jax

    return f"{processor()}\n{jax.devices()[0].device_kind} × {jax.device_count()}"


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


@functools.cache
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
    # It is a part of every run's name: were it missing because a machine is busy, what
    # has finished would not be found again, and be run anew without a word.
    for seconds in _PATIENCE:
        try:
            got = subprocess.run(
                ["git", "describe", "--always", "--dirty", "--abbrev=12"],
                cwd=root,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=True,
            )
        except (FileNotFoundError, subprocess.CalledProcessError):
            return None  # no git, or a checkout it does not trust: so the next time too
        except (OSError, subprocess.TimeoutExpired):
            continue
        return got.stdout.strip()
    return None


def _own_version() -> str:
    from jaxwd import __version__

    return __version__


@functools.cache
def _version(name: str) -> str | None:
    if name == "jaxwd":
        return _own_version()
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
