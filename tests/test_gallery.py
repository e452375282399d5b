"""The gallery: no scheme is forgotten, the page is what its script writes."""

import inspect
import pathlib
import re
import sys
import typing

import numpy as np
import pytest
from PIL import Image

import jaxwd as wd

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import gallery  # noqa: E402
from gallery_parts import page as pages  # noqa: E402
from gallery_parts import runs  # noqa: E402
from gallery_parts.rows import ROWS  # noqa: E402

README = (pages.OUT / "README.md").read_text()
ELSEWHERE = {
    "preset",  # names for schemes that are here
    "half_l2",  # the shape of the schemes that name none
    "l2",  # half_l2 with another unit of λ, as is
    "l2_per_example",
}


def makers():
    """Every public function that returns a scheme: constructors and modifiers."""
    functions = {n: getattr(wd, n) for n in dir(wd) if not n.startswith("_")}
    return {
        name
        for name, f in functions.items()
        if inspect.isfunction(f)
        and typing.get_type_hints(f).get("return") is wd.DecayScheme
    }


def calls():
    return " ".join(row.call for row in ROWS)


NAMES = {
    "constructor": (makers(), r"wd\.(\w+)\("),
    "penalty": (set(wd.penalties.PENALTIES), r'penalty="(\w+)"'),
    "multiplier": (set(wd.decay.MULTIPLIERS) - {"lr"}, r'times="(\w+)"'),
}


@pytest.mark.parametrize("kind", NAMES)
def test_nothing_public_is_without_a_picture(kind):
    """Missing here? Add a row to scripts/gallery_parts/rows_*.py, draw, look, say it."""
    public, pattern = NAMES[kind]
    drawn = set(re.findall(pattern, calls()))
    assert len(public) >= 4
    assert public - ELSEWHERE == drawn


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_says_all_that_the_page_needs(row):
    params = runs.LAYOUTS[row.layout].lay(np.array(runs.WEIGHTS))
    assert isinstance(runs.scheme_of(row.call, params), wd.DecayScheme)
    share = runs.tau_over_run(row.call, row.layout)
    assert share is None or share == pytest.approx(runs.TAU_OVER_RUN, rel=0.005)
    assert pages.equation(row)
    assert row.see.endswith(".")
    picture = pages.OUT / row.file
    assert picture.stat().st_size < 40_000
    with Image.open(picture) as image:
        assert image.mode == "P"
        assert image.width >= 900


def test_all_pictures_together_are_small():
    sizes = [path.stat().st_size for path in pages.OUT.glob("*.png")]
    assert len(sizes) == len(ROWS)  # none is left over from a row that went
    assert sum(sizes) < 1_000_000


def test_the_page_is_that_of_the_rows():
    """But for the lines on where weights end, which only the runs know."""
    lines = [line for line in README.splitlines() if not line.startswith("After ")]
    again = re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
    assert again.strip() == re.sub(r"\n{3,}", "\n\n", pages.page()).strip()


def test_links_of_the_page_lead_somewhere():
    anchors = {pages.slug(h) for h in re.findall(r"^#+ (.*)$", README, re.MULTILINE)}
    targets = re.findall(r"\]\(([^)]+)\)", README)
    assert len(targets) >= 3 * len(ROWS)
    for target in targets:
        if target.startswith("#"):
            assert target[1:] in anchors
        else:
            assert (pages.OUT / target).exists(), target


def test_the_script_draws_one_picture(tmp_path, capsys):
    """Twice the same bytes; the page is not written from a part of the table."""
    for folder in ("a", "b"):
        gallery.main(["cautious", "--out", str(tmp_path / folder)])
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["cautious.png"]
    a, b = ((tmp_path / f / "cautious.png").read_bytes() for f in "ab")
    assert a == b
    with pytest.raises(SystemExit):
        gallery.main(["causious"])
    assert "choose from" in capsys.readouterr().err


# --- what the page says is the same, is the same ----------------------------------------

SAME = {
    "coupled is penalized": ("wd.coupled(0.443)", "wd.penalized(0.443)"),
    "schedule is lr": (
        "wd.decoupled(0.443)",
        f'wd.decoupled({0.443 * runs.PEAK}, times="schedule")',
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_pictures_said_to_be_the_same_are(name):
    a, b = (runs.paths(call) for call in SAME[name])
    whole = [(p.free[0], p.sgd, p.adam, p.plane) for p in (a, b)]
    for x, y in zip(*whole, strict=True):
        np.testing.assert_allclose(x, y, atol=2e-4)
    assert np.abs(a.sgd - runs.paths("wd.none()").sgd).max() > 0.1
