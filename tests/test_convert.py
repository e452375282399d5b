"""λ carried from one convention to another: by hand, back again, and by training."""

import copy
import functools
import json
import pathlib
import pickle
import subprocess
import sys

import helpers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxwd as wd
from jaxwd import cli
from jaxwd.guide import CONVENTIONS
from jaxwd.guide.conventions import AMBIGUOUS, find
from jaxwd.schedules import SHAPES

README = pathlib.Path(__file__).parent.parent / "README.md"
ALPHA = helpers.ALPHA
SIZES = {"batch_size": 32, "dataset_size": 5000, "epochs": 20, "examples": 50}

# given, source, target, what else is said, the number worked out by hand
BY_HAND = [
    (0.01, "torch.AdamW", "paper", {"learning_rate": 1e-3}, 1e-5),
    (1e-4, "big_vision", "optax.adamw", {"learning_rate": 1e-3}, 0.1),
    (0.1, "keras.AdamW", "AdamC", {"schedule": "constant"}, 0.1),
    (0.1, "lr", "constant", {"learning_rate": 0.01, "schedule": "constant"}, 1e-3),
    (1.0, "palm", "corrected", {"learning_rate": 0.01}, 0.01),
    (5e-4, "torch.SGD", "keras.L2", {}, 2.5e-4),
    (5e-4, "keras.L2", "torch.Adam", {}, 1e-3),
    (5e-4, "torch.Adam", "half_l2", {}, 5e-4),
    (5e-4, "half_l2", "l2_per_example", {"examples": 50_000}, 25.0),
    (1e-4, "sklearn.MLP", "torch.Adam", {"batch_size": 200}, 5e-7),
    (1e-4, "keras.L1", "l1", {}, 1e-4),
    (1e-4, "torch.SGD", "timm.sgdw", {}, 1e-4),
    (1e-4, "torch.SGD", "timm.sgdw", {"momentum": 0.9}, 1e-3),
    (1e-4, "torch.SGD", "timm.sgdp", {"momentum": 0.9}, 1e-4),
    (2e-4, "timm.sgdw", "keras.L2", {"momentum": 0.5}, 5e-5),
    (
        *(0.025, "normalized", "paper"),
        {"batch_size": 128, "dataset_size": 50_000, "epochs": 1500},
        0.025 * (128 / 75_000_000) ** 0.5,
    ),
    (
        *(0.1, "torch.AdamW", "optax.lion"),
        {"learning_rate": 1e-3, "target_learning_rate": 1e-4},
        1.0,
    ),
    (
        *(5e-4, "torch.SGD", "torch.AdamW"),
        {"momentum": 0.9, "learning_rate": 0.1, "target_learning_rate": 1e-3},
        0.5,
    ),
    (0.1, "torch.AdamW", "tau", {"learning_rate": 1e-3}, 1e4),
    (
        *(0.1, "torch.AdamW", "tau_epochs"),
        {"learning_rate": 1e-3, "batch_size": 100, "dataset_size": 50_000},
        20.0,
    ),
    (1.0, "half_life", "constant", {}, 0.5),
    (0.75, "constant", "half_life_steps", {}, 0.5),
    (2.0, "tau_epochs", "tau", {"batch_size": 10, "dataset_size": 100}, 20.0),
    (0.0, "torch.AdamW", "tau", {"learning_rate": 1e-3}, float("inf")),
    (float("inf"), "tau", "torch.AdamW", {"learning_rate": 1e-3}, 0.0),
    (0.1, "lr", "lr", {}, 0.1),
]


@pytest.mark.parametrize(("given", "source", "target", "said", "want"), BY_HAND)
def test_numbers_worked_out_by_hand(given, source, target, said, want):
    got = wd.convert(given, source=source, target=target, **said)
    assert got == pytest.approx(want, rel=1e-12)


def test_the_example_prints_the_number():
    got = wd.convert(0.01, source="torch.AdamW", target="paper", learning_rate=1e-3)
    assert str(got) == repr(got) == "1e-05"
    assert got == 1e-5
    # 0.7·0.1 in floating point prints as 0.06999999999999999
    assert (
        str(wd.convert(0.7, source="lr", target="paper", learning_rate=0.1)) == "0.07"
    )


# --- there and back -------------------------------------------------------------------

STEP = [name for name, row in CONVENTIONS.items() if row.kind == "step"]
GRADIENT = [name for name, row in CONVENTIONS.items() if row.kind == "gradient"]
TIME = [name for name, row in CONVENTIONS.items() if row.kind == "time"]
positive = {"allow_nan": False, "allow_infinity": False}
rates = st.floats(1e-4, 1.0, **positive)
strengths = st.floats(1e-6, 0.09, **positive)


def carry(value, source, target, rate, **more):
    said = {"learning_rate": rate, "schedule": "constant", "momentum": 0.9} | more
    return wd.convert(
        value, source=source, target=target, optimizer="sgd", **SIZES, **said
    )


@given(name=st.sampled_from(STEP + GRADIENT + TIME), strength=strengths, rate=rates)
def test_there_and_back_is_the_same_number(name, strength, rate):
    there = carry(strength, "lr", name, rate)
    assert carry(there, name, "lr", rate) == pytest.approx(strength, rel=1e-9)


@given(
    a=st.sampled_from(STEP + GRADIENT + TIME),
    b=st.sampled_from(STEP + GRADIENT + TIME),
    strength=strengths,
    rate=rates,
)
def test_a_detour_through_any_convention_changes_nothing(a, b, strength, rate):
    start = carry(strength, "lr", a, rate)
    straight = carry(start, a, b, rate)
    assert carry(strength, "lr", b, rate) == pytest.approx(straight, rel=1e-9)


@given(
    name=st.sampled_from(STEP),
    strength=strengths,
    factor=st.floats(0.1, 10.0, **positive),
)
def test_conversion_of_strengths_is_linear(name, strength, factor):
    one = carry(strength, "lr", name, 0.1)
    assert carry(factor * strength, "lr", name, 0.1) == pytest.approx(factor * one)


# --- by training ----------------------------------------------------------------------


def written(name, strength):
    """Return rate → the scheme a convention is, from the words its row prints."""
    if name == "palm":  # d_t = η_t²λ: times the rate, with a λ that follows the rate
        return lambda rate: wd.decoupled(
            lambda t: strength * (rate(t) if callable(rate) else rate)
        )
    if name == "normalized":
        share = (SIZES["batch_size"] / SIZES["dataset_size"] / SIZES["epochs"]) ** 0.5
        return lambda rate: wd.decoupled(strength * share, times="schedule")
    if name == "stable_sgd":
        return lambda rate: wd.decoupled(strength / (1 - 0.9))
    words = CONVENTIONS[name].jaxwd.replace("{λ}", "strength")
    for size, value in SIZES.items():
        words = words.replace(f"{{{size}}}", str(value))
    return lambda rate: eval(words, {"wd": wd, "strength": strength})


@functools.lru_cache
def program(core, name, rate):
    """Return strength → kernel after each of 100 steps; one compilation serves all."""

    def train(strength):
        decay = written(name, strength)(rate)
        tx = wd.optimizer(core, rate, decay=decay)
        return helpers.descend(tx, helpers.start(), decay, steps=100)["kernel"]

    return jax.jit(train)


def train(core, name, strength, rate):
    return np.asarray(program(core, name, rate)(jnp.asarray(float(strength))))


def assert_one_training(core, source, target, rate, **said):
    """100 steps under either number agree to 1e-9; a number 1 % off does not."""
    strength = {"constant": 0.002, "palm": 5.0}.get(source, 0.1)
    got = wd.convert(strength, source=source, target=target, **SIZES, **said)
    assert got.keeps.startswith("every step")
    one = train(core, source, strength, rate)
    np.testing.assert_allclose(
        train(core, target, got, rate), one, rtol=1e-9, atol=1e-9
    )
    wrong = train(core, target, 1.01 * got, rate)
    assert np.abs(wrong - one).max() > 1e-6


@pytest.mark.parametrize("core", ["adam", "lion", "momentum"])
@pytest.mark.parametrize("name", [name for name in STEP if name != "lr"])
def test_beside_the_step_at_a_constant_rate_all_are_one_training(name, core, x64):
    said = {"learning_rate": ALPHA, "schedule": "constant", "momentum": 0.9}
    assert_one_training(core, "lr", name, ALPHA, **said)
    assert_one_training(core, name, "lr", ALPHA, **said)


@pytest.mark.parametrize(
    ("source", "target"),
    [("lr", "schedule"), ("normalized", "lr"), ("corrected", "palm"),
     ("palm", "corrected"), ("stable_sgd", "schedule")],
)  # fmt: skip
@pytest.mark.parametrize("core", ["adam", "momentum"])
def test_beside_the_step_under_a_moving_rate_equal_powers_are_one_training(
    source, target, core, x64
):
    said = {"learning_rate": helpers.RATE, "momentum": 0.9}
    assert_one_training(core, source, target, helpers.RATE, **said)


@pytest.mark.parametrize("core", ["sgd", "momentum", "adam", "adagrad"])
@pytest.mark.parametrize("name", [name for name in GRADIENT if name != "coupled"])
def test_in_the_gradient_all_are_one_training_for_every_optimizer(name, core, x64):
    assert_one_training(core, "coupled", name, helpers.RATE)
    assert_one_training(core, name, "coupled", helpers.RATE)


@pytest.mark.parametrize("source", GRADIENT)
@pytest.mark.parametrize("target", ["lr", "schedule"])
def test_gradient_to_step_is_one_training_for_plain_sgd(source, target, x64):
    said = {"optimizer": "sgd", "learning_rate": helpers.RATE}
    assert_one_training("sgd", source, target, helpers.RATE, **said)


def kept_after(tx, steps):
    """Return what is left of a weight without gradient after every step."""
    params = {"kernel": jnp.ones(1)}
    zero = jax.tree.map(jnp.zeros_like, params)

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(zero, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        return (params, state), params["kernel"][0]

    _, path = jax.lax.scan(step, (params, tx.init(params)), None, length=steps)
    return np.asarray(path)


@pytest.mark.parametrize("core", ["momentum", "nesterov"])
@pytest.mark.parametrize("mu", [0.5, 0.9])
def test_momentum_in_the_gradient_has_the_steady_shrink_it_is_converted_to(
    core, mu, x64
):
    """ηλ/(1−μ) to first order: its relative error is below dμ/(1−μ) + d."""
    strength, rate = 5e-4, 0.1
    got = wd.convert(
        strength,
        source="torch.SGD",
        target="lr",
        momentum=mu,
        nesterov=core == "nesterov",
    )
    assert got.keeps.startswith("the steady shrink")
    assert float(got) == pytest.approx(strength / (1 - mu))
    tx = wd.optimizer(core, rate, decay=wd.coupled(strength), momentum=mu)
    path = kept_after(tx, 400)
    measured = 1 - path[-1] / path[-2]
    d = rate * got
    assert abs(measured / d - 1) < 1.1 * (d * mu / (1 - mu) + d)


@pytest.mark.parametrize("half_life", [5.0, 40.0])
@pytest.mark.parametrize("target", ["lr", "schedule", "constant", "corrected"])
def test_after_a_half_life_a_weight_is_half(half_life, target, x64):
    got = wd.convert(
        half_life,
        source="half_life",
        target=target,
        learning_rate=ALPHA,
        schedule="constant",
    )
    tx = wd.optimizer("adam", ALPHA, decay=written(target, float(got))(ALPHA))
    np.testing.assert_allclose(kept_after(tx, int(half_life))[-1], 0.5, rtol=1e-9)


def test_lion_and_adam_take_the_same_off_a_weight_a_step(x64):
    said = {"learning_rate": 1e-3, "target_learning_rate": 1e-4}
    got = wd.convert(0.1, source="torch.AdamW", target="optax.lion", **said)
    assert "own steps differ" in got.keeps
    adam = wd.optimizer("adam", 1e-3, decay=wd.decoupled(0.1))
    lion = wd.optimizer("lion", 1e-4, decay=wd.decoupled(float(got)))
    np.testing.assert_allclose(kept_after(adam, 50), kept_after(lion, 50), rtol=1e-12)


@pytest.mark.parametrize(
    ("source", "target"),
    [("lr", "constant"), ("corrected", "lr"), ("constant", "palm")],
)
def test_match_mean_keeps_the_total_shrink(source, target):
    """Σ d_t over the run, summed here from η_t and nothing else."""
    rate = wd.cosine(ALPHA, steps=200, warmup=20)
    eta = np.asarray(rate(jnp.arange(200)), np.float64)
    d = {"lr": eta, "constant": 1.0 + 0 * eta, "corrected": eta**2 / ALPHA,
         "palm": eta**2}  # fmt: skip
    said = {"learning_rate": rate, "match": "mean"}
    got = wd.convert(0.01, source=source, target=target, **said)
    assert got.keeps.startswith("the shrink summed over the run")
    assert any("cosine over 200 steps after 20" in words for words in got.assumed)
    total = (d[source] * 0.01).sum()
    np.testing.assert_allclose((d[target] * float(got)).sum(), total, rtol=1e-6)


@pytest.mark.parametrize("times", ["lr", "schedule", "constant", "corrected"])
@pytest.mark.parametrize("shape", ["constant", "cosine", "linear"])
def test_tau_is_the_tau_of_shrink(times, shape):
    """Two ways to τ: converted, and realised over the run by `wd.shrink`."""
    rate = wd.schedule(shape, ALPHA, steps=100)
    strength = 0.01
    realised = wd.shrink(wd.decoupled(strength, times=times), rate, steps=100)
    got = wd.convert(strength, source=times, target="tau", learning_rate=rate)
    assert float(got) == pytest.approx(realised.tau, rel=1e-5)


@pytest.mark.parametrize("name", SHAPES)
def test_a_schedule_by_name_is_the_schedule(name):
    def tau(**said):
        return wd.convert(0.1, source="corrected", target="tau", **said)

    by_name = tau(learning_rate=ALPHA, schedule=name, steps=50, warmup=5)
    made = wd.schedule(name, ALPHA, steps=50, warmup=5)
    assert by_name == tau(learning_rate=made) == tau(schedule=made)


# --- refusals -------------------------------------------------------------------------

MOVING = {"learning_rate": 0.1, "schedule": "cosine", "steps": 10}
REFUSED = [
    (
        "torch.Adam",
        "torch.AdamW",
        {"learning_rate": 1e-3},
        "adam rescales the gradient",
    ),
    ("torch.AdamW", "torch.Adam", {"learning_rate": 1e-3}, "depends on the data"),
    ("torch.SGD", "torch.Adam", {}, "tune both"),
    ("keras.L2", "torch.AdamW", {}, "adam rescales"),
    ("keras.L2", "lr", {}, "say optimizer=sgd"),
    ("keras.L2", "tau", {"optimizer": "rmsprop"}, "rmsprop rescales"),
    ("lr", "constant", {"learning_rate": 1e-3}, "say schedule=constant, or match=mean"),
    ("lr", "constant", MOVING, "no number is right in every step"),
    ("lr", "AdamC", MOVING, r"by s_t\^1, the other by s_t\^2"),
    (
        "lr",
        "AdamC",
        {"learning_rate": 0.1, "match": "mean"},
        "match=mean needs schedule",
    ),
    ("keras.L1", "keras.L2", {}, "L1 pulls with a constant force"),
    ("torch.SGD", "l1", {}, "L1 pulls with a constant force"),
    ("independent", "lr", {}, "means paper .* or constant"),
    ("lr", "AdamW", {}, "means torch.AdamW .* or paper"),
    ("torch.AdmW", "lr", {}, "did you mean 'torch.AdamW'"),
    ("torch.AdamW", "paper", {}, "paper|torch.AdamW.*needs learning_rate="),
    (
        "torch.AdamW",
        "optax.lion",
        {"learning_rate": 0.1},
        "needs target_learning_rate=",
    ),
    ("l2", "l2_per_example", {}, "needs examples="),
    ("sklearn", "l2", {}, "needs batch_size="),
    ("normalized", "paper", {"batch_size": 5, "dataset_size": 9}, "needs epochs="),
    ("tau_epochs", "constant", {"batch_size": 5}, "needs dataset_size="),
    ("stable_sgd", "lr", {}, "needs momentum="),
    ("torch.SGD", "lr", {"nesterov": True}, "say momentum="),
    ("coupled", "lr", {"optimizer": "momentum"}, "say momentum="),
    ("torch.SGD", "lr", {"optimizer": "adam"}, "leave optimizer= out"),
    ("coupled", "lr", {"optimizer": "adm"}, "did you mean 'adam'"),
    ("lr", "paper", {"learning_rate": 0.0}, "learning_rate=0 is not allowed"),
    ("lr", "paper", {"learning_rate": jnp.ones(2)}, "give one plain number"),
    ("lr", "paper", {"learning_rate": lambda t: 0.1}, "nor made by jaxwd"),
    ("lr", "tau", {"learning_rate": 1.0, "schedule": "cosin"}, "did you mean 'cosine'"),
    ("lr", "tau", {"learning_rate": 1.0, "schedule": "cosine"}, "needs steps="),
    ("lr", "tau", {"match": "men"}, "did you mean 'mean'"),
    (
        *("lr", "tau", {"learning_rate": 0.2, "schedule": wd.cosine(0.1, steps=5)}),
        "learning_rate=0.2 and the schedule's peak 0.1 differ",
    ),
    (
        *(
            "lr",
            "tau",
            {"learning_rate": wd.cosine(0.1, steps=5), "schedule": "cosine"},
        ),
        "is a schedule already",
    ),
    ("torch.SGD", "lr", {"momentum": 1.0}, "momentum=1 is not allowed"),
    ("sklearn", "l2", {"batch_size": 0}, "batch_size=0 is not allowed"),
    ("tau_epochs", "tau", {"batch_size": 9, "dataset_size": 5}, "larger than"),
    ("tau", "constant", {}, "take 10 times the whole weight off"),
    (
        *("lr", "constant", {"learning_rate": 20, "schedule": "constant"}),
        "take 2 times the whole weight off",
    ),
]


@pytest.mark.parametrize(("source", "target", "said", "message"), REFUSED)
def test_where_there_is_no_number_one_line_says_why(source, target, said, message):
    with pytest.raises(wd.InputError, match=message) as caught:
        wd.convert(0.1, source=source, target=target, **said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf"), "a", None])
def test_strengths_that_are_none(strength):
    with pytest.raises(wd.InputError, match="is not allowed"):
        wd.convert(strength, source="l2", target="coupled")


def test_a_traced_strength_is_refused():
    convert = jax.jit(lambda x: wd.convert(x, source="l2", target="coupled"))
    with pytest.raises(wd.InputError, match="give one plain number"):
        convert(0.1)


# --- the table and its names ----------------------------------------------------------


def test_every_name_is_found_however_it_is_written():
    for name, row in CONVENTIONS.items():
        assert find(name) == (row, None)
        for alias, optimizer in row.aliases.items():
            assert find(alias.upper()) == (row, optimizer)
            assert find(alias.replace("_", "-")) == (row, optimizer)


def test_no_name_means_two_conventions():
    names = [n for row in CONVENTIONS.values() for n in (row.name, *row.aliases)]
    plain = [name.casefold() for name in names]
    repeated = {name for name in plain if plain.count(name) > 1}
    assert repeated <= {"palm"}  # PaLM is palm
    assert not set(AMBIGUOUS) & set(plain)


def test_every_row_says_what_it_takes_and_who_says_so():
    for row in CONVENTIONS.values():
        assert "{λ}" in row.takes
        assert row.source
        assert row.optimizers


@pytest.mark.parametrize("name", wd.OPTIMIZERS)
def test_every_optimizer_of_jaxwd_may_be_named(name):
    got = wd.convert(0.1, source="l2", target="coupled", optimizer=name)
    assert got == 0.2


# --- the number that comes back -------------------------------------------------------


def example():
    return wd.convert(0.01, source="torch.AdamW", target="paper", learning_rate=1e-3)


def test_it_is_a_float_wherever_one_is_wanted(x64):
    got = example()
    assert got.strength == 1e-5
    assert hash(got) == hash(1e-5)
    assert json.loads(json.dumps(got)) == 1e-5
    assert jnp.asarray(got) == 1e-5
    decay = wd.decoupled(got, times="schedule")
    assert decay == wd.decoupled(1e-5, times="schedule")
    assert str(decay) == "decoupled(1e-05, times=schedule)"
    tx = wd.optimizer("adam", 1e-3, decay=decay)
    np.testing.assert_allclose(kept_after(tx, 3)[-1], (1 - 1e-5) ** 3, rtol=1e-12)


def test_it_says_how_it_came_about_and_cannot_be_changed():
    got = example()
    assert got.equation == "s_tλ′ = η_tλ, so λ′ = 0.001·λ"
    assert got.jaxwd == 'wd.decoupled(1e-05, times="schedule")'
    assert got.assumed == ("peak learning rate α = 0.001",)
    assert got.explain().startswith("1e-05\n")
    assert json.loads(json.dumps(got.to_dict()))["target"] == "schedule"
    with pytest.raises(AttributeError, match="cannot be changed"):
        got.equation = "λ′ = λ"


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_keep_the_history(again):
    got = example()
    assert again(got) == got
    assert again(got).to_dict() == got.to_dict()


@pytest.mark.parametrize("name", [n for n, row in CONVENTIONS.items() if row.jaxwd])
def test_the_words_for_jaxwd_make_the_scheme(name):
    got = carry(0.01, "l1" if name == "l1" else "lr", name, 0.1)
    scheme = eval(got.jaxwd, {"wd": wd})
    assert scheme.strength == pytest.approx(float(got), rel=1e-11)


def test_large_sizes_are_written_in_full():
    said = {"source": "coupled", "target": "l2_per_example", "examples": 1_281_167}
    got = wd.convert(1e-4, **said)
    assert dict(eval(got.jaxwd, {"wd": wd}).settings)["examples"] == 1_281_167
    assert "examples = 1281167" in got.assumed


def test_what_is_assumed_is_said():
    def assumed(**said):
        return wd.convert(0.1, source="torch.SGD", target="lr", **said).assumed

    assert "SGD without momentum, none was given" in assumed()
    assert any("μ = 0.9 makes 10 of" in words for words in assumed(momentum=0.9))
    assert any("Nesterov" in words for words in assumed(momentum=0.9, nesterov=True))
    clip = wd.convert(0.1, source="keras.L2", target="torch.Adam").assumed
    assert clip == ("no clip between loss and gradient",)


# --- imports and the command ----------------------------------------------------------


def test_the_function_stays_the_function_whatever_is_imported():
    code = (
        "import jaxwd as wd, jaxwd.guide.convert\n"
        "assert wd.convert(1.0, source='l2', target='coupled') == 2\n"
        "from jaxwd.guide import convert\n"
        "assert convert is wd.convert"
    )
    for first in ("", "import jaxwd.guide.convert\n"):
        got = subprocess.run(
            [sys.executable, "-c", first + code], capture_output=True, text=True
        )
        assert got.returncode == 0, got.stderr


def test_converting_starts_no_jax():
    code = (
        "import sys; from jaxwd.cli import main\n"
        "assert main('convert .1 --source lr --target paper --learning-rate .1 '\n"
        "    '--schedule cosine --steps 9'.split()) == 0\n"
        "assert not {'jax', 'numpy'} & {*sys.modules}"
    )
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert got.returncode == 0, got.stderr


WORDS = "convert 0.01 --source torch.AdamW --target paper --learning-rate 1e-3"


def test_the_command_prints_number_equation_and_scheme(capsys):
    assert cli.main(WORDS.split()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1e-05"
    assert lines[-1].endswith('wd.decoupled(1e-05, times="schedule")')


def test_the_command_prints_json(capsys):
    assert cli.main([*WORDS.split(), "--json"]) == 0
    got = json.loads(capsys.readouterr().out)
    assert got["strength"] == 1e-5
    none = "convert 0 --source constant --target tau"
    assert cli.main([*none.split(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["strength"] is None


def test_the_readme_shows_what_the_command_prints(capsys):
    block = README.read_text().split("$ jaxwd convert ")[1].split("\n$ ")[0]
    words, shown = block.split("\n", 1)
    assert cli.main(["convert", *words.split()]) == 0
    assert capsys.readouterr().out.strip() == shown.strip()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("convert 1 --source torch.Adam --target torch.AdamW", "rescales the gradient"),
        ("convert 1 --source adamw --target lr", "means torch.AdamW"),
        ("convert -1 --source lr --target lr", "strength=-1 is not allowed"),
        ("convert 1 --source lr --target paper", "needs learning_rate="),
    ],
)
def test_the_command_refuses_in_one_line(words, message, capsys):
    assert cli.main(words.split()) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1


def test_conventions_are_listed(capsys):
    assert cli.main(["list", "conventions"]) == 0
    printed = capsys.readouterr().out
    for name, row in CONVENTIONS.items():
        assert name in printed
        assert all(alias in printed for alias in row.aliases)
