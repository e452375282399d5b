"""The README's Python blocks run, and print what stands below them."""

import contextlib
import io
import pathlib
import re

import pytest

README = (pathlib.Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```\n+(?:```text\n(.*?)```)?", README, re.DOTALL)


def test_there_are_blocks():
    assert len(BLOCKS) >= 2


@pytest.mark.parametrize(("code", "printed"), BLOCKS)
def test_block_prints_what_the_readme_says(code, printed):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {})
    assert out.getvalue() == printed


def test_links_lead_somewhere():
    root = pathlib.Path(__file__).parent.parent
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (root / target).exists(), target


def test_every_named_optimizer_and_scheme_exists():
    import jaxwd as wd

    named = re.search(r"Optimizers by name: `([^`]*)`", README)
    assert named is not None
    assert set(named[1].split()) == {n for n in wd.OPTIMIZERS if "." not in n}
