"""No input makes a traceback, a write elsewhere or a hang; and what fuzzing found.

`scripts/fuzz` checks the same properties for as long as it is told, steered by the code
that is reached.
"""

import gzip
import io
import os
import pathlib
import shutil
import sqlite3
import struct
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest

import jaxwd as wd
from jaxwd import cli
from jaxwd.data import cache
from jaxwd.data.formats import read_cifar, read_idx

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from fuzz_parts import samples  # noqa: E402
from fuzz_parts.command_lines import TINY  # noqa: E402
from fuzz_parts.properties import (  # noqa: E402
    PROPERTIES,
    TRAINS,
    called,
    folder,
    forge,
    furnished,
    interrupted,
)
from fuzz_parts.sandbox import watched  # noqa: E402


@pytest.mark.parametrize("name", PROPERTIES)
def test_property(name):
    PROPERTIES[name]()


# --- what it found, and what an image folder may not hold -------------------------------


@pytest.fixture
def work():
    with folder() as work:
        furnished(work)
        yield work


HUGE = str(2**64)
FEW = ("--dataset-size", "9", "--batch-size", "3", "--learning-rate", "1", "--epochs")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["recommend", *FEW, "inf"], "epochs=inf is not allowed"),
        (["explain", *TINY, "--epochs", HUGE], "--epochs=1.84467e+19 is not allowed"),
        (["explain", *TINY, "--epochs", "999999"], "steps=3.9e+07 is not"),
        (["explain", *TINY, "--step", HUGE], "--step=1.84467e+19 is not allowed"),
        (["run", "mine.py", "--seeds", HUGE], "--seeds=1.84467e+19 is not allowed"),
        (["compare", "mine.py", "--trials", HUGE], "--trials=1.84467e+19 is not"),
        (["data", "tfds:beans:9.9.9"], "cannot be loaded at version 9.9.9"),
        (["ledger", "show", "a\nb\x1b[31m"], r"there is no ledger at a\nb\x1b[31m"),
    ],
)
def test_numbers_and_names_that_were_tracebacks(work, words, message):
    code, said = called(words)
    assert code == 2
    assert message in said


@pytest.mark.parametrize("command", ["run", "sweep", "compare"])
def test_names_in_brackets_are_no_markup(work, command, monkeypatch, capsys):
    for name in TRAINS:
        monkeypatch.setattr(name, interrupted)
    words = ["--dataset", "digits", "--model", "mlp", "--out", "[/b]:smile:"]
    assert cli.main([command, "mine.py", *words]) == 130
    assert (work / "[" / "b]:smile:").is_dir()
    if command == "sweep":
        assert "[/b]:smile:" in capsys.readouterr().out


def test_a_failing_experiment_is_one_line_with_its_place(work, monkeypatch, capsys):
    (work / "raises.py").write_text("def arms(*_):\n    return {}['x']\ngrid = arms\n")
    (work / "broken.py").write_text("def (")
    monkeypatch.delenv("JAXWD_TRACEBACK")
    code, said = called(["sweep", "raises.py", "--dataset", "digits"])
    assert code == 1
    assert "KeyError: 'x' (" in said
    assert "raises.py, line 2); JAXWD_TRACEBACK=1" in said
    assert called(["run", "broken.py"])[1].count("broken.py, line 1") == 1
    monkeypatch.setenv("JAXWD_TRACEBACK", "1")
    with pytest.raises(KeyError):
        called(["sweep", "raises.py", "--dataset", "digits"])


def test_streams_of_other_encodings_take_any_letter(work):
    """A terminal of 1990 knows no λ, and none knows half a surrogate pair."""
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    words = [sys.executable, "-m", "jaxwd", "list", "conventions"]
    got = subprocess.run(words, capture_output=True, env=environment)
    assert got.returncode == 0, got.stderr
    assert b"\\u03bb" in got.stdout


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dataset": None}, "dataset=None is not allowed; give a name"),
        ({"epochs": float("nan")}, "epochs=nan is not allowed; give a whole number"),
        ({"seed": float("inf")}, "seed=inf is not allowed; give a whole number"),
        ({"batch_size": 10**400}, "batch_size is not allowed; give a smaller number"),
        ({"schedule": []}, "schedule=[] is not allowed; give a name"),
        ({"model": []}, "model=[] is not allowed; give a name"),
        ({"clip": 3}, "clip=3 is not allowed; give a name"),
        ({"model_options": {1: 2}}, "model_options={1: 2} is not allowed"),
        ({"model_options": {"a": {}}}, "model_options={'a': {}} is not allowed"),
    ],
)
def test_recipes_of_the_wrong_kind_are_refused(fields, message):
    with pytest.raises(wd.InputError) as error:
        wd.Recipe(**fields)
    assert message in str(error.value)


def bomb(side=60_000):
    """A PNG that says it is large, in 100 bytes."""

    def chunk(kind, data):
        end = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + end

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(99)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: (p / "l.png").symlink_to("/etc/passwd"), "l.png → /etc/passwd"),
        (lambda p: (p / "l.png").symlink_to("0.png"), "1 symbolic link(s)"),
        (lambda p: (p / "d").symlink_to("/usr"), "d → /usr; put the files"),
        (lambda p: (p.parent / "c").symlink_to(p), "1 symbolic link(s)"),
        (lambda p: os.mkfifo(p / "p.png"), "1 pipe(s) or device(s)"),
        (lambda p: (p / "b.png").write_bytes(bomb()), "b.png (Image size (3600000000"),
        (lambda p: (p / "b.png").write_bytes(bomb(10_000)), "b.png (Image size (100"),
        (lambda p: (p / "e.png").write_bytes(EPS), "e.png (cannot identify"),
        (lambda p: (p / "z.png").touch(), "z.png (cannot identify"),
    ],
)
def test_image_folders_with_traps_are_refused(work, make, message):
    make(work / "images" / "a")
    code, said = called(["data", "folder:images"])
    assert code == 2
    assert message in said


def test_image_folders_that_do_not_fit_are_refused_before_they_are_read(
    work, monkeypatch
):
    monkeypatch.setattr("jaxwd.data.limits.free_memory", lambda: 10**6)
    code, said = called(["data", "folder:images", "--image-size", "4096"])
    assert code == 2
    assert "8 pictures of 4096 × 4096 take 0.8 GB" in said


def test_links_that_nobody_reads_are_left_alone(work):
    (work / "images" / ".git").mkdir()
    (work / "images" / ".git" / "x.png").symlink_to("/nowhere")
    (work / "images" / "a" / "notes.txt").symlink_to("/nowhere")
    assert called(["data", "folder:images"])[0] == 0


def test_class_names_are_shown_without_what_moves_a_cursor(work, capsys):
    for name in ("\x1b[31mred", "\udcff"):
        shutil.copytree(work / "images" / "a", work / "images" / name)
    assert cli.main(["data", "folder:images", "--image-size", "4"]) == 0
    said = capsys.readouterr().out
    assert r"\x1b[31mred" in said
    assert "\x1b" not in said


def stored(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def packed_zeros():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.zeros(10**6))
    return buffer.getvalue()


def says_more():
    """An array whose header promises 8 TB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            head, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
        )
        file.writestr("a.npy", head.getvalue() + bytes(80))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (packed_zeros(), "a packed member"),
        (says_more(), "says it is larger or smaller than it is"),
        (stored(a=np.array([{}], object)), "Python objects, which are never unpickled"),
        (bytes(9), "cannot be read"),
        (np.lib.format.magic(1, 0) + b"\x10\0" + b" " * 16, "cannot be read"),
    ],
)
def test_cached_arrays_that_would_unpack_to_more_are_refused(work, data, message):
    path = work.parent / "cache" / "decoded" / "x.2.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    with pytest.raises(wd.InputError) as error:
        cache.decoded("x", dict)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("table", "column", "value", "message"),
    [
        ("epoch", "metrics", "{}", "run 0 has metrics of other epochs"),
        ("epoch", "metrics", "[]", "run 0 holds values of another kind"),
        ("epoch", "metrics", "{", "run 0 holds no JSON"),
        ("run", "labels", "[]", "run 0 holds values of another kind"),
        ("run", "outcome", "[" * 99_999, "run 0 holds no JSON"),
        ("run", "status", "ended", "run 0 holds values of another kind"),
        ("provenance", "content", "3", "provenance holds values of another kind"),
    ],
)
def test_forged_ledgers_are_damaged_ones(work, table, column, value, message):
    """A seal is a checksum: anybody can write one over anything."""
    forge(work / "ledger", table, column, value)
    code, said = called(["ledger", "merge", "m.sqlite", "ledger"])
    assert code == 2
    assert message in said


@pytest.mark.parametrize(
    "head",
    [(0, 0, 8, 3, 2**31, 28, 28), (0, 0, 8, 3, 1, 99, 28), (1, 2, 8, 3, 1, 28, 28)],
)
def test_idx_files_give_no_more_than_they_say(work, head):
    *kind, n, h, w = head
    (work / "x").write_bytes(
        gzip.compress(bytes(kind) + struct.pack(">3I", n, h, w) + bytes(784))
    )
    (work / "y").write_bytes(samples.idx_bytes((1,)))
    with pytest.raises(wd.InputError, match="is no idx file of this kind"):
        list(read_idx(work / "x", work / "y"))


def test_archives_that_are_none_are_refused(work):
    with pytest.raises(wd.InputError, match="is no archive of this set"):
        list(read_cifar(work / "file", ["a"], ["label"], "x"))


def test_the_watch_sees_writes_elsewhere(tmp_path):
    """The properties are worth nothing if this is not seen."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    for act in (
        lambda: (outside / "x").write_text(""),
        lambda: (outside / "d").mkdir(),
        lambda: os.rename(outside / "x", outside / "y"),
        lambda: (outside / "y").unlink(),
        lambda: sqlite3.connect(outside / "z").close(),
    ):
        with pytest.raises(AssertionError, match="outside of the sandbox"):
            watch_only(inside, act)
    watch_only(inside, lambda: (inside / "x").write_text(""))


def watch_only(folder, act):
    with watched(folder, scratch=()):
        act()
