"""Grids: one program for many, each member as if it were alone."""

import dataclasses
import functools
import shutil
import types

import jax
import numpy as np
import pytest
from test_training import digits  # noqa: F401  # a fixture

import jaxwd as wd
from jaxwd import cli
from jaxwd.lab import Ledger, Member, chain, halving, product, run_many, vary, zipped
from jaxwd.lab.engines import ENGINES, Silent, choose, memory, stacked
from jaxwd.lab.engines.groups import grouped
from jaxwd.lab.engines.halving import rungs
from jaxwd.lab.engines.programs import for_lanes
from jaxwd.lab.engines.solo import SpeedUp
from jaxwd.training import functions as functions_room
from jaxwd.training.epochs import not_finite

TINY = wd.Recipe(
    dataset="digits",
    model="mlp",
    model_options={"hidden": (8,)},
    train_examples=96,
    epochs=2,
    batch_size=16,
    dropout=0.2,
    decay=wd.coupled(0.0),
)
BAD = 1e25
"""A learning rate whose loss is not finite within an epoch, without decay."""
GRID = product(TINY, {"learning_rate": (0.1, BAD, 0.3), "seed": (0, 7)})
STRONG = product(TINY, {"decay.strength": (0.1, 0.2), "dropout": (0.0, 0.5)})
MEMBERS = chain(GRID, STRONG)

# On `map` a member is computed as alone, bit by bit. Spread over devices, and stacked,
# XLA may take sums in another order; measured on these members, the largest relative
# difference of any metric was 1.4e-7 and 2.4e-7, which is given tenfold.
BOUNDS = {
    "loop": 0.0,
    "map": 0.0,
    "devices": 1.5e-6,
    "vmap": 2.5e-6,
    "devices+vmap": 2.5e-6,
}


class Notes(Silent):
    """A watcher that writes everything down."""

    def __init__(self):
        self.compilations, self.said, self.told, self.ends = [], [], [], []

    def compiled(self, engine, lanes, seconds):
        self.compilations.append((engine, lanes))

    def says(self, message):
        self.said.append(message)

    def rows(self, rows):
        self.told += [(place, row["epoch"]) for place, row in rows]

    def ended(self, place, outcome, reused):
        self.ends.append((place, outcome.status, reused))


class Book(Ledger):
    """A ledger that notes what is written together."""

    def __init__(self, folder):
        super().__init__(folder / "ledger.sqlite", provenance={})
        self.calls, self.transactions = [], 0
        self._db.set_trace_callback(self._count)

    def _count(self, statement):
        self.transactions += statement.startswith("BEGIN")

    def epochs(self, rows):
        self.calls.append([key for key, _ in rows])
        super().epochs(rows)


def untimed(rows):
    clocks = {"seconds", "compile_seconds", "images_per_second", "engine"}
    return [{k: v for k, v in row.items() if k not in clocks} for row in rows]


def equal(a, b, bound=0.0):
    """Compare two outcomes; NaN equals NaN, since some metrics are never numbers."""
    assert (a.status, a.message, a.step) == (b.status, b.message, b.step)
    rows = zip(
        untimed([*a.history, a.final or {}]),
        untimed([*b.history, b.final or {}]),
        strict=True,
    )
    for mine, other in rows:
        assert mine.keys() == other.keys()
        for name in mine:
            np.testing.assert_allclose(
                mine[name], other[name], rtol=bound, atol=bound, err_msg=name
            )


@functools.cache
def alone(recipe, data_of=lambda: wd.load("digits")):
    """Return a recipe's single run in the form of an outcome."""
    try:
        result = wd.run(recipe, data_of())
    except wd.Diverged as error:
        step = int(str(error).split(" at step ")[1].split()[0])
        return types.SimpleNamespace(
            status="diverged", message=str(error), step=step, history=None, final=None
        )
    return types.SimpleNamespace(
        status="finished", message="", step=None, history=result.history,
        final=result.final,
    )  # fmt: skip


def with_(**changes):
    return dataclasses.replace(TINY, **changes)


# --- grids ------------------------------------------------------------------------


def test_product_varies_the_last_axis_fastest_and_labels_what_it_varied():
    grid = product(TINY, {"decay.strength": (0.1, 0.2), "seed": range(3)})
    assert [m.recipe.seed for m in grid] == [0, 1, 2, 0, 1, 2]
    assert [m.recipe.decay.strength for m in grid] == [0.1] * 3 + [0.2] * 3
    assert grid[4].labels == (("decay.strength", 0.2), ("seed", 1))
    assert grid[4].recipe == with_(decay=wd.coupled(0.2), seed=1)


def test_zipped_goes_side_by_side_and_chain_one_after_another():
    grid = zipped(TINY, {"batch_size": (16, 32), "learning_rate": (0.1, 0.2)})
    assert [(m.recipe.batch_size, m.recipe.learning_rate) for m in grid] == [
        (16, 0.1), (32, 0.2)]  # fmt: skip
    joined = chain(grid, with_(seed=5), Member(with_(seed=6), (("name", "x"),)))
    assert [m.labels for m in joined[2:]] == [(("seed", 5),), (("name", "x"),)]


PLAIN = with_(decay=wd.none())
ADAM = with_(optimizer="adam")
FALLING = with_(
    dropout=wd.linear(0.5, steps=9), decay=wd.coupled(wd.cosine(0.1, steps=9))
)


def option(recipe, name):
    return dict((*recipe.model_options, *recipe.optimizer_options))[name]


@pytest.mark.parametrize(
    ("recipe", "path", "value", "got"),
    [
        (TINY, "decay", wd.none(), lambda r: r.decay == wd.none()),
        (TINY, "decay.times", "lr", lambda r: r.decay.times == "lr"),
        (TINY, "model_options.hidden", (4,), lambda r: option(r, "hidden") == (4,)),
        (ADAM, "optimizer_options.b1", 0.5, lambda r: option(r, "b1") == 0.5),
        (FALLING, "dropout", 0.3, lambda r: r.dropout == wd.linear(0.3, steps=9)),
        (FALLING, "dropout.peak", 0.3, lambda r: r.dropout.peak == 0.3),
        (FALLING, "decay.strength", 0.2, lambda r: r.decay.strength.shape == "cosine"),
    ],
)
def test_a_path_reaches_every_value(recipe, path, value, got):
    assert got(vary(recipe, path, value))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: product(TINY, {"decay.strenth": (1,)}), "did you mean 'decay.strength'"),
        (lambda: product(TINY, {"lr": (1,)}), "accumulate, average, batch_size, clip,"),
        (lambda: product(TINY, {"seed.x": (1,)}), "unknown path 'seed.x'"),
        (lambda: product(TINY, {"optimizer_options.b1": (1,)}), "'sgd' does not take b1=1"),
        (lambda: product(PLAIN, {"decay.strength": (1,)}), "decay is none"),
        (lambda: product(TINY, {"seed": ()}), "seed: no values"),
        (lambda: product(TINY, {"schedule": "cosine"}), "give several values"),
        (lambda: product(TINY, {"seed": 3}), "seed=3: give several values"),
        (lambda: product(TINY, {}), "no axes"),
        (lambda: product(TINY, {"learning_rate": (-1,)}), "learning_rate=-1 is not"),
        (lambda: product(TINY, {"seed": (1, 1)}), "two members are one recipe: seed 1"),
        (lambda: chain(TINY, GRID, TINY), "two members are one recipe"),
        (lambda: chain(), "no members"),
        (lambda: chain(["sgd"]), "'sgd' is no recipe"),
        (lambda: zipped(TINY, {"seed": (1, 2), "epochs": (1,)}), "epochs has 1"),
    ],
)  # fmt: skip
def test_senseless_grids_are_refused(make, message):
    with pytest.raises(wd.InputError, match=message):
        make()


# --- one program for what can be traced ---------------------------------------------


MU, B1, ROOT = (f"optimizer_options.{x}" for x in ("momentum", "b1", "eps_in_sqrt"))
END, CYCLES, POWER = (f"schedule_options.{x}" for x in ("end", "cycles", "power"))


@pytest.mark.parametrize(
    ("recipe", "axes", "groups"),
    [
        (TINY, {"decay.strength": (0.0, 1.0), "seed": (0, 1)}, [()]),
        (TINY, {"learning_rate": (0.1, 0.2), "dropout": (0.0, 0.5)}, [()]),
        (with_(optimizer="momentum"), {MU: (0.5, 0.9)}, [(MU,)]),
        (ADAM, {B1: (0.5, 0.9), "optimizer_options.eps": (1e-8,)}, [(B1,)]),
        (TINY, {"label_noise": (0.0, 0.3)}, [("label_noise",)]),
        (with_(schedule="cosine"), {END: (0.0, 0.1)}, [(END,)]),
        (with_(clip="value"), {"clip_at": (1.0, 2.0)}, [("clip_at",)]),
        (with_(schedule="warm_restarts"), {CYCLES: (1, 2)}, [(), ()]),
        (with_(optimizer="rmsprop"), {ROOT: (True, False)}, [(), ()]),
        (TINY, {"batch_size": (16, 32)}, [(), ()]),
        (TINY, {"decay": (wd.coupled(0.1), wd.decoupled(0.1))}, [(), ()]),
        (TINY, {"warmup": (0, 3), "seed": (0, 1)}, [(), ()]),
    ],
)
def test_groups_are_structures_and_options_are_inputs_where_they_can_be(
    recipe,
    axes,
    groups,
    digits,  # noqa: F811
):
    grid = product(recipe, axes)
    found = grouped([member.recipe for member in grid], digits)
    assert [group.also for group in found] == groups
    assert sorted(place for group in found for place in group.places) == list(
        range(len(grid))
    )


def test_what_members_share_stays_a_constant(digits):  # noqa: F811
    """So that a grid over λ alone has the bits of single runs, whatever the options."""
    adam = with_(optimizer="adam", optimizer_options={"b1": 0.8})
    (group,) = grouped([m.recipe for m in product(adam, {"seed": (0, 1)})], digits)
    assert group.structure == adam.structure()


@pytest.fixture
def traced(monkeypatch):
    """The steps traced so far, one entry for each time a program is made."""
    made, original = [], functions_room.make_step
    monkeypatch.setattr(
        functions_room, "make_step", lambda *a, **k: made.append(1) or original(*a, **k)
    )
    return made


def test_one_compilation_for_each_structure_and_chunk_size(traced, digits):  # noqa: F811
    base = with_(model_options={"hidden": (5,)}, epochs=1)
    notes = Notes()
    axes = {"decay.strength": (0.1, 0.2), "learning_rate": (0.1, 0.2), "seed": (0, 1)}
    run_many(product(base, axes), digits, engine="map", chunk=4, watcher=notes)
    assert notes.compilations == [("map", 4)]
    once = len(traced)
    assert once > 0
    others = {"decay.strength": (0.3, 0.4), "dropout": (0.1, 0.5)}
    run_many(product(base, others), digits, engine="map", chunk=4, watcher=notes)
    assert notes.compilations == [("map", 4)]
    assert len(traced) == once
    wide = product(base, {"batch_size": (16, 32)})
    run_many(wide, digits, engine="map", chunk=1, watcher=notes)
    assert notes.compilations[1:] == [("map", 1), ("map", 1)]


# --- each member as if it were alone ------------------------------------------------


@functools.cache
def together(engine):
    notes = Notes()
    return run_many(MEMBERS, wd.load("digits"), engine=engine, watcher=notes), notes


@pytest.mark.parametrize("engine", ENGINES)
def test_every_member_equals_its_run_alone(engine):
    outcomes, _ = together(engine)
    for member, outcome in zip(MEMBERS, outcomes, strict=True):
        assert (outcome.recipe, outcome.labels) == member
        reference = alone(member.recipe)
        if outcome.status == "diverged":
            assert (outcome.status, outcome.message) == ("diverged", reference.message)
        else:
            equal(outcome, reference, BOUNDS[engine])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_diverging_member_is_recorded_at_its_step_and_harms_nobody(engine):
    outcomes, notes = together(engine)
    diverged = [o for o in outcomes if o.recipe.learning_rate == BAD]
    assert len(diverged) == 2
    for outcome in diverged:
        assert (outcome.status, outcome.final) == ("diverged", None)
        assert outcome.step == alone(outcome.recipe).step
        assert "at step" in outcome.message
    assert {o.status for o in outcomes if o not in diverged} == {"finished"}
    assert len(notes.ends) == len(MEMBERS)


@pytest.mark.parametrize(
    "recipe",
    [
        with_(dropout=0.0, optimizer="adam", learning_rate=0.01),
        with_(
            dropout=0.0,
            model="cnn",
            model_options={"channels": (4, 16), "hidden": (8,)},
        ),
    ],
    ids=["adam", "cnn"],
)
def test_a_grid_without_dropout_draws_no_masks_and_equals_single_runs(
    recipe,
    digits,  # noqa: F811
):
    grid = product(recipe, {"decay.strength": (0.01, 0.02), "seed": (3,)})
    assert not grouped([member.recipe for member in grid], digits)[0].drops
    for outcome in run_many(grid, digits, engine="map"):
        equal(outcome, alone(outcome.recipe))


@pytest.mark.parametrize(
    ("losses", "step"),
    [([1, 1, 1, 1], None), ([1, 1, np.nan, np.nan], 6), ([np.inf, 1, 1, 1], 4),
     ([np.nan], 7)],
)  # fmt: skip
def test_the_step_of_divergence_is_the_first_that_is_not_finite(losses, step):
    """Of the second epoch of four steps; a single loss was measured behind them."""
    got = not_finite(TINY, np.array(losses), 1, 4)
    assert (got and got[0]) == step


def test_traced_options_equal_constants_to_rounding(digits):  # noqa: F811
    base = with_(optimizer="momentum", schedule="polynomial", learning_rate=0.05)
    grid = zipped(base, {MU: (0.5, 0.9), POWER: (1.0, 2.0), "label_noise": (0, 0.3)})
    for outcome in run_many(grid, digits, engine="map"):
        equal(outcome, alone(outcome.recipe), 1e-5)


def test_lanes_are_refilled_and_the_order_is_that_given(digits):  # noqa: F811
    outcomes = run_many(MEMBERS, digits, engine="map", chunk=5)
    for member, outcome, whole in zip(
        MEMBERS, outcomes, together("map")[0], strict=True
    ):
        assert outcome.recipe == member.recipe
        equal(outcome, whole)


def test_equal_recipes_are_trained_once(digits):  # noqa: F811
    notes = Notes()
    twins = [Member(TINY, (("a", 1),)), Member(TINY, (("b", 2),))]
    first, second = run_many(twins, digits, engine="loop", watcher=notes)
    assert len(notes.told) == TINY.epochs
    assert (first.labels, second.labels) == ((("a", 1),), (("b", 2),))
    assert first.history is second.history


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ([], {}, "no members"),
        (GRID, {"engine": "vmop"}, "unknown engine 'vmop'; did you mean 'vmap'"),
        (GRID, {"chunk": 0}, "chunk=0 is not allowed"),
        ([with_(batch_size=97)], {}, "member seed 0: batch_size=97 is larger than"),
        ([with_(decay=wd.coupled(1e3))], {}, "multiplies weights by -99"),
    ],
)
def test_bad_sweeps_are_refused_before_anything_is_trained(
    given,
    options,
    message,
    digits,  # noqa: F811
    tmp_path,
):
    with Book(tmp_path) as book:
        with pytest.raises(wd.InputError, match=message):
            run_many(given, digits, ledger=book, **options)
        assert not book.runs()


# --- memory -------------------------------------------------------------------------


def exhausting(limit, at):
    """Return Stacked.epoch that runs out of memory with more lanes than `limit`."""
    original, calls = stacked.Stacked.epoch, []

    def epoch(self, indices):
        calls.append(self.width)
        if self.width > limit and len(calls) > at:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return original(self, indices)

    return epoch


def test_an_exhausted_memory_halves_the_chunk_and_changes_no_result(
    monkeypatch,
    digits,  # noqa: F811
    tmp_path,
):
    monkeypatch.setattr(stacked.Stacked, "epoch", exhausting(limit=3, at=1))
    notes = Notes()
    with Book(tmp_path) as book:
        outcomes = run_many(MEMBERS, digits, engine="map", watcher=notes, ledger=book)
    assert [said.split()[-1] for said in notes.said] == ["5", "2"]
    assert len(notes.told) == len(set(notes.told)) == 8 * TINY.epochs
    for outcome, whole in zip(outcomes, together("map")[0], strict=True):
        equal(outcome, whole)


def test_one_member_that_does_not_fit_is_an_error_that_says_so(monkeypatch, digits):  # noqa: F811
    monkeypatch.setattr(stacked.Stacked, "epoch", exhausting(limit=0, at=0))
    with pytest.raises(wd.InputError, match="exhausted with 1 member at a time"):
        run_many(GRID[:2], digits, engine="map")


def test_other_errors_are_not_taken_for_a_full_memory(monkeypatch, digits):  # noqa: F811
    def broken(self, indices):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    monkeypatch.setattr(stacked.Stacked, "epoch", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        run_many(GRID[:2], digits, engine="map")


def test_chunks_are_as_wide_as_the_compiler_says_they_may_be(monkeypatch, digits):  # noqa: F811
    lanes = [None]

    class Hungry:
        compile_seconds = 0.0

        def __init__(self, job, width):
            self.width, self.needs = width, 1000 + 100 * width
            lanes[0] = width

    row = dataclasses.replace(ENGINES["vmap"], lanes=Hungry)
    for free, width in [(10**9, 1024), (21_000, 200), (1_100, 1), (10, 1)]:
        got = memory.fitting(row, None, 1024, free).width
        assert 0.5 * width <= got <= width, (free, got)
    assert memory.available() > 10**8


# --- successive halving -------------------------------------------------------------

RATES = product(
    with_(epochs=4), {"learning_rate": (1e-4, 1e-3, 0.03, 0.1, 0.3, BAD), "seed": (0,)}
)


def said(outcomes):
    return [(o.status, len(o.history)) for o in outcomes]


def test_halving_keeps_the_best_and_never_tests_the_others(digits):  # noqa: F811
    outcomes = halving(RATES, digits, eta=2, engine="map")
    assert rungs(4, 6, 2) == [1, 2, 4]
    history = {o.recipe.learning_rate: o.history for o in outcomes}
    first = sorted(history, key=lambda r: history[r][0]["validation_loss"] if history[r]
                   else np.inf)  # fmt: skip
    second = sorted(first[:3], key=lambda r: history[r][1]["validation_loss"])
    for outcome in outcomes:
        rate = outcome.recipe.learning_rate
        if rate == BAD:
            assert outcome.status == "diverged"
        elif rate not in first[:3]:
            assert (outcome.status, len(outcome.history)) == ("stopped", 1)
            assert "not among the best 3 of 6" in outcome.message
        elif rate not in second[:2]:
            assert (outcome.status, len(outcome.history)) == ("stopped", 2)
        else:
            assert (outcome.status, len(outcome.history)) == ("finished", 4)
            equal(outcome, alone(outcome.recipe))
        assert (outcome.final is not None) == (outcome.status == "finished")


def test_halving_decides_the_same_in_any_lanes_and_again(digits):  # noqa: F811
    reference = halving(RATES, digits, eta=2, engine="map")
    for how in ({"chunk": 2}, {"engine": "loop"}, {}):
        again = halving(RATES, digits, eta=2, **{"engine": "map"} | how)
        assert said(again) == said(reference)
        for a, b in zip(again, reference, strict=True):
            equal(a, b)


def test_halving_draws_between_equal_losses_by_its_seed(digits):  # noqa: F811
    # Nothing moves at learning rate 0, so these losses are equal.
    still = with_(learning_rate=0.0, dropout=0.0)
    equals = product(still, {"decay.strength": (0.0, 0.1, 0.2, 0.3)})
    how = {"eta": 4, "first": 1, "engine": "map", "chunk": 2}
    kept = {
        seed: tuple(
            outcome.status for outcome in halving(equals, digits, seed=seed, **how)
        )
        for seed in (0, 1, 2, 3)
    }
    assert all(statuses.count("finished") == 1 for statuses in kept.values())
    assert len(set(kept.values())) > 1


@pytest.mark.parametrize(
    ("members", "options", "message"),
    [
        (RATES, {"eta": 1}, "eta=1 is not allowed"),
        (chain(RATES, TINY), {}, "their epochs differ: 2, 4"),
        (RATES, {"first": 5}, "first=5 is not allowed"),
    ],
)
def test_senseless_halvings_are_refused(members, options, message, digits):  # noqa: F811
    with pytest.raises(wd.InputError, match=message):
        halving(members, digits, engine="map", **options)


# --- the ledger ---------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "calls"), [(0.0, [8, 8]), (60.0, [16])])
def test_rounds_are_transactions_or_share_one_and_all_is_kept(
    seconds,
    calls,
    monkeypatch,
    digits,  # noqa: F811
    tmp_path,
):
    """Epochs and endings of a round together; rounds that end within `seconds` too."""
    monkeypatch.setattr("jaxwd.lab.engines.book._HELD_BACK", seconds)
    with Book(tmp_path) as book:
        outcomes = run_many(MEMBERS, digits, engine="map", ledger=book)
        assert [len(call) for call in book.calls] == calls
        assert book.transactions == 2 + len(calls)  # adding and claiming before
        runs = book.runs()
    for outcome, run in zip(outcomes, runs, strict=True):
        assert run.recipe == outcome.recipe.to_dict()
        assert run.labels == dict(outcome.labels)
        assert (run.status, run.step) == (outcome.status, outcome.step)
        if outcome.final:
            assert run.outcome["test_loss"] == outcome.final["test_loss"]
            assert run.outcome["images_per_second"] > 0


class Stopping(Notes):
    """A watcher that pulls the plug behind some epochs."""

    def __init__(self, behind):
        super().__init__()
        self.behind = behind

    def rows(self, rows):
        super().rows(rows)
        if len(self.told) >= self.behind:
            raise KeyboardInterrupt


@pytest.mark.parametrize("how", [run_many, functools.partial(halving, eta=2)])
@pytest.mark.parametrize("behind", [2, 7, 9])
def test_a_sweep_goes_on_where_it_was_stopped(how, behind, digits, tmp_path):  # noqa: F811
    sweep = functools.partial(how, RATES, digits, engine="map", chunk=2)
    with Ledger(tmp_path / "whole", provenance={}) as whole:
        reference = sweep(ledger=whole)
    stopping = Stopping(behind)
    with Book(tmp_path) as book, pytest.raises(KeyboardInterrupt):
        sweep(ledger=book, watcher=stopping)
    with Book(tmp_path) as book:
        runs = book.runs()
        ended = [i for i, run in enumerate(runs) if run.outcome or run.message]
        assert len(ended) == len(stopping.ends)
        notes = Notes()
        outcomes = sweep(ledger=book, watcher=notes)
        assert sum(reused for *_, reused in notes.ends) == len(ended)
        assert not {place for place, _ in notes.told} & set(ended)
        with Ledger(tmp_path / "whole", readonly=True) as whole:
            assert book.canonical() == whole.canonical()
    for a, b in zip(outcomes, reference, strict=True):
        equal(a, b)
        assert (a.final or {}).keys() == (b.final or {}).keys()


class Killing(Notes):
    """A watcher that keeps what `kill -9` would leave of a ledger at every moment."""

    def __init__(self, path, folder):
        super().__init__()
        self.path, self.folder, self.left = path, folder, []

    def keep(self):
        place = self.folder / str(len(self.left))
        place.mkdir(parents=True)
        for file in self.path.parent.glob(f"{self.path.name}*"):
            shutil.copy(file, place)
        self.left.append(place / self.path.name)

    def rows(self, rows):
        super().rows(rows)
        self.keep()

    def ended(self, place, outcome, reused):
        super().ended(place, outcome, reused)
        self.keep()


@pytest.mark.parametrize("seconds", [0.0, 60.0])
@pytest.mark.parametrize("how", [run_many, functools.partial(halving, eta=2)])
def test_a_kill_at_any_moment_loses_nothing_that_was_written(
    how,
    seconds,
    monkeypatch,
    digits,  # noqa: F811
    tmp_path,
):
    """What is left of file and log is opened as after `kill -9`, and gone on with."""
    monkeypatch.setattr("jaxwd.lab.engines.book._HELD_BACK", seconds)
    sweep = functools.partial(how, RATES, digits, engine="map", chunk=3)
    with Book(tmp_path) as book:
        killing = Killing(book.path, tmp_path / "left")
        sweep(ledger=book, watcher=killing)
        whole = book.canonical()
    assert len(killing.left) > len(RATES)
    for path in killing.left:
        with Ledger(path, provenance={}) as left:
            ended = {run.key for run in left.runs() if run.ended}
            notes = Notes()
            sweep(ledger=left, watcher=notes)
            assert sum(reused for *_, reused in notes.ends) == len(ended)
            assert left.canonical() == whole


def test_what_another_process_holds_is_waited_for_or_taken_over(
    monkeypatch,
    digits,  # noqa: F811
    tmp_path,
):
    grid = GRID[:1] + GRID[4:]
    with Book(tmp_path) as book:
        run_many(grid, digits, engine="loop", ledger=book)
        first, second, third = book.runs()
    path = tmp_path / "shared"
    with Ledger(path, provenance={}) as other, Ledger(path, provenance={}) as mine:
        for run in (first, second, third):
            other.add(run.key, run.recipe, seed=run.seed, labels=run.labels)
        assert len(other.claim([second.key, third.key])) == 2

        def later(seconds):
            """Meanwhile one run is given up there, and the other ends."""
            other.release([second.key])
            other.finish(third.key, third.outcome)

        monkeypatch.setattr("jaxwd.lab.engines.book.time.sleep", later)
        notes = Notes()
        outcomes = run_many(grid, digits, engine="loop", ledger=mine, watcher=notes)
        assert {place for place, _ in notes.told} == {0, 1}
        assert [o.status for o in outcomes] == ["finished"] * 3
        assert {run.status for run in mine.runs()} == {"finished"}


# --- choosing -----------------------------------------------------------------------


def test_auto_takes_what_the_trial_found_quickest(monkeypatch, digits):  # noqa: F811
    class Told(Notes):
        def chosen(self, engine, timings):
            self.choice = engine, timings

    timings = {"loop": 3.0, "map": 1.0, "vmap": 2.0}
    monkeypatch.setattr(choose, "trial", lambda *given: timings)
    monkeypatch.setattr(choose, "saving", lambda *given: 1e9)
    monkeypatch.setattr(choose, "_WORTH", 1)
    notes = Told()
    outcomes = run_many(MEMBERS, digits, watcher=notes)
    assert notes.choice == ("map", timings)
    assert outcomes[0].status == "finished"


@pytest.mark.parametrize(("epoch", "lanes"), [(0.01, len(MEMBERS)), (6.0, 1)])
def test_slow_members_go_few_at_a_time_so_that_a_stop_loses_few(
    epoch,
    lanes,
    monkeypatch,
    digits,  # noqa: F811
):
    one = choose.Alone(epoch, compile=0.0, busy=1.0)
    monkeypatch.setattr(choose, "alone", lambda *given: one)
    monkeypatch.setattr(choose, "saving", lambda *given: 1e9)
    monkeypatch.setattr(choose, "trial", lambda *given: {"map": 0.0})
    monkeypatch.setattr(choose, "_WORTH", 1)
    notes = Notes()
    run_many(MEMBERS, digits, watcher=notes)
    assert set(notes.compilations) <= {("map", lanes)}
    # One at a time, a member has ended before the next one begins.
    begun = [place for place, epoch in notes.told if epoch == 1]
    first = notes.told.index((begun[1], 1))
    assert (notes.told[:first] == [(0, n + 1) for n in range(TINY.epochs)]) == (
        lanes == 1
    )


def test_a_grid_of_few_epochs_is_not_measured_at_all(monkeypatch, digits):  # noqa: F811
    monkeypatch.setattr(choose, "alone", None)
    run_many(MEMBERS[:1], digits)
    run_many(MEMBERS[:9], digits)


PERCEPTRON = choose.Alone(epoch=7e-4, compile=2.0, busy=1.0)
CNN = choose.Alone(epoch=1.0, compile=4.0, busy=1.9)
IDLE = CNN._replace(busy=1.0)


@pytest.mark.parametrize(
    ("one", "epochs", "tried"),
    [
        (PERCEPTRON, 64 * 20, []),  # a second of work
        (PERCEPTRON, 1024 * 20, ["map", "vmap", "devices", "devices+vmap"]),
        (CNN, 16, []),
        (CNN, 16 * 20, ["vmap", "devices+vmap"]),  # both cores are busy
        (IDLE, 16 * 20, ["vmap", "devices", "devices+vmap"]),
    ],
)
def test_an_engine_is_tried_where_it_may_save_five_times_its_compilation(
    one, epochs, tried, monkeypatch
):
    monkeypatch.setattr(choose, "cores", lambda: 2)
    rows = [row for row in ENGINES.values() if row.name != "loop"]
    got = [row.name for row in rows if choose.worth_trying(row, one, epochs)]
    assert got == tried


def test_a_grid_smaller_than_a_compilation_is_done_by_the_program_at_hand(
    monkeypatch,
    digits,  # noqa: F811
):
    one = choose.Alone(epoch=1e-3, compile=9.0, busy=1.0)
    monkeypatch.setattr(choose, "alone", lambda *given: one)
    monkeypatch.setattr(choose, "trial", None)
    notes = Notes()
    run_many(product(TINY, {"seed": range(12)}), digits, watcher=notes)
    assert {engine for engine, _ in notes.compilations} <= {"loop"}
    assert notes.told[:12] == [(seed, 1) for seed in range(12)]


@pytest.mark.parametrize(("epoch", "steps"), [(0.01, 60), (0.2, 30), (100.0, 16)])
def test_the_trial_runs_real_epochs_or_a_part_of_long_ones(epoch, steps, digits):  # noqa: F811
    """Ten lanes in a second; the part of the validation is that of the steps."""
    from jaxwd.lab.engines.interface import Job

    recipes = [m.recipe for m in product(TINY, {"seed": range(10)})]
    (group,) = grouped(recipes, digits)
    job = Job.of(group, digits)
    job = dataclasses.replace(
        job, group=group._replace(structure=with_(train_examples=960).structure())
    )
    data = wd.load("digits").take(960)
    job = dataclasses.replace(job, arrays=Job.of(job.group, data).arrays)
    assert job.steps == 60
    short = choose._shortened(job, 10 * epoch)
    assert short.steps == steps
    share = short.arrays.validation.examples / job.arrays.validation.examples
    assert share == pytest.approx(steps / 60, abs=0.01)
    assert (short is job) == (steps == 60)


def test_the_trial_measures_each_engine_and_one_alone(digits):  # noqa: F811
    from jaxwd.lab.engines.interface import Job

    recipes = [member.recipe for member in GRID]
    (group,) = grouped(recipes, digits)
    job = Job.of(group, digits)
    one = choose.alone(job, recipes[0])
    assert 0 < one.epoch < 10
    assert 0 < one.busy < 64
    got = choose.trial([ENGINES["map"]], job, recipes, None, one)
    assert got.keys() == {"map"}
    assert all(0 < value < 1000 for value in got.values())


def test_widths_are_even_and_multiples_of_the_devices():
    assert ENGINES["map"].width(1000, None) == 16
    assert ENGINES["map"].width(17, None) == 9
    assert ENGINES["devices"].width(33, None) == 18
    assert ENGINES["devices"].width(3, None) == 4
    assert ENGINES["loop"].width(100, None) == 1
    assert ENGINES["vmap"].width(100, 64) == 50


def test_stacks_of_weights_are_convolved_as_products_off_the_cpu():
    cnn = wd.Recipe().structure()
    options = lambda how, backend: dict(  # noqa: E731
        for_lanes(cnn, how, backend).model_options
    )
    assert (
        options("vmap", "gpu") == options("devices+vmap", "tpu") == {"conv": "im2col"}
    )
    assert options("vmap", "cpu") == options("map", "gpu") == {}


def test_the_speed_up_is_said_also_where_there_is_none():
    assert "one by one: 0.50 (2 ms a step" in str(SpeedUp(0.02, 0.01, 10))


# --- the command --------------------------------------------------------------------

FILE = '''"""Which strength?"""
from dataclasses import dataclass, replace

from jaxwd.flags import Flags
from jaxwd.lab.experiment import recipe, scheme


@dataclass(frozen=True)
class Mine(Flags):
    dataset: str = "digits"
    model: str = "mlp"
    top: float = 0.1
    """The largest strength."""


def grid(flags, data):
    from jaxwd.lab import product

    base = replace(recipe(flags), decay=scheme(flags))
    return product(base, {"decay.strength": (0.0, flags.top), "seed": range(flags.seeds)})
'''
BRIEF = [
    "--train-examples",
    "48",
    "--batch-size",
    "16",
    "--epochs",
    "1",
    "--seeds",
    "2",
]


@pytest.fixture
def sweep(tmp_path):
    """The command on a file with a grid."""
    file = tmp_path / "mine.py"
    file.write_text(FILE)

    def run(*words, name=str(file)):
        return cli.main(["sweep", name, *BRIEF, "--out", str(tmp_path / "out"), *words])

    return run


def test_sweep_trains_a_files_grid_and_says_what_it_took(sweep, capsys):
    assert sweep("--top", "0.2", "--engine", "map") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "4 members" in out
    assert "1 compiled for 1 structure: map × 4" in out
    assert "4 members: 4 finished" in out
    assert "decay.strength 0.2, seed 1" in out
    assert "speed-up over one by one: " in out
    assert sweep("--top", "0.2", "--engine", "map") == 0
    again = " ".join(capsys.readouterr().out.split())
    assert "4 finished; 4 of them by other starts" in again
    assert "speed-up" not in again


def test_sweep_takes_arms_with_every_seed_where_there_is_no_grid(sweep, capsys):
    assert sweep("--dataset", "digits", "--model", "mlp", "--engine", "loop",
                 "--halving", "3", name="article") == 0  # fmt: skip
    out = " ".join(capsys.readouterr().out.split())
    assert "8 members" in out
    assert "arm plain, seed" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engine", "vmop"], "unknown engine 'vmop'; did you mean 'vmap'"),
        (["--chunk", "0"], "--chunk=0 is not allowed"),
        (["--halving", "1"], "--halving=1 is not allowed"),
        (["--points", "0"], "--points=0 is not allowed"),
        (["--layout", "pmap"], "--layout has no effect here"),
        (["--top", "1000"], "member decay.strength 1000, seed 0: coupled(1000)"),
    ],
)
def test_bad_words_are_refused_before_anything_is_written(
    words, message, sweep, tmp_path, capsys
):
    assert sweep(*words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_arms_that_are_tuned_are_swept_over_their_ranges():
    from jaxwd.lab.sweep import SweepFlags, grid_of

    module = cli.load_experiment("lr_by_lambda", needs=("arms",))
    flags = SweepFlags(seeds=2, points=3)
    found = grid_of(module)(flags, None)
    assert len(found) == 3 * 3 * 3 * 2  # arms, rates, strengths, seeds
    values = {tuple(value for _, value in member.labels) for member in found}
    assert len(values) == len(found)
    mine = [m.recipe for m in found if dict(m.labels)["arm"] == "by learning rate"]
    assert {round(r.learning_rate, 4) for r in mine} == {1e-4, 0.0017, 0.03}
    assert {round(r.decay.strength, 3) for r in mine} == {0.001, 0.173, 30.0}


def test_a_file_without_grid_and_arms_is_refused(tmp_path, capsys):
    file = tmp_path / "empty.py"
    file.write_text("x = 1\n")
    assert cli.main(["sweep", str(file)]) == 2
    assert "has no grid(flags, data) or arms(flags, data)" in capsys.readouterr().err
    assert cli.main(["sweep"]) == 2
    assert "sweep needs an experiment" in capsys.readouterr().err


def test_a_sweep_in_which_everyone_diverges_says_so(sweep, capsys):
    assert sweep("--learning-rate", "1e30", "--strength", "0", "--dataset", "digits",
                 "--model", "mlp", "--engine", "loop", name="article") == 3  # fmt: skip
    assert "no member finished" in capsys.readouterr().err
