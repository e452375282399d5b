"""Text by characters: stretches that share nothing, targets one ahead, whole numbers."""

import numpy as np
import pytest

import jaxwd as wd
from jaxwd import losses
from jaxwd.data import Split, from_arrays
from jaxwd.data.text import from_text, in_words
from jaxwd.training.arrays import arrays_of
from jaxwd.training.parts import require_outputs

TEXT = "".join(chr(65 + i % 23) for i in range(850)) + "xyz" * 50  # 'xyz': late only


def parts(data):
    return (data.train, data.validation, data.test)


def test_pydoc_is_real_english_at_hand():
    data = wd.load("pydoc")
    assert (data.task, data.input_shape) == ("language", (64,))
    assert data.train.examples > 4000
    assert " the " in in_words(data, data.train.inputs[:20])
    assert str(data).startswith("pydoc: ") and "sha256" in str(data)
    assert wd.load("pydoc", context=16).input_shape == (16,)


def test_targets_are_the_next_characters():
    for split in parts(from_text("t", TEXT, 8)):
        inputs, targets = (np.asarray(x).ravel() for x in split)
        np.testing.assert_array_equal(inputs[1:], targets[:-1])


def test_stretches_follow_each_other_and_share_no_character():
    """Unique characters tell where each one stood."""
    text = "".join(chr(0x4E00 + i) for i in range(1000))
    data = from_text("t", text, 7)
    known = {name: i for i, name in enumerate(data.classes)}
    assert [known.get(c) for c in text[:3]] == [1, 2, 3]
    ends = (0, 800, 900, 1000)
    for split, low, high in zip(parts(data), ends[:-1], ends[1:], strict=True):
        assert split.inputs.size == (high - low - 1) // 7 * 7
    assert len(data.classes) == 801  # of the training stretch, and the unknown
    assert (data.validation.inputs == 0).all() and (data.test.targets == 0).all()
    assert (data.train.inputs > 0).all()


def test_unknown_characters_have_number_0():
    data = from_text("t", TEXT, 8)
    assert data.classes[0] == "unknown"
    assert "�" in in_words(data, data.test.inputs)
    assert "�" not in in_words(data, data.train.inputs)


def test_identity_is_that_of_the_text():
    data, same, other = (from_text("t", t, 8) for t in (TEXT, TEXT, TEXT[::-1]))
    assert data.fingerprint() == same.fingerprint() != other.fingerprint()
    assert data.source == same.source != other.source


def test_any_utf8_file(tmp_path):
    path = tmp_path / "böök.txt"
    path.write_bytes(b"\xef\xbb\xbf" + ("Größe, 東京 🙂\r\n" * 60).encode())
    data = wd.load(f"text:{path}", context=5)
    assert data.name == "text:böök.txt"
    assert in_words(data, data.train.inputs[:3]).startswith("Größe, 東京 🙂\r\n")


def test_numbers_of_characters_reach_the_model_as_they_are():
    """Not as float32, which a model in bfloat16 would round: 257 is not 256."""
    text = "".join(chr(0x4E00 + i) for i in range(1000))
    arrays = arrays_of(from_text("t", text, 7))
    given = arrays.normalize(arrays.train.inputs)
    assert given.dtype == np.int32
    np.testing.assert_array_equal(given, arrays.train.inputs)
    images = np.zeros((2, 4, 4, 1), np.uint8)
    assert arrays.normalize(images).dtype == np.float32


def test_first_sequences_are_taken():
    data = from_text("t", TEXT, 8)
    few = data.take(5)
    np.testing.assert_array_equal(few.train.inputs, data.train.inputs[:5])
    assert few.classes == data.classes and few.mean == (0.0,)
    with pytest.raises(wd.InputError, match="train_examples=9999 is more than"):
        data.take(9999)


def test_loss_is_the_mean_over_characters_and_the_score_their_share_right():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(3, 5, 7)), rng.integers(0, 7, (3, 5))
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    own = np.take_along_axis(p, labels[..., None], -1)[..., 0]
    row = losses.task("language")
    np.testing.assert_allclose(
        row.loss(logits, labels), -np.log(own).mean(-1), rtol=1e-5
    )
    right = (logits.argmax(-1) == labels).mean(-1)
    np.testing.assert_allclose(row.score(logits, labels), right)
    assert losses.bits_per_character(np.log(2.0)) == 1.0


def test_a_model_must_give_logits_at_every_character():
    data = from_text("t", TEXT, 8)
    shapes = (data.input_shape, data.outputs, data.input_dtype, data.output_shape)
    gpt = {"width": 8, "depth": 1, "heads": 2}
    require_outputs(wd.Recipe(model="gpt", model_options=gpt), *shapes)
    with pytest.raises(
        wd.InputError, match=r"outputs of shape \(1, 24\).*\(1, 8, 24\)"
    ):
        require_outputs(wd.Recipe(model="mlp"), *shapes)
    with pytest.raises(wd.InputError, match="give images"):
        require_outputs(wd.Recipe(model="resnet18"), *shapes)
    with pytest.raises(wd.InputError, match=r"give whole numbers \(batch, length\)"):
        wd.run(wd.Recipe(dataset="friedman", model="gpt"))


def test_sequences_of_ones_own():
    x = np.arange(600).reshape(60, 10) % 9
    data = from_arrays(x, (x + 1) % 9, task="language")
    assert data.classes == tuple("012345678")
    assert data.output_shape == (10, 9) and data.input_dtype == np.int32
    assert isinstance(data.train, Split)


SEQUENCES = np.zeros((60, 4), int)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: wd.load("text:/nonexistent/x"),
            r"text:/nonexistent/x is no file; give",
        ),
        (lambda: wd.load("text:"), "dataset 'text:' needs a name"),
        (lambda: from_text("t", TEXT, 0), r"context=0 is not allowed"),
        (
            lambda: from_text("t", TEXT, 500),
            r"leave 100 for a split.*context \+ 1 = 501",
        ),
        (lambda: from_text("t", "", 8), r"t: 0 characters leave 0 for a split"),
        (
            lambda: from_text("t", "a" * 999, 8),
            "the training text is 'a' over and over",
        ),
        (
            lambda: from_arrays(SEQUENCES / 2, SEQUENCES, task="language"),
            r"arrays inputs of shape \(60, 4\) and dtype float64; give the numbers",
        ),
        (
            lambda: from_arrays(SEQUENCES, SEQUENCES[:, 1:], task="language"),
            r"inputs of shape \(60, 4\) but targets of shape \(60, 3\)",
        ),
        (
            lambda: from_arrays(SEQUENCES - 1, SEQUENCES, task="language"),
            "arrays inputs from -1 to -1; allowed are 0 and up",
        ),
    ],
)
def test_mistakes_are_errors(call, message):
    with pytest.raises(wd.InputError, match=message):
        call()


def test_a_file_that_is_no_utf8_names_the_byte(tmp_path):
    path = tmp_path / "latin1.txt"
    path.write_bytes(("x" * 500 + "ö").encode("latin-1"))
    with pytest.raises(wd.InputError, match=r"is no UTF-8: byte 500 is 0xf6; convert"):
        wd.load(f"text:{path}")
