"""A first λ and its neighbours, worked out again by hand; and the rules of scaling."""

import importlib
import itertools
import json
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxwd as wd
from jaxwd import cli
from jaxwd.guide import CONVENTIONS, PUBLISHED, RULES

RUN = {
    "dataset_size": 50_000,
    "batch_size": 100,
    "epochs": 100,
    "learning_rate": 1e-3,
}
M = 500  # steps an epoch


# --- the start and the sweep ----------------------------------------------------------


def test_the_start_has_the_tau_it_says():
    got = wd.recommend(**RUN)
    assert got.tau_epochs == 10  # √100
    assert 1 / (1e-3 * got.strength * M) == pytest.approx(10)


@given(
    epochs=st.floats(1, 1000),
    batch=st.integers(1, 1000),
    rate=st.floats(1e-4, 1e-2),
    extra=st.integers(1, 1000),
)
def test_the_sweep_goes_from_the_run_to_an_epoch_in_steps_of_two(
    epochs, batch, rate, extra
):
    size = batch * 10 * extra
    got = wd.recommend(
        dataset_size=size, batch_size=batch, epochs=epochs, learning_rate=rate
    )
    strengths = [strength for strength, _ in got.sweep]
    taus = [tau for _, tau in got.sweep]
    assert strengths == sorted(strengths)
    for strength, tau in got.sweep:
        assert 1 / (rate * strength * size / batch) == pytest.approx(tau)
    for one, two in itertools.pairwise(taus):
        assert 1 < one / two <= 2 + 1e-9
    if epochs >= 16:
        assert (taus[0], taus[-1]) == pytest.approx((epochs, 1.0))
    else:  # too narrow to sweep: four-fold either way
        assert taus[0] / got.tau_epochs == pytest.approx(4)
    assert min(abs(math.log(tau / got.tau_epochs)) for tau in taus) < 1e-9


def test_a_sweep_leaves_out_what_is_less_than_a_step():
    """Two steps an epoch: τ = ¼ epoch would be half a step."""
    got = wd.recommend(dataset_size=20, batch_size=10, epochs=1, learning_rate=0.1)
    assert [round(tau * 2, 6) for _, tau in got.sweep] == [8, 4, 2, 1]
    assert None in [here for _, here in got.neighbours]
    assert "–" in str(got)


@pytest.mark.parametrize("scheme", ["paper", "torch.AdamW", "l2", "sklearn", "AdamC"])
def test_every_scheme_is_the_same_decay(scheme):
    """λ in any convention, carried back to the learning rate's, is the same λ."""
    said = {"optimizer": "adam"} if "Adam" in scheme else {"optimizer": "sgd"}
    got = wd.recommend(**RUN, scheme=scheme, schedule="constant", **said)
    back = wd.convert(
        got.strength,
        source=scheme,
        target="lr",
        learning_rate=1e-3,
        batch_size=100,
        schedule="constant",
        **said,
    )
    assert back == pytest.approx(float(wd.recommend(**RUN).strength))


def test_under_a_moving_rate_the_total_shrink_is_kept_and_said():
    got = wd.recommend(**RUN, scheme="constant", schedule="linear")
    half = wd.recommend(**RUN).strength * 1e-3 / 2
    assert got.strength == pytest.approx(half, rel=1e-4)
    assert "λ keeps the shrink summed over the run, not when it happens" in got.says


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"epochs": 0.5}, "none below one epoch"),
        ({"epochs": float("nan")}, "epochs=nan is not allowed"),
        ({"batch_size": 60_000}, "larger than dataset_size=50000"),
        ({"batch_size": 0}, "batch_size=0 is not allowed"),
        ({"learning_rate": 0}, "learning_rate=0 is not allowed"),
        ({"learning_rate": wd.cosine(0.1, steps=9)}, "give one plain number"),
        ({"scheme": "coupled"}, "adam rescales the gradient"),
        ({"scheme": "tau"}, "is no λ of decay"),
        ({"scheme": "l1"}, "is no λ of decay"),
        ({"scheme": "torch.AdmW"}, "did you mean 'torch.AdamW'"),
        ({"optimizer": "adm"}, "did you mean 'adam'"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"optimizer": "momentum", "scheme": "coupled"}, "say momentum="),
    ],
)
def test_mistakes_are_one_line(said, message):
    with pytest.raises(wd.InputError, match=message) as caught:
        wd.recommend(**(RUN | said))
    assert "\n" not in str(caught.value)


# --- published recipes ----------------------------------------------------------------

# τ in epochs, from the published numbers and the update rule written out here.
TAUS = {
    "ResNet-50, ImageNet": 0.1 / (0.1 * 1e-4) / (1_281_167 / 256),
    "ResNet-50, ImageNet, long": 0.1 / (0.5 * 2e-5) / (1_281_167 / 1024),
    "MobileNetV2, ImageNet": 0.1 / (0.045 * 4e-5) / (1_281_167 / 256),
    "WRN-28-10, CIFAR": 0.1 / (0.1 * 5e-4) / (50_000 / 128),
    "ResNet-18 mixup, CIFAR-10": 0.1 / (0.1 * 1e-4) / (50_000 / 128),
    "Shake-Shake 2x96d, CIFAR-10": math.sqrt(1500 / (50_000 / 128)) / 0.025,
    "ViT-S/16, ImageNet": 1 / 1e-4 / (1_268_355 / 1024),
    "ViT-B/16, ImageNet": 1 / (3e-3 * 0.3) / (1_281_167 / 4096),
    "DeiT-B, ImageNet": 1 / (1e-3 * 0.05) / (1_281_167 / 1024),
    "ConvNeXt-T, ImageNet": 1 / (4e-3 * 0.05) / (1_281_167 / 4096),
    "GPT-2 124M, OpenWebText": 1 / (6e-4 * 0.1) / (9_035_582_198 / 491_520),
    "character GPT, Shakespeare": 1 / (1e-3 * 0.1) / (1_003_854 / 16_384),
    "OLMo-1B, 3.1T tokens": 1 / (4e-4 * 0.1) / 739_328,
    "OLMo-7B, 2T tokens": 1 / (3e-4 * 0.1) / (2e12 / 2048**2),
}


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row.name)
def test_the_tau_of_a_recipe_follows_from_its_own_numbers(row):
    assert row.tau_epochs == pytest.approx(TAUS[row.name], rel=1e-9)
    assert row.tau_over_run == pytest.approx(TAUS[row.name] / row.epochs, rel=1e-9)
    assert row.source


def test_recipes_are_all_checked_and_named_once():
    assert len(PUBLISHED) == len({row.name for row in PUBLISHED}) == len(TAUS)


def test_lambda_here_has_the_tau_it_had_there():
    for row, here in wd.recommend(**RUN).neighbours:
        assert 1 / (1e-3 * here * M) == pytest.approx(float(row.tau_epochs))


@pytest.mark.parametrize("optimizer", ["sgd", "torch.nesterov", "adam", "lion"])
def test_neighbours_of_the_same_kind_come_first(optimizer):
    got = wd.recommend(**RUN, optimizer=optimizer)
    sgd = [row.optimizer == "sgd" for row, _ in got.neighbours]
    assert len(sgd) == 6
    assert sgd[0] == sgd[1] == (optimizer not in ("adam", "lion"))


def test_one_pass_has_the_language_models_as_neighbours():
    run = {"dataset_size": 10**10, "batch_size": 10**6, "epochs": 1}
    first = wd.recommend(**run, learning_rate=1e-3).neighbours[0][0]
    assert "OLMo" in first.name


# --- what is printed ------------------------------------------------------------------


def test_it_prints_a_table_that_fits_eighty_columns():
    text = str(wd.recommend(**RUN))
    assert text.startswith("λ = 0.2   wd.decoupled(0.2)\n")
    assert "τ/T" in text
    assert "Wang and Aitchison" in text
    for optimizer in ("adam", "sgd"):
        for epochs in (1, 10, 1000):
            text = str(
                wd.recommend(**(RUN | {"epochs": epochs, "optimizer": optimizer}))
            )
            assert max(map(len, text.splitlines())) <= 80
    assert "normalized" in str(wd.recommend(**RUN, scheme="normalized")).split("\n")[0]


def test_it_is_plain_values_as_a_dict():
    got = wd.recommend(**RUN)
    again = json.loads(json.dumps(got.to_dict()))
    assert again["strength"] == pytest.approx(0.2)
    assert again["jaxwd"] == "wd.decoupled(0.2)"
    assert len(again["sweep"]) == len(got.sweep)
    assert again["neighbours"][0].keys() >= {"source", "tau_epochs", "convention"}
    assert again["run"]["optimizer"] == "adam"


WORDS = (
    "recommend --dataset-size 50000 --batch-size 100 --epochs 100 --learning-rate 1e-3"
)


def test_the_command_prints_the_same(capsys):
    assert cli.main(WORDS.split()) == 0
    assert capsys.readouterr().out.strip() == str(wd.recommend(**RUN))
    assert cli.main([*WORDS.split(), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(json.dumps(wd.recommend(**RUN).to_dict()))


def test_the_command_refuses_in_one_line(capsys):
    assert cli.main([*WORDS.split(), "--scheme", "coupled"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_function_stays_the_function_whatever_is_imported():
    importlib.import_module("jaxwd.guide.recommend")
    assert wd.recommend is importlib.import_module("jaxwd.guide").recommend
    assert callable(wd.recommend)


def test_recommending_starts_no_jax():
    code = (
        "import sys; from jaxwd.cli import main\n"
        f"assert main({WORDS!r}.split()) == 0\n"
        "assert not {'jax', 'numpy'} & {*sys.modules}"
    )
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert got.returncode == 0, got.stderr


# --- scaling --------------------------------------------------------------------------

# rule: what four times as much does to λ and to the learning rate
FOURFOLD = {
    "batch.timescale": (4.0, 1.0),
    "batch.linear": (1.0, 4.0),
    "batch.normalized": (2.0, 1.0),
    "data.timescale": (1 / 4, 1.0),
    "data.normalized": (1 / 2, 1.0),
    "data.power_lines": (4**-0.473, 1.0),
    "epochs.timescale": (1.0, 1.0),
    "epochs.normalized": (1 / 2, 1.0),
    "epochs.run": (1 / 4, 1.0),
    "width.shrink": (4.0, 1 / 4),
    "width.gain": (2.0, 1 / 4),
    "rate.shrink": (1 / 4, 4.0),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_its_power(rule):
    got = wd.scale(0.1, rule=rule, factor=4)
    strength, rate = FOURFOLD[rule]
    assert got == pytest.approx(0.1 * strength)
    assert got.learning_rate_factor == pytest.approx(rate)
    assert got.says == RULES[rule].says
    assert got.source


@pytest.mark.parametrize(
    "rule", [r for r in RULES if "timescale" in r or "linear" in r]
)
def test_rules_that_say_so_keep_tau_in_epochs(rule):
    """τ in epochs of 8 epochs, b = 100, B = 10,000 before and after a factor of two."""
    sizes = {"batch_size": 100.0, "dataset_size": 10_000.0}

    def tau(strength, rate, **sizes):
        return wd.convert(
            strength, source="lr", target="tau_epochs", learning_rate=rate, **sizes
        )

    after = wd.scale(0.1, rule=rule, factor=2)
    grown = {"batch": "batch_size", "data": "dataset_size"}.get(rule.split(".")[0])
    larger = sizes | ({grown: 2 * sizes[grown]} if grown else {})
    rate = 1e-3 * after.learning_rate_factor
    assert tau(after, rate, **larger) == pytest.approx(tau(0.1, 1e-3, **sizes))


@pytest.mark.parametrize("rule", [rule for rule in RULES if "normalized" in rule])
def test_normalized_rules_keep_the_normalized_strength(rule):
    """λ_norm of the AdamW paper stays the same number, by `convert`."""
    sizes = {"batch_size": 100.0, "dataset_size": 10_000.0, "epochs": 10.0}

    def normalized(strength, **sizes):
        said = {"learning_rate": 1e-3, **sizes}
        return wd.convert(strength, source="lr", target="normalized", **said)

    name = {"batch": "batch_size", "data": "dataset_size", "epochs": "epochs"}
    grown = name[rule.split(".")[0]]
    after = wd.scale(0.1, rule=rule, factor=2)
    larger = sizes | {grown: 2 * sizes[grown]}
    assert normalized(after, **larger) == pytest.approx(normalized(0.1, **sizes))


@given(
    rule=st.sampled_from(sorted(RULES)),
    convention=st.sampled_from(["lr", "schedule", "constant", "corrected", "palm"]),
    factor=st.floats(0.1, 10.0),
)
def test_scaling_then_converting_is_converting_then_scaling(rule, convention, factor):
    def carried(strength, rate):
        said = {"learning_rate": rate, "schedule": "constant"}
        return wd.convert(strength, source="lr", target=convention, **said)

    scaled = wd.scale(0.01, rule=rule, factor=factor)
    after = carried(scaled, 1e-2 * scaled.learning_rate_factor)
    before = carried(0.01, 1e-2)
    got = wd.scale(before, rule=rule, factor=factor, convention=convention)
    assert got == pytest.approx(float(after), rel=1e-9)


@given(rule=st.sampled_from(sorted(RULES)), a=st.floats(0.1, 9), b=st.floats(0.1, 9))
def test_two_factors_are_their_product(rule, a, b):
    twice = wd.scale(wd.scale(0.1, rule=rule, factor=a), rule=rule, factor=b)
    once = wd.scale(0.1, rule=rule, factor=a * b)
    assert twice == pytest.approx(float(once))


def test_rules_that_contradict_are_both_there_and_neither_is_the_default():
    families = {rule.split(".")[0] for rule in RULES}
    for family in families - {"rate"}:
        powers = {v.power for k, v in RULES.items() if k.startswith(f"{family}.")}
        assert len(powers) > 1
        with pytest.raises(wd.InputError, match=f"{family!r} is a family; choose from"):
            wd.scale(0.1, rule=family, factor=2)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"rule": "batch.timscale"}, "did you mean 'batch.timescale'"),
        ({"rule": "depth"}, "unknown rule 'depth'; choose from"),
        ({"factor": 0}, "factor=0 is not allowed"),
        ({"strength": -1}, "strength=-1 is not allowed"),
        ({"convention": "tau"}, "none the rules are about"),
        ({"convention": "l1"}, "none the rules are about"),
        ({"convention": "normalized"}, "none the rules are about"),
        ({"convention": "sgdd"}, "unknown convention"),
    ],
)
def test_mistakes_in_scaling_are_one_line(said, message):
    given = {"strength": 0.1, "rule": "batch.timescale", "factor": 2.0} | said
    with pytest.raises(wd.InputError, match=message):
        wd.scale(given.pop("strength"), **given)


def test_a_scaled_number_is_a_float_that_cannot_be_changed():
    got = wd.scale(0.1, rule="batch.timescale", factor=4)
    assert str(got) == "0.4"
    assert wd.decoupled(got) == wd.decoupled(0.4)
    with pytest.raises(AttributeError, match="cannot be changed"):
        got.rule = "width.gain"


def test_rules_are_listed(capsys):
    assert cli.main(["list", "scaling"]) == 0
    printed = capsys.readouterr().out
    assert all(rule in printed for rule in RULES)
    assert set(CONVENTIONS) >= {"lr"}
