"""The report: what it says follows from the runs, and a real browser shows it."""

import csv
import dataclasses
import io
import json
import pathlib
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from browser import Page, chromium
from hypothesis import given
from hypothesis import strategies as some
from sweeps import grid, outcome, study_of

import jaxwd as wd
from jaxwd import cli
from jaxwd.lab.ledger import FILE, Ledger
from jaxwd.lab.statistics import interval
from jaxwd.lab.tuning import Trial as TunedTrial
from jaxwd.lab.tuning import Tuned
from jaxwd.report import result_table, verdict
from jaxwd.report.folder import open_runs
from jaxwd.report.html import embedded, write_html
from jaxwd.report.noted import note
from jaxwd.report.paper import write_figures
from jaxwd.report.sheet import sheet_of
from jaxwd.report.trials import Trial, band, groups, trial
from jaxwd.training.on_paper import recipe_from

RESULTS = pathlib.Path(__file__).parent.parent / "experiments" / "results" / "article"
STRENGTHS, RATES = (0.0, 1e-4, 1e-3, 1e-2, 0.1), (0.01, 0.1, 1.0)
RATES_SAID = ("0.01", "0.1", "1")
EVIL = "<b>x</b></script><script>window.hacked=1</script><img src=x onerror='hacked=1'>"
LIMIT = 6_000_000


# --- what a report says -------------------------------------------------------------


@given(
    some.integers(2, 7).flatmap(
        lambda n: some.lists(some.floats(-10, 10), min_size=n, max_size=n)
    )
)
def test_bands_are_the_intervals_of_the_statistics(values):
    mean, half = band(np.array([values, values[::-1]]).T)
    want = interval(values)
    assert mean == pytest.approx([want.mean] * 2, abs=1e-12)
    assert half == pytest.approx([want.half] * 2, abs=1e-12)


def test_groups_differ_in_more_than_their_seed():
    found = groups([trial(o) for o in grid(STRENGTHS, RATES, 4)])
    assert len(found) == len(STRENGTHS) * len(RATES)
    assert all(len(g.trials) == 4 for g in found)
    assert found[1].name == "λ 0, lr 0.1"


def test_lines_and_maps_hold_the_means_over_seeds():
    runs = grid(STRENGTHS, RATES, 4)
    grids = sheet_of(None, runs).grids
    assert (grids.x.path, grids.y.path) == ("decay.strength", "learning_rate")
    assert [line.name for line in grids.lines] == ["lr 0.01", "lr 0.1", "lr 1"]
    assert [p.x for p in grids.lines[1].points] == list(STRENGTHS)
    chosen = [
        o.final["validation_accuracy"]
        for o in runs
        if o.labels[:2] == (("decay.strength", 0.01), ("learning_rate", 0.1))
    ]
    want = interval(chosen)
    at = grids.lines[1].points[3]
    got = at.metrics["validation_accuracy"]
    assert got == pytest.approx((want.mean, want.half))
    assert at.n == 4
    (map_,) = grids.maps
    assert {(p.x, p.y) for p in map_.points} == {
        (s, r) for s in STRENGTHS for r in RATES
    }
    lost = next(p for p in map_.points if (p.x, p.y) == (0.1, 1.0))
    assert (lost.n, lost.diverged, lost.metrics) == (0, 4, {})


def test_zero_has_its_place_left_of_a_log_axis():
    x = sheet_of(None, grid(STRENGTHS, RATES, 1)).grids.x
    assert x.log
    assert [x.position(v) for v in x.values] == pytest.approx(
        [1e-5, 1e-4, 1e-3, 1e-2, 0.1]
    )


def test_scattered_settings_are_no_grid():
    random = np.random.default_rng(0)
    runs = [
        outcome([("decay.strength", s), ("learning_rate", r)])
        for s, r in 10 ** random.uniform(-4, -1, (20, 2))
    ]
    grids = sheet_of(None, runs).grids
    assert not grids.dense
    assert [len(line.points) for line in grids.lines] == [20]


def test_the_best_setting_is_chosen_by_validation():
    runs = grid(STRENGTHS, RATES, 3)
    best = max(
        groups([trial(o) for o in runs]),
        key=lambda g: g.metrics(["validation_accuracy"]).get(
            "validation_accuracy", (0,)
        )[0],
    )
    sheet = sheet_of(None, runs)
    assert f"Of 15 settings, {best.name} has the highest validation accuracy" in (
        sheet.verdict
    )
    assert sheet.settings.rows[0][:2] == tuple(
        f"{v:.4g}".replace("e-0", "e-") for _, v in best.labels
    )
    assert ("3", "runs diverged") in sheet.facts


def test_diverged_and_stopped_runs_are_listed_with_their_step():
    stopped = dataclasses.replace(
        outcome([("decay.strength", 0.1), ("seed", 1)]),
        status="stopped",
        final=None,
        message="halved away after epoch 2",
    )
    rows = sheet_of(None, [*grid((0.1,), (1.0,), 2), stopped]).diverged.rows
    assert rows[0][1:] == ("0", "37", "diverged", "the loss became nan at step 37")
    assert rows[2][3:] == ("stopped", "halved away after epoch 2")


def test_long_curves_of_many_settings_are_thinned_to_their_last_epoch():
    (one,) = sheet_of(None, [outcome([("decay.strength", 0.1)], 60)]).curves
    assert one.epochs == tuple(range(1, 61))
    many = [outcome([("decay.strength", 1e-6 * i)], 60) for i in range(1, 1001)]
    curve = sheet_of(None, many).curves[-1]
    assert len(curve.epochs) == 20
    assert curve.epochs[-1] == 60
    assert len(curve.bands["validation_accuracy"][0]) == 20


def test_what_tuning_tried_is_shown_and_only_the_arms_are_judged():
    study = study_of()
    ranges = {"decay.strength": wd.log_range(0.01, 1.0)}
    tried = tuple(
        TunedTrial(
            values=(("decay.strength", s),),
            recipe=wd.Recipe(),
            validation=v,
            loss=1.0,
            trouble=t,
        )
        for s, v, t in (
            (0.1, 0.8, ""),
            (0.01, 0.9, ""),
            (1.0, -np.inf, "nan at step 3"),
        )
    )
    tuned = Tuned("L2", ranges, tried, "validation_accuracy", (7,))
    study.tuning = {"L2": tuned}
    sheet = sheet_of(study)
    (line,) = sheet.grids.lines
    got = [(p.x, p.metrics.get("validation_accuracy", (None,))[0]) for p in line.points]
    assert got == [(0.01, 0.9), (0.1, 0.8), (1.0, None)]
    assert sheet.settings.rows[0][:4] == ("L2", "0.01", "1", "90.00")
    assert sheet.diverged.rows[0][-1] == "nan at step 3"
    assert "The best λ of L2" in sheet.verdict  # the lower end of its range
    assert sheet.verdict.startswith(sheet_of(study_of()).verdict[:40])


def test_a_run_of_a_ledger_takes_its_curve_from_it():
    final = {"validation_accuracy": 0.5}
    run = SimpleNamespace(
        key="k", recipe={}, arm="a", seed=2, labels={"decay.strength": 0.1},
        status="finished", outcome=final, message="", step=None,
    )  # fmt: skip
    rows = [{"epoch": 1, "validation_accuracy": 0.5}]
    got = trial(run, {"k": rows}.__getitem__)
    assert got == Trial("a", 2, (("decay.strength", 0.1),), "finished", final, rows)


def test_the_answer_and_the_tables_stand_in_the_text_of_the_page(tmp_path):
    study = open_runs(RESULTS).study
    text = write_html(study, (), tmp_path / "x.html").read_text()
    answer = verdict(study).split(":")[0].split(";")[0]
    assert 0 < text.index(answer) < text.index("<table")
    assert all(row[3] in text for row in result_table(study).rows)
    assert "default-src &#39;none&#39;" in text
    assert not re.search(r"""(src|href)=["'](?!#|data:,)""", text)


# --- from a folder ------------------------------------------------------------------


def in_ledger(folder, study, start=""):
    """Write a study's runs as its experiment does."""
    with Ledger(folder / FILE, provenance=study.provenance) as book:
        for arm in study.arms:
            for seed in {**study.finals[arm.name], **study.diverged[arm.name]}:
                key = f"{start}{arm.name}-{seed}"
                recipe = dataclasses.replace(arm.recipe, seed=seed).to_dict()
                book.add(key, recipe, arm=arm.name, seed=seed)
                book.claim([key])
                if seed in study.diverged[arm.name]:
                    book.diverge(key, study.diverged[arm.name][seed], 37)
                else:
                    rows = study.curves[arm.name][seed]
                    book.epochs([(key, row) for row in rows])
                    book.finish(key, study.finals[arm.name][seed])


def test_a_folder_gives_the_same_page_as_its_study(tmp_path):
    study = study_of()
    in_ledger(tmp_path, study)
    note(
        tmp_path, study.question, study.arms, study.data, study.train_examples,
        study.score, "some mask",
    )  # fmt: skip
    first = write_html(study, (), tmp_path / "a.html", mask="some mask")
    found = open_runs(tmp_path)
    second = write_html(found.study, found.runs, tmp_path / "b.html", mask=found.mask)
    assert first.read_bytes() == second.read_bytes()


def test_an_unfinished_folder_can_be_read_and_is_not_changed(tmp_path):
    in_ledger(tmp_path, study_of())
    with Ledger(tmp_path / "ledger.sqlite") as book:
        book.add("L2-9", study_of().arms[1].recipe.to_dict() | {"seed": 9}, arm="L2")
    before = (tmp_path / "ledger.sqlite").read_bytes()
    study = open_runs(tmp_path).study
    assert [arm.name for arm in study.arms] == ["plain", "L2"]
    assert study.train_examples["plain"] == 250 * 32
    assert (tmp_path / "ledger.sqlite").read_bytes() == before


def test_runs_of_other_flags_in_one_folder_are_left_out(tmp_path):
    """A start with five seeds, then one of two seeds and another recipe."""
    old, new = study_of(seeds=5), study_of(seeds=2)
    for arm in old.arms:
        object.__setattr__(arm, "recipe", dataclasses.replace(arm.recipe, epochs=3))
    in_ledger(tmp_path, old, "old-")
    in_ledger(tmp_path, new)
    study = open_runs(tmp_path).study
    assert study.arms[1].recipe.epochs == 20
    assert set(study.finals["L2"]) == {0, 1}


def test_a_sweep_in_a_ledger_is_found_with_its_curves(tmp_path):
    with Ledger(tmp_path / FILE, provenance={"command": "it"}) as book:
        for i, one in enumerate(grid(STRENGTHS, RATES, 2, 3)):
            key, labels = str(i), dict(one.labels)
            seed = labels.pop("seed")
            book.add(key, one.recipe.to_dict(), seed=seed, labels=labels)
            book.claim([key])
            book.epochs([(key, row) for row in one.history])
            if one.final is None:
                book.diverge(key, one.message, one.step)
            else:
                book.finish(key, one.final)
    found = open_runs(tmp_path)
    assert (found.study, found.title) == (None, tmp_path.name)
    sheet = sheet_of(None, found.runs, about=found.about)
    want = sheet_of(None, grid(STRENGTHS, RATES, 2, 3))
    assert sheet.grids == want.grids
    assert sheet.curves == want.curves
    assert sheet.diverged == want.diverged
    assert sheet.environment == (("command", "it"),)


def test_the_command_writes_page_and_figures(tmp_path, capsys):
    in_ledger(tmp_path, study_of())
    assert cli.main(["report", str(tmp_path), "--figures"]) == 0
    assert (tmp_path / "report.html").stat().st_size < LIMIT
    made = {p.name for p in (tmp_path / "figures").iterdir()}
    assert made == {
        f"{n}.{s}" for n in ("curves", "differences") for s in ("png", "svg")
    }
    assert str(tmp_path / "report.html") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("begun", "message"),
    [(False, "has no ledger.sqlite"), (True, "has no finished run yet")],
)
def test_folders_without_results_are_refused(begun, message, tmp_path, capsys):
    if begun:
        with Ledger(tmp_path / "ledger.sqlite") as book:
            book.add("a", wd.Recipe().to_dict(), arm="a")
    assert cli.main(["report", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def flax_model():
    import flax.linen as nn

    return wd.from_linen(nn.Dense(3))


@pytest.mark.parametrize(
    "changes",
    [
        {"decay": wd.cautious(wd.to_init(wd.decoupled(0.1, times="schedule")))},
        {"decay": wd.stable(wd.coupled(wd.cosine(0.1, steps=9)))},
        {"decay": wd.proximal(0.1, penalty="elastic_net", where={".*": 0.5})},
        {"decay": wd.penalized(0.1, penalty="l2_per_example", examples=32)},
        {"decay": wd.max_norm(2.0)},
        {"dropout": wd.linear(0.5, steps=9), "model_options": {"init": "he"}},
        {"model": "mlp", "model_options": {"hidden": (8, 8)}, "clip": "value"},
        {"optimizer": "momentum", "optimizer_options": {"momentum": 0.5}},
    ],
)
def test_a_recipe_comes_back_from_paper(changes):
    recipe = wd.Recipe(**changes)
    written = json.loads(json.dumps(recipe.to_dict()))
    assert recipe_from(written) == recipe


def test_a_flax_model_comes_back_by_name():
    recipe = wd.Recipe(model=flax_model(), seed=4)
    got = recipe_from(json.loads(json.dumps(recipe.to_dict())))
    assert got.digest() == recipe.digest()
    with pytest.raises(wd.InputError, match="read from a record"):
        got.model.init(None, None, 0.0)


def test_a_foreign_recipe_is_refused():
    with pytest.raises(wd.InputError, match="cannot be read by this version"):
        recipe_from(wd.Recipe().to_dict() | {"colour": "red"})


def test_figures_for_papers_are_png_and_svg_with_text(tmp_path):
    runs = grid(STRENGTHS, RATES, 2, kinds=("coupled", "decoupled"))
    made = write_figures(None, runs, tmp_path)
    assert [p.name for p in made] == [
        "sensitivity.png", "sensitivity.svg", "heat_maps.png", "heat_maps.svg",
    ]  # fmt: skip
    for path in made[1::2]:
        assert "λ" in path.read_text()
    again = write_figures(None, runs, tmp_path / "again")
    assert [re.sub("<dc:date>.*", "", p.read_text()) for p in made[1::2]] == [
        re.sub("<dc:date>.*", "", p.read_text()) for p in again[1::2]
    ]


def test_importing_jaxwd_loads_no_charts():
    heavy = {"plotly", "jinja2", "matplotlib"}
    code = f"import sys, jaxwd, jaxwd.cli; print({heavy} & {{*sys.modules}})"
    got = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert got.stdout == "set()\n"


# --- in the browser -----------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium()
    page = Page(tmp_path_factory.mktemp("browser"))
    yield page
    page.close()


@pytest.fixture
def page(browser):
    """The browser, wide, light, without network, with nothing said."""
    browser.resize(1280, 900)
    light(browser)
    browser(
        "Network.emulateNetworkConditions",
        offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1,
    )  # fmt: skip
    browser.requests.clear()
    browser.said.clear()
    return browser


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Pages that several tests open: the committed study, a sweep, names that attack."""
    folder = tmp_path_factory.mktemp("pages")
    study = open_runs(RESULTS).study
    mask = "leaf  λ ×\nconv/bias  0\nconv/kernel  1\ndecays 1 of 2 leaves"
    made = {"study": write_html(study, (), folder / "study.html", mask=mask)}
    runs = grid(STRENGTHS, RATES, 3, kinds=("coupled", "decoupled"))
    made["sweep"] = write_html(None, runs, folder / "sweep.html", title="A sweep")
    evil = study_of(("plain", EVIL), question=EVIL, data=EVIL)
    evil.provenance["command"] = EVIL
    attacks = [
        outcome([("kind", EVIL + k), ("decay.strength", s), ("learning_rate", r)])
        for k in "ab"
        for s in STRENGTHS
        for r in RATES
    ]
    made["evil"] = write_html(evil, attacks, folder / "evil.html", mask=EVIL)
    return made


def light(page, scheme="light"):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    page("Emulation.setEmulatedMedia", features=[feature])


def column(page, table, i):
    return page.js(
        f"[...document.querySelectorAll('#{table} tbody tr')]"
        f".map((row) => row.cells[{i}].textContent)"
    )


@pytest.mark.parametrize("name", ["study", "sweep", "evil"])
def test_opens_from_disk_without_network_or_complaint(name, files, page):
    page.open(files[name])
    assert {u for u in page.requests if not u.startswith(("data:", "blob:"))} == {
        files[name].resolve().as_uri()
    }
    assert page.said == []
    drawn = page.js("document.querySelectorAll('.chart .main-svg').length")
    assert drawn >= 3 * page.js("document.querySelectorAll('.chart').length") > 0
    assert not overflowing(page, 1280)


@pytest.mark.parametrize("name", ["study", "sweep", "evil"])
def test_nothing_overflows_a_phone(name, files, page):
    page.resize(360, 780, mobile=True)
    page.open(files[name])
    assert not overflowing(page, 360)


def overflowing(page, width):
    """What stands out of the page to the right, but for what scrolls by itself."""
    assert page.js("document.documentElement.scrollWidth") <= width
    return page.js(
        "[...document.querySelectorAll('body *')].filter((e) =>"
        f" e.getBoundingClientRect().right > {width} + 1 &&"
        " !e.closest('.scroll, nav, .main-svg, .hidden')).map((e) => e.outerHTML)"
    )


def test_names_with_html_stay_text(files, page):
    page.open(files["evil"])
    assert page.js("typeof window.hacked") == "undefined"
    assert page.js("document.querySelectorAll('img, main b:not(.facts b)').length") == 0
    assert page.js("document.querySelector('h1').textContent") == EVIL
    assert page.js("document.title") == EVIL
    assert page.js("document.getElementById('command').textContent") == EVIL
    assert page.js("document.querySelector('#mask pre').textContent") == EVIL
    assert EVIL in column(page, "table-0", 0)
    name = page.js("document.querySelector('.key').textContent")
    assert name.startswith("kind <b>x</b></script>")
    # Plotly, too, shows a name's tags and does not follow them.
    page.js("Plotly.relayout('lines', {showlegend: true}).then(() => 1)")
    legend = page.js("document.querySelector('#lines .legendtext').textContent")
    assert legend.startswith("kind <b>x</b></script>")


def test_the_policy_lets_no_other_script_run(files, page):
    page.open(files["study"])
    page.js(
        "(() => { const s = document.createElement('script');"
        "s.textContent = 'window.hacked = 1'; document.head.append(s); })()"
    )
    assert page.js("typeof window.hacked") == "undefined"


def test_json_for_the_page_holds_no_tag():
    value = {EVIL: ["\u2028", "<!--"]}
    assert "<" not in embedded(value)
    assert json.loads(embedded(value)) == value


def test_a_click_sorts_by_number_and_what_is_empty_comes_last(files, page):
    page.open(files["sweep"])
    header = "#table-settings thead th:nth-child(5)"
    page.click(f"{header} button")
    rising = column(page, "table-settings", 4)
    scores = [float(x.split(" ")[0]) for x in rising if x]
    assert scores == sorted(scores)
    assert rising[-2:] == ["", ""]
    assert page.js(f"document.querySelector('{header}').ariaSort") == "ascending"
    page.click(f"{header} button")
    falling = column(page, "table-settings", 4)
    assert [float(x.split(" ")[0]) for x in falling if x] == scores[::-1]
    assert falling[-2:] == ["", ""]


def test_the_keyboard_reaches_and_presses_the_sort_buttons(files, page):
    page.open(files["study"])
    for _ in range(30):
        page.key("Tab")
        if page.js("document.activeElement.matches('#table-0 .sort')"):
            break
    assert page.js("document.activeElement.textContent") == "arm"
    assert page.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.key("Enter")
    assert column(page, "table-0", 0) == ["dropout", "L2", "L2+dropout", "plain"]
    page.key(" ")
    assert column(page, "table-0", 0) == ["plain", "L2+dropout", "L2", "dropout"]


VISIBLE = "document.getElementById('lines').data.map((t) => t.visible)"
PRESSED = "[...document.querySelectorAll('.key')].map((k) => k.ariaPressed === 'true')"
FOCUSED = "document.activeElement.className + document.activeElement.textContent"


def tab_to(page, selector):
    for _ in range(60):
        page.key("Tab")
        if page.js(f"document.activeElement.matches({selector!r})"):
            return
    raise AssertionError(f"no way to {selector} by Tab")


def test_the_keyboard_hides_and_shows_lines(files, page):
    page.open(files["sweep"])
    names = page.js("[...document.querySelectorAll('.key')].map((k) => k.textContent)")
    assert names == [
        *(f"kind {k}, lr {r}" for k in ("coupled", "decoupled") for r in RATES_SAID),
        "diverged",
    ]
    assert page.js(VISIBLE) == page.js(PRESSED) == [True] * 7
    tab_to(page, ".key")
    assert page.js(FOCUSED) == "keykind coupled, lr 0.01"
    assert page.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.key("Enter")
    assert page.js(VISIBLE) == page.js(PRESSED) == [False] + [True] * 6
    page.key("Tab")
    page.key(" ")
    assert page.js(VISIBLE) == page.js(PRESSED) == [False] * 2 + [True] * 5
    # What was chosen stays when the chart is drawn anew, and so does the focus.
    page.js("setTheme('dark')")
    assert page.js(VISIBLE) == page.js(PRESSED) == [False] * 2 + [True] * 5
    assert page.js(FOCUSED) == "keykind coupled, lr 0.1"
    page.key("Enter")
    assert page.js(VISIBLE) == [False] + [True] * 6
    page.click(".key")
    assert page.js(VISIBLE) == page.js(PRESSED) == [True] * 7
    assert page.said == []


def test_of_many_lines_the_best_are_shown_and_all_or_none_can_be(tmp_path, page):
    runs = grid((0.01, 0.1), np.logspace(-3, -0.5, 12), 1)
    page.open(write_html(None, runs, tmp_path / "x.html"))
    assert sum(page.js(VISIBLE)) == 7
    assert page.js(PRESSED) == [True] * 7 + [False] * 5  # those shown come first
    for button, visible in ((2, [False] * 12), (1, [True] * 12)):
        page.click(f".keys button:nth-child({button})")
        assert page.js(VISIBLE) == page.js(PRESSED) == visible


def test_a_saved_picture_names_its_lines(files, page):
    page.open(files["sweep"])
    got = page.js(
        "new Promise((done) => { Plotly.downloadImage = async (chart, how) =>"
        " done([how.format, chart.querySelectorAll('.legendtext').length]);"
        " save(document.getElementById('lines'), 'lines'); })"
    )
    assert got == ["svg", 7]
    assert page.js("document.querySelectorAll('#lines .legendtext').length") == 0


def copied(page, kind, table="table-0"):
    page.click(f".copy[data-table={table}][data-kind={kind}]")
    assert page.js(
        "new Promise((done) => { const look = () => document.querySelector"
        "('.said:not(:empty)') ? done('yes') : setTimeout(look, 10); look(); })"
    )
    return page.js("navigator.clipboard.readText()")


def test_tables_are_copied_in_the_order_shown(files, page):
    page.open(files["study"])
    page.click("#table-0 thead th:nth-child(4) button")
    lines = copied(page, "Markdown").splitlines()
    assert lines[0] == "| arm | n | validation % | test % | test − plain | p |"
    assert lines[1] == "| :-- | --: | --: | --: | --: | --: |"
    shown = result_table(open_runs(RESULTS).study).rows
    sorted_ = sorted(shown, key=lambda row: float(row[3].split(" ")[0]))
    first = sorted_[0]
    assert lines[2].startswith(f"| {' | '.join(first[:4])} |")
    latex = copied(page, "LaTeX").splitlines()
    assert latex[1] == r"\begin{tabular}{lrrrrr}"
    assert latex[3] == r"arm & n & validation \% & test \% & test $-$ plain & p \\"
    assert latex[5].startswith(" & ".join(first[:4]).replace("±", r"$\pm$") + " &")
    rows = list(csv.reader(io.StringIO(copied(page, "CSV"))))
    assert [row[0] for row in rows] == ["arm", *(row[0] for row in sorted_)]
    assert rows[1][4] == first[4]


def test_copies_of_evil_names_cannot_hurt(tmp_path, page):
    name = "=cmd|'/c x'!A1, \"q\""
    page.open(write_html(study_of(("plain", name)), (), tmp_path / "x.html"))
    rows = list(csv.reader(io.StringIO(copied(page, "CSV"))))
    assert rows[2][0] == "'" + name  # a formula no more
    assert r"=cmd\|'/c x'" in copied(page, "Markdown")
    assert "=cmd$|$'/c x'" in copied(page, "LaTeX")


def test_hovering_says_the_numbers(files, page):
    page.open(files["study"])
    x, y = page.middle("#panel-1 .nsewdrag")
    page.move(x, y)
    page.move(x + 2, y)
    texts = page.js(
        "new Promise((done) => { let n = 0; const look = () => {"
        "const t = [...document.querySelectorAll('#panel-1 .hoverlayer text')]"
        ".map((e) => e.textContent);"
        "t.length || n++ > 100 ? done(t) : setTimeout(look, 20); }; look(); })"
    )
    assert any(re.search(r"plain.*8\d\.\d+ ± \d", t) for t in texts), texts


COLOURS = (
    "[getComputedStyle(document.body).backgroundColor,"
    " document.querySelector('#panel-0 .xtick text').style.fill,"
    " document.getElementById('theme').ariaPressed]"
)


def test_the_button_changes_page_and_charts(files, page):
    page.open(files["study"])
    before = page.js(COLOURS)
    assert before == ["rgb(255, 255, 255)", "rgb(27, 31, 36)", "false"]
    page.click("#theme")
    assert page.js(COLOURS) == ["rgb(20, 23, 27)", "rgb(230, 232, 235)", "true"]
    page.click("#theme")
    assert page.js(COLOURS) == before
    page.js("localStorage.clear()")


def test_a_dark_system_gives_a_dark_page(files, page):
    light(page, "dark")
    page.open(files["study"])
    assert page.js(COLOURS) == ["rgb(20, 23, 27)", "rgb(230, 232, 235)", "true"]


def test_what_is_shown_can_be_chosen(files, page):
    page.open(files["sweep"])
    title = "document.querySelector('#map-0 .gtitle').textContent"
    assert page.js(title).endswith("validation accuracy %")
    page.js(
        "(() => { const s = document.getElementById('metric'); s.value = 'test_loss';"
        "s.dispatchEvent(new Event('change')); })()"
    )
    assert page.js(title).endswith("test loss")
    shown = "document.getElementById('panel-0').data.filter((t) => t.name).length"
    assert page.js(shown) == 6
    page.click(".chip:has(:checked)")
    assert page.js(shown) == 5


def test_prints_on_paper_in_light_colours(files, page):
    light(page, "dark")
    page.open(files["sweep"])
    pdf = page.pdf()
    assert pdf.startswith(b"%PDF")
    assert page.said == []
    # Afterwards the page is as it was.
    assert page.js("document.documentElement.dataset.theme") is None
    width = "document.getElementById('lines').querySelector('.main-svg').clientWidth"
    assert page.js(width) > 1000


@pytest.mark.parametrize(
    "runs",
    [
        pytest.param(lambda: grid(np.logspace(-5, -1, 10), np.logspace(-3, 0, 5), 20),
                     id="50 settings × 20 seeds"),
        pytest.param(lambda: grid(np.logspace(-5, -1, 40), np.logspace(-3, 0, 25), 1, 60),
                     id="1,000 settings × 60 epochs"),
    ],
)  # fmt: skip
def test_a_thousand_runs_make_a_small_page(runs, tmp_path, page):
    members = runs()
    assert len(members) == 1000
    path = write_html(None, members, tmp_path / "x.html", title="Many")
    seconds = page.open(path)
    print(f"{path.stat().st_size / 1e6:.2f} MB, opened in {seconds:.2f} s")
    assert path.stat().st_size < LIMIT
    assert page.said == []
