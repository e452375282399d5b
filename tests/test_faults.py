"""Bad days: `scripts/faults` shortened, and that it would see a loss; signals."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from jaxwd.flags import guarded
from jaxwd.lab import provenance
from jaxwd.lab.ledger.holder import STALE, Holder
from jaxwd.signals import Terminated, terminable

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from faults_parts import stage as stages  # noqa: E402
from faults_parts.table import FAULTS  # noqa: E402


def test_the_suite_shortened_loses_and_changes_nothing():
    """`scripts/faults` tries the other rows, and these at more moments."""
    words = [sys.executable, ROOT / "scripts/faults_parts/everything.py", "--short"]
    got = subprocess.run(words, capture_output=True, text=True)
    assert got.returncode == 0, got.stdout + got.stderr
    said = got.stdout.splitlines()
    assert said[-3:] == ["runs lost: 0", "results changed: 0", "otherwise wrong: 0"]
    assert sum(row.in_short for row in FAULTS.values()) == len(said) - 4


FINISHED = '{{"key":"{key:0>32}","status":"finished","loss":{loss}}}'


@pytest.mark.parametrize(
    ("got", "counted"),
    [
        ([(1, 0.5), (2, 0.5)], (0, 0)),
        ([(1, 0.5)], (1, 0)),
        ([], (2, 0)),
        ([(1, 0.5), (2, 0.25)], (0, 1)),
        ([(1, 0.5), (2, 0.5), (3, 0.5)], (0, 0)),
    ],
)
def test_the_suite_would_see_what_is_lost_and_changed(got, counted):
    def text(runs):
        return "\n".join(FINISHED.format(key=key, loss=loss) for key, loss in runs)

    assert stages.compared(text(got), text([(1, 0.5), (2, 0.5)])) == counted


def test_the_suite_would_see_tracebacks_codes_and_silence(tmp_path):
    child = stages.Child(1, tmp_path / "log")
    child.code = 0
    child.log.write_text("fine")
    assert not stages.faulty(child, (0,))
    assert "exit code 0" in stages.faulty(child, (1,))[0]
    assert "did not say" in stages.faulty(child, (0,), "sorry")[0]
    child.log.write_text("error: KeyError: 'x'; JAXWD_TRACEBACK=1 shows the whole")
    assert "nobody foresaw" in stages.faulty(child, (0,))[0]
    child.log.write_text("Traceback (most recent call last):")
    assert "a traceback" in stages.faulty(child, (0,))[0]


# --- signals ---------------------------------------------------------------------------


def kill(number):
    os.kill(os.getpid(), number)
    time.sleep(1)  # handled before it is over


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)],
)
def test_signals_end_a_command_with_their_code_and_a_way_on(number, code, capsys):
    assert guarded(lambda: kill(number)) == code
    said = capsys.readouterr().err
    assert said.endswith("finished runs are kept, the same command goes on\n")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGTERM, 143, "SIGTERM; "), (signal.SIGINT, 130, "interrupted; ")],
)
@pytest.mark.parametrize("kind", [RuntimeError, OSError])
def test_a_signal_that_a_library_wraps_in_an_error_ends_as_the_signal(
    kind, number, code, word, capsys
):
    def command():
        try:
            kill(number)
        except KeyboardInterrupt:
            raise kind("INTERNAL: a callback failed") from None

    assert guarded(command) == code
    assert capsys.readouterr().err.startswith(word)
    assert guarded(lambda: 1 / 0) == 1  # what another command does is another's


def test_handlers_are_put_back_and_those_of_others_left_alone():
    heard = []
    mine = signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
    try:
        assert guarded(lambda: os.kill(os.getpid(), signal.SIGTERM)) == 0
        assert heard == [1]
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with terminable(), pytest.raises(Terminated), terminable():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    signal.signal(signal.SIGTERM, mine)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_a_signal_within_a_destructor_is_not_lost(number, code, capsys):
    """Python prints what is raised there and goes on; JAX has such callbacks."""

    class Slow:
        def __del__(self):
            kill(number)

    def command():
        slow = Slow()
        del slow
        time.sleep(5)

    assert guarded(command) == code
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_behind_the_end_changes_nothing(number):
    """All is written by then; Python's own end takes a moment, JAX's callbacks more."""
    code = (
        "import atexit, os, sys, time; from jaxwd.__main__ import process\n"
        f"atexit.register(lambda: (os.kill(os.getpid(), {int(number)}), time.sleep(0.1)))\n"
        "sys.argv[1:] = ['--version']; raise SystemExit(process())"
    )
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (got.returncode, got.stderr) == (0, "")


def test_other_threads_set_no_handlers():
    codes = []
    thread = threading.Thread(target=lambda: codes.append(guarded(lambda: None)))
    thread.start()
    thread.join()
    assert codes == [0]


# --- a busy machine ----------------------------------------------------------------------


def test_a_busy_machine_does_not_rename_runs(monkeypatch):
    """The commit is a part of their names; without it all would be run anew."""
    wanted, real, left = provenance.commit(), subprocess.run, [2]

    def busy(words, **options):
        if left[0]:
            left[0] -= 1
            raise subprocess.TimeoutExpired(words, options["timeout"])
        return real(words, **options)

    monkeypatch.setattr(provenance.subprocess, "run", busy)
    assert provenance.commit.__wrapped__() == wanted
    left[0] = 99
    assert provenance.commit.__wrapped__() is None


# --- clocks ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ago", "lives"),
    [(1, True), (-5, True), (2 * STALE, False), (-3600, False)],
)
def test_heartbeats_far_ahead_are_of_a_clock_that_was_set_back(ago, lives):
    """Else a run that was begun before it would be waited for until then."""
    holder = Holder("x", "elsewhere", "another boot", 1, "1", time.time() - ago)
    assert holder.lives() == lives
