"""A study: paired arms, a ledger that keeps them, a verdict that follows from numbers."""

import dataclasses
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from test_training import TINY, digits  # noqa: F401  # a fixture

import jaxwd as wd
from jaxwd.lab import Arm, run_study, turns
from jaxwd.lab.ledger import Ledger, writable_folder
from jaxwd.lab.provenance import run_key
from jaxwd.report import decay_table, fit_table, result_table, verdict, write_report
from jaxwd.training import Result

ARMS = [
    Arm("plain", TINY),
    Arm("L2", dataclasses.replace(TINY, decay=wd.coupled(0.01))),
]


class Fake:
    """A runner that returns chosen scores at once, and counts its runs."""

    def __init__(self, score):
        self.score, self.runs = score, 0

    def __call__(self, recipe, data, *, layout, on_epoch):
        self.runs += 1
        value = self.score(recipe)
        if value is None:
            raise wd.Diverged("the loss became nan at step 3")
        row = {
            "epoch": 1,
            "step": 12,
            "running_loss": 1.0,
            "running_accuracy": value,
            "penalty": 0.1,
            "param_norm": 2.0,
            "grad_norm": 1.0,
            "update_norm": 0.1,
            "decay_share": 0.05,
            "learning_rate": 0.1,
            "validation_loss": 1.5 - value,
            "validation_accuracy": value,
            "seconds": 0.5,
        }
        on_epoch(row)
        final = dict(row)
        for part in ("train", "test"):
            final |= {f"{part}_loss": 1.5 - value, f"{part}_accuracy": value}
        return Result(recipe, [row], final, {}, 0.5, 0.0, 100.0)


def study_of(score, data, seeds=5, arms=ARMS, **options):
    return run_study(arms, range(seeds), data, runner=Fake(score), **options)


def noise(seed):
    return float(np.random.default_rng(seed).normal(0, 0.01))


# --- running ----------------------------------------------------------------------


def test_arms_are_paired_by_seed(digits):  # noqa: F811
    study = run_study(ARMS, range(2), digits)
    assert set(study.finals["plain"]) == set(study.finals["L2"]) == {0, 1}
    a, b = study.pairs(ARMS[1], "test_accuracy")
    assert a == [study.finals["L2"][s]["test_accuracy"] for s in (0, 1)]
    assert b == [study.finals["plain"][s]["test_accuracy"] for s in (0, 1)]


def test_a_diverged_run_leaves_its_neighbours(digits):  # noqa: F811
    diverging = lambda r: None if r.seed == 1 and r.decay.kind == "coupled" else 0.9  # noqa: E731
    study = study_of(diverging, digits, seeds=3)
    assert set(study.finals["L2"]) == {0, 2}
    assert "nan at step 3" in study.diverged["L2"][1]
    assert len(study.pairs(ARMS[1], "test_accuracy")[0]) == 2
    assert "L2 diverged with seed 1 at learning rate 0.1" in verdict(study)


@pytest.mark.parametrize(
    ("arms", "seeds", "message"),
    [
        ([], 1, "needs arms and seeds"),
        (ARMS, 0, "needs arms and seeds"),
        ([ARMS[0], ARMS[0]], 1, "two arms share a name"),
        ([Arm("a", TINY, against="b")], 1, "unknown reference arm 'b'"),
    ],
)
def test_senseless_studies_are_refused(arms, seeds, message, digits):  # noqa: F811
    with pytest.raises(wd.InputError, match=message):
        run_study(arms, range(seeds), digits)


# --- the verdict ------------------------------------------------------------------


def test_verdict_names_a_difference_only_when_the_pairs_show_it(digits):  # noqa: F811
    better = study_of(
        lambda r: 0.8 + noise(r.seed) + (0.05 + noise(r.seed + 50) / 5)
        * (r.decay.kind == "coupled"),
        digits,
    )  # fmt: skip
    text = verdict(better)
    assert "L2 is better than plain by 4.93 points" in text
    assert "no difference" not in text.lower()
    worse = study_of(
        lambda r: 0.8 + noise(r.seed) - (0.05 + noise(r.seed + 50) / 5)
        * (r.decay.kind == "coupled"),
        digits,
    )  # fmt: skip
    assert "L2 is worse than plain by 4.93 points" in verdict(worse)


def test_verdict_says_when_nothing_is_shown_and_what_could_have_been(digits):  # noqa: F811
    study = study_of(
        lambda r: 0.8 + noise(r.seed + 99 * (r.decay.kind == "none")), digits
    )
    text = verdict(study)
    assert (
        "no difference to plain is shown for L2; that is not evidence of none" in text
    )
    assert "would have been found four times out of five" in text


def test_verdict_flags_identical_runs_and_single_seeds(digits):  # noqa: F811
    same = study_of(lambda r: 0.8 + noise(r.seed), digits)
    assert "L2 gave exactly the runs of plain" in verdict(same)
    assert result_table(same).rows[1][4] == "0, identical runs"
    # Equal accuracies alone are no identical runs: here the losses differ.
    for seed in range(5):
        same.finals["L2"][seed]["test_loss"] += 0.01 * (1 + seed)
    assert "exactly" not in verdict(same)
    assert result_table(same).rows[1][4].startswith("+0.00 [")
    assert "One seed an arm shows nothing" in verdict(
        study_of(lambda r: 0.8 + r.decay.strength, digits, seeds=1)
    )


def test_equal_gaps_of_one_example_are_no_evidence(digits):  # noqa: F811
    study = study_of(
        lambda r: 0.8 + noise(r.seed) + (r.decay.kind == "coupled") / 2000,
        digits,
        seeds=3,
    )
    assert "differ too little among themselves to judge" in verdict(study)
    assert result_table(study).rows[1][5] == "?"


def test_a_reference_that_diverged_leaves_a_report(digits, tmp_path):  # noqa: F811
    study = study_of(lambda r: None if r.decay.kind == "none" else 0.8, digits)
    text = verdict(study)
    assert "plain diverged with every seed" in text
    assert "nothing to compare" in text
    assert "diverged" in write_report(study, tmp_path).read_text()


def test_arms_may_see_different_amounts_of_data(digits):  # noqa: F811
    arms = [
        Arm(
            "few", dataclasses.replace(TINY, train_examples=48, decay=wd.coupled(0.01))
        ),
        Arm(
            "many",
            dataclasses.replace(TINY, train_examples=480, decay=wd.coupled(0.01)),
        ),
    ]
    study = study_of(lambda r: 0.8 + noise(r.seed), digits, arms=arms)
    few, many = (study.shrink(arm).tau_over_run for arm in arms)
    assert few == pytest.approx(10 * many)


def test_a_dropout_schedule_has_its_column(digits):  # noqa: F811
    arms = [
        ARMS[0],
        Arm("fading", dataclasses.replace(TINY, dropout=wd.linear(0.5, steps=9))),
    ]
    study = study_of(lambda r: 0.8 + noise(r.seed), digits, arms=arms)
    assert decay_table(study).rows[1][3] == "0.5 linear"


def test_verdict_warns_of_decay_too_weak_for_the_run(digits):  # noqa: F811
    weak = dataclasses.replace(TINY, decay=wd.coupled(1e-4))
    study = study_of(
        lambda r: 0.8 + noise(r.seed), digits, arms=[ARMS[0], Arm("L2", weak)]
    )
    assert "The decay of L2 needs" in verdict(study)
    strong = dataclasses.replace(TINY, decay=wd.coupled(1.0))
    study = study_of(
        lambda r: 0.8 + noise(r.seed), digits, arms=[ARMS[0], Arm("L2", strong)]
    )
    assert "needs" not in verdict(study)


# --- tables and the page ----------------------------------------------------------


def test_tables_hold_the_contract(digits):  # noqa: F811
    study = study_of(
        lambda r: 0.8 + noise(r.seed + 7 * (r.decay.kind == "none")), digits
    )
    results = result_table(study)
    assert results.columns == (
        "arm",
        "n",
        "validation %",
        "test %",
        "test − plain",
        "p",
    )
    assert results.rows[0][4] == "reference"
    assert results.rows[1][1] == "5"
    mean = 100 * np.mean(list(study.values("L2", "test_accuracy").values()))
    assert results.rows[1][3].startswith(f"{mean:.2f} ± ")
    decays = decay_table(study)
    row = dict(zip(decays.columns, decays.rows[1], strict=True))
    assert (row["scheme"], row["λ"], row["shrink"], row["τ"]) == (
        "coupled",
        "0.01",
        "0.001",
        "1,000",
    )
    assert float(row["τ/T"]) == pytest.approx(1000 / 24, rel=1e-2)
    assert {"train %", "gap", "test loss", "sec."} <= set(fit_table(study).columns)


def test_every_arm_may_have_its_own_reference(digits):  # noqa: F811
    arms = [
        Arm("a", TINY, "a"),
        Arm("a+", dataclasses.replace(TINY, decay=wd.coupled(0.1)), "a"),
        Arm("b", dataclasses.replace(TINY, optimizer="adam"), "b"),
        Arm(
            "b+",
            dataclasses.replace(TINY, optimizer="adam", decay=wd.coupled(0.1)),
            "b",
        ),
    ]
    study = study_of(lambda r: 0.8 + noise(r.seed + len(str(r))), digits, arms=arms)
    assert [row[4] for row in result_table(study).rows][::2] == ["reference"] * 2
    assert decay_table(study).rows[3][4] == "by core"


def test_markdown_escapes_names(digits):  # noqa: F811
    arms = [ARMS[0], dataclasses.replace(ARMS[1], name="<b>|x|</b>")]
    study = study_of(lambda r: 0.8 + noise(r.seed), digits, arms=arms)
    text = result_table(study).markdown()
    assert "<b>" not in text
    assert "\\|x\\|" in text


def test_page_with_pictures(digits, tmp_path):  # noqa: F811
    study = study_of(
        lambda r: 0.8 + noise(r.seed + 7 * (r.decay.kind == "none")),
        digits,
        question="What? <script>",
    )
    page = write_report(study, tmp_path, mask="which leaves")
    text = page.read_text()
    assert "# What? &lt;script>" in text
    for heading in (
        "## Result",
        "## Fit",
        "## What decay did",
        "## Recipes",
        "## Made by",
    ):
        assert heading in text
    for name in ("curves.png", "differences.png"):
        assert f"]({name})" in text
        assert (tmp_path / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert study.provenance["versions"]["jax"] in text


# --- the ledger -------------------------------------------------------------------


def kept(folder, *arguments, **options):
    """Run a study whose ledger is in `folder`."""
    with Ledger(folder / "ledger.sqlite") as ledger:
        return run_study(*arguments, ledger=ledger, **options)


def test_a_finished_run_is_not_run_twice(digits, tmp_path):  # noqa: F811
    score = lambda r: 0.8 + noise(r.seed) + r.decay.strength  # noqa: E731
    first = Fake(score)
    one = kept(tmp_path, ARMS, range(2), digits, runner=first)
    assert first.runs == 4
    second = Fake(score)
    two = kept(tmp_path, ARMS, range(3), digits, runner=second)
    assert second.runs == 2  # only the new seed
    assert {s: two.finals["L2"][s] for s in (0, 1)} == one.finals["L2"]
    assert two.curves["plain"][0][0]["epoch"] == 1
    assert (one.reused, two.reused) == (0, 4)


def test_a_diverged_run_is_not_run_twice_either(digits, tmp_path):  # noqa: F811
    diverging = Fake(lambda r: None if r.decay.kind == "coupled" else 0.9)
    one = kept(tmp_path, ARMS, range(1), digits, runner=diverging)
    two = kept(tmp_path, ARMS, range(1), digits, runner=diverging)
    assert diverging.runs == 2
    assert two.diverged == one.diverged
    with Ledger(tmp_path, readonly=True) as ledger:
        assert [run.status for run in ledger.runs()] == ["finished", "diverged"]


def test_a_short_run_costs_two_transactions(digits, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(turns, "FLUSH", math.inf)  # a slow machine is no long run
    recipe = dataclasses.replace(TINY, epochs=9)
    said = []
    with Ledger(tmp_path / "x.sqlite") as ledger:
        ledger._db.set_trace_callback(said.append)
        run_study([Arm("plain", recipe)], range(4), digits, ledger=ledger)
        assert [len(ledger.curve(run.key)) for run in ledger.runs()] == [9] * 4
    # All runs are added by one; each is claimed by one and written by one; one closes.
    assert said.count("COMMIT") == 1 + 2 * 4 + 1


class Watching:
    """A watcher that notes what it hears, and acts when told to wait."""

    def __init__(self, when_waiting):
        self.when_waiting, self.reused = when_waiting, {}

    def epoch(self, arm, seed, row):
        pass

    def done(self, arm, seed, outcome, reused):
        self.reused[arm, seed] = reused

    def waiting(self, runs):
        assert runs == 1
        self.when_waiting()


@pytest.mark.parametrize("ends", [True, False])
def test_what_another_process_is_at_is_waited_for(ends, digits, tmp_path, monkeypatch):  # noqa: F811
    """It ends there and is taken, or its process goes and it is run here."""
    monkeypatch.setattr("jaxwd.lab.turns.POLL", 0.0)
    key = run_key(TINY, digits.fingerprint(), "single")
    with Ledger(tmp_path / "x.sqlite") as mine, Ledger(tmp_path / "x.sqlite") as other:
        other.add(key, TINY.to_dict())
        other.claim([key])
        fake = Fake(lambda r: 0.8)
        elsewhere = dict(fake(TINY, digits, layout="", on_epoch=lambda row: row).final)
        finish = lambda: other.finish(key, elsewhere | {"seconds": 0.5})  # noqa: E731
        watching = Watching(finish if ends else other.close)
        seeds = [TINY.seed]
        study = run_study(
            ARMS, seeds, digits, ledger=mine, runner=fake, watcher=watching
        )
    assert fake.runs == (2 if ends else 3)
    assert watching.reused == {("L2", TINY.seed): False, ("plain", TINY.seed): ends}
    assert list(study.finals) == ["plain", "L2"]
    assert study.finals["plain"][TINY.seed]["test_accuracy"] == 0.8


def test_a_run_that_breaks_waits_again(digits, tmp_path):  # noqa: F811
    def broken(recipe, data, *, layout, on_epoch):
        on_epoch({"epoch": 1})
        raise MemoryError("no room")

    with Ledger(tmp_path / "x.sqlite") as ledger:
        with pytest.raises(MemoryError):
            run_study(ARMS, range(1), digits, ledger=ledger, runner=broken)
        assert [run.status for run in ledger.runs()] == ["waiting"] * 2
        assert ledger.curve(ledger.runs()[0].key) == []


def test_a_run_that_was_stopped_early_is_no_result(digits, tmp_path):  # noqa: F811
    with Ledger(tmp_path / "x.sqlite") as ledger:
        key = run_key(TINY, digits.fingerprint(), "single")
        ledger.add(key, TINY.to_dict())
        ledger.stop(key, "worse than most")
        with pytest.raises(wd.InputError, match="was stopped early .* another --out"):
            run_study(ARMS[:1], [TINY.seed], digits, ledger=ledger)


@pytest.mark.parametrize("change", ["recipe", "data"])
def test_other_recipe_or_data_is_another_run(change, digits, tmp_path):  # noqa: F811
    kept(tmp_path, ARMS, range(1), digits, runner=Fake(lambda r: 0.8))
    arms = [dataclasses.replace(a, recipe=dataclasses.replace(a.recipe, epochs=3))
            for a in ARMS] if change == "recipe" else ARMS  # fmt: skip
    data = digits.take(500) if change == "data" else digits
    runner = Fake(lambda r: 0.8)
    kept(tmp_path, arms, range(1), data, runner=runner)
    assert runner.runs == 2


def test_models_of_one_name_are_different_runs(digits, tmp_path):  # noqa: F811
    import flax.linen as nn
    from flax import nnx

    class Net(nn.Module):
        width: int

        @nn.compact
        def __call__(self, x):
            return nn.Dense(10)(nn.Dense(self.width)(x.reshape(len(x), -1)))

    models = [wd.from_linen(Net(4)), wd.from_linen(Net(8))]
    models += [
        wd.from_nnx(lambda rngs, n=n: nnx.Sequential(nnx.Linear(64, n, rngs=rngs)))
        for n in (3, 5)
    ]
    recipes = [
        dataclasses.replace(TINY, model=model, model_options=()) for model in models
    ]
    assert len({recipe.digest() for recipe in recipes}) == 4
    again = dataclasses.replace(TINY, model=wd.from_linen(Net(4)), model_options=())
    assert again.digest() == recipes[0].digest()


def test_runs_of_other_flags_or_code_are_not_reused(digits, tmp_path, monkeypatch):  # noqa: F811
    from jaxwd.lab import provenance

    for change in (
        lambda: None,
        lambda: monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false"),
        lambda: monkeypatch.setattr(provenance, "commit", lambda: "another"),
    ):
        change()
        runner = Fake(lambda r: 0.8)
        study = kept(tmp_path, ARMS, range(1), digits, runner=runner)
        assert (runner.runs, study.reused) == (2, 0)


def test_the_ledger_has_every_epoch_and_what_it_was_made_by(digits, tmp_path):  # noqa: F811
    study = kept(tmp_path, ARMS, range(1), digits)
    with Ledger(tmp_path, readonly=True) as ledger:
        runs = ledger.runs()
        assert [(run.arm, run.seed) for run in runs] == [("plain", 0), ("L2", 0)]
        assert runs[0].recipe["optimizer"] == "sgd"
        assert [ledger.curve(run.key) for run in runs] == [
            study.curves[arm][0] for arm in ("plain", "L2")
        ]
        assert runs[1].outcome == study.finals["L2"][0]
        (made_by,) = ledger.provenance()
    assert {"versions", "commit", "processor", "command", "xla_flags"} <= set(made_by)


def test_output_folders_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(wd.InputError, match=r"is a file; give the name of a folder"):
        writable_folder(tmp_path / "file")
    with pytest.raises(wd.InputError, match=r"file/below is a file|cannot be made"):
        writable_folder(tmp_path / "file" / "below")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(wd.InputError, match="is not writable|cannot be made"):
        writable_folder(tmp_path / "x")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_and_started_again_ends_as_if_never_killed(how, tmp_path):
    """Kill a real study after its second run; the same command finishes the rest."""

    def command(out):
        return [
            *(sys.executable, "-m", "jaxwd", "run", "article", "--dataset", "digits"),
            *("--model", "mlp", "--epochs", "2", "--seeds", "2", "--device", "cpu"),
            *("--out", str(out)),
        ]

    def finished(out):
        file = out / "ledger.sqlite"
        try:
            with Ledger(file, readonly=True) as ledger:
                return sum(run.status == "finished" for run in ledger.runs())
        except wd.InputError:  # not there yet, or being made
            return 0

    killed = subprocess.Popen(
        command(tmp_path / "a"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while finished(tmp_path / "a") < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    killed.send_signal(how)
    _, said = killed.communicate(timeout=60)
    if how == signal.SIGINT and killed.returncode != 0:
        assert killed.returncode == 130, said
        assert b"the same command goes on" in said
        assert b"Traceback" not in said
    assert finished(tmp_path / "a") >= 2
    for out in ("a", "b"):
        subprocess.run(command(tmp_path / out), check=True, capture_output=True)
    with Ledger(tmp_path / "a") as a, Ledger(tmp_path / "b") as b:
        assert len(a.runs()) == 8
        assert a.canonical() == b.canonical()
