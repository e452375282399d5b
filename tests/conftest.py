"""Strict switches for the whole suite; all are set before JAX is imported."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "2")
# XLA splits sums by the number of threads; two everywhere gives the same bits.
os.environ.setdefault("NPROC", "2")
os.environ.setdefault("TFDS_DATA_DIR", "/nonexistent/jaxwd-tests")

import signal
import sys

import jax
import pytest
from hypothesis import settings

sys.path.insert(0, os.path.dirname(__file__))

# A shell's background jobs ignore Ctrl-C, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

jax.config.update("jax_debug_key_reuse", True)

# The first example of a property compiles, so no deadline; the same examples each run.
settings.register_profile("jaxwd", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("jaxwd")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """Keep decoded data of tests out of the user's cache, and theirs out of tests."""
    monkeypatch.setenv("JAXWD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def x64():
    """Compute in float64 inside one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def official_fashion_mnist():
    """The official 60,000 training images, from Debian's dataset-fashion-mnist."""
    import gzip

    import numpy as np

    path = "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz"
    if not os.path.exists(path):
        pytest.skip("needs `apt-get install dataset-fashion-mnist`")
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)


@pytest.fixture(scope="session")
def fashion_root(tmp_path_factory):
    """The real fashion_mnist, prepared from Debian's files by TFDS, checksums on."""
    from jaxwd.data import tfds_builders

    root = tmp_path_factory.mktemp("tfds")
    tfds_builders.prepare("fashion_mnist", root)
    return root
