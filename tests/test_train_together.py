"""`jaxwd train` in two processes: one result, one who writes, one end."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from jaxwd.lab.ledger import Ledger

WORDS = shlex.split(
    "--dataset digits --train-examples 192 --model mlp --vary model_options.hidden=[16] "
    "--learning-rate 0.01 --batch-size 16 --decay decoupled --strength 0.1 --dropout 0.2"
)


def start(folder, index, count, port, *words):
    keep = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
    given = ["--coordinator", f"127.0.0.1:{port}", "--processes", str(count)]
    given += ["--process", str(index), "--layout", "sharded"]
    return subprocess.Popen(
        [sys.executable, "-m", "jaxwd", "train", *WORDS, "--out", str(folder), *words]
        + (given if count > 1 else []),
        env=keep | {"JAX_NUM_CPU_DEVICES": "1", "JAXWD_COMPILATION_CACHE": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def together(folder, *words, count=2, meanwhile=lambda all_: None):
    """Return exit codes and what was said, by process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    all_ = [start(folder, i, count, port, *words) for i in range(count)]
    try:
        meanwhile(all_)
        said = [process.communicate(timeout=240)[0] for process in all_]
    finally:
        for process in all_:
            process.kill()
    return [process.returncode for process in all_], said


def outcome(folder):
    with Ledger(folder / "ledger.sqlite", readonly=True) as ledger:
        (run,) = ledger.runs()
        return run.status, run.outcome, len(ledger.curve(run.key))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone") / "out"
    codes, said = together(folder, "--epochs", "3", count=1)
    assert codes == [0], said
    return folder


def test_two_processes_are_one_training_and_the_first_writes_it(alone, tmp_path):
    """Stopped by a signal to one of them, both end alike and go on alike."""
    folder = tmp_path / "out"

    def once_it_trains(all_):
        deadline = time.monotonic() + 200
        while not list(folder.glob("checkpoints/[0-9]*")):
            assert time.monotonic() < deadline and all_[0].poll() is None
            time.sleep(0.02)
        all_[1].send_signal(signal.SIGTERM)

    slow = ("--epochs", "100", "--every-epochs", "10")
    codes, said = together(folder, *slow, meanwhile=once_it_trains)
    assert codes == [143, 143], said
    assert "resume with: jaxwd train" in said[0]
    assert re.search(r"epoch \d+ of 100", said[0])
    assert "of 100" not in said[1]
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe["recipe"]["epochs"] == 100

    codes, said = together(folder, *slow)
    assert codes == [0, 0], said
    assert "going on behind epoch" in said[0]
    status, _, epochs = outcome(folder)
    assert (status, epochs) == ("finished", 100)

    folder = tmp_path / "short"
    codes, said = together(folder, "--epochs", "3")
    assert codes == [0, 0], said
    status, final, epochs = outcome(folder)
    want = outcome(alone)
    assert (status, epochs) == (want[0], want[2]) == ("finished", 3)
    for name in ("train_loss", "validation_loss", "test_loss", "test_accuracy"):
        assert final[name] == pytest.approx(want[1][name], rel=2e-5)
    shutil.rmtree(folder / "checkpoints")
    codes, said = together(folder, "--epochs", "3", "--export", str(folder / "export"))
    assert codes == [0, 0], said  # trained anew for its weights, by both
    assert "finished before" in said[0]
    assert (folder / "export" / "weights.safetensors").exists()


def test_flags_that_processes_refuse_are_said_by_each_and_end_at_once(tmp_path):
    codes, said = together(tmp_path / "out", "--accumulate", "3")
    # Either may hear of the other's refusal before it refuses itself.
    assert set(codes) in ({2}, {2, 4}), said
    for text in said:
        assert "accumulate=3 does not divide batch_size=16" in text
        assert "Terminating process" not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--processes", "2"), r"processes=2 given, coordinator, process missing"),
        (("--process", "0", "--coordinator", "here"), r"processes missing"),
    ],
)
def test_half_of_what_is_needed_is_said(words, message, tmp_path):
    code, said = together(tmp_path / "out", *words, count=1)
    assert code == [2]
    assert re.search(message, said[0])
    assert not (tmp_path / "out").exists()
