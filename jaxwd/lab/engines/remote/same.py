"""That workers compute what the driver would: the same code, versions and settings."""

import functools
import hashlib
import os
import pathlib
import platform
from collections.abc import Mapping
from typing import Any

from jaxwd.errors import InputError

_SETTINGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
)
"""Settings of JAX on which numbers depend."""
_CACHE = (
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


def threads() -> int:
    """Return among how many threads XLA splits a sum on this process's CPU."""
    import jax

    from jaxwd.runtime import cores

    said = os.environ.get("NPROC", "")
    found = int(said) if said.isdigit() else cores()
    on_cpu = jax.default_backend() == "cpu"
    return max(found, jax.local_device_count() if on_cpu else 1)


def settings() -> dict[str, Any]:
    """Return the settings of this process's JAX that workers take over."""
    import jax

    from jaxwd.runtime import compilation_cache

    found = {name: getattr(jax.config, name) for name in (*_SETTINGS, *_CACHE)}
    folder: Any = getattr(jax.config, "jax_compilation_cache_dir")  # noqa: B009
    # jaxwd's own folder is named after the processor, so a worker finds its own.
    found["cache"] = "own" if folder == str(compilation_cache()) else folder
    return found


def apply(given: Mapping[str, Any]) -> None:
    """Take over the settings of the driver's JAX, before anything is computed."""
    import jax

    from jaxwd.runtime import compilation_cache

    for name in (*_SETTINGS, *_CACHE):
        jax.config.update(name, given[name])
    folder = given["cache"]
    if folder is not None:
        folder = str(compilation_cache()) if folder == "own" else folder
        jax.config.update("jax_compilation_cache_dir", folder)


def code() -> dict[str, str]:
    """Return what has to be equal on driver and workers: versions, and jaxwd's files."""
    from jaxwd.lab.provenance import provenance

    versions = {k: v for k, v in provenance()["versions"].items() if v}
    python = ".".join(platform.python_version_tuple()[:2])
    return versions | {"python": python, "jaxwd's files": _files()}


def require_same(mine: Mapping[str, str], theirs: Mapping[str, str], host: str) -> None:
    """Refuse a worker with other code.

    Raises:
        InputError: names the host and what differs.
    """
    differ = [
        f"{name} {theirs.get(name)} instead of {mine.get(name)}"
        for name in sorted({*mine, *theirs})
        if mine.get(name) != theirs.get(name)
    ]
    if differ:
        raise InputError(
            f"the worker on {host} has {', '.join(differ)}; install the same there, or "
            "start the job with one runtime_env for all"
        )


@functools.cache
def _files() -> str:
    root, digest = pathlib.Path(__file__).parents[3], hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()[:12]
