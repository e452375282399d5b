"""What leaves the laboratory is what was trained."""

import json
import pathlib
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import jaxwd as wd
from jaxwd.export import (
    export,
    flat,
    forward,
    read_forward,
    read_weights,
    write_weights,
)
from jaxwd.training.parts import model_of

DIGITS = wd.Recipe(
    dataset="digits",
    train_examples=200,
    model="mlp",
    model_options={"hidden": (16,)},
    epochs=1,
    learning_rate=0.01,
)


@pytest.fixture(scope="module")
def digits():
    return wd.load("digits")


@pytest.fixture(scope="module")
def trained(digits):
    return wd.run(DIGITS, digits)


def normalized(data, recipe):
    data = data.take(recipe.train_examples)
    inputs = np.asarray(data.test.inputs[:7], np.float32)
    return (inputs - np.float32(data.mean)) / np.float32(data.std)


def outputs_of(recipe, result, inputs, count):
    model = model_of(recipe, count)
    return model.apply(result.params, result.model_state, inputs, train=False)[0]


# --- weights ----------------------------------------------------------------------------


def test_weights_read_back_equal_by_anyone(trained, tmp_path):
    path = write_weights(tmp_path / "w.safetensors", trained.params, recipe=DIGITS)
    arrays = load_file(path)  # safetensors alone, no jaxwd
    assert set(arrays) == set(flat(trained.params)) >= {"dense1/kernel"}
    for name, array in flat(trained.params).items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype
    ours, about = read_weights(path)
    assert ours.keys() == arrays.keys()
    assert about["recipe_digest"] == DIGITS.digest()
    assert about["recipe"] == str(DIGITS)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "int32", "bool"])
def test_every_type_keeps_its_bits(dtype, tmp_path):
    tree = {
        "x": jnp.arange(6).reshape(2, 3).astype(dtype),
        "scalar": jnp.ones((), dtype),
    }
    arrays, _ = read_weights(write_weights(tmp_path / "w", tree))
    for name, leaf in tree.items():
        assert (arrays[name].dtype, arrays[name].shape) == (leaf.dtype, leaf.shape)
        assert arrays[name].tobytes() == np.asarray(leaf).tobytes()


def test_equal_weights_are_equal_files(trained, tmp_path):
    about = dict.fromkeys("abcdefgh", "é")
    files = [
        write_weights(tmp_path / str(n), trained.params, recipe=DIGITS, about=about)
        for n in range(4)
    ]
    assert len({path.read_bytes() for path in files}) == 1
    assert about.items() <= read_weights(files[0])[1].items()
    assert load_file(files[0]).keys() == flat(trained.params).keys()


def test_transposed_arrays_are_written_as_they_are_meant(tmp_path):
    x = np.arange(6.0).reshape(2, 3).T
    arrays, _ = read_weights(write_weights(tmp_path / "w", {"x": x}))
    np.testing.assert_array_equal(arrays["x"], x)


@pytest.mark.parametrize(
    ("params", "state", "name"),
    [
        ({"a/b": np.ones(1), "a": {"b": np.ones(1)}}, (), "a/b"),
        (
            {"model_state": {"mean": np.ones(1)}},
            {"mean": np.ones(1)},
            "model_state/mean",
        ),
    ],
)
def test_names_that_collide_are_refused(params, state, name, tmp_path):
    with pytest.raises(wd.InputError, match=f"two leaves are called '{name}'"):
        write_weights(tmp_path / "w", params, model_state=state)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "leaf", "said"),
    [
        ("__metadata__", np.ones(1), "which the format keeps for itself"),
        ("w", np.zeros(3, np.complex128), "is complex128, which safetensors does not"),
        (
            "w",
            jnp.zeros(3, "int4"),
            "is int4, which safetensors does not hold; cast it",
        ),
        ("w", jax.random.key(0), "no array of numbers; leave it out"),
        ("w", np.array("years"), "which safetensors does not hold"),
    ],
    ids=["metadata", "complex", "int4", "key", "text"],
)
def test_what_the_format_does_not_hold_is_refused_by_name(name, leaf, said, tmp_path):
    with pytest.raises(wd.InputError, match=f"{name}.*{said}"):
        write_weights(tmp_path / "w", {"ok": np.ones(2), name: leaf})
    assert not list(tmp_path.iterdir())


def test_a_file_of_others_without_metadata_is_read(tmp_path):
    save_file({"a": np.arange(3)}, tmp_path / "theirs")
    arrays, about = read_weights(tmp_path / "theirs")
    assert (arrays["a"].tolist(), about) == ([0, 1, 2], {})


def test_a_folder_of_before_stays_where_writing_fails(
    digits, trained, tmp_path, monkeypatch
):
    export(tmp_path, trained, digits)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    real = pathlib.Path.write_bytes

    def full(path, content):
        real(path, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    for module in ("weights", "folder"):
        with pytest.raises(OSError, match="No space"):
            if module == "folder":  # the weights were written, what comes behind fails
                monkeypatch.setattr(
                    "jaxwd.export.folder.write_weights", lambda *_, **__: None
                )
            export(tmp_path, trained, digits)
    assert (
        before.items() <= {p.name: p.read_bytes() for p in tmp_path.iterdir()}.items()
    )


def test_what_is_no_file_of_weights_is_refused(tmp_path):
    (tmp_path / "text").write_text("years")
    for name in ("text", "missing"):
        with pytest.raises(wd.InputError, match=f"{name} is no safetensors file"):
            read_weights(tmp_path / name)
    with pytest.raises(wd.InputError, match="no parameters to write"):
        write_weights(tmp_path / "w", {})


def test_without_safetensors_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(wd.InputError, match=r"pip install 'jaxwd\[export\]'"):
        write_weights(tmp_path / "w", {"x": np.ones(1)})


# --- the forward pass -------------------------------------------------------------------


class Normed(nn.Module):
    """A module with a state of its own: running means."""

    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train)(x.reshape(x.shape[0], -1))
        return nn.Dense(10)(nn.relu(nn.Dense(8)(x)))


MODELS = {
    "mlp": DIGITS,
    "cnn": wd.Recipe(
        dataset="fashion_mnist_12k", train_examples=64, epochs=1, learning_rate=0.01
    ),
    "flax, batch norm": wd.Recipe(
        dataset="digits",
        train_examples=200,
        model=wd.from_linen(Normed()),
        epochs=1,
        learning_rate=0.01,
    ),
    "bfloat16 weights": wd.Recipe(
        **vars(DIGITS) | {"precision": "bfloat16", "learning_rate": 0.1}
    ),
}


@pytest.mark.parametrize("recipe", MODELS.values(), ids=MODELS)
def test_a_folder_says_what_its_function_takes(recipe, exported):
    files, _, data = exported[recipe]
    assert [path.name for path in files] == [
        "weights.safetensors",
        "forward.jax_export",
        "model.json",
    ]
    about = json.loads(files[2].read_text())
    assert about["inputs"]["shape"] == ["batch", *data.input_shape]
    assert about["classes"] == list(data.classes)
    assert about["recipe_digest"] == recipe.digest()
    taken = data.take(recipe.train_examples)
    np.testing.assert_array_equal(about["inputs"]["mean"], taken.mean)
    np.testing.assert_array_equal(about["inputs"]["std"], taken.std)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Every model trained for an epoch, its folder and its data, by recipe."""
    found = {}
    for recipe in MODELS.values():
        data = wd.load(recipe.dataset)
        result = wd.run(recipe, data)
        folder = tmp_path_factory.mktemp("out")
        found[recipe] = export(folder, result, data), result, data
    return found


FRESH = """
import json, sys, numpy as np
from jax import export
for folder in sys.argv[1:]:
    about = json.load(open(folder + "/model.json"))["inputs"]
    x = np.load(folder + "/raw.npy")
    x = (x - np.float32(about["mean"])) / np.float32(about["std"])
    program = bytearray(open(folder + "/forward.jax_export", "rb").read())
    run = export.deserialize(program).call
    np.savez(folder + "/got", seven=run(x), one=run(x[:1]))
assert "jaxwd" not in sys.modules
"""


def test_a_fresh_process_without_jaxwd_computes_the_same(exported):
    folders = {recipe: files[0].parent for recipe, (files, _, _) in exported.items()}
    for recipe, folder in folders.items():
        raw = exported[recipe][2].test.inputs[:7]
        np.save(folder / "raw.npy", raw.astype(np.float32))
    subprocess.run([sys.executable, "-c", FRESH, *folders.values()], check=True)
    for recipe, folder in folders.items():
        _, result, data = exported[recipe]
        want = outputs_of(recipe, result, normalized(data, recipe), data.outputs)
        with np.load(folder / "got.npz") as got:
            np.testing.assert_allclose(got["seven"], want, rtol=2e-5, atol=2e-5)
            np.testing.assert_allclose(got["one"], want[:1], rtol=2e-5, atol=2e-5)


def test_the_artifact_gives_the_bits_of_the_model(digits, trained):
    made = forward(DIGITS, trained.params, digits.input_shape, digits.outputs)
    inputs = normalized(digits, DIGITS)
    got = jax.export.deserialize(made.artifact).call(inputs)
    model = model_of(DIGITS, digits.outputs)
    want = jax.jit(lambda x: model.apply(trained.params, {}, x, train=False)[0])(inputs)
    np.testing.assert_array_equal(got, want)
    assert "stablehlo" in made.text


def test_one_artifact_for_several_platforms(digits, trained):
    made = forward(
        DIGITS,
        trained.params,
        digits.input_shape,
        digits.outputs,
        platforms=("cpu", "cuda", "tpu"),
    )
    assert made.platforms == ("cpu", "cuda", "tpu")
    got = jax.export.deserialize(made.artifact).call(normalized(digits, DIGITS))
    assert got.shape == (7, 10)
    with pytest.raises(wd.InputError, match="'gpu' is unknown; choose from: cpu, cuda"):
        forward(DIGITS, trained.params, (8, 8, 1), 10, platforms=("gpu",))


class Fixed(nn.Module):
    """A module that wants to know how large its batch is."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(x.reshape(int(x.shape[0]) // 1, -1))


def test_a_model_that_depends_on_its_batch_is_exported_for_one_size(digits):
    recipe = wd.Recipe(model=wd.from_linen(Fixed()), batch_size=16)
    model = recipe.model
    params, state = model.init(jax.random.key(0), jnp.ones(digits.input_shape), 0.0)
    given = (recipe, params, digits.input_shape, 10)
    made = forward(*given, model_state=state)
    assert made.batch == 16
    call = jax.export.deserialize(made.artifact).call
    assert call(jnp.ones((16, *digits.input_shape))).shape == (16, 10)
    assert forward(*given, model_state=state, batch=3).batch == 3


def test_what_is_no_artifact_is_refused(tmp_path):
    (tmp_path / "text").write_text("years")
    for name in ("text", "missing"):
        with pytest.raises(wd.InputError, match=f"{name} is no exported function"):
            read_forward(pathlib.Path(tmp_path / name))
