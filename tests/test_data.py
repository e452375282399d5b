"""Data: the embedded set, arrays, tables, folders; what is refused, and how."""

import hashlib
import os
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

import jaxwd as wd
from jaxwd.data import cache, from_arrays

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (60, 8, 8), np.uint8)
LABELS = np.arange(60) % 3


# --- embedded -------------------------------------------------------------------------


def test_embedded_set_is_real_balanced_and_small():
    data = wd.load()
    sizes = [split.examples for split in (data.train, data.validation, data.test)]
    assert sizes == [8000, 2000, 2000]
    for split in (data.train, data.validation, data.test):
        assert split.inputs.dtype == np.uint8
        assert split.inputs.shape[1:] == (28, 28, 1)
        assert len(set(np.bincount(split.targets))) == 1
    file = pathlib.Path(wd.__file__).parent / "data/fashion_mnist_12k.npz"
    assert file.stat().st_size <= 6_000_000
    assert "Zalando" in file.with_suffix(".LICENSE").read_text()


def test_embedded_splits_share_no_image():
    data = wd.load()
    seen = [
        {hashlib.sha256(image.tobytes()).digest() for image in split.inputs}
        for split in (data.train, data.validation, data.test)
    ]
    assert sum(map(len, seen)) >= 11_990  # the official set holds a few doubles
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


def test_embedded_images_are_the_official_ones(official_fashion_mnist):
    official = {hashlib.sha256(i.tobytes()).digest() for i in official_fashion_mnist}
    data = wd.load()
    for split in (data.train, data.validation):
        for image in split.inputs[:200]:
            assert hashlib.sha256(image.tobytes()).digest() in official


# --- arrays ---------------------------------------------------------------------------


def test_arrays_are_split_in_balance_and_without_loss():
    data = from_arrays(IMAGES, LABELS, validation=0.2, test=0.2)
    sizes = [split.examples for split in (data.train, data.validation, data.test)]
    assert sizes == [36, 12, 12]
    for split in (data.train, data.validation, data.test):
        assert len(set(np.bincount(split.targets))) == 1
    together = np.concatenate(
        [s.inputs for s in (data.train, data.validation, data.test)]
    )
    order = lambda x: sorted(i.tobytes() for i in x)  # noqa: E731
    assert order(together) == order(IMAGES)


def test_moments_are_those_of_the_training_images():
    data = from_arrays(IMAGES, LABELS)
    x = data.train.inputs.astype(np.float64)
    np.testing.assert_allclose(data.mean, x.mean((0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(data.std, x.std((0, 1, 2)), rtol=1e-9)
    floats = from_arrays(IMAGES.astype(np.float32), LABELS)
    np.testing.assert_allclose(floats.mean, data.mean, rtol=1e-6)
    np.testing.assert_allclose(floats.std, data.std, rtol=1e-6)


def test_a_feature_that_never_changes_is_not_divided_by_zero():
    x = np.ones((40, 3))
    x[:, 0] = np.arange(40)
    data = from_arrays(x, np.arange(40.0), task="regression")
    assert data.std[1:] == (1.0, 1.0)


def test_take_keeps_classes_in_balance_and_is_nested():
    data = wd.load()
    small, large = data.take(100), data.take(1000)
    assert set(np.bincount(small.train.targets)) == {10}
    inside = {i.tobytes() for i in large.train.inputs}
    assert all(i.tobytes() in inside for i in small.train.inputs)
    assert small.test is data.test


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (
            IMAGES[None, :, :, :, None],
            LABELS[:1],
            r"inputs of shape \(1, 60, 8, 8, 1\)",
        ),
        (IMAGES.astype(np.int32), LABELS, "images of dtype int32; give uint8"),
        (IMAGES, LABELS[:-1], "60 inputs but 59 targets"),
        (
            IMAGES,
            LABELS.astype(float),
            "labels of shape .* dtype float64; give integers",
        ),
        (IMAGES, LABELS - 1, "labels from -1 to 1; allowed are 0 and up"),
        (
            IMAGES,
            np.zeros(60, int),
            "all training labels are 0; a classification needs",
        ),
        (IMAGES[:0], LABELS[:0], "no examples"),
        (
            np.where(IMAGES > 250, np.nan, 1.0),
            LABELS,
            "hold NaN or infinity, the first",
        ),
        (IMAGES[:4], LABELS[:4], "leave an empty split"),
        (np.array([["a"]] * 60), LABELS, "features of dtype <U1; give numbers"),
    ],
)
def test_bad_arrays_are_named(inputs, targets, message):
    with pytest.raises(wd.InputError, match=message):
        from_arrays(inputs, targets)


def test_unknown_tasks_are_refused():
    with pytest.raises(wd.InputError, match="did you mean 'classification'"):
        from_arrays(IMAGES, LABELS, task="clasification")


def test_labels_beyond_the_class_names_are_refused():
    with pytest.raises(wd.InputError, match="labels from 0 to 2; allowed are 0 to 1"):
        from_arrays(IMAGES, LABELS, classes=("a", "b"))


@pytest.mark.parametrize("n", [9, 8001, 0])
def test_taking_too_few_or_too_many_is_refused(n):
    with pytest.raises(wd.InputError, match=f"train_examples={n}"):
        wd.load().take(n)


# --- tables ---------------------------------------------------------------------------


def test_friedman_is_its_formula_and_standardised():
    data = wd.load("friedman")
    assert data.task == "regression"
    assert data.outputs == 1
    targets = np.concatenate(
        [s.targets for s in (data.train, data.validation, data.test)]
    )
    np.testing.assert_allclose(targets.mean(), 0, atol=1e-6)
    np.testing.assert_allclose(targets.std(), 1, rtol=1e-5)
    x, y = data.train
    truth = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
    truth += 10 * x[:, 3] + 5 * x[:, 4]
    assert np.corrcoef(truth, y[:, 0])[0, 1] > 0.97


@pytest.mark.parametrize(("name", "n"), [("digits", 1797), ("diabetes", 442)])
def test_scikit_learn_sets_load_whole(name, n):
    data = wd.load(name)
    assert sum(s.examples for s in (data.train, data.validation, data.test)) == n


def test_unknown_names_show_the_nearest():
    with pytest.raises(wd.InputError, match="did you mean 'fashion_mnist"):
        wd.load("fashion_mnst")
    with pytest.raises(wd.InputError, match="needs a name, as in folder:plants"):
        wd.load("folder")


# --- folders --------------------------------------------------------------------------


@pytest.fixture
def plants(tmp_path):
    """A folder of pictures as people have them: mixed sizes, modes, formats, names."""
    kinds = [
        ("RGB", "png"),
        ("L", "jpg"),
        ("RGBA", "png"),
        ("P", "gif"),
        ("RGB", "webp"),
    ]
    for c, name in enumerate(["oak", "fern", "moss"]):
        folder = tmp_path / "plants" / name
        (folder / "more").mkdir(parents=True)
        for i in range(12):
            mode, suffix = kinds[i % len(kinds)]
            size = (10 + 3 * i, 30 - i)
            pixels = RNG.integers(0, 80, (size[1], size[0], 3)) + 80 * c
            image = Image.fromarray(pixels.astype(np.uint8)).convert(mode)
            image.save(folder / ("more" if i % 2 else "") / f"{i}.{suffix}")
        (folder / "notes.txt").write_text("no picture")
        (folder / ".DS_Store").write_bytes(b"\0")
    return tmp_path / "plants"


@pytest.mark.parametrize("grayscale", [False, True])
def test_folder_of_mixed_pictures(plants, grayscale):
    data = wd.load(f"folder:{plants}", image_size=16, grayscale=grayscale)
    assert data.classes == ("fern", "moss", "oak")
    assert data.input_shape == (16, 16, 1 if grayscale else 3)
    assert sum(s.examples for s in (data.train, data.validation, data.test)) == 36
    # oak is darkest and moss brightest: labels belong to their pictures
    means = [data.train.inputs[data.train.targets == c].mean() for c in range(3)]
    assert means[2] < means[0] < means[1]


def test_folder_with_splits_uses_them(plants, tmp_path):
    root = tmp_path / "split"
    for part in ("train", "val", "test"):
        for name in ("oak", "fern"):
            (root / part / name).mkdir(parents=True)
            for i in range(3 if part == "train" else 2):
                Image.new("RGB", (9, 9), (i, i, i)).save(
                    root / part / name / f"{i}.png"
                )
    data = wd.load(f"folder:{root}", image_size=8)
    sizes = [split.examples for split in (data.train, data.validation, data.test)]
    assert sizes == [6, 4, 4]


@pytest.mark.parametrize("parts", [("train", "test"), ("train", "val"), ("train",)])
def test_missing_splits_are_held_out_of_train(tmp_path, parts):
    """The usual layout of competitions: `train` and `test` are no classes."""
    for part in parts:
        for shade, name in enumerate(("oak", "fern")):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(12):
                color = (100 * shade, i, ord(part[0]))
                image = Image.new("RGB", (8, 8), color)
                image.save(tmp_path / part / name / f"{i}.png")
    data = wd.load(f"folder:{tmp_path}", image_size=8)
    assert data.classes == ("fern", "oak")
    sizes = [split.examples for split in (data.train, data.validation, data.test)]
    assert sum(sizes) == 24 * len(parts)
    assert min(sizes) >= 4
    if "test" in parts:
        assert set(data.test.inputs[..., 2].ravel()) == {ord("t")}


def test_names_of_any_bytes_are_read(plants):
    import os

    source = (plants / "oak" / "0.png").read_bytes()
    with open(os.fsencode(plants / "oak") + b"/caf\xe9.png", "wb") as file:
        file.write(source)
    data = wd.load(f"folder:{plants}", image_size=8)
    assert sum(s.examples for s in (data.train, data.validation, data.test)) == 37


def test_folder_is_decoded_once(plants, monkeypatch):
    first = wd.load(f"folder:{plants}", image_size=16)
    monkeypatch.setattr(
        "jaxwd.data.folder.decode", None
    )  # a second decoding would fail
    again = wd.load(f"folder:{plants}", image_size=16)
    np.testing.assert_array_equal(first.train.inputs, again.train.inputs)


def test_upright_by_exif_and_sixteen_bits(tmp_path):
    from jaxwd.data.folder import decode

    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    turned = decode(tmp_path / "turned.png", None, False)
    assert turned.shape == (8, 4, 3)
    assert turned[0, 0, 0] == 255
    deep = np.array([[0, 256 * 100], [256 * 200, 65535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    got = decode(tmp_path / "deep.png", None, True)
    np.testing.assert_array_equal(got[..., 0], [[0, 100], [200, 255]])


def test_unreadable_and_truncated_pictures_are_named(plants):
    whole = (plants / "oak" / "0.png").read_bytes()
    (plants / "oak" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (plants / "fern" / "not.jpg").write_text("hello")
    with pytest.raises(wd.InputError, match=r"2 unreadable image file") as error:
        wd.load(f"folder:{plants}")
    assert "cut.png" in str(error.value)
    assert "not.jpg" in str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "is no folder; give folder:PATH"),
        (lambda p: p.mkdir(), "is empty; it needs one sub-folder"),
        (lambda p: (p / "oak").mkdir(parents=True), "has the one class 'oak'"),
        (
            lambda p: [(p / x).mkdir(parents=True) for x in ("oak", "fern")],
            "no pictures for class fern, oak",
        ),
    ],
)
def test_bad_folders_are_named(tmp_path, make, message):
    make(tmp_path / "x")
    with pytest.raises(wd.InputError, match=message):
        wd.load(f"folder:{tmp_path / 'x'}")


def test_a_class_with_too_few_pictures_is_named(plants):
    for file in list((plants / "oak").rglob("*.*"))[3:]:
        file.unlink()
    with pytest.raises(wd.InputError, match=r"class 'oak' has \d pictures; at least 4"):
        wd.load(f"folder:{plants}")


def test_hidden_folders_of_a_class_are_left_out(plants):
    before = len(wd.load(f"folder:{plants}", image_size=4).train.inputs)
    some = next(path for path in plants.iterdir() if path.is_dir())
    hidden = some / ".thumbs"
    hidden.mkdir()
    for file in [*some.glob("*.*")]:
        if file.is_file():
            shutil.copy(file, hidden)
            (hidden / f"link-{file.name}").symlink_to("/nowhere")
    assert len(wd.load(f"folder:{plants}", image_size=4).train.inputs) == before


def test_two_folders_alike_by_names_sizes_and_times_are_two(tmp_path):
    for root, shade in (("one", 3), ("two", 103)):
        for label in "ab":
            (tmp_path / root / label).mkdir(parents=True)
            for i in range(8):
                path = tmp_path / root / label / f"{i}.bmp"
                Image.new("L", (4, 4), shade).save(path)
                os.utime(path, (0, 0))
    for root, shade in (("one", 3), ("two", 103)):
        data = wd.load(f"folder:{tmp_path / root}", image_size=4, grayscale=True)
        assert np.unique(data.train.inputs) == [shade]


# --- the cache ------------------------------------------------------------------------


def test_truncated_cache_file_is_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXWD_CACHE", str(tmp_path))
    cache.decoded("x", lambda: {"a": np.arange(1000)})
    file = tmp_path / "decoded" / "x.2.npz"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(wd.InputError, match=r"x\.2\.npz cannot be read .* delete it"):
        cache.decoded("x", dict)
    file.write_text("rubbish")
    with pytest.raises(wd.InputError, match="delete it"):
        cache.decoded("x", dict)


def test_every_bit_of_a_cache_file_is_right_or_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXWD_CACHE", str(tmp_path))
    want = {"_images": np.arange(3), "_labels": np.arange(2)}
    cache.decoded("x", lambda: want)
    file = tmp_path / "decoded" / "x.2.npz"
    whole = file.read_bytes()
    refused = 0
    for bit in range(0, 8 * len(whole), 7):  # 7: every place in a byte has its turn
        byte, place = divmod(bit, 8)
        file.write_bytes(
            whole[:byte] + bytes([whole[byte] ^ 1 << place]) + whole[byte + 1 :]
        )
        try:
            got = cache.decoded("x", dict)
        except wd.InputError:
            refused += 1
        else:
            assert got.keys() == want.keys()
            for name, array in want.items():
                np.testing.assert_array_equal(got[name], array)
    assert refused > len(whole) / 2


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("JAXWD_CACHE", str(blocked))
    got = cache.decoded("x", lambda: {"a": np.arange(3)})
    np.testing.assert_array_equal(got["a"], [0, 1, 2])


def test_the_cache_leaves_no_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXWD_CACHE", str(tmp_path))
    cache.decoded("x", lambda: {"a": np.arange(3)})
    assert [p.name for p in (tmp_path / "decoded").iterdir()] == ["x.2.npz"]
