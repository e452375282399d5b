"""TFDS without TensorFlow: real preparation, checksums on, no long silence offline."""

import gzip
import http.server
import io
import pathlib
import shutil
import socket
import struct
import sys
import tarfile
import threading
import time
import urllib.parse

import numpy as np
import pytest
from PIL import Image

import jaxwd as wd
from jaxwd.data import tfds_builders
from jaxwd.data.formats import png, read_cifar, read_idx
from jaxwd.data.network import reachable
from jaxwd.data.tfds_builders import DEBIAN, IDX_FILES

pytestmark = [
    # TFDS 4.9 itself: old spellings in protobuf, six and importlib.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

needs_debian = pytest.mark.skipif(
    not DEBIAN.is_dir(), reason="needs `apt-get install dataset-fashion-mnist`"
)


@needs_debian
def test_fashion_mnist_is_prepared_from_debians_files(
    fashion_root, official_fashion_mnist
):
    data = wd.load("fashion_mnist", data_dir=str(fashion_root))
    sizes = [split.examples for split in (data.train, data.validation, data.test)]
    assert sizes == [50_000, 10_000, 10_000]
    assert data.classes[9] == "Ankle boot"
    assert set(np.bincount(data.validation.targets)) == {1000}
    ours = np.concatenate([data.train.inputs, data.validation.inputs])[..., 0]
    order = lambda x: np.sort(x.reshape(len(x), -1).astype(np.int64) @ WEIGHTS)  # noqa: E731
    np.testing.assert_array_equal(order(ours), order(official_fashion_mnist))
    assert "tensorflow" not in sys.modules


WEIGHTS = np.random.default_rng(0).integers(1, 2**40, 784)


@needs_debian
def test_tfds_reads_what_was_prepared(fashion_root):
    import tensorflow_datasets as tfds

    source = tfds.data_source("fashion_mnist", split="test", data_dir=fashion_root)
    assert len(source) == 10_000
    assert source[0]["image"].shape == (28, 28, 1)


class _Proxy(http.server.BaseHTTPRequestHandler):
    """A web server that answers for any host with the files it was given."""

    files: dict[str, bytes]
    asked: list[str]

    def do_GET(self):
        self.asked.append(self.path)
        body = self.files.get(urllib.parse.urlsplit(self.path).path.rsplit("/", 1)[-1])
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *args):
        pass


@pytest.fixture
def network(monkeypatch):
    """A network of its own behind an HTTP proxy; yields the handler to be filled."""
    handler = type("Handler", (_Proxy,), {"files": {}, "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield handler
    server.shutdown()
    server.server_close()


@needs_debian
def test_fashion_mnist_comes_from_the_network_when_debian_has_none(
    network, tmp_path, monkeypatch
):
    """TFDS's own downloader fetches the official files and checks their SHA-256."""
    official = pathlib.Path(tfds_builders._restore_debian(tmp_path))
    network.files = {name: (official / name).read_bytes() for name in IDX_FILES}
    monkeypatch.setattr(tfds_builders, "DEBIAN", tmp_path / "nothing")
    tfds_builders.prepare("fashion_mnist", tmp_path / "root")
    assert {path.rsplit("/", 1)[-1] for path in network.asked} == set(IDX_FILES)
    assert (tmp_path / "root/fashion_mnist/3.0.1/dataset_info.json").exists()


@needs_debian
def test_a_damaged_download_is_refused_by_its_checksum(network, tmp_path, monkeypatch):
    official = pathlib.Path(tfds_builders._restore_debian(tmp_path))
    network.files = {name: (official / name).read_bytes()[:-9] for name in IDX_FILES}
    monkeypatch.setattr(tfds_builders, "DEBIAN", tmp_path / "nothing")
    with pytest.raises(wd.InputError, match="fashion_mnist: .*checksum"):
        tfds_builders.prepare("fashion_mnist", tmp_path / "root")
    assert not (tmp_path / "root/fashion_mnist/3.0.1").exists()


def test_files_from_a_manual_folder_are_checked_too(tmp_path):
    for name in IDX_FILES:
        (tmp_path / name).write_bytes(b"not the file")
    with pytest.raises(wd.InputError, match="mnist: .*checksum"):
        wd.load("mnist", data_dir=str(tmp_path / "r"), manual_dir=str(tmp_path))


# --- offline --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mnist", "kmnist", "cifar10", "cifar100"])
def test_offline_fails_within_seconds_and_says_what_to_do(name, tmp_path, monkeypatch):
    def no_name(*args, **kwargs):
        raise socket.gaierror("no network")

    monkeypatch.setattr(socket, "getaddrinfo", no_name)
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    start = time.perf_counter()
    with pytest.raises(wd.InputError, match="does not answer; download by hand"):
        wd.load(name, data_dir=str(tmp_path))
    assert time.perf_counter() - start < 5


def test_a_network_that_swallows_packets_fails_within_seconds(tmp_path, monkeypatch):
    """A name server that never answers holds no one up."""

    def silent(*args, **kwargs):
        time.sleep(5)
        raise socket.gaierror("gave up")  # nobody listens any more

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    for variable in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    start = time.perf_counter()
    assert not reachable("https://example.org/file", seconds=0.3)
    assert time.perf_counter() - start < 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tfds:no_such_set", "is no dataset that TFDS knows"),
        ("tfds:beans", "is not prepared as array_record under .*`tfds build beans"),
        ("tfds:A B", "is no name of a dataset"),
        ("tfds:huggingface:mnist", "is no name of a dataset"),
        ("tfds:penguins", "has the features .* is needed"),
    ],
)
def test_what_tfds_cannot_give_is_said(name, message, tmp_path):
    with pytest.raises(wd.InputError, match=message):
        wd.load(name, data_dir=str(tmp_path))


# --- file formats ------------------------------------------------------------------------


def test_idx_files_are_read(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (5, 28, 28), np.uint8), np.arange(5, dtype=np.uint8)
    images, labels = tmp_path / "i.gz", tmp_path / "l.gz"
    head = struct.pack(">4i", 2051, 5, 28, 28)
    images.write_bytes(gzip.compress(head + x.tobytes()))
    labels.write_bytes(gzip.compress(struct.pack(">2i", 2049, 5) + y.tobytes()))
    for (i, example), image in zip(read_idx(images, labels), x, strict=True):
        assert example["label"] == i
        got = np.asarray(Image.open(io.BytesIO(example["image"])))
        np.testing.assert_array_equal(got, image)


@pytest.mark.parametrize("keys", [["label"], ["coarse_label", "label"]])
def test_cifar_archives_are_read_as_tfds_reads_them(tmp_path, keys):
    """The same records as TFDS's own reader, from an archive in CIFAR's format."""
    from tensorflow_datasets.image_classification import cifar

    rng = np.random.default_rng(0)
    n, width = 7, len(keys) + 3072
    records = rng.integers(0, 256, (n, width), np.uint8)
    records[:, : len(keys)] %= 10
    archive = tmp_path / "cifar.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("batches/one.bin")
        member.size = records.nbytes
        tar.addfile(member, io.BytesIO(records.tobytes()))
    ours = list(read_cifar(archive, ["batches/one.bin"], keys, "train_"))

    class Opened(io.BytesIO):
        pass

    class Gfile:
        class io:
            class gfile:
                GFile = staticmethod(lambda path, mode: Opened(records.tobytes()))

    original, cifar.tf = cifar.tf, Gfile
    try:
        theirs = list(cifar._load_data("x", len(keys)))
    finally:
        cifar.tf = original
    assert [index for index, _ in ours] == list(range(n))
    for (index, example), (labels, image) in zip(ours, theirs, strict=True):
        got = np.asarray(Image.open(io.BytesIO(example["image"])))
        np.testing.assert_array_equal(got, image)
        assert [example[key] for key in keys] == labels.tolist()
        assert example["id"] == f"train_{index:05d}"


def test_any_prepared_set_is_read_by_name(tmp_path):
    """A set of mixed image sizes and only a train split, written by TFDS itself."""
    import tensorflow_datasets as tfds

    rng = np.random.default_rng(0)

    class Leaves(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = None

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(
                    {
                        "image": tfds.features.Image(shape=(None, None, 3)),
                        "label": tfds.features.ClassLabel(names=["oak", "fern"]),
                    }
                ),
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for i in range(24):
                pixels = rng.integers(0, 256, (8 + i % 3, 9, 3)).astype(np.uint8)
                yield i, {"image": png(pixels), "label": i % 2}

    Leaves(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    with pytest.raises(wd.InputError, match="3 different shapes; give image_size"):
        wd.load("tfds:leaves", data_dir=str(tmp_path))
    data = wd.load("tfds:leaves", data_dir=str(tmp_path), image_size=8)
    assert data.classes == ("oak", "fern")
    sizes = [split.examples for split in (data.train, data.validation, data.test)]
    assert sum(sizes) == 24
    assert min(sizes) > 0
    # Another preparation of the same name and version is not taken from the cache.
    first = data.train.inputs.copy()
    shutil.rmtree(tmp_path / "leaves")
    Leaves(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    again = wd.load("tfds:leaves", data_dir=str(tmp_path), image_size=8)
    assert (again.train.inputs != first).any()
