"""`jaxwd train`: what it writes, how it is stopped, how it goes on."""

import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

import jaxwd as wd
from jaxwd import cli
from jaxwd.export import read_weights
from jaxwd.lab.ledger import Ledger
from jaxwd.train.stopping import Stopped, Stopping
from jaxwd.train.watching import Watcher
from jaxwd.training.checkpoints import Checkpoints

ROOT = pathlib.Path(__file__).parents[1]
DIGITS = shlex.split(
    "--dataset digits --train-examples 200 --model mlp --vary model_options.hidden=[16] "
    "--learning-rate 0.01 --epochs 4"
)


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Run `jaxwd train` in a folder of its own, without the user's compilation cache."""
    monkeypatch.setenv("JAXWD_COMPILATION_CACHE", "0")
    monkeypatch.chdir(tmp_path)

    def run(*words):
        return cli.main(["train", *DIGITS, *map(str, words)])

    return run


def curve(out):
    with Ledger(pathlib.Path(out) / "ledger.sqlite", readonly=True) as ledger:
        (run,) = ledger.runs()
        rows = ledger.curve(run.key)
    return run, [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_everything_stands_in_its_folder(train, capsys):
    assert train("--out", "mine", "--export", "mine/export", "--seed", 3) == 0
    said = capsys.readouterr().out
    assert "state kept in" in said
    assert "epoch 4 of 4" in said
    run, rows = curve("mine")
    assert (run.status, run.seed, len(rows)) == ("finished", 3, 4)
    recipe = json.loads(pathlib.Path("mine/recipe.json").read_text())
    assert recipe["recipe"] == json.loads(json.dumps(run.recipe))
    steps = [p.name for p in pathlib.Path("mine/checkpoints").iterdir()]
    assert {"12", "18", "24"} <= set(steps)
    assert "6" not in steps  # --keep 3
    assert sorted(p.name for p in pathlib.Path("mine/export").iterdir()) == [
        "forward.jax_export",
        "model.json",
        "weights.safetensors",
    ]
    assert cli.main(["report", "mine"]) == 0
    want = wd.run(
        wd.Recipe(
            dataset="digits",
            train_examples=200,
            model="mlp",
            model_options={"init": "lecun", "hidden": (16,)},
            decay=wd.coupled(5e-4),
            learning_rate=0.01,
            epochs=4,
            seed=3,
        )
    )
    arrays, about = read_weights("mine/export/weights.safetensors")
    assert about["recipe_digest"] == recipe["digest"] == want.recipe.digest()
    np.testing.assert_array_equal(
        arrays["output/kernel"], want.params["output"]["kernel"]
    )


def test_a_finished_training_says_so_and_can_still_be_exported(train, capsys):
    assert train("--out", "mine") == 0
    _, first = curve("mine")
    capsys.readouterr()
    assert train("--out", "mine", "--export", "later") == 0
    said = capsys.readouterr().out
    assert "finished before; remove mine to train it anew" in said
    assert "epoch 4 of 4" not in said
    assert pathlib.Path("later/weights.safetensors").exists()
    assert curve("mine")[1] == first


def test_an_export_whose_checkpoints_are_gone_trains_anew_and_can_be_stopped(
    train, capsys, monkeypatch
):
    assert train("--out", "mine") == 0
    shutil.rmtree("mine/checkpoints")
    saving = Checkpoints.save

    def save(self, step, *given):
        if step == 12:
            signal.raise_signal(signal.SIGTERM)
        saving(self, step, *given)

    monkeypatch.setattr(Checkpoints, "save", save)
    assert train("--out", "mine", "--export", "later") == 143
    monkeypatch.setattr(Checkpoints, "save", saving)
    assert train("--out", "mine", "--export", "later") == 0
    assert "going on behind epoch 2" in capsys.readouterr().out
    assert pathlib.Path("later/weights.safetensors").exists()


def test_without_out_equal_flags_go_to_one_folder_and_others_to_another(train):
    assert train("--epochs", 1) == 0
    assert train("--epochs", 1) == 0
    assert train("--epochs", 1, "--seed", 1) == 0
    assert len(list(pathlib.Path("runs").iterdir())) == 2


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_ends_it_behind_the_epoch_and_the_same_command_goes_on(
    number, code, train, capsys, monkeypatch
):
    seen, saving, telling = [], Checkpoints.save, Watcher.epoch

    def save(self, step, *given):
        if (step, len(seen)) == (12, 1):
            signal.raise_signal(number)  # within epoch 2, which is not saved yet
        saving(self, step, *given)

    def epoch(self, arm, seed, row):
        seen.append(row["epoch"])
        telling(self, arm, seed, row)

    monkeypatch.setattr(Checkpoints, "save", save)
    monkeypatch.setattr(Watcher, "epoch", epoch)
    before = signal.getsignal(number)
    assert train("--out", "my runs") == code
    assert signal.getsignal(number) == before
    said = capsys.readouterr().err
    name = signal.Signals(number).name
    assert f"stopped by {name}; what was trained is kept" in said
    command = said.split("resume with: ")[1].strip()
    assert shlex.split(command) == ["jaxwd", "train", *DIGITS, "--out", "my runs"]
    assert curve("my runs")[0].status == "waiting"
    assert cli.main(shlex.split(command)[1:]) == 0
    assert seen == [1, 2, 1, 2, 3, 4]  # the first two from the checkpoint
    assert "going on behind epoch 2, step 12" in capsys.readouterr().out
    assert train("--out", "whole") == 0
    (mine, rows), (whole, want) = curve("my runs"), curve("whole")
    np.testing.assert_equal(rows, want)
    assert mine.outcome["test_loss"] == whole.outcome["test_loss"]


def test_a_stop_is_kept_behind_an_epoch_that_is_not_due(train, capsys, monkeypatch):
    due = Checkpoints.due

    def asked(self, epoch, epochs):
        if epoch == 2:
            signal.raise_signal(signal.SIGTERM)
        return due(self, epoch, epochs)

    monkeypatch.setattr(Checkpoints, "due", asked)
    words = ["--out", "mine", "--every-epochs", 3, "--keep", 9]
    assert train(*words) == 143
    there = pathlib.Path("mine/checkpoints")
    assert [p.name for p in there.iterdir() if p.name.isdecimal()] == ["12"]
    monkeypatch.setattr(Checkpoints, "due", due)
    assert train(*words) == 0
    assert "going on behind epoch 2, step 12" in capsys.readouterr().out
    assert {p.name for p in there.iterdir() if p.name.isdecimal()} == {"12", "18", "24"}
    assert train("--out", "whole") == 0
    np.testing.assert_equal(curve("mine")[1], curve("whole")[1])


def test_a_stream_is_stopped_within_its_epoch(train, tmp_path, capsys, monkeypatch):
    words = ["--out", "mine", "--stream", "digits", "--every-steps", 2, "--keep", 9]
    saving = Checkpoints.save

    def save(self, step, *given):
        if step == 8:  # the second within epoch 2, of 6 steps
            signal.raise_signal(signal.SIGTERM)
        saving(self, step, *given)

    monkeypatch.setattr(Checkpoints, "save", save)
    run = ["train", *DIGITS[2:], *map(str, words)]
    assert cli.main(run) == 143
    assert "SIGTERM: stopping within 2 steps, a second" in capsys.readouterr().err
    there = pathlib.Path("mine/checkpoints")
    steps = sorted(int(p.name) for p in there.iterdir() if p.name.isdecimal())
    assert steps == [2, 4, 6, 8]
    monkeypatch.setattr(Checkpoints, "save", saving)
    assert cli.main(run) == 0
    assert "step 8" in capsys.readouterr().out
    assert train("--out", "whole") == 0
    np.testing.assert_equal(curve("mine")[1], curve("whole")[1])


def test_a_signal_amid_the_question_is_not_forgotten(monkeypatch):
    def asking(value):
        if not value:
            signal.raise_signal(signal.SIGTERM)  # behind what was read
        return value

    monkeypatch.setattr("jaxwd.train.stopping.alike", asking)
    with Stopping() as stopping:
        stopping.training = True
        stopping.check()
        with pytest.raises(Stopped):
            stopping.check()


def test_a_second_signal_ends_it_at_once(train, capsys, monkeypatch):
    def twice(self, arm, seed, row):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("the second should have ended it")

    monkeypatch.setattr(Watcher, "epoch", twice)
    assert train("--out", "mine") == 143
    assert "resume with: jaxwd train" in capsys.readouterr().err


def test_a_signal_before_training_ends_it_at_once(train, capsys, monkeypatch):
    def load(name, **how):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("jaxwd.data.load", load)
    assert train("--out", "mine") == 143
    said = capsys.readouterr().err
    assert said == "stopped by SIGTERM before training began\n"
    assert not pathlib.Path("mine").exists()


def test_a_real_process_is_stopped_and_ends_with_the_same_bits(train, tmp_path):
    words = [*DIGITS[:-1], "80", "--out", "mine", "--export", "mine"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    with subprocess.Popen(
        [sys.executable, "-m", "jaxwd", "train", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=env,
    ) as running:
        for line in running.stdout:
            if line.startswith("epoch "):
                break
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 143, said
    assert shlex.join(["jaxwd", "train", *words]) in said
    assert cli.main(["train", *words]) == 0
    again = ["whole" if word == "mine" else word for word in words]
    assert cli.main(["train", *again]) == 0
    mine, whole = (
        pathlib.Path(out, "weights.safetensors").read_bytes()
        for out in ("mine", "whole")
    )
    assert mine == whole


def test_a_training_that_goes_on_is_drawn_and_stopped_again(train, capsys, monkeypatch):
    """Epochs behind a restart are new ones: they get a line, and a signal ends them."""
    saving = Checkpoints.save

    def stop_at(step):
        def save(self, at, *given):
            if at == step:
                signal.raise_signal(signal.SIGTERM)
            saving(self, at, *given)

        monkeypatch.setattr(Checkpoints, "save", save)

    monkeypatch.setattr(Watcher, "every", 0.0)
    for step in (6, 18):
        stop_at(step)
        assert train("--out", "mine") == 143
    said = capsys.readouterr().out
    assert "epoch 2 of 4" in said
    assert "epoch 4 of 4" not in said
    monkeypatch.setattr(Checkpoints, "save", saving)
    assert train("--out", "mine") == 0
    assert train("--out", "whole") == 0
    np.testing.assert_equal(curve("mine")[1], curve("whole")[1])


def test_a_damaged_checkpoint_is_a_note_and_no_traceback(train, capsys):
    assert train("--out", "mine", "--epochs", 2) == 0
    pathlib.Path("mine/ledger.sqlite").unlink()
    pathlib.Path("mine/checkpoints/12/checkpoint.json").write_text("{")
    capsys.readouterr()
    assert train("--out", "mine", "--epochs", 2) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "note: checkpoint 12 in " in said
    assert "kept as broken-12, trying 6 instead" in said
    assert "going on behind epoch 1, step 6" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--keep", "0"], "--keep=0 is not allowed"),
        (["--every-epochs", "0"], "--every-epochs=0 is not allowed"),
        (["--layout", "sharded", "--devices", "0"], "--devices=0 is not allowed"),
        (["--devices", "2"], "devices=2: layout='single' is on one device; use"),
        (["--processes", "0"], "--processes=0 is not allowed"),
        (["--seeds", "3"], "--seeds has no effect here: give --seed"),
        (["--export-for", "cpu"], "--export-for needs --export FOLDER"),
        (["--every-steps", "5"], "--every-steps needs --stream NAME"),
        (["--stream", "npy:x"], "--dataset has no effect beside --stream"),
        (["--vary", "momentum"], "--vary momentum is not allowed; give PATH=VALUE"),
        (["--vary", "optimizer_options.mu=1"], "mu"),
        (["--optimizer", "adamm"], "did you mean 'adam'"),
        (
            ["--layout", "sharded", "--batch-size", "33"],
            "does not divide over 2 devices",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    words, said, train, capsys
):
    assert train("--out", "mine", *words) == 2
    assert said in capsys.readouterr().err
    assert not pathlib.Path("mine").exists()


def test_a_folder_of_another_recipe_or_of_something_else_is_refused(train, capsys):
    assert train("--out", "mine", "--epochs", 1) == 0
    assert train("--out", "mine", "--epochs", 2) == 2
    said = capsys.readouterr().err
    assert "mine holds the training of another recipe: epochs 1 there, 2 here" in said
    pathlib.Path("other/checkpoints").mkdir(parents=True)
    pathlib.Path("other/checkpoints/thesis.tex").write_text("years")
    assert train("--out", "other") == 2
    assert "no checkpoints of jaxwd (thesis.tex" in capsys.readouterr().err


def test_a_diverged_training_is_told_with_code_3(train, capsys):
    assert train("--out", "mine", "--learning-rate", "1e30", "--strength", 0) == 3
    assert "error: the loss became" in capsys.readouterr().err
    assert curve("mine")[0].status == "diverged"


@pytest.mark.parametrize("layout", ["sharded", "pmap"])
def test_layouts(layout, train):
    assert (
        train("--out", "mine", "--layout", layout, "--devices", 2, "--epochs", 1) == 0
    )


def test_a_stream_trains_to_the_bits_of_its_data_set(train, tmp_path, capsys):
    """`--stream` on the files of a data set, and files that hold a wrong label."""
    data = wd.load("digits").take(200)
    folder = tmp_path / "files"
    folder.mkdir()
    for part in ("train", "validation", "test"):
        np.save(folder / f"{part}_inputs.npy", getattr(data, part).inputs)
        np.save(folder / f"{part}_targets.npy", getattr(data, part).targets)
    assert train("--out", "arrays") == 0
    words = ["train", "--stream", f"npy:{folder}", "--every-steps", "4", *DIGITS[2:]]
    words += ["--out", "mine"]
    assert cli.main(words) == 0
    assert curve("mine")[1] == curve("arrays")[1]
    capsys.readouterr()
    labels = np.load(folder / "train_targets.npy")
    np.save(folder / "train_targets.npy", np.where(np.arange(200) == 63, -1, labels))
    assert cli.main(words) == 2
    assert "train row 63: labels from -1 to -1" in capsys.readouterr().err
