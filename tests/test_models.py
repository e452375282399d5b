"""Models: equal forms of the convolution, equal Flax twins, recorded starts."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxwd as wd
from jaxwd.models import INITIALIZERS, conv, initializer
from jaxwd.models.linen import CNN
from jaxwd.training.parts import model_of


def key(seed=0):
    """Return a fresh key; the suite's checker refuses to use one twice."""
    return jax.random.key(seed)


def images(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


# --- convolution --------------------------------------------------------------------

SHAPES = [(2, 14, 14, 32, 3, 8), (3, 8, 12, 1, 3, 4), (2, 7, 9, 5, 3, 4)] + [
    (2, 8, 8, 3, kernel, 4) for kernel in (1, 2, 5)
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["im2col", "winograd", "auto"])
def test_forms_of_the_block_are_equal_gradients_included(name, shape):
    b, h, w, cin, side, cout = shape
    x, kernel = images(b, h, w, cin), 0.3 * images(side, side, cin, cout)
    params = {"kernel": kernel, "bias": 0.1 * images(cout)}
    if name == "winograd" and (side != 3 or h % 2 or w % 2):
        with pytest.raises(wd.InputError, match="needs a 3×3 kernel, even"):
            conv.block(x, params, name)
        return

    def outcome(form):
        def objective(params, x):
            y = conv.block(x, params, form)
            return jnp.sum(jnp.sin(y)), y

        return jax.jit(jax.grad(objective, argnums=(0, 1), has_aux=True))(params, x)

    (got, y), (want, z) = outcome(name), outcome("lax")
    np.testing.assert_allclose(y, z, rtol=1e-4, atol=1e-5)
    for a, c in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, c, rtol=1e-4, atol=2e-4)


def test_block_is_conv_bias_relu_pool_in_the_usual_order():
    x, params = images(2, 8, 8, 3), {"kernel": images(3, 3, 3, 4), "bias": images(4)}
    usual = nn.relu(conv.conv_lax(x, params["kernel"]) + params["bias"])
    usual = nn.max_pool(usual, (2, 2), (2, 2))
    np.testing.assert_allclose(conv.block(x, params), usual, rtol=1e-4, atol=1e-4)


def test_auto_picks_by_back_end_and_shape():
    many, few = jnp.ones((1, 8, 8, 32)), jnp.ones((1, 8, 8, 1))
    odd = jnp.ones((1, 7, 8, 32))
    kernel = jnp.ones((3, 3, 32, 4))
    assert conv.choose("auto", many, kernel, "gpu") == "lax"
    assert conv.choose("auto", many, kernel, "cpu") == "winograd"
    assert conv.choose("auto", few, kernel, "cpu") == "im2col"
    assert conv.choose("auto", odd, kernel, "cpu") == "im2col"
    assert conv.choose("lax", many, kernel, "cpu") == "lax"


# --- the CNN and its Flax twin ----------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        wd.cnn.Config(),
        wd.cnn.Config(classes=3, channels=(4, 8, 8), hidden=(16, 12)),
        wd.cnn.Config(channels=(4,), hidden=(), conv="lax"),
    ],
)
def test_linen_twin_has_the_same_tree_and_equal_outputs(config):
    x = images(4, 28, 28, 1)
    params = wd.cnn.init(key(), config, (28, 28, 1))
    twin = CNN(config)
    theirs = twin.init(key(), x, train=False)["params"]
    shapes = lambda tree: jax.tree.map(jnp.shape, tree)  # noqa: E731
    assert shapes(params) == shapes(dict(theirs))
    want = twin.apply({"params": params}, x, train=False)
    got = wd.cnn.apply(params, x, config, train=False)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_dropout_stands_before_the_output_layer_only():
    params = wd.cnn.init(key(), wd.cnn.Config(), (28, 28, 1))
    x = images(4, 28, 28, 1)
    dropped = wd.cnn.apply(params, x, train=True, dropout_rate=1.0, key=key())
    np.testing.assert_allclose(
        dropped, jnp.broadcast_to(params["output"]["bias"], dropped.shape)
    )
    kept = wd.cnn.apply(params, x, train=True, dropout_rate=0.0, key=key())
    np.testing.assert_array_equal(kept, wd.cnn.apply(params, x, train=False))


def test_any_image_size_down_to_the_smallest():
    config = wd.cnn.Config()
    for size in [(4, 4, 3), (5, 9, 1), (64, 48, 3)]:
        params = wd.cnn.init(key(), config, size)
        assert wd.cnn.apply(params, images(2, *size), config, train=False).shape == (
            2,
            10,
        )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: wd.cnn.init(key(), wd.cnn.Config(), (3, 9, 1)),
            "images of at least 4×4",
        ),
        (
            lambda: wd.cnn.init(key(), wd.cnn.Config(), (28, 28)),
            "give images \\(height, width",
        ),
        (
            lambda: wd.cnn.Config(init="hee"),
            "unknown initializer 'hee'; did you mean 'he'",
        ),
        (lambda: wd.cnn.Config(channels=(0,)), "channels and hidden=0"),
        (
            lambda: wd.cnn.apply({}, jnp.ones((28, 28, 1)), train=False),
            "images of shape \\(28, 28, 1\\)",
        ),
        (
            lambda: wd.cnn.apply(
                wd.cnn.init(key(), wd.cnn.Config(), (4, 4, 1)),
                jnp.ones((1, 4, 4, 1)),
                train=True,
                dropout_rate=0.5,
            ),
            "rate=0.5 needs a key",
        ),
        (
            lambda: wd.models.by_name("cnn", classes=2, widths=(3,)),
            "does not take widths=\\(3,\\)",
        ),
        (
            lambda: model_of(wd.Recipe(model_options={"classes": 3}), 10),
            r"classes=3 is not allowed, the data set says .* \(10\)",
        ),
        (lambda: wd.models.by_name("vt", classes=2), "unknown model 'vt'.* 'vit'"),
        (lambda: wd.from_linen(nn.Dense), "takes a flax.linen.Module instance"),
    ],
)
def test_mistakes_are_errors(call, message):
    with pytest.raises(wd.InputError, match=message):
        call()


# --- initialisers ------------------------------------------------------------------------

VARIANCE = {"lecun": 1 / 400, "glorot": 2 / 900, "he": 2 / 400, "orthogonal": 2 / 500}


@pytest.mark.parametrize("name", VARIANCE)
def test_initialisers_have_their_variance(name):
    weights = initializer(name)(key(), (400, 500), jnp.float32)
    np.testing.assert_allclose(weights.var(), VARIANCE[name], rtol=0.02)


def test_he_dropout_takes_the_noise_of_its_input_out_again():
    he = initializer("he")(key(), (400, 500), jnp.float32)
    aware = initializer("he_dropout", input_dropout=0.5)(key(), (400, 500), jnp.float32)
    np.testing.assert_allclose(aware, he * 0.5**0.5, rtol=1e-6)
    np.testing.assert_allclose(
        initializer("he_dropout")(key(), (400, 500)), he, rtol=1e-6
    )


def test_he_dropout_keeps_the_signal_through_ten_dropped_layers():
    """With He alone and p = ½ the second moment doubles every layer, to about 1,000."""

    def signal(name):
        x = jnp.abs(images(256, 512))
        start, root = float(jnp.mean(x**2)), key()
        for i in range(10):
            keys = jax.random.split(jax.random.fold_in(root, i))
            kernel = initializer(name, input_dropout=0.5)(keys[0], (512, 512))
            dropped = wd.dropout.dropout(x, 0.5, train=True, key=keys[1])
            x = nn.relu(dropped @ kernel)
        return float(jnp.mean(x**2)) / start

    assert 0.5 < signal("he_dropout") < 2
    assert 500 < signal("he") < 2000


@pytest.mark.parametrize("name", INITIALIZERS)
@pytest.mark.parametrize("model", ["cnn", "mlp"])
def test_every_initialiser_works_in_every_model(model, name):
    built = wd.models.by_name(model, classes=3, init=name)
    params, _ = built.init(key(), jnp.ones((8, 8, 1)), 0.5)
    outputs, _ = built.apply(params, {}, jnp.ones((2, 8, 8, 1)), train=False)
    assert np.isfinite(np.asarray(outputs)).all()


def test_only_the_layer_behind_the_dropout_is_scaled_by_he_dropout():
    config = wd.cnn.Config(init="he_dropout")
    plain = wd.cnn.init(key(), config, (8, 8, 1))
    aware = wd.cnn.init(key(), config, (8, 8, 1), dropout_rate=0.5)
    for name in plain:
        factor = 0.5**0.5 if name == "output" else 1.0
        np.testing.assert_allclose(
            aware[name]["kernel"], factor * plain[name]["kernel"], rtol=1e-6
        )


# --- adapters ----------------------------------------------------------------------------


class LinenNet(nn.Module):
    """A module with running means and dropout of its own, as users have them."""

    @nn.compact
    def __call__(self, x, train):
        x = nn.Dense(16)(x.reshape(len(x), -1))
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        x = nn.Dropout(0.2, deterministic=not train)(x)
        return nn.Dense(3)(x)


class NnxNet(nnx.Module):
    def __init__(self, rngs):
        self.one = nnx.Linear(16, 16, rngs=rngs)
        self.norm = nnx.BatchNorm(16, momentum=0.9, rngs=rngs)
        self.drop = nnx.Dropout(0.2, rngs=rngs)
        self.two = nnx.Linear(16, 3, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.one(x.reshape(len(x), -1))))
        return self.two(self.drop(x))


ADAPTED = {
    "linen": lambda: wd.from_linen(LinenNet()),
    "nnx": lambda: wd.from_nnx(lambda rngs: NnxNet(rngs)),
}


@pytest.mark.parametrize("kind", ADAPTED)
def test_adapters_are_pure_and_keep_running_means(kind):
    model = ADAPTED[kind]()
    x = images(8, 4, 4, 1)
    params, state = model.init(key(), x[0], 0.0)
    run = lambda k: model.apply(params, state, x, train=True, key=k)  # noqa: E731
    first, changed = run(key())
    again, _ = run(key())
    np.testing.assert_array_equal(first, again)  # the same key, the same dropout
    other, _ = run(key(7))
    assert (first != other).any()
    assert any(
        (a != b).any()
        for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(changed), strict=True)
    )
    still, unchanged = model.apply(params, changed, x, train=False)
    for a, b in zip(jax.tree.leaves(changed), jax.tree.leaves(unchanged), strict=True):
        np.testing.assert_array_equal(a, b)
    assert still.shape == (8, 3)
    assert not model.takes_dropout


@pytest.mark.parametrize("kind", ADAPTED)
def test_adapted_modules_train(kind):
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    x = rng.normal(size=(120, 4, 4)).astype(np.float32) + labels[:, None, None]
    data = wd.data.from_arrays(x, labels)
    recipe = wd.Recipe(model=ADAPTED[kind](), epochs=15, batch_size=16, optimizer="adam",
                       learning_rate=0.02, decay=wd.decoupled(0.01))  # fmt: skip
    result = wd.run(recipe, data)
    assert result.final["train_accuracy"] > 0.9
    assert result.history[0]["decay_share"] > 0
