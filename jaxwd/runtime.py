"""What a command sets up before JAX starts: the device and the compilation cache.

Only commands call this. Importing jaxwd changes no setting of JAX.
"""

import contextlib
import hashlib
import os
import pathlib
import platform

from jaxwd.errors import InputError, unknown

DEVICES = ("auto", "cpu", "gpu", "tpu")


def setup(
    device: str = "auto", *, cache: bool = True, cpu_devices: int | None = None
) -> str:
    """Choose the device and turn the persistent compilation cache on.

    Args:
        device: `auto`, `cpu`, `gpu` or `tpu`.
        cache: keep compiled programs in a folder of this machine, so that the second
            start compiles nothing. `JAXWD_COMPILATION_CACHE=0` switches it off too.
        cpu_devices: make the CPU look like so many devices, over which a grid can be
            spread; where JAX has started or the user has said a number, theirs stays.

    Returns:
        The device in words, as in `cpu (2 devices)`.

    Raises:
        InputError: unknown device, or one this machine or installation does not have.
    """
    prepare(device, cache=cache, cpu_devices=cpu_devices)
    return started(device)


def prepare(
    device: str = "auto", *, cache: bool = True, cpu_devices: int | None = None
) -> None:
    """Do what `setup` does before JAX starts, for what has to come in between.

    Such as joining other processes.

    Raises:
        InputError: unknown device.
    """
    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    import jax

    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")  # leaves an accelerator untouched
    if cache and os.environ.get("JAXWD_COMPILATION_CACHE", "1") != "0":
        folder = compilation_cache()
        jax.config.update("jax_compilation_cache_dir", str(folder))
        # The defaults skip what compiles within a second, on a CPU nearly everything.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    said = "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if cpu_devices is not None and not (said or "JAX_NUM_CPU_DEVICES" in os.environ):
        with contextlib.suppress(RuntimeError):  # JAX has started
            jax.config.update("jax_num_cpu_devices", cpu_devices)


def started(device: str = "auto") -> str:
    """Start JAX and return the device in words.

    Raises:
        InputError: a device that this machine or installation does not have.
    """
    import jax

    # JAX prefers an accelerator where it finds one, so no platform has to be forced.
    try:
        found = jax.devices()
    except RuntimeError as error:  # JAX_PLATFORMS names one that is not there
        first = str(error).strip().splitlines()[0]
        raise InputError(f"device={device}: JAX cannot start: {first}") from None
    kind = found[0].platform
    if device not in ("auto", kind):
        forced = os.environ.get("JAX_PLATFORMS")
        remedy = (
            f"JAX_PLATFORMS={forced} is set, unset it"
            if forced
            else "install the back end: pip install 'jaxwd[cuda]' or 'jaxwd[tpu]'"
        )
        raise InputError(
            f"device={device} is not available here, JAX runs on {kind}; {remedy}, or "
            f"use --device {kind}"
        )
    count = len(found)
    return f"{found[0].device_kind} ({count} device{'s' if count > 1 else ''})"


def cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def compilation_cache() -> pathlib.Path:
    """Return this machine's folder for compiled programs.

    They are native code, so the folder's name holds what they depend on: the kind of
    processor with its instruction sets, and the version of jaxlib.
    """
    import jaxlib.version

    from jaxwd.data.cache import home

    about = f"{platform.machine()}-{_processor_flags()}-{jaxlib.version.__version__}"
    return home() / "xla" / about


def _processor_flags() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = [platform.processor()]
    about = sorted(
        {x for x in lines if x.startswith(("flags", "Features", "model name"))}
    )
    return hashlib.sha256("\n".join(about).encode()).hexdigest()[:12]
