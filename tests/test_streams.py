"""Streams: the rows of `load`, the order of `run`, each row once, one line on a bad day."""

import dataclasses
import json
import os
import pathlib
import sys

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_tfds import needs_debian
from test_training import TINY

import jaxwd as wd
from jaxwd.data.streams import from_sources
from jaxwd.data.streams.moments import measured
from jaxwd.data.streams.pipeline import Order, Steps, batches
from jaxwd.data.streams.records import _part_of
from jaxwd.data.streams.source import Held, Rows, Source
from jaxwd.data.streams.stream import from_dataset
from jaxwd.training.functions import order_of
from jaxwd.training.streaming.pieces import cut, pieces

pytestmark = [
    # TFDS 4.9 itself: old spellings in protobuf, six and importlib.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SMALL = 5_000  # bytes a piece: four steps of 16 digits, so that pieces matter
PLAIN = dataclasses.replace(TINY, train_examples=None)


@pytest.fixture(scope="module")
def digits():
    return wd.load("digits").take(200)


class Counted(Source):
    """A source that notes which rows were read."""

    def __init__(self, source):
        self.name, self.source, self.seen = source.name, source, []

    def __len__(self):
        return len(self.source)

    def read(self, rows):
        self.seen.append(rows.tolist())
        return self.source.read(rows)


def assert_same(a, b):
    """Two results are equal bit for bit, but for their times."""
    for x, y in zip(jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True):
        np.testing.assert_array_equal(x, y)
    clocks = {"seconds"}
    for x, y in zip([*a.history, a.final], [*b.history, b.final], strict=True):
        assert x.keys() == y.keys()
        for key in x.keys() - clocks:
            np.testing.assert_array_equal(x[key], y[key], err_msg=key)


# --- a streamed training is the training in memory ------------------------------------


RECIPES = {
    "sgd": PLAIN,
    "adam, dropout, average": dataclasses.replace(
        PLAIN, optimizer="adam", learning_rate=0.003, dropout=0.3, average=0.9
    ),
    "noisy labels of some examples": dataclasses.replace(
        TINY, label_noise=0.3, train_examples=150, decay=wd.coupled(0.01)
    ),
}


@pytest.mark.parametrize(
    ("name", "piece_bytes"), [*((name, SMALL) for name in RECIPES), ("sgd", 2**20)]
)
def test_streamed_equals_in_memory(name, piece_bytes, digits):
    recipe = RECIPES[name]
    streamed = wd.run_streamed(recipe, digits, piece_bytes=piece_bytes)
    assert_same(wd.run(recipe, digits), streamed)


@pytest.fixture(scope="module")
def alone(digits):
    return wd.run(dataclasses.replace(PLAIN, epochs=1), digits)


@pytest.mark.parametrize("layout", ["sharded", "shard_map", "pmap", "fsdp"])
def test_a_stream_is_spread_over_devices_as_arrays_are(layout, alone, digits):
    """Two devices, in pieces; the last batch of an evaluation is filled up."""
    spread = wd.run_streamed(alone.recipe, digits, layout=layout, piece_bytes=SMALL)
    for x, y in zip(
        jax.tree.leaves(alone.params), jax.tree.leaves(spread.params), strict=True
    ):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
    for key in alone.final.keys() - {"seconds", "decay_share"}:
        assert spread.final[key] == pytest.approx(alone.final[key], rel=1e-5), key


def test_a_regression_streams_too():
    recipe = wd.Recipe(
        dataset="friedman", model="mlp", model_options={"hidden": (4,)}, epochs=1
    )
    assert_same(wd.run(recipe), wd.run_streamed(recipe))


def test_every_row_is_read_at_most_once_an_epoch(digits):
    data = from_dataset(digits)
    seen = Counted(data.train)
    recipe = PLAIN
    wd.run_streamed(recipe, dataclasses.replace(data, train=seen), threads=0)
    n, steps = len(data.train), recipe.steps_per_epoch(len(data.train))
    shape, taken = seen.seen[0], seen.seen[1 : 2 * steps + 1]
    assert shape == [0]  # the shape is learnt of one row
    root = jax.random.key(recipe.seed)
    for epoch in range(2):
        rows = np.concatenate(taken[epoch * steps : (epoch + 1) * steps])
        wanted = order_of(root, epoch, n)[: steps * recipe.batch_size]
        np.testing.assert_array_equal(rows, wanted)
        assert len(set(rows.tolist())) == len(rows)
    # Behind them the whole split once, for the metrics at the end.
    rows = np.concatenate(seen.seen[2 * steps + 1 :])
    np.testing.assert_array_equal(rows, np.arange(n))


# --- the pipeline -----------------------------------------------------------------------


@given(
    examples=st.integers(8, 60),
    batch=st.sampled_from([4, 8]),
    processes=st.sampled_from([1, 2, 4]),
    epochs=st.integers(1, 3),
)
def test_the_shares_of_all_processes_are_the_batch_of_one(
    examples, batch, processes, epochs
):
    source = Held(wd.data.Split(np.arange(examples), np.arange(examples)))
    order = Order(lambda e: np.random.default_rng(e).permutation(examples))
    steps = examples // batch
    one = Steps(source, order, batch, steps, epochs)
    parts = [
        Steps(source, order, batch, steps, epochs, process, processes)
        for process in range(processes)
    ]
    for step in range(len(one)):
        joined = np.concatenate([part[step].inputs for part in parts])
        np.testing.assert_array_equal(joined, one[step].inputs)
        assert {len(part[step].inputs) for part in parts} == {batch // processes}
    for epoch in range(epochs):
        rows = np.concatenate([one.rows(epoch * steps + i) for i in range(steps)])
        assert len(set(rows.tolist())) == steps * batch


@pytest.mark.parametrize("threads", [0, 3])
def test_an_iterator_goes_on_from_its_state(threads):
    source = Held(wd.data.Split(np.arange(40), np.arange(40)))

    def start():
        order = Order(lambda e: np.random.default_rng(e).permutation(40))
        return batches(source, order, 8, 5, 3, threads=threads)

    whole = start()
    everything = [next(whole).inputs.tolist() for _ in range(15)]
    assert next(whole, None) is None
    stopped = start()
    for _ in range(7):
        next(stopped)
    state = json.loads(json.dumps(stopped.get_state()))
    again = start()
    again.set_state(state)
    assert [x.inputs.tolist() for x in again] == everything[7:]
    for iterator in (whole, stopped, again):
        iterator.close()


def test_an_order_keeps_two_epochs_and_no_more():
    made = []
    order = Order(lambda e: made.append(e) or np.arange(5))
    for epoch in (0, 1, 0, 1, 2, 1, 2, 3):
        assert order(epoch).dtype == np.int32
        assert len(order._kept) <= 2
    assert made == [0, 1, 2, 3]


@given(st.integers(1, 60), st.integers(1, 20), st.none() | st.integers(1, 30))
def test_pieces_cover_every_step_once_and_the_same_after_a_stop(steps, most, every):
    assert sum(cut(steps, most)) == steps
    assert max(cut(steps, most)) <= most
    assert 2 not in cut(steps, most)
    found = list(pieces(steps, 3, most, every))
    at = 0
    for piece in found:
        assert piece.epoch * steps + piece.start == at
        at += piece.steps
        inside = piece.start + piece.steps
        assert piece.ends == (inside == steps)
        assert piece.saves == (piece.ends or inside % (every or steps) == 0)
    assert at == 3 * steps
    for i, piece in enumerate(found[:-1]):
        done = piece.epoch * steps + piece.start + piece.steps
        rest = list(pieces(steps, 3, most, every, done))
        if piece.saves:
            assert rest == found[i + 1 :]
        # Another `every` than before: saves stand where they always do.
        ends = [p.epoch * steps + p.start + p.steps for p in found if p.saves]
        again = [p.epoch * steps + p.start + p.steps for p in rest if p.saves]
        assert again == [end for end in ends if end > done]


# --- a stop and going on ----------------------------------------------------------------


class Stopping(Source):
    """A source that fails at the n-th read."""

    def __init__(self, source, reads):
        self.name, self.source, self.left = source.name, source, reads

    def __len__(self):
        return len(self.source)

    def read(self, rows):
        self.left -= 1
        if self.left < 0:
            raise wd.InputError("no more")
        return self.source.read(rows)


@pytest.mark.parametrize("reads", [6, 14, 24])
def test_a_stop_in_an_epoch_changes_no_bit(reads, digits, tmp_path):
    """From a checkpoint within an epoch on, with dropout and an average of weights."""
    recipe = dataclasses.replace(PLAIN, dropout=0.3, average=0.9)
    data = from_dataset(digits)
    how = {"every_steps": 5, "piece_bytes": SMALL, "threads": 0}
    whole = wd.run_streamed(recipe, data, **how)
    stopped = dataclasses.replace(data, train=Stopping(data.train, reads))
    with pytest.raises(wd.InputError, match="no more"):
        wd.run_streamed(recipe, stopped, checkpoints=tmp_path / "c", **how)
    seen = Counted(data.train)
    rows = []
    again = wd.run_streamed(
        recipe,
        dataclasses.replace(data, train=seen),
        checkpoints=tmp_path / "c",
        on_epoch=rows.append,
        **how,
    )
    assert_same(whole, again)
    assert rows == again.history
    steps = recipe.steps_per_epoch(len(data.train)) * 2
    read = sum(len(rows) == recipe.batch_size for rows in seen.seen)
    assert 0 < read < steps  # it did not begin anew


def test_another_length_since_the_checkpoint_is_refused(digits, tmp_path):
    data = from_dataset(digits)
    recipe = dataclasses.replace(PLAIN, epochs=1)
    wd.run_streamed(recipe, data, checkpoints=tmp_path / "c")
    n = len(data.train)
    shorter = dataclasses.replace(data, train=Rows(data.train, np.arange(n - 1)))
    with pytest.raises(wd.InputError, match=rf"other data .*{n}/.*{n - 1}/") as error:
        wd.run_streamed(recipe, shorter, checkpoints=tmp_path / "c")
    assert "\n" not in str(error.value)


# --- sources ------------------------------------------------------------------------------


def save_npy(folder, n=60, splits=("train_", "validation_", "test_")):
    rng = np.random.default_rng(0)
    for prefix in splits:
        np.save(
            folder / f"{prefix}inputs.npy", rng.integers(0, 256, (n, 4, 4), np.uint8)
        )
        np.save(folder / f"{prefix}targets.npy", np.arange(n) % 3)


@pytest.mark.parametrize("splits", [("train_", "validation_", "test_"), ("",)])
def test_npy_pairs(splits, tmp_path):
    save_npy(tmp_path, splits=splits)
    data = wd.stream(f"npy:{tmp_path}")
    sizes = [len(part) for part in (data.train, data.validation, data.test)]
    assert sizes == ([60, 60, 60] if len(splits) > 1 else [42, 9, 9])
    assert (data.input_shape, data.outputs, data.task) == (
        (4, 4, 1),
        3,
        "classification",
    )
    inputs = np.load(tmp_path / f"{splits[0]}inputs.npy")
    rows = np.array([5, 1, 30])
    np.testing.assert_array_equal(data.train.read(rows).inputs[..., 0], inputs[rows])
    assert np.bincount(data.test.targets()).tolist() == [sizes[2] // 3] * 3
    assert data.mean == (pytest.approx(inputs[: sizes[0]].mean(), rel=1e-12),)


def test_sequences_in_npy_files_are_a_language(tmp_path):
    text = np.random.default_rng(0).integers(0, 7, (50, 9))
    np.save(tmp_path / "inputs.npy", text[:, :-1])
    np.save(tmp_path / "targets.npy", text[:, 1:])
    data = wd.stream(f"npy:{tmp_path}")
    assert (data.task, data.outputs, data.output_shape) == ("language", 7, (8, 7))
    assert data.train.read(np.array([1])).inputs.dtype == np.int32


def picture_folder(root, sizes=((9, 7), (5, 5))):
    rng = np.random.default_rng(0)
    for label, name in enumerate(("fern", "oak")):
        (root / name).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, 256, (*sizes[i % len(sizes)], 3), np.uint8)
            pixels[..., label] = 255
            Image.fromarray(pixels).save(root / name / f"{i:02}.png")
    return root


def test_a_folder_streams_the_rows_that_load_gives(tmp_path):
    root = picture_folder(tmp_path / "plants")
    data = wd.load(f"folder:{root}", image_size=8)
    streamed = wd.stream(f"folder:{root}", image_size=8)
    for part in ("train", "validation", "test"):
        whole, source = getattr(data, part), getattr(streamed, part)
        got = source.read(np.arange(len(source)))
        np.testing.assert_array_equal(got.inputs, whole.inputs)
        np.testing.assert_array_equal(got.targets, whole.targets)
    assert (streamed.mean, streamed.std) == (data.mean, data.std)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """TFDS's own array_record files of 24 pictures."""
    import tensorflow_datasets as tfds

    from jaxwd.data.formats import png

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (24, 6, 6, 3)).astype(np.uint8)

    class Ferns(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = None

        def _info(self):
            image = tfds.features.Image(shape=(6, 6, 3))
            label = tfds.features.ClassLabel(names=["oak", "fern"])
            features = tfds.features.FeaturesDict({"image": image, "label": label})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for i in range(24):
                yield i, {"image": png(pixels[i]), "label": i % 2}

    root = tmp_path_factory.mktemp("ferns")
    Ferns(data_dir=root, file_format="array_record").download_and_prepare()
    return root, next(root.rglob("*.array_record*"))


def test_tfds_and_its_bare_file_stream_the_rows_that_load_gives(records):
    root, file = records
    data = wd.load("tfds:ferns", data_dir=str(root))
    for streamed in (
        wd.stream("tfds:ferns", data_dir=str(root)),
        wd.stream(f"array_record:{file}"),
        wd.stream(f"array_record:{file.parent}"),
    ):
        for part in ("train", "validation", "test"):
            whole, source = getattr(data, part), getattr(streamed, part)
            rows = np.arange(len(source))[::-1]
            got = source.read(rows)
            np.testing.assert_array_equal(got.inputs, whole.inputs[rows])
            np.testing.assert_array_equal(got.targets, whole.targets[rows])
        assert (streamed.mean, streamed.std) == (data.mean, data.std)
        assert streamed.outputs == 2
    assert "tensorflow" not in sys.modules


@needs_debian
def test_the_real_fashion_mnist_streams(fashion_root):
    data = wd.load("fashion_mnist", data_dir=str(fashion_root))
    streamed = wd.stream("fashion_mnist", data_dir=str(fashion_root))
    assert (streamed.mean, streamed.std) == (data.mean, data.std)  # known, not measured
    rows = np.random.default_rng(0).integers(0, 10_000, 100)
    for part in ("train", "validation", "test"):
        got, whole = getattr(streamed, part).read(rows), getattr(data, part)
        np.testing.assert_array_equal(got.inputs, whole.inputs[rows])
        np.testing.assert_array_equal(got.targets, whole.targets[rows])
    recipe = dataclasses.replace(TINY, train_examples=320, epochs=1)
    few = {
        part: Rows(getattr(streamed, part), np.arange(300))
        for part in ("validation", "test")
    }
    few = dataclasses.replace(streamed, **few)
    short = {
        part: wd.data.Split(*(x[:300] for x in getattr(data, part)))
        for part in ("validation", "test")
    }
    short = dataclasses.replace(data, **short)
    assert_same(wd.run(recipe, short), wd.run_streamed(recipe, few))
    assert "tensorflow" not in sys.modules


def test_any_list_of_records_is_a_source():
    made = [{"inputs": np.full(3, i, float), "target": [i / 2]} for i in range(30)]
    data = from_sources("mine", {"train": made}, task="regression")
    assert [len(p) for p in (data.train, data.validation, data.test)] == [21, 5, 4]
    np.testing.assert_array_equal(data.train.read(np.array([4])).targets, [[2.0]])
    assert data.normalized_by == "mean and std measured over 21 training examples"


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_moments_are_those_of_the_arrays(kind):
    x = np.random.default_rng(0).integers(0, 256, (700, 3, 2, 2)).astype(kind)
    source = Held(wd.data.Split(x, np.zeros(700)))
    (mean, std), n = measured(source)
    assert n == 700
    np.testing.assert_allclose(mean, x.mean((0, 1, 2), np.float64), rtol=1e-12)
    np.testing.assert_allclose(std, x.std((0, 1, 2), np.float64), rtol=1e-12)


def test_few_examples_for_the_moments_are_spread_over_the_split():
    """A folder's first ones are all of one class."""
    x = np.repeat(np.arange(100, dtype=np.uint8), 7)[:, None]
    (mean, _), n = measured(Held(wd.data.Split(x, np.zeros(700))), 50)
    assert n == 50
    np.testing.assert_allclose(mean, 49.5, rtol=0.01)


# --- bad days: one line, what was given, what is allowed ---------------------------


def broken_record(root, records):
    copy = root / "train.array_record"
    copy.write_bytes(records[1].read_bytes())
    data = bytearray(copy.read_bytes())
    at = data.index(b"\x89PNG", 3000)
    data[at : at + 60] = b"\xff" * 60
    copy.write_bytes(data)
    return f"array_record:{copy}"


def cut_record(root, records):
    copy = root / "train.array_record"
    copy.write_bytes(records[1].read_bytes()[:-200])
    return f"array_record:{copy}"


def other_record(root, records):
    from array_record.python.array_record_module import ArrayRecordWriter

    writer = ArrayRecordWriter(str(root / "a.array_record"), "group_size:1")
    for _ in range(9):
        writer.write(b"no example")
    writer.close()
    return f"array_record:{root}/a.array_record"


def shards(root, records, *names):
    for name in names:
        (root / name).write_bytes(records[1].read_bytes())
    return f"array_record:{root}"


def a_shard_of_four(root, records):
    return shards(root, records, "x-train.array_record-00000-of-00004")


def shards_of_two_writings(root, records):
    return shards(
        root,
        records,
        "train.array_record-00000-of-00001",
        "train.array_record-00000-of-00002",
        "train.array_record-00001-of-00002",
    )


def half_labels(root, records):
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    writer = ArrayRecordWriter(str(root / "train.array_record"), "group_size:1")
    for i in range(9):
        example = tf_example_pb2.Example()
        example.features.feature["inputs"].float_list.value.append(i)
        example.features.feature["label"].float_list.value.append(i + 0.7)
        writer.write(example.SerializeToString())
    writer.close()
    return f"array_record:{root}"


def cut_npy(root, records):
    save_npy(root)
    file = root / "train_inputs.npy"
    file.write_bytes(file.read_bytes()[:-100])
    return f"npy:{root}"


def unlike_pair(root, records):
    save_npy(root)
    np.save(root / "test_targets.npy", np.arange(3))
    return f"npy:{root}"


def half_pair(root, records):
    save_npy(root)
    (root / "test_targets.npy").unlink()
    return f"npy:{root}"


def objects(root, records):
    save_npy(root)
    np.save(root / "train_targets.npy", np.array([None] * 60), allow_pickle=True)
    return f"npy:{root}"


def by_columns(root, records):
    save_npy(root)
    np.save(
        root / "train_inputs.npy", np.asfortranarray(np.zeros((60, 4, 4), np.uint8))
    )
    return f"npy:{root}"


def not_finite(root, records):
    save_npy(root)
    x = np.zeros((60, 3), np.float32)
    x[17, 1] = np.nan
    for part in ("train", "validation", "test"):
        np.save(root / f"{part}_inputs.npy", x)
    return f"npy:{root}"


def no_picture(root, records):
    (picture_folder(root / "p") / "oak" / "03.png").write_bytes(b"no picture")
    return f"folder:{root}/p"


def nothing(written):
    return lambda root, records: written.format(root=root)


def link(root, records):
    file = picture_folder(root / "p") / "oak" / "03.png"
    file.unlink()
    file.symlink_to("/etc/hostname")
    return f"folder:{root}/p"


def bomb(root, records):
    """A small file that says it holds 400 megapixels."""
    picture_folder(root / "p")
    file = root / "p" / "oak" / "03.png"
    Image.new("1", (20_000, 20_000)).save(file)
    return f"folder:{root}/p"


BAD = {
    "symbolic link": (link, "symbolic link.*03.png"),
    "decompression bomb": (bomb, r"03.png cannot be read \(.*pixels"),
    "corrupted record": (broken_record, r"train: record \d+ .*(cannot|no tf)"),
    "file cut short": (cut_record, "no whole array_record file .* prepare it again"),
    "a shard of four": (a_shard_of_four, "3 of the 4 shards of x-train.* number 1"),
    "two writings": (shards_of_two_writings, "are of different writings; leave the"),
    "labels with halves": (
        half_labels,
        r"record 0 has the label \[0.69.* whole number",
    ),
    "records of another kind": (other_record, "record 0 is no tf.train.Example"),
    "npy cut short": (cut_npy, "train_inputs.npy cannot be read as .npy"),
    "unlike pair": (unlike_pair, "60 inputs in .* but 3 targets in"),
    "half a pair": (half_pair, "test_targets.npy is missing beside"),
    "pickled objects": (objects, "train_targets.npy cannot be read"),
    "stored by columns": (by_columns, "Fortran order"),
    "NaN": (not_finite, "train row 17: 1 inputs hold NaN"),
    "no picture": (no_picture, "03.png cannot be read .*; repair or remove"),
    "missing folder": (nothing("npy:{root}/x"), "is no folder; it needs train_inputs"),
    "missing file": (nothing("array_record:{root}/x"), "does not exist; give a file"),
    "empty folder": (nothing("array_record:{root}"), "has no file with train in"),
    "no name": (nothing("npy:"), "'npy:' needs more: npy:FOLDER"),
    "unknown": (nothing("npi:x"), "unknown stream 'npi:x'.* choose from: array_record"),
    "TFDS knows none": (nothing("tfds:no_such_set"), "no dataset that TFDS knows"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_sources_are_said_in_one_line(name, records, tmp_path):
    make, message = BAD[name]
    given = make(tmp_path, records)
    with pytest.raises(wd.InputError, match=message) as error:
        data = wd.stream(given)
        data.train.read(np.arange(len(data.train)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("trains-test.array_record-00000-of-00001", "test"),
        ("train_images-validation.array_record", "validation"),
        ("testimony-train.array_record", "train"),
        ("mine-val.array_record", "validation"),
        ("fern.array_record", None),
    ],
)
def test_the_last_word_that_names_a_split_names_it(name, part):
    assert _part_of(pathlib.Path(name)) == part


def test_large_reads_come_in_several(tmp_path, monkeypatch):
    """As from Linux, which gives 2 GiB at once at most."""
    save_npy(tmp_path)
    want = wd.stream(f"npy:{tmp_path}").train.read(np.arange(60))
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda f, n, at: real(f, min(n, 100), at))
    got = wd.stream(f"npy:{tmp_path}").train.read(np.arange(60))
    np.testing.assert_array_equal(got.inputs, want.inputs)
    np.testing.assert_array_equal(got.targets, want.targets)


def test_a_file_that_becomes_shorter_while_it_is_read(tmp_path):
    save_npy(tmp_path)
    data = wd.stream(f"npy:{tmp_path}")
    file = tmp_path / "train_inputs.npy"
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.truncate(size - 100)
    with pytest.raises(wd.InputError, match=r"train_inputs.npy ends before row 59"):
        data.train.read(np.array([3, 59]))


def test_an_error_in_a_reading_thread_arrives_in_one_line(digits):
    data = from_dataset(digits)

    class Bad(Counted):
        def read(self, rows):
            if len(rows) > 1:
                raise wd.InputError("row 7 is bad")
            return super().read(rows)

    with pytest.raises(wd.InputError, match=r"^row 7 is bad$"):
        wd.run_streamed(PLAIN, dataclasses.replace(data, train=Bad(data.train)))


def test_options_and_shares_that_do_not_fit(tmp_path, digits):
    save_npy(tmp_path)
    with pytest.raises(
        wd.InputError, match="does not take grayscale=True; it takes none"
    ):
        wd.stream(f"npy:{tmp_path}", grayscale=True)
    with pytest.raises(wd.InputError, match="does not take image_size=0"):
        wd.stream(f"npy:{tmp_path}", image_size=0)
    with pytest.raises(wd.InputError, match="batch_size=32 .* nearest: 30 or 33"):
        batches(from_dataset(digits).train, lambda e: e, 32, 1, processes=3)


def test_without_grain_it_is_said_what_to_install(monkeypatch, digits):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(wd.InputError, match=r"pip install 'jaxwd\[stream\]'"):
        wd.run_streamed(TINY, digits)


# --- more than memory ---------------------------------------------------------------


def test_a_source_is_not_held(tmp_path):
    """A sparse file of 256 MB is trained on with a fraction of it in memory."""
    psutil = pytest.importorskip("psutil")
    n, side = 65_536, 64
    for part, count in (("train", n), ("validation", 64), ("test", 64)):
        with (tmp_path / f"{part}_inputs.npy").open("wb") as file:
            head = {
                "descr": "|u1",
                "fortran_order": False,
                "shape": (count, side, side),
            }
            np.lib.format.write_array_header_1_0(file, head)
            file.truncate(file.tell() + count * side * side)
        np.save(tmp_path / f"{part}_targets.npy", np.arange(count) % 10)
    process, most = psutil.Process(), []
    before = process.memory_info().rss
    data = wd.stream(f"npy:{tmp_path}")
    assert process.memory_info().rss - before < 50 * 2**20

    class Watched(Counted):
        def read(self, rows):
            most.append(process.memory_info().rss)
            return self.source.read(rows)

    recipe = wd.Recipe(
        model="mlp", model_options={"hidden": (2,)}, batch_size=512, epochs=1
    )
    watched = dataclasses.replace(data, train=Watched(data.train))
    wd.run_streamed(recipe, watched, piece_bytes=2**22, threads=1)
    assert len(most) > 128
    # Other tests' programs come and go in this process: less than the file, that is all.
    assert max(most) - most[20] < 160 * 2**20
