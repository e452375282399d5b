"""The ledger: nothing lost, nothing run twice, no foreign file touched."""

import contextlib
import csv
import json
import math
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import time

import numpy as np
import pytest
from ledger_worker import EPOCHS

import jaxwd as wd
from jaxwd import cli
from jaxwd.lab.ledger import Ledger, merge
from jaxwd.lab.ledger.claims import _beat
from jaxwd.lab.ledger.file import APPLICATION, VERSION
from jaxwd.lab.ledger.holder import STALE, keep_beating, place, started
from jaxwd.lab.ledger.summary import best

NAN, INF = float("nan"), float("inf")
WORKER = pathlib.Path(__file__).parent / "ledger_worker.py"


def worker(path, log, count=20, seconds=0.002, kill_at=0):
    words = [sys.executable, WORKER, path, log, count, seconds, kill_at]
    return subprocess.Popen(list(map(str, words)), stderr=subprocess.PIPE)


def finish(process):
    _, said = process.communicate(timeout=60)
    return process.returncode, said.decode()


def wait_for(process, condition):
    while not condition():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


def canonical(path):
    with Ledger(path, readonly=True) as ledger:
        return ledger.canonical()


def book(path, runs=3, epochs=2, **provenance):
    """Write a ledger of finished runs a, b, c, … and return its path."""
    with Ledger(path, provenance={"commit": "x"} | provenance) as ledger:
        for seed in range(runs):
            key = chr(ord("a") + seed)
            ledger.add(key, {"optimizer": "sgd", "seed": seed}, arm="L2", seed=seed)
            ledger.claim([key])
            ledger.epochs(
                (key, {"epoch": e + 1, "validation_loss": seed + 1 / (e + 1)})
                for e in range(epochs)
            )
            ledger.finish(key, {"test_loss": seed / 3, "seconds": time.time()})
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.sqlite"


# --- what is kept -----------------------------------------------------------------


def test_runs_come_back_as_they_were_written(path):
    recipe = {"decay": {"strength": 1e-3}, "model_options": [["init", "he"]]}
    curve = [
        {"epoch": 1, "loss": NAN, "score": -INF, "step": 5},
        {"epoch": 2, "loss": 0.1 + 0.2, "score": INF, "step": 10},
    ]
    with Ledger(path, provenance={"commit": "x"}) as ledger:
        ledger.add("k", recipe, arm="L2 <λ>", seed=3, labels={"decay.strength": 1e-3})
        assert ledger.run("k").status == "waiting"
        assert ledger.claim(["k"]) == ["k"]
        assert ledger.run("k").status == "running"
        ledger.epochs([("k", row) for row in curve])
        ledger.finish("k", {"test_loss": np.float32(0.1), "steps": np.int64(7)})
    with Ledger(path, readonly=True) as ledger:
        run = ledger.run("k")
        assert (run.recipe, run.arm, run.seed) == (recipe, "L2 <λ>", 3)
        assert run.labels == {"decay.strength": 1e-3}
        assert (run.status, run.ended, run.message, run.step) == (
            "finished",
            True,
            "",
            None,
        )
        assert run.outcome == {"test_loss": float(np.float32(0.1)), "steps": 7}
        assert repr(ledger.curve("k")) == repr(curve)  # NaN equals nothing
        assert ledger.provenance("k") == [{"commit": "x"}]
        assert ledger.run("another") is None
        assert ledger.curve("another") == []


def test_adding_again_changes_names_and_nothing_else(path):
    with Ledger(book(path)) as ledger:
        before = ledger.run("a")
        ledger.add("a", before.recipe, arm="renamed", seed=0, labels={"x": 1})
        after = ledger.run("a")
    assert (after.arm, after.labels) == ("renamed", {"x": 1})
    assert (after.status, after.outcome) == (before.status, before.outcome)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda x: x.add("a", {"other": 1}), "stands in .* with another recipe"),
        (lambda x: x.claim(["zz"]), "run zz is not in .*; add it first"),
        (lambda x: x.finish("zz", {}), "run zz is not in .*; add it first"),
        (lambda x: x.finish("a", {}), "run a has finished, so nothing is written"),
        (lambda x: x.epochs([("a", {"epoch": 3})]), "run a has finished, so nothing"),
        (lambda x: x.epochs([("w", {"loss": 1.0})]), "has no 'epoch'"),
    ],
)
def test_senseless_writes_are_refused_and_leave_nothing(action, message, path):
    with Ledger(book(path), provenance={}) as ledger:
        ledger.add("w", {})
        before = ledger.canonical()
        with pytest.raises(wd.InputError, match=message):
            action(ledger)
        assert ledger.canonical() == before


def test_a_batch_of_epochs_is_written_whole_or_not_at_all(path):
    with Ledger(book(path), provenance={}) as ledger:
        ledger.add("w", {})
        ledger.claim(["w"])
        with pytest.raises(wd.InputError, match="run a has finished"):
            ledger.epochs([("w", {"epoch": 1}), ("a", {"epoch": 1})])
        assert ledger.curve("w") == []
        with pytest.raises(KeyError), ledger.together():
            ledger.epochs([("w", {"epoch": 1})])
            raise KeyError
        assert ledger.curve("w") == []


def test_divergence_and_stopping_keep_their_curves(path):
    with Ledger(path, provenance={}) as ledger:
        for key in "ds":
            ledger.add(key, {})
            ledger.epochs([(key, {"epoch": 1})])  # claims it too
        ledger.diverge("d", "the loss became nan at step 3", 3)
        ledger.stop("s", "worse than \ud800 most")
        d, s = ledger.runs()
        assert (d.status, d.step, d.outcome) == ("diverged", 3, None)
        assert (s.status, s.message) == ("stopped", "worse than ? most")
        assert ledger.curve("d") == ledger.curve("s") == [{"epoch": 1}]
        assert ledger.claim(["d", "s"]) == []


def test_threads_may_share_a_ledger(path):
    with Ledger(path, provenance={}) as ledger:
        for key in "abcd":
            ledger.add(key, {})

        def work(key):
            for epoch in range(20):
                ledger.epochs([(key, {"epoch": epoch})])
            ledger.finish(key, {})

        threads = [threading.Thread(target=work, args=key) for key in "abcd"]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert [len(ledger.curve(key)) for key in "abcd"] == [20] * 4
        assert all(run.ended for run in ledger.runs())


# --- claims -----------------------------------------------------------------------


def test_a_claim_holds_until_it_is_given_back(path):
    with Ledger(path, provenance={}) as mine, Ledger(path, provenance={}) as other:
        for key in "abc":
            mine.add(key, {})
        assert mine.claim("ab") == ["a", "b"]
        assert other.claim("abc") == ["c"]
        assert mine.claim("abc") == ["a", "b"]  # one's own again, from their start
        with pytest.raises(wd.InputError, match="is held by another process"):
            other.finish("a", {})
        mine.epochs([("a", {"epoch": 1})])
        mine.release("a")
        assert mine.curve("a") == []
        assert other.claim("ab") == ["a"]
        mine.close()
        assert other.claim("b") == ["b"]


def test_a_ledger_nobody_refers_to_any_more_holds_nothing(path):
    lost = Ledger(path, provenance={})
    lost.add("a", {})
    lost.claim("a")
    lost._db.close()  # Python 3.13 warns of a connection that is dropped open
    with Ledger(path, provenance={}) as ledger:
        assert ledger.claim("a") == []
        del lost
        assert ledger.claim("a") == ["a"]


HERE = (place(), os.getpid(), started(os.getpid()))


@pytest.mark.parametrize(
    ("where", "pid", "since", "age", "lives"),
    [
        (*HERE[:2], "12345", 0, False),  # the number was given out again
        (HERE[0], 2**22 + 1, "1", 0, False),  # no such process
        (HERE[0], os.getppid(), started(os.getppid()), 9 * STALE, True),  # asleep, here
        ("another machine", 1, "1", STALE / 2, True),
        ("another machine", 1, "1", STALE * 2, False),
    ],
    # The numbers differ from process to process, and so would the names of the tests.
    ids=["number given out again", "gone", "asleep", "elsewhere", "elsewhere, silent"],
)
def test_whose_process_is_gone_loses_its_claims(where, pid, since, age, lives, path):
    with Ledger(path, provenance={}) as other, Ledger(path, provenance={}) as ledger:
        other.add("a", {})
        other.epochs([("a", {"epoch": 9})])
        with sqlite3.connect(path) as db:
            db.execute(
                "UPDATE holder SET place = ?, pid = ?, started = ?, heartbeat = ?",
                (where, pid, since, time.time() - age),
            )
        db.close()
        assert ledger.abandoned() == ([] if lives else ["a"])
        assert ledger.claim("a") == ([] if lives else ["a"])
        assert len(ledger.curve("a")) == lives  # begun anew
        if not lives:
            ledger.finish("a", {})
            with pytest.raises(wd.InputError, match="run a has finished"):
                other.epochs([("a", {"epoch": 1})])  # too late


def test_a_killed_process_that_nobody_buried_holds_nothing(path, tmp_path):
    killed = worker(path, tmp_path / "log", seconds=30)
    wait_for(
        killed, lambda: (tmp_path / "log").exists() and (tmp_path / "log").read_text()
    )
    with Ledger(path, provenance={}) as ledger:
        assert ledger.claim(["00000000"]) == []
        killed.kill()
        deadline = time.monotonic() + 30
        while started(killed.pid) and time.monotonic() < deadline:
            time.sleep(0.01)  # a zombie from then on, until `communicate`
        assert ledger.claim(["00000000"]) == ["00000000"]
    finish(killed)


def test_heartbeats_go_on_and_never_make_a_file(path, tmp_path):
    with Ledger(path, provenance={}) as ledger:
        ledger.add("a", {})
        ledger.claim("a")
        beat = lambda: ledger._db.execute("SELECT heartbeat FROM holder").fetchone()  # noqa: E731
        before = beat()
        enough = keep_beating(_beat(path, ledger._id), every=0.01)
        while beat() == before:
            time.sleep(0.01)
        enough.set()
    _beat(tmp_path / "gone.sqlite", "x")()
    assert not (tmp_path / "gone.sqlite").exists()


def test_who_held_runs_is_forgotten_at_the_end(path):
    holders = "SELECT id FROM holder"
    with Ledger(path, provenance={}) as ledger:
        ledger.add("a", {})
        ledger.add("b", {})
        ledger.claim(["a"])
        with Ledger(path, provenance={}) as other:
            other.claim(["b"])
            assert len(ledger._db.execute(holders).fetchall()) == 2
        assert ledger._db.execute(holders).fetchall() == [(ledger._id,)]
    with contextlib.closing(sqlite3.connect(path)) as file:
        assert file.execute(holders).fetchall() == []


def test_a_forked_child_has_to_open_the_ledger_anew(path):
    code = f"""
    import os
    from jaxwd.lab.ledger import Ledger
    ledger = Ledger({str(path)!r}, provenance={{}})
    ledger.add("a", {{}}); ledger.claim("a")
    if not os.fork():
        try:
            ledger.finish("a", {{}})
        except ValueError as error:
            os._exit(7 if "before this process was forked" in str(error) else 8)
        os._exit(9)
    print(os.waitstatus_to_exitcode(os.wait()[1]))
    """
    got = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True
    )
    assert got.stdout.strip() == "7", got.stderr


# --- killed at any moment, and several at once --------------------------------------


def begun_and_ended(log):
    """Return the words of the log; a line of a killed process is still whole."""
    return [line.split()[1:] for line in log.read_text().splitlines()]


def assert_nothing_was_run_after_its_end(log):
    ended = set()
    for what, key in begun_and_ended(log):
        assert key not in ended, f"{key} was run again"
        if what == "end":
            ended.add(key)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert finish(worker(folder / "x.sqlite", folder / "log")) == (0, "")
    return canonical(folder / "x.sqlite")


def test_killed_at_random_moments_ends_as_if_never_killed(
    path, tmp_path, uninterrupted
):
    draw, kills = random.Random(0), 0
    for _ in range(14):
        process = worker(path, tmp_path / "log", seconds=0.006)
        time.sleep(draw.uniform(0.05, 0.22))
        process.kill()
        kills += finish(process)[0] == -signal.SIGKILL
    assert kills >= 3
    assert finish(worker(path, tmp_path / "log")) == (0, "")
    assert_nothing_was_run_after_its_end(tmp_path / "log")
    assert canonical(path) == uninterrupted
    assert len(uninterrupted.splitlines()) == 20
    assert uninterrupted.count('"epoch":') == 20 * EPOCHS


@pytest.mark.parametrize("first", range(1, 60, 6))
def test_killed_at_a_statement_and_again_soon_after(
    first, path, tmp_path, uninterrupted
):
    """From the making of the file on; the second kill meets what the first one left."""
    for kill_at in (first, first + 3):
        process = worker(path, tmp_path / "log", seconds=0, kill_at=kill_at)
        assert finish(process) == (-signal.SIGKILL, "")
    assert finish(worker(path, tmp_path / "log", seconds=0)) == (0, "")
    assert_nothing_was_run_after_its_end(tmp_path / "log")
    assert canonical(path) == uninterrupted


def test_processes_share_a_ledger_and_run_each_member_once(
    path, tmp_path, uninterrupted
):
    log = tmp_path / "log"
    together = [worker(path, log, seconds=0.01) for _ in range(3)]
    assert [finish(process) for process in together] == [(0, "")] * 3
    begun = [key for what, key in begun_and_ended(log) if what == "begin"]
    assert len(begun) == len(set(begun)) == 20
    assert len({line.split()[0] for line in log.read_text().splitlines()}) == 3
    assert canonical(path) == uninterrupted


# --- files that are no ledger -------------------------------------------------------


def database(path, **pragmas):
    made = sqlite3.connect(path)
    for name, value in pragmas.items():
        made.execute(f"PRAGMA {name} = {value}")
    made.execute("CREATE TABLE mine (x)")
    made.commit()
    made.close()


FOREIGN = {
    "short": lambda p: p.write_bytes(b"x"),
    "text": lambda p: p.write_text("name,value\n1,2\n" * 100),
    "zeros": lambda p: p.write_bytes(bytes(4096)),
    "picture": lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(5000)),
    "another database": lambda p: database(p),
    "another with a log": lambda p: database(p, journal_mode="WAL", application_id=7),
    "a cut header": lambda p: p.write_bytes(b"SQLite format 3\0"),
    "newer": lambda p: database(
        p, application_id=APPLICATION, user_version=VERSION + 1
    ),
    "tables missing": lambda p: database(
        p, application_id=APPLICATION, user_version=VERSION
    ),
}
SAID = {
    "newer": r"written by a newer jaxwd \(format 2, .*up to 1\); upgrade jaxwd",
    "tables missing": r"is damaged \(its tables are not those of a ledger\)",
}


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_and_newer_files_are_refused_and_left_alone(kind, readonly, path):
    FOREIGN[kind](path)
    before = path.read_bytes()
    with pytest.raises(
        wd.InputError, match=SAID.get(kind, "is no ledger of jaxwd")
    ) as got:
        Ledger(path, readonly=readonly)
    assert len(str(got.value).splitlines()) == 1
    if kind != "tables missing":
        assert path.read_bytes() == before
        assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_empty_file_becomes_a_ledger_and_a_folder_none(path, tmp_path):
    path.touch()
    book(path)
    assert len(canonical(path).splitlines()) == 3
    with pytest.raises(wd.InputError, match="there is no ledger at"):
        Ledger(tmp_path / "none.sqlite", readonly=True)
    (tmp_path / "file").touch()
    with pytest.raises(wd.InputError, match="is a file; give the name of a folder"):
        Ledger(tmp_path / "file" / "x.sqlite")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The bytes of a ledger of many pages, and what it says."""
    path = tmp_path_factory.mktemp("sound") / "x.sqlite"
    book(path, runs=25, epochs=20)
    return path.read_bytes(), canonical(path)


@pytest.mark.parametrize("part", [0.01, 0.3, 0.5, 0.9, 0.999])
def test_a_truncated_ledger_is_refused(part, path, sound):
    cut = sound[0][: int(len(sound[0]) * part)]
    path.write_bytes(cut)
    with pytest.raises(wd.InputError, match="is damaged|is no ledger"):
        Ledger(path)
    assert path.read_bytes() == cut


@pytest.mark.parametrize("length", [1, 40])
def test_altered_bytes_are_found_or_change_nothing(length, path, sound):
    """Wherever they are: an error of one line, or a ledger that says the same."""
    draw, found = random.Random(length), 0
    for _ in range(60):
        at = draw.randrange(len(sound[0]) - length)
        altered = bytearray(sound[0])
        for i in range(at, at + length):
            altered[i] ^= draw.randrange(1, 256)
        path.write_bytes(altered)
        try:
            with Ledger(path, provenance={}) as ledger:
                assert ledger.canonical() == sound[1], at
        except wd.InputError as error:
            assert "is damaged" in str(error) or at < 100, error
            assert len(str(error).splitlines()) == 1
            assert path.read_bytes() == altered
            found += 1
        for file in path.parent.iterdir():
            file.unlink()
    assert found > 20


def test_epochs_of_no_run_are_damage(path):
    """As where a page of runs was lost and the others are sound."""
    db = sqlite3.connect(book(path))
    db.execute("DELETE FROM run WHERE key = 'b'")
    db.commit()
    db.close()
    with pytest.raises(wd.InputError, match=r"is damaged \(epochs or provenance of no"):
        Ledger(path)


def test_a_lock_held_too_long_is_an_error_that_says_so(path):
    book(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with Ledger(path, provenance={}, patience=0.2) as ledger:
        assert len(ledger.runs()) == 3  # a log lets others read
        with pytest.raises(
            wd.InputError, match=r"locked by another process for 0\.2 s"
        ):
            ledger.add("z", {})
        other.execute("ROLLBACK")
        ledger.add("z", {})
    other.close()


NOBODY = """
import os
from jaxwd.lab.ledger import Ledger
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
"""


def as_nobody(code):
    """Run Python without the power to write everywhere; return what it printed."""
    got = subprocess.run(
        [sys.executable, "-c", NOBODY + textwrap.dedent(code)],
        capture_output=True,
        text=True,
    )
    assert got.returncode == 0, got.stderr
    return got.stdout


def test_a_folder_that_cannot_be_written_can_be_read():
    folder = pathlib.Path(tempfile.mkdtemp())
    try:
        book(folder / "x.sqlite")
        folder.chmod(0o555)
        (folder / "x.sqlite").chmod(0o444)
        said = as_nobody(f"""
            path = {str(folder / "x.sqlite")!r}
            with Ledger(path, readonly=True) as ledger:
                print(len(ledger.runs()), len(ledger.curve("a")))
            for act in (lambda: Ledger(path), lambda: Ledger(path + "2")):
                try:
                    act()
                except ValueError as error:
                    print(type(error).__name__, error)
        """)
        first, *errors = said.splitlines()
        assert first == "3 2"
        assert len(errors) == 2
        assert all("InputError" in line and "not writable" in line for line in errors)
        folder.chmod(0o777)  # the folder may be written, the file not
        said = as_nobody(f"""
            try:
                Ledger({str(folder / "x.sqlite")!r}).add("z", {{}})
            except ValueError as error:
                print(error)
        """)
        assert "cannot be opened or written" in said
        assert len(said.splitlines()) == 1
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)


def test_a_ledger_that_is_only_looked_at_cannot_be_written(path):
    with (
        Ledger(book(path), readonly=True) as ledger,
        pytest.raises(wd.InputError, match="cannot be opened or written"),
    ):
        ledger.add("z", {})


# --- merging ----------------------------------------------------------------------


def part(path, endings, epochs=1, recipe=None):
    """Write a ledger: key → a final loss, a status word, or None for waiting."""
    with Ledger(path, provenance={"host": path.stem}) as ledger:
        for key, ending in endings.items():
            ledger.add(key, recipe or {"key": key}, seed=ord(key))
            if ending is None:
                continue
            ledger.epochs([(key, {"epoch": e + 1, "loss": 1.0}) for e in range(epochs)])
            if ending == "diverged":
                ledger.diverge(key, "nan", 2)
            elif ending == "stopped":
                ledger.stop(key, "worse")
            else:
                ledger.finish(key, {"loss": ending, "seconds": time.time()})
    return path


def states(path):
    with Ledger(path, readonly=True) as ledger:
        runs = {run.key: run for run in ledger.runs()}
    return {k: r.outcome["loss"] if r.outcome else r.status for k, r in runs.items()}


@pytest.mark.parametrize(
    ("a", "b", "merged"),
    [
        ({"a": 1.0}, {"b": 2.0}, {"a": 1.0, "b": 2.0}),
        ({"a": 1.0}, {"a": 1.0}, {"a": 1.0}),  # equal but for the seconds
        ({"a": None}, {"a": 1.0}, {"a": 1.0}),
        ({"a": 1.0}, {"a": None}, {"a": 1.0}),
        ({"a": None}, {"a": None, "b": None}, {"a": "waiting", "b": "waiting"}),
        ({"a": "stopped"}, {"a": 1.0}, {"a": 1.0}),
        ({"a": "diverged"}, {"a": "stopped"}, {"a": "diverged"}),
        ({"a": None}, {"a": "stopped"}, {"a": "stopped"}),
        ({"a": NAN}, {"a": NAN, "b": INF}, {"a": NAN, "b": INF}),
    ],
)
@pytest.mark.parametrize("into", ["new", "first"])
def test_a_merge_is_the_union_and_what_ended_wins(a, b, merged, into, tmp_path):
    one, two = part(tmp_path / "one.sqlite", a), part(tmp_path / "two.sqlite", b)
    before = canonical(two)
    out = tmp_path / "out.sqlite" if into == "new" else one
    done = merge(out, [two] if into == "first" else [one, two])
    assert repr(states(out)) == repr(merged)
    assert done.runs == len(merged)
    assert done.ended == sum(x != "waiting" for x in merged.values())
    assert canonical(two) == before
    text = canonical(out)
    assert merge(out, [one, two, out]).taken == 0  # again: nothing new
    assert canonical(out) == text


@pytest.mark.parametrize(
    ("a", "b", "epochs"),
    [
        ({"a": 1.0, "b": 1.0}, {"a": 2.0}, 1),
        ({"a": 1.0}, {"a": "diverged"}, 1),
        ({"a": 1.0}, {"a": 1.0}, 2),
        ({"a": "stopped"}, {"a": "stopped"}, 2),
    ],
)
def test_different_endings_are_reported_and_refused(a, b, epochs, tmp_path):
    one = part(tmp_path / "one.sqlite", a)
    two = part(tmp_path / "two.sqlite", b | {"c": 3.0}, epochs)
    out = tmp_path / "out.sqlite"
    with pytest.raises(
        wd.InputError, match=r"1 runs ended differently .*\(a\); nothing"
    ):
        merge(out, [one, two])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.sqlite", "two.sqlite"]
    before = canonical(one)
    with pytest.raises(wd.InputError, match="ended differently"):
        merge(one, [two])
    assert canonical(one) == before
    assert merge(out, [two, one], conflicts="first").conflicts == ("a",)
    assert states(out)["a"] == states(two)["a"]


def test_a_merged_ledger_is_that_of_one_machine(tmp_path):
    whole = {"a": 1.0, "b": "diverged", "c": None, "d": "stopped"}
    parts = [{k: v} for k, v in whole.items()]
    files = [part(tmp_path / f"x{i}" / "m.sqlite", p) for i, p in enumerate(parts)]
    merge(tmp_path / "out.sqlite", files)
    assert canonical(tmp_path / "out.sqlite") == canonical(
        part(tmp_path / "m.sqlite", whole)
    )


def test_senseless_merges_are_refused(tmp_path, path):
    one = part(tmp_path / "one.sqlite", {"a": None})
    two = part(tmp_path / "two.sqlite", {"a": 1.0}, recipe={"other": 1})
    with pytest.raises(wd.InputError, match="has one recipe in .* and another in"):
        merge(path, [one, two])
    with pytest.raises(wd.InputError, match="needs a ledger to take in"):
        merge(one, [one])
    with pytest.raises(wd.InputError, match="unknown rule for conflicts 'last'"):
        merge(path, [one], conflicts="last")
    three = part(tmp_path / "three.sqlite", {"a": 1.0})
    with Ledger(one, provenance={}) as busy:
        busy.claim("a")
        with pytest.raises(wd.InputError, match="run a is held by another process"):
            merge(one, [three])
    assert not path.exists()


# --- tables -----------------------------------------------------------------------

AWKWARD = 'a, "b"\nλ=½'


@pytest.fixture
def varied(path):
    """A ledger with what tables get wrong: NaN, gaps, quotes, mixed types."""
    with Ledger(path, provenance={}) as ledger:
        recipe = {"optimizer": "sgd", "seed": 0, "clip": None, "where": [["k", 1.0]]}
        recipe |= {"decay": {"strength": 0.1}, "model_options": [["hidden", [8]]]}
        ledger.add("a", recipe, arm=AWKWARD, seed=0, labels={"decay.strength": 0.1})
        ledger.add("b", recipe | {"clip": "value", "decay": {"strength": 1}}, seed=1)
        ledger.add("c", {"optimizer": "adam"}, seed=2)
        ledger.claim("abc")
        ledger.epochs([("a", {"epoch": 1, "loss": NAN, "score": INF})])
        ledger.epochs([("a", {"epoch": 2, "loss": 1 / 3, "score": -INF})])
        ledger.epochs([("b", {"epoch": 1, "loss": 2})])
        ledger.finish("a", {"loss": 1 / 3, "score": NAN, "step": 7})
        ledger.diverge("b", "the loss became nan", 3)
    return path


def same(value, written):
    """Compare a cell that was read back as text with the value it was."""
    if isinstance(value, float):
        return repr(value) == repr(float(written))
    return written == ("" if value is None else str(value))


@pytest.mark.parametrize("epochs", [False, True])
def test_csv_comes_back(epochs, varied, tmp_path):
    with Ledger(varied, readonly=True) as ledger:
        rows = ledger.rows(epochs=epochs)
    words = ["ledger", "export", str(varied), "--to", str(tmp_path / "out.csv")]
    assert cli.main([*words, *(["--epochs"] if epochs else [])]) == 0
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        back = list(csv.DictReader(file))
    assert len(back) == len(rows) == 3
    for row, written in zip(rows, back, strict=True):
        assert all(same(row.get(name), text) for name, text in written.items())
        assert row.keys() <= written.keys()


@pytest.mark.parametrize("epochs", [False, True])
def test_json_comes_back_and_is_json(epochs, varied, tmp_path):
    words = ["ledger", "export", str(varied), "--to", str(tmp_path / "out.json")]
    assert cli.main([*words, *(["--epochs"] if epochs else [])]) == 0

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    text = (tmp_path / "out.json").read_text()
    back = json.loads(text, parse_constant=refuse)
    with Ledger(varied, readonly=True) as ledger:
        rows = ledger.rows(epochs=epochs)
    for row, written in zip(rows, back, strict=True):
        assert row.keys() == written.keys()
        for name, value in row.items():
            got = written[name]
            if isinstance(value, float) and isinstance(got, str):
                got = float(got)
            assert repr(got) == repr(value)


@pytest.mark.parametrize("epochs", [False, True])
def test_parquet_comes_back_with_types(epochs, varied, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    words = ["ledger", "export", str(varied), "--to", str(tmp_path / "out.parquet")]
    assert cli.main([*words, *(["--epochs"] if epochs else [])]) == 0
    back = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    with Ledger(varied, readonly=True) as ledger:
        rows = ledger.rows(epochs=epochs)
    for row, written in zip(rows, back, strict=True):
        for name, value in written.items():
            kept = row.get(name)
            assert (kept is None) == (value is None)  # NaN is a number, no gap
            assert kept == value or (math.isnan(kept) and math.isnan(value))


def test_columns_of_a_run_by_path(varied):
    with Ledger(varied, readonly=True) as ledger:
        a, b, c = ledger.rows()
    assert a["label.decay.strength"] == a["recipe.decay.strength"] == 0.1
    assert a["recipe.model_options.hidden"] == "[8]"
    assert (a["recipe.where"], a["final.step"], a["step"]) == ('[["k", 1.0]]', 7, None)
    assert (b["status"], b["step"], b["recipe.clip"]) == ("diverged", 3, "value")
    assert "recipe.seed" not in a  # the run's seed stands there once
    assert c["status"] == "waiting"  # its process closed the ledger


@pytest.mark.parametrize(("package", "make"), [("pandas", "frame"), ("polars",) * 2])
def test_frames_hold_the_rows(package, make, varied):
    pytest.importorskip(package)
    with Ledger(varied, readonly=True) as ledger:
        rows, frame = ledger.rows(), getattr(ledger, make)()
    assert len(frame) == 3
    assert set(frame.columns) == {name for row in rows for name in row}
    assert frame["final.loss"][0] == 1 / 3


@pytest.mark.parametrize(
    ("missing", "make", "message"),
    [
        ("pandas", lambda x: x.frame(), "needs pandas, .* pip install pandas"),
        ("polars", lambda x: x.polars(), "needs polars, .* pip install polars"),
    ],
)
def test_missing_packages_are_named(missing, make, message, varied, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with (
        Ledger(varied, readonly=True) as ledger,
        pytest.raises(wd.InputError, match=message),
    ):
        make(ledger)


# --- the command --------------------------------------------------------------------


def test_show_counts_runs_and_names_the_best(path, capsys):
    with Ledger(path, provenance={"commit": "c0ffee"}) as ledger:
        for seed in range(4):
            key = f"k{seed}"
            ledger.add(key, {}, arm="[L2]", seed=seed, labels={"decay.strength": seed})
            if seed < 3:
                score = {"validation_accuracy": seed / 10, "test_accuracy": -seed}
                ledger.finish(key, score | {"validation_loss": float(seed)})
        ledger.add("d", {}, arm="plain", seed=0)
        ledger.diverge("d", "nan", 1)
    assert cli.main(["ledger", "show", str(path)]) == 0
    said = capsys.readouterr().out
    assert "5 runs" in said
    row = next(line for line in said.splitlines() if line.startswith("[L2]"))
    assert row.split()[:5] == ["[L2]", "1", "3", "0", "0.2000"]
    assert "decay.strength=2, seed 2" in row
    assert "best: validation_accuracy 0.2, run k2" in said
    assert "c0ffee" in said


def test_the_best_is_chosen_on_validation_and_never_by_nan(path):
    with Ledger(path, provenance={}) as ledger:
        assert best(ledger.runs()) is None
        for key, loss in (("a", 2.0), ("b", 1.0), ("c", NAN)):
            ledger.add(key, {})
            ledger.finish(key, {"validation_loss": loss, "test_loss": -loss})
        assert best(ledger.runs()).run.key == "b"


def test_show_says_what_a_killed_process_left(path, tmp_path, capsys):
    killed = worker(path, tmp_path / "log", seconds=30)
    wait_for(
        killed, lambda: (tmp_path / "log").exists() and (tmp_path / "log").read_text()
    )
    killed.kill()
    finish(killed)
    assert cli.main(["ledger", "show", str(path)]) == 0
    assert "1 of the running were left by a process that is gone" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shwo"], "unknown ledger command 'shwo'; did you mean 'show'"),
        (["show", "none.sqlite"], "there is no ledger at none.sqlite"),
        (["show", "."], "there is no ledger at ledger.sqlite"),
        (
            ["export", "x.sqlite", "--to", "out.cvs"],
            "unknown format '.cvs'; did you mean",
        ),
        (["export", "x.sqlite", "--to", "no/out.csv"], "there is no folder"),
        (["export", "x.sqlite", "--to", "d.csv"], "--to d.csv is a folder"),
        (["export", "x.sqlite", "--to", "x.parquet"], "pip install 'jaxwd[tables]'"),
        (["merge", "out.sqlite"], "needs a ledger to take in"),
        (["merge", "out.sqlite", "x.sqlite", "y.sqlite"], "there is no ledger at y"),
    ],
)
def test_bad_words_are_one_line(words, message, path, capsys, monkeypatch):
    monkeypatch.chdir(path.parent)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (path.parent / "d.csv").mkdir()
    book(path)
    before = sorted(path.parent.iterdir())
    assert cli.main(["ledger", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1
    assert sorted(path.parent.iterdir()) == before


def test_merging_by_command_reports_what_it_kept(tmp_path, capsys):
    one = part(tmp_path / "one.sqlite", {"a": 1.0})
    two = part(tmp_path / "two.sqlite", {"a": 2.0, "b": 3.0})
    words = ["ledger", "merge", str(tmp_path / "out.sqlite"), str(one), str(two)]
    assert cli.main(words) == 2
    assert "--conflicts first" in capsys.readouterr().err
    assert cli.main([*words, "--conflicts", "first"]) == 0
    said = capsys.readouterr().out
    assert "2 runs, 2 ended, 2 taken" in said
    assert "ended differently, the first given was kept: a" in said


def test_the_command_needs_no_jax(path):
    code = (
        "import sys; from jaxwd.cli import main\n"
        f"assert main(['ledger', 'show', {str(book(path))!r}]) == 0\n"
        "assert not {'jax', 'numpy', 'pandas', 'pyarrow'} & {*sys.modules}"
    )
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert got.returncode == 0, got.stderr


# --- cost -------------------------------------------------------------------------


def test_epochs_of_many_runs_are_one_transaction_and_cheap(path):
    """The bound is generous: alone, a transaction takes a hundredth of it."""
    keys = [f"k{i}" for i in range(200)]
    with Ledger(path, provenance={}) as ledger:
        with ledger.together():
            for key in keys:
                ledger.add(key, {})
        said = []
        ledger._db.set_trace_callback(said.append)
        assert ledger.claim(keys) == keys
        ledger.epochs([(key, {"epoch": 1}) for key in keys])
        ledger._db.set_trace_callback(None)
        assert said.count("COMMIT") == 2
        began = time.perf_counter()
        for epoch in range(2, 12):
            for key in keys:
                ledger.epochs([(key, {"epoch": epoch, "loss": 0.5})])
        assert (time.perf_counter() - began) / (10 * len(keys)) < 0.004
