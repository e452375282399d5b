"""The command line: quick help, one-line errors, exit codes, every experiment file."""

import pathlib
import subprocess
import sys
import time

import pytest

import jaxwd
from jaxwd import cli, listing

ROOT = pathlib.Path(__file__).parent.parent
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.py"))

# Three steps of every arm: 48 examples in batches of 16.
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


def run(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "jaxwd", *words],
        capture_output=True,
        text=True,
        **options,
    )


# Fewer trials where arms are tuned, and what a page of its own kind shows.
TRIALS = {
    "coupled_vs_decoupled": ["--trials", "2"],
    "controls_cautious": ["--trials", "2"],
    "lr_by_lambda": ["--trials", "9"],
    "lambda_by_task": ["--trials", "6"],
}


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda p: p.stem)
def test_every_experiment_runs_for_three_steps(file, tmp_path, capsys):
    words = ["--model", "mlp"] if file.stem != "article" else []
    words += TRIALS.get(file.stem, [])
    code = cli.main(["run", str(file), *BRIEF, *words, "--out", str(tmp_path / "out")])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    if file.stem == "lambda_by_task":
        assert "The best λ by task" in printed.out
        assert (tmp_path / "out" / "report.md").exists()
        return
    assert "Result: accuracy" in printed.out
    assert "What decay did" in printed.out
    assert (tmp_path / "out" / "report.md").exists()
    assert (tmp_path / "out" / "differences.png").exists()


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda p: p.stem)
def test_every_experiment_states_its_question_and_command(file):
    text = file.read_text()
    assert text.splitlines()[0].endswith("?")
    assert f"python experiments/{file.name}" in text


def test_experiment_files_run_as_scripts_too(tmp_path):
    got = subprocess.run(
        [sys.executable, ROOT / "experiments/article.py", *BRIEF, "--dataset", "digits",
         "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert got.returncode == 0, got.stderr


def test_help_needs_no_jax_and_is_quick():
    """The bound is generous: without JAX it takes a tenth of that."""
    code = (
        "import sys; from jaxwd.cli import main; main(['--help']); "
        "assert not {'jax', 'numpy', 'matplotlib', 'tensorflow_datasets'} & {*sys.modules}"
    )
    start = time.perf_counter()
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert got.returncode == 0, got.stderr
    assert time.perf_counter() - start < 5
    assert "usage: jaxwd COMMAND" in got.stdout


def test_experiment_help_needs_no_jax():
    code = (
        "import sys; from jaxwd.cli import main\n"
        "try: main(['run', 'article', '--help'])\n"
        "except SystemExit: pass\n"
        "assert 'jax' not in sys.modules"
    )
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert got.returncode == 0, got.stderr
    assert "--strength" in got.stdout


def test_importing_loads_nothing_it_does_not_use():
    code = (
        "import sys, jaxwd as wd; wd.decoupled(0.1); wd.run; wd.Recipe\n"
        "heavy = {'matplotlib', 'tensorflow_datasets', 'tyro', 'orbax', 'sklearn', 'PIL'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert got.returncode == 0, got.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rnu"], "unknown command 'rnu'; did you mean 'run'"),
        (["run"], "run needs an experiment"),
        (["run", "artcle"], "did you mean 'article'"),
        (["compare"], "compare needs an experiment"),
        (["compare", "artcle"], "did you mean 'article'"),
        (["compare", "article", "--trials", "0"], "--trials=0 is not allowed"),
        (["compare", "article", "--margin", "0"], "--margin=0 is not allowed"),
        (["compare", "lambda_by_task"], "has no arms(flags, data)"),
        (["compare", "lr_by_lambda", "--trials", "10"], "trials=10 makes no grid"),
        (["compare", "lr_by_lambda", "--search", "sobol"], "draws no heat map"),
        (["run", "nothing.py"], "is no file"),
        (["list", "optimisers"], "did you mean 'optimizers'"),
        (["data", "digitss"], "did you mean 'digits'"),
        (["run", "article", "--strength", "-1"], "--strength=-1 is not allowed"),
        (["run", "article", "--strength", "nan"], "--strength=nan is not allowed"),
        (["run", "article", "--strength", "30"], "multiplies weights by -2"),
        (["run", "article", "--dropout", "1.5"], "--dropout=1.5 is not allowed"),
        (["run", "article", "--epochs", "0"], "--epochs=0 is not allowed"),
        (["run", "article", "--batch-size", "0"], "--batch-size=0 is not allowed"),
        (["run", "article", "--batch-size", "9000"], "larger than the 8000 training"),
        (["run", "article", "--optimizer", "adm"], "did you mean 'adam'"),
        (["run", "article", "--schedule", "cosin"], "did you mean 'cosine'"),
        (["run", "article", "--decay", "copled"], "did you mean 'coupled'"),
        (["run", "article", "--dataset", "folder:/no"], "is no folder"),
        (["run", "article", "--penalty", "l2"], "decay would stand in the loss and in"),
        (["run", "article", "--device", "npu"], "unknown device 'npu'"),
        (["run", "article", "--device", "tpu"], "device=tpu is not available here"),
        (["run", "article", "--init", "xavier"], "unknown initializer 'xavier'"),
        (["run", "optimizers", "--learning-rate", "1"], "has no effect here"),
        (["run", "optimizers", "--decay", "decoupled"], "--decay has no effect here"),
        (["run", "article", "--out", "/dev/null"], "out=/dev/null is a file"),
        (["run", "article", "--layout", "bogus"], "unknown layout 'bogus'"),
        (
            ["run", "article", "--layout", "pmap", "--batch-size", "33"],
            "does not divide over 2 devices; nearest: 32 or 34",
        ),
        (["run", "article", "--dataset", "friedman"], "or use the model mlp"),
        (
            [
                "run",
                "article",
                "--learning-rate",
                "0",
                "--decay",
                "decoupled",
                "--times",
                "schedule",
            ],
            "peak learning rate=0 is not allowed",
        ),
        (["data", "digits", "--image-size", "0"], "image_size=0 is not allowed"),
        (["data", "tfds:../x"], "is no name of a dataset"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(
    words, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert printed.err.startswith("error: ")
    assert not list(tmp_path.iterdir())  # nothing half-written


def test_a_study_that_diverges_everywhere_reports_and_exits_with_three(
    tmp_path, capsys
):
    words = ["run", "article", *BRIEF, "--dataset", "digits", "--model", "mlp"]
    out = tmp_path / "out"
    code = cli.main([*words, "--learning-rate", "1e38", "--strength", "0", "--optimizer",
                     "adam", "--out", str(out)])  # fmt: skip
    assert code == 3
    assert "every run diverged" in capsys.readouterr().err
    assert "diverged with every seed" in (out / "report.md").read_text()


def test_experiments_of_your_own_may_add_flags(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    assert cli.main(["run", str(file), *BRIEF, "--out", str(tmp_path / "out")]) == 0
    assert "wide" in capsys.readouterr().out


OWN = '''"""Does width matter?"""
from __future__ import annotations

from dataclasses import dataclass, replace

from jaxwd.flags import Flags
from jaxwd.lab.experiment import experiment, recipe


@dataclass(frozen=True)
class Mine(Flags):
    dataset: str = "digits"
    model: str = "mlp"
    width: int = 32
    """Of the hidden layer."""


def arms(flags, data):
    from jaxwd.lab import Arm

    base = recipe(flags)
    wide = replace(base, model_options={"hidden": [flags.width]})
    return [Arm("plain", base), Arm("wide", wide)]


def main(arguments=None):
    return experiment("mine", __doc__, arms, arguments, flags=Mine)
'''


@pytest.mark.parametrize(
    "command",
    ["data", "list", "doctor", "run", "compare", "convert", "recommend", "ledger"],
)
def test_every_command_has_help(command):
    got = run(command, "--help")
    assert got.returncode == 0
    assert "usage" in got.stdout


def test_data_needs_one_name():
    got = run("data")
    assert got.returncode == 2
    assert "NAME" in (got.stdout + got.stderr).upper()


def test_unknown_flags_show_the_nearest_and_exit_with_two():
    got = run("run", "article", "--epoch", "3")
    assert got.returncode == 2
    assert "--epochs" in got.stderr + got.stdout


@pytest.mark.parametrize("kind", listing.KINDS)
def test_lists_name_what_can_be_chosen(kind, capsys):
    assert cli.main(["list", kind]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 3


def test_data_says_what_is_in_a_set(capsys):
    assert cli.main(["data", "fashion_mnist_12k"]) == 0
    assert "Ankle boot" in capsys.readouterr().out


def test_version_is_the_packages():
    got = run("--version")
    assert got.stdout.strip() == f"jaxwd {jaxwd.__version__}"
    assert f'version = "{jaxwd.__version__}"' in (ROOT / "pyproject.toml").read_text()


def test_doctor_takes_a_first_step():
    got = run("doctor")
    assert got.returncode == 0, got.stderr
    assert "20 steps of the CNN" in got.stdout


def test_a_reader_that_leaves_early_is_no_error():
    piped = f"{sys.executable} -m jaxwd list | head -1"
    got = subprocess.run(["bash", "-c", piped], capture_output=True, text=True)
    assert "Traceback" not in got.stderr


def test_compilation_cache_is_used_and_can_be_switched_off(tmp_path):
    import os

    def cached(**environment):
        cache = tmp_path / str(len(environment))
        words = ["run", "article", *BRIEF, "--dataset", "digits", "--model", "mlp"]
        clean = {k: v for k, v in os.environ.items() if "JAX_COMPILATION" not in k}
        got = run(
            *words,
            *("--out", str(cache / "out")),
            env=clean | {"JAXWD_CACHE": str(cache)} | environment,
        )
        assert got.returncode == 0, got.stderr
        return len(list((cache / "xla").rglob("*-cache")))

    assert cached() > 3
    assert cached(JAXWD_COMPILATION_CACHE="0") == 0


def test_flags_know_every_modifier_but_the_one_that_takes_a_tree():
    """`flags` names them itself, since reading flags must not import JAX."""
    from jaxwd import decay, flags

    assert set(flags.MODIFIERS) == set(decay.MODIFIERS) - {"to_tree"}
    assert set(flags.DECAYS) <= set(decay.CONSTRUCTORS)
