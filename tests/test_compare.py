"""A fair comparison: equal budgets, no look at the test split, sentences from numbers."""

import dataclasses
import io
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from test_study import Fake, noise
from test_training import TINY, digits  # noqa: F401  # a fixture

import jaxwd as wd
from jaxwd import cli
from jaxwd.data import Split
from jaxwd.flags import flags_of, joined
from jaxwd.lab import (
    Arm,
    Budget,
    Ledger,
    Outcome,
    compare,
    example_scores,
    run_study,
    suggestions,
    with_controls,
)
from jaxwd.lab.compare_command import comparison, with_budget
from jaxwd.lab.comparison_progress import comparison_progress
from jaxwd.lab.optima import optima
from jaxwd.lab.sweep import SweepFlags
from jaxwd.lab.train_all import train_all
from jaxwd.lab.tuning import blind, tune
from jaxwd.report import (
    basin_table,
    basins,
    comparison_table,
    result_table,
    summary,
    tuning_table,
    verdict,
    write_html,
    write_report,
)
from jaxwd.report.folder import open_runs
from jaxwd.report.noted import note_study
from jaxwd.training import Result

RATE = {"learning_rate": wd.log_range(1e-3, 1.0)}
BOTH = {**RATE, "decay.strength": wd.log_range(1e-4, 0.1)}
L2 = dataclasses.replace(TINY, decay=wd.coupled(0.0))
ARMS = [Arm("plain", TINY, tune=RATE), Arm("L2", L2, tune=BOTH)]
BUDGET = Budget(trials=8, seeds=5)


class Spy(Fake):
    """A fake runner that keeps what it was given."""

    def __init__(self, score):
        super().__init__(score)
        self.recipes, self.tests = [], []

    def __call__(self, recipe, data, **how):
        self.recipes.append(recipe)
        self.tests.append(data.test)
        return super().__call__(recipe, data, **how)


def peaked(rate=0.03, strength=0.003, gain=0.0, spread=0.01):
    """Scores that are best at a rate and a strength, in logarithms, plus noise."""

    def score(recipe):
        far = math.log10(recipe.learning_rate / rate) ** 2
        if recipe.decay.strength:
            far += math.log10(recipe.decay.strength / strength) ** 2
        decays = recipe.decay.kind != "none"
        own = noise(recipe.seed + 5000 * decays) * spread / 0.01
        return 0.8 - 0.05 * far + gain * decays + own

    return score


def compared(score, data, arms=ARMS, budget=BUDGET, **options):
    return compare(arms, data, budget=budget, runner=Fake(score), **options)


# --- where is looked --------------------------------------------------------------


@given(st.floats(1e-8, 1.0), st.floats(1.5, 1e6), st.floats(0, 0.999))
def test_ranges_are_even_in_ratios_or_in_differences(low, ratio, u):
    high = low * ratio
    log, linear = wd.log_range(low, high), wd.linear_range(low, high)
    assert low * (1 - 1e-9) <= log.at(u) <= high
    assert math.log(log.at(u) / low) == pytest.approx(u * math.log(ratio), abs=1e-9)
    assert linear.at(u) == pytest.approx(low + u * (high - low))
    steps = np.diff(np.log(log.grid(5)))
    assert steps == pytest.approx(np.full(4, math.log(ratio) / 4))


def test_choices_are_those_values():
    ladder = wd.choices(0.0, 0.1, "x")
    assert [ladder.at(u) for u in (0.0, 0.34, 0.99)] == [0.0, 0.1, "x"]
    assert ladder.grid(99) == [0.0, 0.1, "x"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: wd.log_range(0.0, 1.0), r"log_range: low=0 is not allowed"),
        (lambda: wd.log_range(1.0, 0.1), r"log_range: high=0.1 is not allowed"),
        (lambda: wd.log_range(1.0, math.inf), "two finite numbers"),
        (lambda: wd.linear_range(0.5, 0.5), "high=0.5 is not allowed"),
        (lambda: wd.choices(1), "at least two values"),
        (lambda: wd.choices(1, 2, 1), "none of them twice"),
    ],
)
def test_senseless_ranges_are_refused(make, message):
    with pytest.raises(wd.InputError, match=message):
        make()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 3))
def test_more_trials_begin_with_the_fewer(a, b, seed):
    few, many = sorted((a, b))
    assert suggestions(BOTH, many, seed=seed)[:few] == suggestions(BOTH, few, seed=seed)


def test_arms_with_and_without_decay_try_the_same_learning_rates():
    one, two = suggestions(RATE, 9, seed=4), suggestions(BOTH, 9, seed=4)
    assert [dict(v)["learning_rate"] for v in one] == [
        dict(v)["learning_rate"] for v in two
    ]
    assert suggestions(RATE, 9, seed=5) != one


def test_quasi_random_values_fill_every_part_of_a_range():
    """16 Sobol points have exactly one in each sixteenth, whatever the shift."""
    for path in BOTH:
        low, high = math.log(BOTH[path].low), math.log(BOTH[path].high)
        at = sorted(
            (math.log(dict(v)[path]) - low) / (high - low)
            for v in suggestions(BOTH, 16)
        )
        assert np.diff([*at, at[0] + 1]) == pytest.approx(np.full(16, 1 / 16))


def test_a_grid_has_every_combination():
    rows = suggestions({**BOTH, "clip_at": wd.choices(1.0, 2.0)}, 18, search="grid")
    assert len(set(rows)) == 18
    assert {dict(r)["learning_rate"] for r in rows} == set(
        RATE["learning_rate"].grid(3)
    )


@pytest.mark.parametrize(
    ("ranges", "trials", "search", "message"),
    [
        (BOTH, 10, "grid", "makes no grid over 2 ranges; give 9 or 16"),
        ({"a": wd.choices(1, 2, 3)}, 4, "grid", "give 3"),
        (BOTH, 0, "sobol", "trials=0 is not allowed"),
        (BOTH, 4, "random", "unknown search 'random'"),
        ({}, 4, "sobol", "no ranges to search"),
    ],
)
def test_searches_that_cannot_be_are_refused(ranges, trials, search, message):
    with pytest.raises(wd.InputError, match=message):
        suggestions(ranges, trials, search=search)


# --- tuning -----------------------------------------------------------------------


def test_every_arm_has_the_same_number_of_trials_and_finds_its_best(digits):  # noqa: F811
    spy = Spy(peaked(spread=0.0))
    found = tune(ARMS, digits, trials=64, seeds=[9, 10], runner=spy)
    assert {name: len(t.trials) for name, t in found.items()} == {"plain": 64, "L2": 64}
    assert spy.runs == 2 * 64 * 2
    assert {recipe.seed for recipe in spy.recipes} == {9, 10}
    best = dict(found["L2"].best.values)
    assert abs(math.log10(best["learning_rate"] / 0.03)) < 0.3
    assert abs(math.log10(best["decay.strength"] / 0.003)) < 0.4
    assert found["L2"].best.recipe.decay == wd.coupled(best["decay.strength"])
    assert found["L2"].edges == {}


def test_trials_see_no_test_split_and_return_no_test_metrics(digits, tmp_path):  # noqa: F811
    spy = Spy(peaked())
    trials, finals = (Ledger(tmp_path / name) for name in ("trials", "finals"))
    compare(
        ARMS, digits, budget=BUDGET, runner=spy, tuning_ledger=trials, ledger=finals
    )
    for recipe, test in zip(spy.recipes, spy.tests, strict=True):
        tuning = recipe.seed >= 1_000_000
        assert tuning == (not np.any(test.inputs))
    outcomes = [run.outcome for run in trials.runs()]
    assert len(outcomes) == 16
    assert not any(key.startswith("test_") for row in outcomes for key in row)
    assert all("test_accuracy" in run.outcome for run in finals.runs())


def test_a_grid_of_trials_measures_no_test_metrics(digits, tmp_path):  # noqa: F811
    """With the real engines, in the ledger and in what comes back."""
    with Ledger(tmp_path / "trials") as trials:
        study = train_all([Arm("a", TINY)], [0, 1], digits, ledger=trials, blinded=True)
        rows = [run.outcome for run in trials.runs()] + list(study.finals["a"].values())
    assert len(rows) == 4
    assert not any(key.startswith("test_") for row in rows for key in row)
    assert all("train_accuracy" in row for row in rows)


def test_the_choice_is_the_same_whatever_the_test_split_holds(digits):  # noqa: F811
    """A real training: other test examples, the same winner and the same trials."""
    other = Split(255 - digits.test.inputs, 9 - digits.test.targets)
    changed = dataclasses.replace(digits, test=other)
    found = [
        tune(ARMS[1:], data, trials=3, seeds=[7])["L2"] for data in (digits, changed)
    ]
    assert found[0].trials == found[1].trials
    assert blind(digits).fingerprint() == blind(changed).fingerprint()


def test_winners_are_trained_with_other_seeds_paired(digits):  # noqa: F811
    spy = Spy(peaked())
    study = compare(ARMS, digits, budget=Budget(4, 2, 3), runner=spy)
    tuning = {r.seed for r in spy.recipes[: 2 * 4 * 2]}
    final = {r.seed for r in spy.recipes[2 * 4 * 2 :]}
    assert not tuning & final
    assert set(study.finals["plain"]) == set(study.finals["L2"]) == final == {0, 1, 2}
    assert study.arms[1].recipe == study.tuning["L2"].best.recipe


def test_failed_trials_count_and_never_win(digits):  # noqa: F811
    def score(recipe):
        return None if recipe.learning_rate > 0.1 else 0.5 + recipe.learning_rate

    spy = Spy(score)
    found = tune(ARMS[:1], digits, trials=16, seeds=[7], runner=spy)["plain"]
    assert len(found.trials) == spy.runs == 16
    assert 4 <= found.failed <= 6
    assert found.best.recipe.learning_rate <= 0.1
    assert found.edges == {}  # what lies above was tried, and diverged
    assert "nan at step 3" in next(t.trouble for t in found.trials if t.trouble)


def test_one_diverged_seed_of_a_trial_is_enough_to_fail(digits):  # noqa: F811
    score = lambda r: None if r.seed == 8 and r.learning_rate > 0.1 else 0.9  # noqa: E731
    found = tune(ARMS[:1], digits, trials=8, seeds=[7, 8], runner=Fake(score))["plain"]
    assert all((t.recipe.learning_rate > 0.1) == bool(t.trouble) for t in found.trials)


def test_strengths_too_large_for_a_rate_are_failed_trials(digits):  # noqa: F811
    decay = dataclasses.replace(TINY, decay=wd.decoupled(0.0))
    wide = {**RATE, "decay.strength": wd.log_range(0.1, 1e4)}
    spy = Spy(lambda r: 0.8)
    found = tune([Arm("d", decay, tune=wide)], digits, trials=16, seeds=[7], runner=spy)
    refused = [t for t in found["d"].trials if t.trouble]
    assert 0 < len(refused) == 16 - spy.runs
    assert "multiplies weights by" in refused[0].trouble
    hopeless = Arm("d", decay, tune={"decay.strength": wd.log_range(1e3, 1e4)})
    with pytest.raises(wd.InputError, match="d: no trial can run: .*multiplies"):
        tune([hopeless], digits, trials=4, seeds=[7], runner=spy)


def test_an_unknown_path_is_an_error(digits):  # noqa: F811
    arm = Arm("a", TINY, tune={"learning_rat": wd.log_range(1e-3, 1.0)})
    with pytest.raises(wd.InputError, match="unknown path 'learning_rat'"):
        tune([arm], digits, trials=2, seeds=[7], runner=Fake(lambda r: 0.8))


@pytest.mark.parametrize(
    ("best_rate", "edge"), [(1e-5, "lower"), (0.03, None), (100.0, "upper")]
)
def test_winners_at_an_edge_are_said(best_rate, edge, digits):  # noqa: F811
    study = compared(peaked(rate=best_rate, spread=0.0), digits)
    assert study.tuning["plain"].edges.get("learning_rate") == edge
    said = f"The best learning rate of plain stands at the {edge} edge of its range"
    assert (said in verdict(study)) == (edge is not None)
    assert tuning_table(study).rows[0][5] == (
        f"learning rate {edge}" if edge else "inside"
    )


def test_zero_is_no_edge_of_choices_and_names_have_none():
    ladder = wd.choices(0.0, 0.1, 0.2)
    assert ladder.edge(0.0, []) == ""
    assert ladder.edge(0.2, []) == "upper"
    assert wd.choices("a", "b", "c").edge("c", []) == ""


def test_selection_by_loss_differs_where_loss_and_score_do(digits):  # noqa: F811
    class Contrary(Fake):
        def __call__(self, recipe, data, **how):
            got = super().__call__(recipe, data, **how)
            loss = {"validation_loss": got.final["validation_accuracy"]}
            return dataclasses.replace(got, final=got.final | loss)

    by = {
        select: tune(
            ARMS[:1], digits, trials=8, seeds=[7], select=select,
            runner=Contrary(lambda r: r.learning_rate / 2),
        )["plain"].best.recipe.learning_rate
        for select in ("score", "loss")
    }  # fmt: skip
    assert by["score"] > by["loss"]
    with pytest.raises(wd.InputError, match="unknown select 'test'"):
        tune(ARMS, digits, trials=2, seeds=[7], select="test")


def test_equal_scores_are_decided_by_the_loss(digits):  # noqa: F811
    class Tied(Fake):
        def __call__(self, recipe, data, **how):
            got = super().__call__(recipe, data, **how)
            loss = {"validation_loss": abs(math.log10(recipe.learning_rate / 0.1))}
            return dataclasses.replace(got, final=got.final | loss)

    found = tune(ARMS[:1], digits, trials=16, seeds=[7], runner=Tied(lambda r: 0.8))
    assert 0.05 < found["plain"].best.recipe.learning_rate < 0.2


# --- engines and ledgers ----------------------------------------------------------


class Engine:
    """Trains many at once, and counts how many."""

    def __init__(self, score):
        self.score, self.grids = score, []

    def __call__(self, members, data, *, ledger, watcher, splits):
        self.grids.append((len(members), tuple(splits)))
        return [self.outcome(member, data, splits) for member in members]

    def outcome(self, member, data, splits):
        recipe, labels = member
        rows, final, message = [], None, ""
        try:
            run = Fake(self.score)
            got = run(recipe, data, layout="single", on_epoch=rows.append).final
            dark = () if "test" in splits else ("test_",)
            final = {k: v for k, v in got.items() if not k.startswith(dark)}
        except wd.Diverged as error:
            message = str(error)
        status = "diverged" if message else "finished"
        return Outcome(recipe, labels, rows, final, message, None, status, 0.1)


def test_together_gives_what_one_by_one_gives(digits):  # noqa: F811
    score = lambda r: None if r.learning_rate > 0.5 else peaked()(r)  # noqa: E731
    engine = Engine(score)
    # The engine is asked where the runner is the real one, which it never calls here.
    many = compare(ARMS, digits, budget=BUDGET, run_many=engine)
    one = compared(score, digits)
    assert engine.grids == [(16, ("train",)), (10, ("train", "test"))]
    assert many.tuning == one.tuning
    drop = lambda row: {k: v for k, v in row.items() if "second" not in k}  # noqa: E731
    assert {s: drop(r) for s, r in many.finals["L2"].items()} == {
        s: drop(r) for s, r in one.finals["L2"].items()
    }


class Heard:
    """A watcher that counts."""

    def __init__(self):
        self.epochs, self.ends = 0, []

    def epoch(self, arm, seed, row):
        self.epochs += 1

    def done(self, arm, seed, outcome, reused):
        self.ends.append((arm, seed, reused))


def test_a_comparison_really_runs_as_a_grid_into_its_ledger(digits, tmp_path):  # noqa: F811
    """Equal to one by one, epoch by epoch told; started again, only the rest is run."""
    arms = [Arm("a", TINY), Arm("b", dataclasses.replace(TINY, learning_rate=0.05))]
    one = train_all(arms, range(3), digits, run_many=None)
    for seeds, fresh in (((0, 1), 4), ((0, 1), 0), (range(3), 2)):
        heard = Heard()
        with Ledger(tmp_path / "ledger") as ledger:
            study = train_all(arms, seeds, digits, ledger=ledger, watcher=heard)
        assert heard.epochs == fresh * TINY.epochs
        assert sum(not reused for *_, reused in heard.ends) == fresh
        assert study.reused == 2 * len(seeds) - fresh
    for arm in ("a", "b"):
        for seed in range(3):
            assert study.finals[arm][seed]["test_loss"] == pytest.approx(
                one.finals[arm][seed]["test_loss"], rel=1e-5
            )
            assert len(study.curves[arm][seed]) == TINY.epochs


class Scores(Heard):
    """A watcher that keeps what it was told of every arm and seed."""

    def __init__(self):
        super().__init__()
        self.told = {}

    def done(self, arm, seed, outcome, reused):
        super().done(arm, seed, outcome, reused)
        self.told[arm, seed] = outcome["validation_loss"]


@pytest.mark.parametrize("together", [True, False])
def test_arms_with_one_recipe_share_their_runs_and_are_all_shown(
    together,
    digits,  # noqa: F811
    tmp_path,
    capsys,
):
    """Each trained once, told of and shown under each name, in tables and ledger."""
    other = dataclasses.replace(TINY, learning_rate=0.05)
    arms = [Arm("a", TINY), Arm("twin", TINY), Arm("b", other), Arm("[c]", other)]
    folder, how = tmp_path / "kept", {} if together else {"run_many": None}
    for reused in (0, 8):
        scores = Scores()
        with Ledger(folder / "ledger.sqlite") as ledger:
            study = train_all(
                arms, (0, 1), digits, ledger=ledger, watcher=scores, question="?", **how
            )
            assert len(ledger.runs()) == 4
            assert {(*run.arms,) for run in ledger.runs()} == {
                ("a", "twin"),
                ("b", "[c]"),
            }
        assert scores.epochs == (0 if reused else 4 * TINY.epochs)
        assert study.reused == sum(reused for *_, reused in scores.ends) == reused
        assert scores.told == {
            (arm.name, seed): study.finals[arm.name][seed]["validation_loss"]
            for arm in arms
            for seed in (0, 1)
        }
        assert study.finals["a"] == study.finals["twin"] != study.finals["b"]
    text = verdict(study)
    assert "twin gave exactly the runs of a. [c] gave exactly the runs of b." in text
    assert result_table(study).rows[1][4] == "0, identical runs"
    note_study(folder, study, "")
    found = open_runs(folder).study
    assert found.finals.keys() == study.finals.keys()
    assert page_of(found, (), "", tmp_path) == page_of(study, (), "", tmp_path)
    (folder / "study.json").unlink()  # the ledger alone knows of all four
    assert open_runs(folder).study.finals.keys() == study.finals.keys()
    assert cli.main(["ledger", "show", str(folder)]) == 0
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert any(line.startswith("twin (runs of a) 2 0.") for line in shown)
    assert any(line.startswith("[c] (runs of b) 2 0.") for line in shown)


def test_started_again_nothing_is_run_twice(digits, tmp_path):  # noqa: F811
    def start(budget):
        spy = Spy(peaked())
        where = {
            "ledger": Ledger(tmp_path / "finals"),
            "tuning_ledger": Ledger(tmp_path / "trials"),
        }
        with where["ledger"], where["tuning_ledger"]:
            return compare(ARMS, digits, budget=budget, runner=spy, **where), spy.runs

    one, runs = start(Budget(trials=4, seeds=2))
    assert runs == 2 * (4 + 2)
    two, runs = start(Budget(trials=4, seeds=2))
    assert runs == 0
    assert two.tuning == one.tuning
    assert two.finals == one.finals
    _, runs = start(Budget(trials=8, seeds=2))  # the first four trials are known
    assert 2 * 4 <= runs <= 2 * (4 + 2)


# --- read back from its folder ----------------------------------------------------


def kept(tmp_path, score, data, arms, budget, **options):
    """Compare into a folder, as the command does, and return study and page."""
    folder = tmp_path / "kept"
    with (
        Ledger(folder / "ledger.sqlite") as finals,
        Ledger(folder / "tuning" / "ledger.sqlite") as trials,
    ):
        how = {"ledger": finals, "tuning_ledger": trials, "runner": Fake(score)}
        study = compare(arms, data, budget=budget, question="?", **how, **options)
    note_study(folder, study, "a mask")
    return folder, study, page_of(study, (), "a mask", tmp_path)


def page_of(study, runs, mask, tmp_path, **more):
    return write_html(
        study, runs, tmp_path / "page.html", mask=mask, **more
    ).read_text()


CAUTIOUS = dataclasses.replace(
    TINY, optimizer="adam", decay=wd.cautious(wd.decoupled(0.0))
)
WIDE = {**RATE, "decay.strength": wd.log_range(0.1, 1e4)}
ALIKE = {**RATE, "schedule": wd.choices("constant", "cosine")}
DECAYS = {"decay": wd.choices(wd.coupled(0.1), wd.decoupled(0.1)), **RATE}


@pytest.mark.parametrize(
    ("arms", "budget", "options"),
    [
        (ARMS, BUDGET, {"margin": 0.005}),
        ([ARMS[0], Arm("c", CAUTIOUS, tune=WIDE)], Budget(16, 2, 3, select="loss"), {}),
        ([Arm("s", TINY, tune=ALIKE), Arm("d", L2, tune=DECAYS)], Budget(4, 1, 2), {}),
        (ARMS[1:], Budget(9, 1, 2, search="grid"), {}),
        ([Arm("twin", TINY), ARMS[1], Arm("fixed", TINY)], Budget(4, 1, 2), {}),
    ],
    ids=["margin", "refused, control, loss", "names", "basin", "equal recipes"],
)
def test_the_folder_gives_the_page_that_the_comparison_wrote(
    arms,
    budget,
    options,
    digits,  # noqa: F811
    tmp_path,
):
    """Trials that diverged or were refused, winners, edges, controls and all."""
    score = lambda r: None if r.learning_rate > 0.5 else peaked()(r)  # noqa: E731
    folder, study, page = kept(tmp_path, score, digits, arms, budget, **options)
    found = open_runs(folder)
    assert found.study.tuning.keys() == study.tuning.keys()
    again = page_of(found.study, found.runs, found.mask, tmp_path)
    assert again == page


def test_other_flags_in_one_folder_leave_this_comparison_as_it_is(digits, tmp_path):  # noqa: F811
    """Arms and trials of the same names, with other epochs, more seeds, more trials."""
    longer = [
        dataclasses.replace(a, recipe=dataclasses.replace(a.recipe, epochs=3))
        for a in ARMS
    ]
    kept(tmp_path, peaked(rate=0.5), digits, longer, Budget(8, 1, 3))
    kept(tmp_path, peaked(), digits, ARMS, Budget(8, 1, 3))
    folder, _, page = kept(tmp_path, peaked(), digits, ARMS, Budget(4, 1, 2))
    found = open_runs(folder)
    assert [len(tuned.trials) for tuned in found.study.tuning.values()] == [4, 4]
    assert page_of(found.study, found.runs, found.mask, tmp_path) == page


def test_a_comparison_stopped_while_tuning_shows_its_trials(digits, tmp_path):  # noqa: F811
    class Stopping(Spy):
        def __call__(self, recipe, data, **how):
            if len(self.recipes) == 11:
                raise KeyboardInterrupt
            return super().__call__(recipe, data, **how)

    folder = tmp_path / "kept"
    finals = Ledger(folder / "ledger.sqlite")
    trials = Ledger(folder / "tuning" / "ledger.sqlite")
    with finals, trials, pytest.raises(KeyboardInterrupt):
        how = {"ledger": finals, "tuning_ledger": trials}
        compare(ARMS, digits, budget=BUDGET, runner=Stopping(peaked()), **how)
    found = open_runs(folder)
    assert found.study is None
    done = [run for run in found.runs if run.status == "finished"]
    assert [run.arm for run in done] == ["plain"] * 8 + ["L2"] * 3
    assert done[-1].labels == suggestions(BOTH, 8)[2]


# --- controls ---------------------------------------------------------------------


def test_half_the_strength_rides_along_with_cautious_decay(digits):  # noqa: F811
    cautious = dataclasses.replace(
        TINY, optimizer="adam", decay=wd.cautious(wd.decoupled(0.0))
    )
    arms = [
        Arm("decay", dataclasses.replace(cautious, decay=wd.decoupled(0.0)), tune=BOTH),
        Arm("cautious", cautious, tune=BOTH),
    ]
    study = compared(peaked(), digits, arms)
    control = study.arms[2]
    assert (control.name, control.against) == ("λ/2 of cautious", "cautious")
    won = study.arms[1].recipe
    assert control.recipe.decay == wd.decoupled(won.decay.strength / 2)
    assert control.recipe.learning_rate == won.learning_rate
    assert len(study.finals["λ/2 of cautious"]) == 5
    assert "λ/2 of cautious" not in study.tuning
    assert "λ/2 of cautious is a control, not tuned" in verdict(study)
    assert with_controls(study.arms) == study.arms  # not added twice


def test_a_scheduled_strength_is_halved_at_its_peak():
    decay = wd.cautious(wd.decoupled(wd.cosine(0.2, steps=10)))
    arm = Arm("c", dataclasses.replace(TINY, optimizer="adam", decay=decay))
    halved = with_controls([arm])[1].recipe.decay
    assert halved == wd.decoupled(wd.cosine(0.1, steps=10))


@pytest.mark.parametrize(
    ("arms", "options", "message"),
    [
        ([], {}, "needs arms"),
        ([ARMS[0], ARMS[0]], {}, "two arms share a name"),
        ([dataclasses.replace(ARMS[0], against="b")], {}, "unknown reference arm 'b'"),
        ([dataclasses.replace(ARMS[0], follows="plain")], {}, "unknown control ''"),
        (ARMS, {"margin": 0.0}, "margin=0 is not allowed"),
    ],
)
def test_senseless_comparisons_are_refused(arms, options, message, digits):  # noqa: F811
    with pytest.raises(wd.InputError, match=message):
        compare(arms, digits, **options)


@pytest.mark.parametrize("field", ["trials", "tune_seeds", "seeds"])
def test_budgets_are_whole_and_positive(field):
    for value in (0, 1.5):
        with pytest.raises(wd.InputError, match=f"{field}="):
            Budget(**{field: value})


# --- the verdict ------------------------------------------------------------------


def test_a_difference_is_said_with_all_that_stands_behind_it(digits):  # noqa: F811
    study = compared(peaked(gain=0.06), digits, budget=Budget(8, 1, 10), margin=0.005)
    text = verdict(study)
    a, b = study.pairs(study.arms[1], "test_accuracy")
    gap = 100 * np.mean(np.array(a) - np.array(b))
    assert f"L2 is better than plain by {gap:.2f} points" in text
    assert "sign-flip p = 0.002; g_z = +" in text
    assert "better in 10 of 10 pairs" in text
    assert "tuned with 8 trials on validation accuracy: plain at learning rate" in text
    assert "equivalent" not in text


def test_equivalence_is_a_result(digits):  # noqa: F811
    budget = Budget(8, 1, 10)
    score = lambda r: 0.8 + noise(r.seed + 5000 * (r.decay.kind == "none")) / 10  # noqa: E731
    study = compared(score, digits, budget=budget, margin=0.02)
    assert "L2 and plain are equivalent within ±2 points (TOST p" in verdict(study)
    assert "that is not evidence of none" not in verdict(study)
    assert comparison_table(study).columns[7] == "within ±2 p"


def test_neither_shown_says_how_many_pairs_it_takes(digits):  # noqa: F811
    study = compared(peaked(spread=0.02), digits, margin=0.001)
    text = verdict(study)
    assert "no difference to plain is shown for L2" in text
    table = comparison_table(study)
    needed = dict(zip(table.columns, table.rows[0], strict=True))["n for ±0.1"]
    assert (
        f"To find one of 0.1 points four times out of five takes {needed} pairs" in text
    )


def test_too_few_pairs_for_sign_flips_are_said(digits):  # noqa: F811
    text = verdict(compared(peaked(gain=0.1), digits, budget=Budget(8, 1, 5)))
    assert text.count("With so few pairs the sign-flip p is never below 0.0625.") == 1


def test_ties_in_every_pair_are_said(digits):  # noqa: F811
    """Equal accuracies and unequal losses: the same score, and not the same runs."""
    study = compared(lambda r: 0.8 + noise(r.seed), digits)
    assert "L2 gave exactly the runs of plain" in verdict(study)
    for seed, row in study.finals["L2"].items():
        row["test_loss"] += 0.01 * (1 + seed)
    assert "L2 scored as plain did in every pair" in verdict(study)


def test_arms_that_were_not_tuned_are_said(digits):  # noqa: F811
    arms = [Arm("fixed", TINY), ARMS[1]]
    assert "Not tuned: fixed." in verdict(compared(peaked(), digits, arms))
    assert "uned" not in verdict(compared(peaked(), digits, [Arm("fixed", TINY)]))


def test_an_arm_whose_every_trial_diverged_is_left_out(digits, tmp_path):  # noqa: F811
    broken = lambda r: None if r.decay.kind == "coupled" else peaked()(r)  # noqa: E731
    study = compared(broken, digits)
    assert study.finals["L2"] == {}
    assert "Every trial of L2 failed, and it is left out." in verdict(study)
    assert "nothing to compare" in verdict(study)
    assert "8, 8 failed" in write_report(study, tmp_path).read_text()
    with pytest.raises(wd.InputError, match="every trial of every arm failed"):
        compared(lambda r: None, digits)


def test_holm_is_over_all_arms(digits):  # noqa: F811
    arms = [*ARMS, *(dataclasses.replace(ARMS[1], name=f"L2 {i}") for i in range(3))]
    table = comparison_table(compared(peaked(gain=0.03), digits, arms))
    alone = comparison_table(compared(peaked(gain=0.03), digits))
    p = [float(row[table.columns.index("sign-flip p")]) for row in (*table.rows[:1],)]
    assert "gives at least 0.25." in table.note
    assert "gives at least 0.0625." in alone.note
    assert p[0] == pytest.approx(4 * float(alone.rows[0][5]), abs=0.003)


def test_identical_arms_cost_the_others_nothing(digits):  # noqa: F811
    """Holm counts questions, and an arm that ran the reference's runs asks none."""
    twin = dataclasses.replace(ARMS[0], name="twin")
    two = compared(peaked(gain=0.03), digits)
    three = compared(peaked(gain=0.03), digits, [*ARMS, twin])
    assert comparison_table(three).rows[0] == comparison_table(two).rows[0]
    assert result_table(three).rows[1] == result_table(two).rows[1]
    assert comparison_table(three).rows[1][2] == "0, identical runs"
    assert "twin gave exactly the runs of plain" in verdict(three)


def test_a_plain_study_has_its_pairs_too(digits, tmp_path):  # noqa: F811
    arms = [
        Arm("plain", TINY),
        Arm("L2", dataclasses.replace(L2, decay=wd.coupled(0.1))),
    ]
    study = run_study(arms, range(4), digits, runner=Fake(peaked()))
    assert "within" not in " ".join(comparison_table(study).columns)
    text = write_report(study, tmp_path).read_text()
    assert "## Pairs" in text
    assert "## Tuning" not in text


# --- single examples --------------------------------------------------------------


def test_scores_of_examples_are_those_of_the_run(digits):  # noqa: F811
    result = wd.run(TINY, digits)
    scores = example_scores(result, digits)
    assert scores.shape == (digits.test.examples,)
    assert scores.mean() == pytest.approx(result.final["test_accuracy"], abs=1e-6)
    flipped = Split(digits.test.inputs[::-1], digits.test.targets[::-1])
    other = dataclasses.replace(digits, test=flipped)
    assert (example_scores(result, other) == scores[::-1]).all()


def test_models_with_a_state_have_no_examples(digits):  # noqa: F811
    import flax.linen as nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.Dense(4)(x.reshape(len(x), -1))
            return nn.Dense(10)(nn.BatchNorm(use_running_average=not train)(x))

    recipe = dataclasses.replace(TINY, model=wd.from_linen(Net()), model_options=())
    with pytest.raises(wd.InputError, match="keeps a state beside its parameters"):
        example_scores(Result(recipe, [], {}, {}, 0.0, 0.0, 0.0), digits)


def test_an_interval_over_seeds_and_examples(digits, tmp_path):  # noqa: F811
    arms = [
        Arm("plain", TINY),
        Arm("strong", dataclasses.replace(L2, decay=wd.coupled(3))),
    ]
    budget = Budget(1, 1, 3)
    with Ledger(tmp_path / "ledger") as ledger:
        first = compare(arms, digits, budget=budget, examples=True, ledger=ledger)
    table = comparison_table(first)
    cell = dict(zip(table.columns, table.rows[0], strict=True))["over seeds × examples"]
    assert cell.startswith("[-")
    assert "over seeds and test examples -" in verdict(first)
    # What was kept beside the ledger is found again, and nothing is trained.
    with Ledger(tmp_path / "ledger") as ledger:
        again = compare(
            arms, digits, budget=budget, examples=True, ledger=ledger,
            runner=Fake(lambda r: None),
        )  # fmt: skip
    assert comparison_table(again).rows == table.rows
    assert "over seeds" not in " ".join(
        comparison_table(
            run_study(arms, range(3), digits, runner=Fake(peaked()))
        ).columns
    )


# --- grids and basins -------------------------------------------------------------


def test_a_grid_of_trials_is_a_basin_with_a_picture(digits, tmp_path):  # noqa: F811
    study = compared(
        peaked(spread=0.0), digits, ARMS[1:], Budget(25, 1, 2, search="grid")
    )
    row = dict(zip(basin_table(study).columns, basin_table(study).rows[0], strict=True))
    assert row["separability"] == "+1.00"
    assert row["tilt"] in ("+0.00", "-0.00")
    assert row["regret"] == "0.0000"
    text = write_report(study, tmp_path).read_text()
    assert "## Validation loss of L2" in text
    assert (tmp_path / "basins.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_scattered_trials_are_no_grid(digits, tmp_path):  # noqa: F811
    study = compared(peaked(), digits)
    assert basins(study) == {}
    assert "Basins" not in write_report(study, tmp_path).read_text()


def test_a_diagonal_basin_is_seen_as_one(digits):  # noqa: F811
    def product(recipe):
        size = max(recipe.learning_rate * recipe.decay.strength, 1e-12)
        return 0.8 - 0.05 * math.log10(size / 1e-4) ** 2

    study = compared(product, digits, ARMS[1:], Budget(49, 1, 2, search="grid"))
    row = dict(zip(basin_table(study).columns, basin_table(study).rows[0], strict=True))
    assert float(row["tilt"]) == pytest.approx(-1, abs=0.1)
    assert float(row["separability"]) < 0.7


def test_optima_are_of_each_seed_alone(digits):  # noqa: F811
    shifted = lambda r: peaked(strength=0.001 * 10 ** (r.seed % 2), spread=0.0)(r)  # noqa: E731
    found = optima(ARMS[1], digits, trials=49, seeds=range(4), runner=Fake(shifted))
    at = [dict(found[seed])["decay.strength"] for seed in range(4)]
    assert at == pytest.approx([1e-3, 1e-2, 1e-3, 1e-2])


# --- the command ------------------------------------------------------------------

OWN = '''"""Does <b>decay</b> matter?"""
from dataclasses import dataclass, replace

from jaxwd.flags import Flags
from jaxwd.lab.compare_command import comparison
from jaxwd.lab.experiment import recipe


@dataclass(frozen=True)
class Mine(Flags):
    dataset: str = "digits"
    model: str = "mlp"
    epochs: int = 1
    train_examples: int | None = 160
    trials: int = 3


def arms(flags, data):
    import jaxwd as wd
    from jaxwd.lab import Arm

    base = recipe(flags)
    rates = {"learning_rate": wd.log_range(1e-2, 1.0)}
    both = rates | {"decay.strength": wd.log_range(1e-3, 1.0)}
    return [
        Arm("plain", base, tune=rates),
        Arm("L2", replace(base, decay=wd.coupled(0.0)), tune=both),
    ]


def main(arguments=None):
    return comparison("mine", __doc__, arms, arguments, flags=Mine)
'''


@pytest.fixture
def mine(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    return file


def test_compare_command_reports_and_goes_on_where_it_stopped(mine, tmp_path, capsys):
    words = ["compare", str(mine), "--seeds", "3", "--examples"]
    words += ["--out", str(tmp_path / "out")]
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    for heading in ("Result: accuracy", "Pairs", "Tuning", "What decay did"):
        assert heading in printed
    assert "2 arms × 3 trials × 1 seed; then 2 arms × 3 fresh seeds" in printed
    assert "within ±0.5" in (tmp_path / "out" / "report.md").read_text()
    assert cli.main(words) == 0
    again = capsys.readouterr().out
    assert again.count("reused") == 12
    assert (
        "speed-up" not in printed + again
    )  # one by one, and then nothing, was trained
    page = (tmp_path / "out" / "report.html").read_bytes()
    assert cli.main(["report", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "report.html").read_bytes() == page
    assert b"over seeds \xc3\x97 examples" in page
    told = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert told["margin"] == 0.005
    assert [len(t["trials"]) for t in told["tuning"].values()] == [3, 3]
    assert told["compared"]["L2"]["difference"]["interval"]["n"] == 3
    assert " ".join(told["verdict"].split()) in " ".join(again.split())


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_counts_trials_and_seeds_with_time_left(terminal):
    console = Console(
        record=True, force_terminal=terminal, width=100, file=io.StringIO()
    )
    with comparison_progress(["plain", "L2"], 4, 2, "accuracy", console) as drawn:
        for i, score in enumerate((0.5, 0.7)):
            row = {"validation_accuracy": score, "seconds": 1.0}
            drawn.tuning.epoch("L2", 9, row)
            drawn.tuning.done(f"L2, trial {i + 1}", 9, row, False)
        drawn.tuning.done("L2, trial 3", 9, "the loss became nan", False)
        drawn.final.done("L2", 0, {"validation_accuracy": 0.6, "seconds": 1.0}, True)
        assert drawn.bar.tasks[0].completed == drawn.bar.tasks[0].total == 8
        console.print(drawn)
    text = " ".join(console.export_text().split())
    assert "diverged L2, trial 3, seed 9: the loss became nan" in text
    assert "L2 3 0.7000 1 0.6000" in text  # trials, best, seeds, mean
    assert (
        "L2, trial 2, seed 9: validation accuracy 0.7000, 1.0 s" in text
    ) != terminal
    assert "8/8 epochs" in text


def test_compare_takes_any_experiment_and_margins_of_regressions(tmp_path, capsys):
    words = ["compare", "article", "--dataset", "friedman", "--model", "mlp"]
    brief = ["--epochs", "1", "--seeds", "2", "--train-examples", "64"]
    rate = ["--learning-rate", "0.01", "--margin", "0.1"]
    assert cli.main([*words, *brief, *rate, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "speed-up over one by one: " in " ".join(printed.split())
    assert "tuning: 0 arms" in printed
    assert "within ±0.1" in printed


def test_defaults_of_an_experiment_are_kept_beside_a_commands_words(mine, capsys):
    module = cli.load_experiment(str(mine))
    kind = with_budget(flags_of(module))
    assert (kind().trials, kind().seeds, kind().search) == (3, 10, "sobol")
    assert with_budget(kind) is kind
    swept = joined(flags_of(module), SweepFlags)
    assert (swept().trials, swept().epochs, swept().engine) == (3, 1, "auto")
    assert joined(swept, SweepFlags) is swept
    with pytest.raises(wd.InputError, match="--chunk=0"):  # the checks of both
        swept(chunk=0).check()
    module.Other = dataclasses.make_dataclass(
        "Other", [], bases=(module.Mine,), frozen=True
    )
    module.Other.__module__ = module.__name__
    with pytest.raises(wd.InputError, match="several sets of flags: Mine, Other"):
        flags_of(module)
    mine.write_text(OWN + "\n\nclass Other(Mine):\n    pass\n")
    for command in ("sweep", "compare"):
        assert cli.main([command, str(mine)]) == 2
        assert "several sets of flags: Mine, Other" in capsys.readouterr().err


def test_a_comparison_that_diverges_everywhere_exits_with_three_or_two(mine, tmp_path):
    module = cli.load_experiment(str(mine))
    words = ["--learning-rate", "1e38", "--seeds", "1", "--optimizer", "adam"]

    def fixed(flags, data):
        return [dataclasses.replace(module.arms(flags, data)[0], tune={})]

    out = ["--out", str(tmp_path / "out")]
    got = comparison("x", "?", fixed, [*words, *out], flags=module.Mine)
    assert got == 3


def test_a_summary_holds_no_value_that_json_lacks(digits):  # noqa: F811
    study = compared(lambda r: None if r.learning_rate > 0.1 else 0.8, digits)
    text = json.dumps(summary(study), allow_nan=False)
    assert json.loads(text)["tuning"]["plain"]["trials"][0]["values"]


def test_result_table_still_has_its_reference(digits):  # noqa: F811
    assert result_table(compared(peaked(), digits)).rows[0][4] == "reference"
