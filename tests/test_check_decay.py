"""The suite for optimizers of one's own: right ones pass, each broken one is caught."""

import importlib.util
import json
import pathlib
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxwd as wd
from jaxwd.testing import DecayCheckFailed, check_decay


def scheme(name, **options):
    """An optimizer of jaxwd as the suite wants it: (rate, λ) → transformation."""
    kind = getattr(wd, options.pop("kind", "decoupled"))
    return lambda rate, lam: wd.optimizer(name, rate, decay=kind(lam, **options))


# make, coupling, times, law, lasting shrink over the first step's
RIGHT = {
    "optax.adafactor": (
        lambda rate, lam: optax.adafactor(rate, weight_decay_rate=lam),
        ("decoupled", "constant", "∝ λ", 1.0),
    ),
    "SGD, L2": (
        lambda rate, lam: optax.chain(
            optax.add_decayed_weights(lam), optax.sgd(rate, momentum=0.8)
        ),
        ("coupled", "lr", "∝ λ", 5.0),
    ),
    "Adam, L2": (
        lambda rate, lam: optax.chain(optax.add_decayed_weights(lam), optax.adam(rate)),
        ("by gradient", "lr", "λ cancels", 1.0),
    ),
    "schedule": (
        scheme("adam", times="schedule"),
        ("decoupled", "schedule", "∝ λ", 1.0),
    ),
    "corrected": (
        scheme("momentum", times="corrected"),
        ("decoupled", "corrected", "∝ λ", 1.0),
    ),
    "lr²": (
        lambda rate, lam: optax.chain(
            optax.scale_by_adam(),
            optax.add_decayed_weights(
                (lambda t: lam * rate(t)) if callable(rate) else lam * rate
            ),
            optax.scale_by_learning_rate(rate),
        ),
        ("decoupled", "lr²", "∝ λ", 1.0),
    ),
    "coupled momentum": (
        scheme("momentum", kind="coupled"),
        ("coupled", "lr", "∝ λ", 10.0),
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_form_of_a_right_optimizer(name):
    make, (coupling, times, law, gain) = RIGHT[name]
    report = check_decay(make, coupling=coupling, times=times, name=name)
    report.assert_ok()
    assert report.form is not None
    assert report.form.law == law
    assert report.form.gain == pytest.approx(gain, rel=1e-3)


def test_proximal_decay_is_told_from_a_plain_one():
    report = check_decay(
        lambda rate, lam: optax.contrib.momo(rate, weight_decay=lam),
        extra_args={"value": 1.0},
        coupling="decoupled",
    )
    assert report.form is not None
    assert report.form.law == "prox"
    assert report.form.shrink == pytest.approx(0.001 / 1.001, rel=1e-5)


# --- broken ones ---


def by_hand(rule, check=lambda lam: lam):
    """A stateless optimizer: update = rule(g, θ, λ, η)."""

    def make(rate, lam):
        lam = check(lam)

        def init(params):
            return optax.ScaleByScheduleState(jnp.zeros((), jnp.int32))

        def update(updates, state, params=None):
            eta = rate(state.count) if callable(rate) else rate
            new = jax.tree.map(lambda g, p: rule(g, p, lam, eta), updates, params)
            return new, optax.ScaleByScheduleState(state.count + 1)

        return optax.GradientTransformation(init, update)

    return make


def named_only(rate, lam):
    """Knows its leaves by name, so it breaks when Optax hides one of them."""

    def update(updates, state, params=None):
        return {
            "bias": -rate * updates["bias"],
            "kernel": -rate * (updates["kernel"] + lam * params["kernel"]),
        }, state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def through_numpy(rate, lam):
    """Leaves JAX on the way, so it cannot be compiled."""

    def update(updates, state, params=None):
        return jax.tree.map(
            lambda g, p: -rate * (g + lam * jnp.asarray(np.asarray(p))), updates, params
        ), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def unsteady_state(rate, lam):
    """Keeps a number after every other step, so it cannot be scanned."""
    inner = optax.adamw(rate, weight_decay=lam)

    def update(updates, state, params=None):
        new, inside = inner.update(updates, state[0], params)
        return new, (inside, () if state[1] else (jnp.zeros(()),))

    return optax.GradientTransformation(lambda p: (inner.init(p), ()), update)


def by_the_norm_of_all(rate, lam):
    """Decay depends on leaves that a mask hides."""

    def update(updates, state, params=None):
        norm = optax.tree.norm(params)
        return jax.tree.map(
            lambda g, p: -rate * (g + lam / norm * p), updates, params
        ), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


# make, the checks that must fail, words of one of them
BROKEN = {
    "accepts λ and forgets it": (
        lambda rate, lam: optax.sgd(rate),
        {"shrinks at zero gradient"},
        "nothing decays",
    ),
    "wrong sign": (
        by_hand(lambda g, p, lam, eta: -eta * (g - lam * p)),
        {"shrinks at zero gradient"},
        "weights grow by 0.001 a step",
    ),
    "λ squared": (
        by_hand(lambda g, p, lam, eta: -eta * (g + lam**2 * p)),
        {"linear in λ"},
        "×4 for 2λ",
    ),
    "decays at λ = 0 too": (
        by_hand(lambda g, p, lam, eta: -eta * (g + (lam + 1e-4) * p)),
        {"linear in λ", "λ = 0 adds nothing"},
        "is left",
    ),
    "asks whether λ > 0 in Python": (
        by_hand(
            lambda g, p, lam, eta: -eta * (g + lam * p),
            check=lambda lam: lam if lam > 0 else 0.0,
        ),
        {"λ traced, 0 too", "one trace under jit", "vmap over λ"},
        "TracerBoolConversionError",
    ),
    "λ rounded to the gradient's type": (
        by_hand(lambda g, p, lam, eta: -eta * (g + (lam * p).astype(g.dtype))),
        {"bfloat16 gradients"},
        "decay of float32 weights is",
    ),
    "knows its leaves by name": (named_only, {"optax.masked", "optax.partition"}, ""),
    "scaled by all leaves": (
        by_the_norm_of_all,
        {"optax.masked", "optax.partition"},
        "× the decay inside, none outside",
    ),
    "NaN at zero gradient": (
        by_hand(lambda g, p, lam, eta: -eta * (g / jnp.abs(g).max() + lam * p)),
        {"zero gradient is finite"},
        "NaN; measured beside small gradients",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_optimizer_fails_the_check_it_must(name):
    make, checks, words = BROKEN[name]
    report = check_decay(make, name=name)
    assert {row.check for row in report.failed} == checks
    assert any(words in row.measured for row in report.failed)
    with pytest.raises(DecayCheckFailed, match="failed: "):
        report.assert_ok()
    report.assert_ok(allow=checks)


def test_a_state_that_changes_its_structure_cannot_be_scanned():
    failed = {row.check for row in check_decay(unsteady_state).failed}
    assert "steps in lax.scan" in failed


def test_what_cannot_be_compiled_is_said_once():
    report = check_decay(through_numpy)
    (row,) = report.rows
    assert row.result == "FAIL"
    assert row.measured.startswith("TracerArrayConversionError")
    assert report.form is None


def test_an_optimizer_that_cannot_be_made_is_said_once():
    (row,) = check_decay(lambda rate, lam: optax.sgd(rate, nonsense=lam)).rows
    assert "unexpected keyword argument 'nonsense'" in row.measured


# --- expectations and notes ---


@pytest.mark.parametrize(
    ("expected", "failed"),
    [
        ({"coupling": "coupled"}, "coupled or decoupled"),
        ({"times": "schedule"}, "multiplied by"),
        ({"where": wd.kernels}, "which leaves"),
    ],
)
def test_an_expectation_that_is_not_met_fails(expected, failed):
    def make(rate, lam):
        return optax.adamw(rate, weight_decay=lam)

    report = check_decay(make, **expected)  # RIGHT passes unasked
    assert [row.check for row in report.failed] == [failed]


def test_leaves_and_notes_are_measured():
    report = check_decay(scheme("adam"), where=wd.kernels, learning_rate=1.0)
    rows = {row.check: row for row in report.rows}
    assert rows["which leaves"].measured == "bias no, kernel yes"
    assert rows["λ a schedule"].measured == "followed"
    assert rows["at learning rate 0"].measured == "stops"
    assert rows["bfloat16 weights"].measured.startswith("100% of the weights move")


def test_a_schedule_that_is_refused_is_noted():
    report = check_decay(
        lambda rate, lam: optax.adamw(float(rate), weight_decay=lam), times=None
    )
    rows = {row.check: row.measured for row in report.rows}
    assert rows["multiplied by"].endswith("a schedule is refused")
    assert rows["at learning rate 0"] == "not known"


def test_shapes_of_ones_own():
    shapes = {"block": {"w": (2, 3), "scale": ()}, "list": [(3,), (1, 2)]}
    report = check_decay(lambda r, lam: optax.adamw(r, weight_decay=lam), shapes=shapes)
    report.assert_ok()
    assert report.form is not None
    assert set(report.form.leaves) == {"block/w", "block/scale", "list/0", "list/1"}


def test_report_prints_as_a_table_80_wide_and_as_json():
    report = check_decay(RIGHT["Adam, L2"][0], name="Adam, L2")
    lines = str(report).splitlines()
    assert lines[0] == "decay of Adam, L2"
    assert lines[-1] == "passed"
    assert max(map(len, lines)) <= 80
    assert "100% of the weights move" in str(report)
    assert "| MultiSteps | pass |" in report.table().markdown()
    back = json.loads(json.dumps(report.to_dict()))
    assert back["ok"] is True
    assert back["form"]["kind"] == "by gradient"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"coupling": "copled"}, "did you mean 'coupled'"),
        ({"times": "learning_rate"}, "unknown times 'learning_rate'"),
        ({"strength": 0.0}, "strength=0 is not allowed"),
        ({"learning_rate": -1.0}, "learning_rate=-1 is not allowed"),
        ({"make": optax.adamw(0.1)}, "is no function"),
    ],
)
def test_bad_input_is_one_line(arguments, message):
    with pytest.raises(wd.InputError, match=message) as caught:
        check_decay(**{"make": RIGHT["schedule"][0]} | arguments)
    assert "\n" not in str(caught.value)


def test_allowing_a_check_that_does_not_exist_is_an_error():
    with pytest.raises(ValueError, match="no such checks: MultiStep"):
        check_decay(RIGHT["schedule"][0]).assert_ok(allow=["MultiStep"])


# --- the table of Optax's optimizers ---

ROOT = pathlib.Path(__file__).parent.parent
PAGE = (ROOT / "experiments/results/optax_decay.md").read_text()
same_optax = pytest.mark.skipif(
    f"optax {optax.__version__}," not in PAGE, reason="made with another Optax"
)


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location(
        "optax_table", ROOT / "scripts/optax_table.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    return module


def committed():
    """Return the rows of the committed table, by optimizer."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")][2:]
    rows = [tuple(cell.strip() for cell in line[2:-2].split(" | ")) for line in lines]
    return {row[0]: row for row in rows}


@same_optax
@pytest.mark.parametrize(
    "name",
    [
        "adafactor",
        "lamb",
        "novograd",
        "contrib.momo",
        "contrib.mechanize(sgd)",
    ],
)
def test_row_of_the_committed_table_is_what_is_measured(script, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optax's own deprecations
        got = script.cells(name, script.entries()[name])
    assert got == committed()[name]


@same_optax
def test_no_optimizer_is_missing_from_the_table(script):
    with_strength = {n for n, e in script.entries().items() if e.argument is not None}
    assert set(committed()) == with_strength
    for name in {*script.entries(), *script.LEFT_OUT} - with_strength:
        assert f"`{name}`" in PAGE
