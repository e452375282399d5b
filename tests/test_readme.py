"""The README's Python blocks run, and print what stands below them."""

import contextlib
import io
import pathlib
import re
import shlex

import pytest

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
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
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_named_optimizer_and_scheme_exists():
    import jaxwd as wd

    named = re.search(r"Optimizers by name: `([^`]*)`", README)
    assert named is not None
    assert set(named[1].split()) == {n for n in wd.OPTIMIZERS if "." not in n}


@pytest.mark.parametrize(
    "name", ["slurm_sweep.sh", "slurm_train.sh", "kuberay_sweep.yaml"]
)
def test_the_cluster_examples_give_flags_that_exist(name):
    """The command of the file, with the words that its first lines say to give it."""
    from jaxwd.cli import load_experiment
    from jaxwd.flags import flags_of, joined, parse
    from jaxwd.lab.sweep import SweepFlags
    from jaxwd.train.flags import TrainFlags

    text = (ROOT / "scripts/cluster" / name).read_text()
    given = re.search(r"^# +sbatch \S+ (.*)$", text, re.M)
    text = text.replace('"$@"', given[1] if given else "").replace("\\\n", " ")
    line = re.search(r"^[^#\n]*\bjaxwd (train|sweep) (.*(?:\n +--.*)*)", text, re.M)
    assert line is not None
    words = shlex.split(re.sub(r"\$\w+", "1", line[2]).removesuffix("&"))
    kind = TrainFlags
    if line[1] == "sweep":
        file = ROOT / "experiments" / pathlib.Path(words.pop(0)).name
        kind = joined(flags_of(load_experiment(str(file))), SweepFlags)
    assert parse(kind, "jaxwd", "", words).out is not None
