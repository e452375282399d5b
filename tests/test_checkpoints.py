"""Checkpoints: what was stopped ends as what was not; nothing broken is believed."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_trees_equal
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxwd as wd
from jaxwd.training import checkpoint_arrays as arrays
from jaxwd.training import checkpoint_files as files
from jaxwd.training import checkpoint_paper
from jaxwd.training import checkpoint_seal as seal
from jaxwd.training.checkpoint_paper import shapes
from jaxwd.training.checkpoints import Checkpoints
from jaxwd.training.recipe import Recipe

ROOT = pathlib.Path(__file__).parents[1]
EPOCHS = 4
SMALL = Recipe(
    dataset="digits",
    train_examples=200,
    model="mlp",
    model_options={"hidden": (16,)},
    epochs=EPOCHS,
    learning_rate=0.01,
)


def small(**changes):
    return dataclasses.replace(SMALL, **changes)


class Stop(Exception):
    pass


def stop_after(epoch):
    def told(row):
        if row["epoch"] == epoch:
            raise Stop

    return told


def timeless(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def assert_same_run(a, b):
    """Bits, not tolerances; NaN (no decay share) equals NaN."""
    np.testing.assert_equal(timeless(a.history), timeless(b.history))
    np.testing.assert_equal(timeless([a.final]), timeless([b.final]))
    assert_trees_equal(a.params, b.params)


def stopped(recipe, folder, *after, **how):
    """Train until the process would have been stopped after each of these epochs."""
    for epoch in after:
        with pytest.raises(Stop):
            wd.run(recipe, checkpoints=folder, on_epoch=stop_after(epoch), **how)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


# --- what goes on ends as what was not stopped ------------------------------------------

WHAT_HAS_A_STATE = {
    "adam, dropout, a rate and a λ that move": {
        "optimizer": "adam",
        "schedule": "cosine",
        "warmup": 9,
        "dropout": 0.5,
        "decay": wd.decoupled(wd.linear(0.1, steps=20)),
    },
    "wrong labels, momentum, a clip, an anchor, an average of the weights": {
        "optimizer": "momentum",
        "average": 0.9,
        "label_noise": 0.3,
        "clip": "adaptive",
        "clip_at": 0.1,
        "decay": wd.to_ema(wd.decoupled(0.1)),
    },
    "four trees, a decay with a state of its own": {
        "optimizer": "ademamix",
        "decay": wd.cpr(bound="warm_start", steps=7),
    },
}


@pytest.mark.parametrize("cuts", [(1,), (3,), (1, 2), (EPOCHS,)])
@pytest.mark.parametrize("changes", WHAT_HAS_A_STATE.values(), ids=WHAT_HAS_A_STATE)
def test_a_training_that_was_stopped_ends_with_the_bits_of_one_that_was_not(
    changes, cuts, folder
):
    recipe = small(**changes)
    stopped(recipe, folder, *cuts)
    assert_same_run(wd.run(recipe, checkpoints=folder), wd.run(recipe))


def test_checkpoints_change_nothing(folder):
    assert_same_run(wd.run(SMALL, checkpoints=folder), wd.run(SMALL))


@pytest.mark.parametrize("layout", ["pmap", "fsdp"])
def test_layouts_go_on(layout, folder):
    recipe = small(optimizer="adam", dropout=0.5 if layout == "pmap" else 0.0)
    stopped(recipe, folder, 2, layout=layout)
    assert_same_run(
        wd.run(recipe, checkpoints=folder, layout=layout), wd.run(recipe, layout=layout)
    )


def test_another_number_of_devices_goes_on_to_rounding(folder):
    recipe = small(optimizer="adam")
    stopped(recipe, folder, 2, layout="fsdp", devices=2)
    got = wd.run(recipe, checkpoints=folder)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        got.params,
        wd.run(recipe).params,
    )


def test_a_run_returns_when_its_last_epoch_is_on_disk(folder, monkeypatch):
    usual = files.commit

    def slow(*given):
        time.sleep(0.3)
        usual(*given)

    monkeypatch.setattr(files, "commit", slow)
    with Checkpoints(folder) as kept:
        result = wd.run(small(epochs=1), checkpoints=kept)
        assert files.steps_in(folder) == [result.final["step"]]


@pytest.mark.parametrize("run", [wd.run, wd.run_streamed])
def test_every_third_epoch_is_saved_and_the_last_one(run, folder):
    recipe = small(epochs=7)
    per_epoch = run(small(epochs=1)).final["step"]
    with Checkpoints(folder, every=3, keep=9) as kept:
        with pytest.raises(Stop):  # what came after the last save is trained again
            run(recipe, checkpoints=kept, on_epoch=stop_after(5))
        assert files.steps_in(folder) == [3 * per_epoch]
        got = run(recipe, checkpoints=kept)
    assert files.steps_in(folder) == [epoch * per_epoch for epoch in (3, 6, 7)]
    assert_same_run(got, run(recipe))


def test_a_complete_training_is_only_evaluated(folder):
    first = wd.run(SMALL, checkpoints=folder)
    seen = []
    again = wd.run(SMALL, checkpoints=folder, on_epoch=seen.append)
    assert again.history == first.history  # the seconds too: nothing was trained
    assert seen == first.history
    assert_same_run(again, first)


def test_a_training_that_goes_on_tells_every_epoch_once(folder):
    stopped(SMALL, folder, 2)
    seen = []
    wd.run(SMALL, checkpoints=folder, on_epoch=lambda row: seen.append(row["epoch"]))
    assert seen == [1, 2, 3, 4]


# --- kill -9 ----------------------------------------------------------------------------

LONGER = small(optimizer="adam", dropout=0.5, epochs=30)


def digest(params):
    return hashlib.sha256(
        b"".join(leaf.tobytes() for leaf in jax.tree.leaves(params))
    ).hexdigest()


def child(folder):
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r})\n"
        "import jaxwd as wd, test_checkpoints as t\n"
        "print('ready', flush=True)\n"
        f"print(t.digest(wd.run(t.LONGER, checkpoints={str(folder)!r}).params))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def saved_steps(folder):
    return files.steps_in(folder) if folder.exists() else []


def test_kill_9_at_random_moments_changes_nothing(folder):
    chance, reached = random.Random(0), []
    for _ in range(2):
        running = child(folder)
        running.stdout.readline()
        before = saved_steps(folder)
        deadline = time.monotonic() + 60
        while saved_steps(folder) == before and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.3))  # somewhere in an epoch, a save, a removal
        running.kill()
        running.wait()
        running.stdout.close()
        reached.append(max(saved_steps(folder)))
    assert reached == sorted(reached)
    out, _ = child(folder).communicate(timeout=120)
    assert out.split()[-1] == digest(wd.run(LONGER).params)


# --- damage -----------------------------------------------------------------------------


def arrays_file(checkpoint):
    found = [path for path in (checkpoint / files.ARRAYS).rglob("*") if path.is_file()]
    return max(found, key=lambda path: path.stat().st_size)


def flip(path, bit=7):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1 << (bit % 8)
    path.write_bytes(data)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-5])


DAMAGES = {
    "a flipped bit in the arrays": (
        lambda c: flip(arrays_file(c)),
        r"state/.* was altered",
    ),
    "arrays cut short": (
        lambda c: cut_short(arrays_file(c)),
        r"state/.* has \d+ bytes of \d+",
    ),
    "a file less": (lambda c: arrays_file(c).unlink(), r"state/.* is missing"),
    "a flipped bit in the paper": (
        lambda c: flip(c / seal.PAPER, 0),
        "checkpoint.json (was altered|cannot be read)",
    ),
    "a paper cut short": (
        lambda c: cut_short(c / seal.PAPER),
        "checkpoint.json cannot be read",
    ),
    "no paper": (lambda c: (c / seal.PAPER).unlink(), "it has no checkpoint.json"),
    "a metric changed by hand": (
        lambda c: (c / seal.PAPER).write_text(
            (c / seal.PAPER).read_text().replace('"epoch": 1', '"epoch": 7')
        ),
        "checkpoint.json was altered",
    ),
}


@pytest.mark.parametrize(("damage", "why"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_said_and_the_one_before_is_used(damage, why, folder):
    stopped(SMALL, folder, 3)
    *_, before, newest = files.steps_in(folder)
    damage(folder / str(newest))
    said = (
        rf"checkpoint {newest} in .* is broken: {why}.*; kept as broken-{newest}, "
        rf"trying {before} instead"
    )
    with pytest.warns(UserWarning, match=said):
        got = wd.run(SMALL, checkpoints=folder)
    assert_same_run(got, wd.run(SMALL))
    assert (folder / f"broken-{newest}").is_dir()


def test_a_process_that_dies_amid_a_save_leaves_whole_checkpoints_only():
    """At any change that Python makes to the disk; nothing is broken, nothing is left."""
    done = subprocess.run(
        [sys.executable, "tests/dying.py"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])},
    )
    assert "BAD" not in done.stdout
    places = [int(n) for n in re.findall(r"(\d+) places", done.stdout)]
    assert len(places) == 2, done.stderr
    assert min(places) > 15


def test_all_of_a_checkpoint_is_on_the_disk_before_it_has_its_name(folder, monkeypatch):
    """What a power cut would leave; by inode, which a rename does not change."""
    synced, usual, named = [], os.fsync, []
    renaming = pathlib.Path.rename

    def fsync(handle):
        synced.append(os.fstat(handle).st_ino)
        usual(handle)

    def rename(path, to):
        if path.name.endswith(files.WRITING):
            inside = {p.stat().st_ino for p in [path, *path.rglob("*")]}
            named.append(inside - {*synced})
        return renaming(path, to)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(pathlib.Path, "rename", rename)
    with Checkpoints(folder) as kept:
        kept.latest(ones(0), SMALL)
        kept.save(1, ones(0), {})
    assert named == [set()]
    assert synced[-1] == folder.stat().st_ino


def test_one_bit_of_the_format_does_not_make_it_a_newer_one(folder):
    stopped(SMALL, folder, 1, 2)
    newest = files.steps_in(folder)[-1]
    for path in (folder / files.MARK, folder / str(newest) / seal.PAPER):
        text = path.read_text()
        path.write_text(text.replace('"format": 2', '"format": 3', 1))
    said = []
    with Checkpoints(folder, says=said.append) as kept:
        assert_same_run(wd.run(SMALL, checkpoints=kept), wd.run(SMALL))
    assert f"checkpoint {newest} in {folder} is broken" in said[0]


@pytest.mark.parametrize("name", ["007", "٣", "99"])
def test_a_folder_that_is_no_step_of_ours_is_not_read(name, folder):
    stopped(SMALL, folder, 1)
    (step,) = files.steps_in(folder)
    shutil.copytree(folder / str(step), folder / name)
    said = []
    with Checkpoints(folder, says=said.append) as kept:
        assert_same_run(wd.run(SMALL, checkpoints=kept), wd.run(SMALL))
    assert len(said) == (name == "99")  # a copy under the name of another step
    assert all("it was step" in words for words in said)


def test_a_save_says_nothing_where_nothing_is_wrong():
    """Orbax warns by way of absl, which writes to the error stream by itself."""
    script = """
import tempfile, jax.numpy as jnp
from jaxwd.training.checkpoints import Checkpoints
from jaxwd.training.recipe import Recipe
recipe = Recipe(dataset='friedman', model='mlp')
state = {'small': jnp.ones(3), 'large': jnp.ones(3_000_000)}
for like in (state, {'small': state['small']}):
    with Checkpoints(tempfile.mkdtemp() + '/x') as kept:
        kept.latest(like, recipe)
        kept.save(1, like, {})
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("shapes", [{}, {"a": (0, 3)}, {"a": (0,), "b": (3_000_000,)}])
def test_a_state_of_nothing_comes_back(shapes, folder):
    state = {name: jnp.zeros(shape) for name, shape in shapes.items()}
    with Checkpoints(folder) as kept:
        kept.latest(state, SMALL)
        kept.save(1, state, {})
        assert_trees_equal(kept.latest(state, SMALL).state, state)


def test_a_last_save_that_fails_is_told(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "commit", full)
    with pytest.raises(OSError, match="could not be written to .*No space left"):
        wd.run(small(epochs=1), checkpoints=folder)


def test_an_old_checkpoint_that_cannot_be_removed_stays(folder, monkeypatch):
    monkeypatch.setattr(files, "GONE", "/not/there")
    with Checkpoints(folder, keep=1) as kept:
        kept.latest(ones(0), SMALL)
        for step in (1, 2):
            kept.save(step, ones(step), {})
        assert kept.latest(ones(0), SMALL).step == 2
    assert files.steps_in(folder) == [1, 2]


def test_every_bit_of_every_file_is_under_a_sum(folder):
    stopped(SMALL, folder, 1)
    (step,) = files.steps_in(folder)
    checkpoint = folder / str(step)
    written = seal.read(checkpoint)
    paper = checkpoint / seal.PAPER
    whole = paper.read_bytes()
    for bit in range(8 * len(whole)):
        byte, place = divmod(bit, 8)
        paper.write_bytes(
            whole[:byte] + bytes([whole[byte] ^ 1 << place]) + whole[byte + 1 :]
        )
        with contextlib.suppress(seal.Broken):
            assert seal.read(checkpoint) == written  # 1E-05 for 1e-05
    paper.write_bytes(whole)
    for path in [p for p in checkpoint.rglob("*") if p.is_file() and p.stat().st_size]:
        whole = path.read_bytes()
        for bit in (0, 3, 7):
            flip(path, bit)
            with pytest.raises(seal.Broken):
                seal.read(checkpoint)
            path.write_bytes(whole)
    seal.read(checkpoint)


def test_where_none_is_good_it_starts_anew_and_says_so(folder):
    stopped(SMALL, folder, 1)
    (step,) = files.steps_in(folder)
    flip(arrays_file(folder / str(step)))
    with pytest.warns(UserWarning, match="none is left, starting anew"):
        got = wd.run(SMALL, checkpoints=folder)
    assert_same_run(got, wd.run(SMALL))


def test_a_foreign_folder_among_the_checkpoints_is_passed_over(folder):
    stopped(SMALL, folder, 2)
    foreign = folder / "999999"
    foreign.mkdir()
    (foreign / "weights.bin").write_bytes(b"mine")
    with pytest.warns(UserWarning, match="checkpoint 999999 .* no checkpoint.json"):
        got = wd.run(SMALL, checkpoints=folder)
    assert_same_run(got, wd.run(SMALL))
    assert (folder / "broken-999999" / "weights.bin").read_bytes() == b"mine"


# --- refusals ---------------------------------------------------------------------------


def test_checkpoints_of_another_recipe_are_refused_by_what_differs(folder):
    stopped(SMALL, folder, 1)
    other = small(decay=wd.decoupled(0.1), seed=3, learning_rate=0.02)
    said = (
        r"holds checkpoints of another recipe: learning_rate 0.01 there, 0.02 here, "
        r"decay.kind \"none\" there, \"decoupled\" here, decay.strength 0.0 there, 0.1 "
        r"here, …; give another folder"
    )
    with pytest.raises(wd.InputError, match=said):
        wd.run(other, checkpoints=folder)
    wd.run(SMALL, checkpoints=folder)


def test_a_recipe_of_before_a_field_was_added_is_the_same_recipe(folder):
    stopped(SMALL, folder, 1)
    (step,) = files.steps_in(folder)
    path = folder / str(step) / seal.PAPER
    paper = json.loads(path.read_text())["paper"]
    del paper["recipe"]["label_noise"]
    path.write_text(
        json.dumps({"paper": paper, "seal": seal.seal_of(json.dumps(paper))})
    )
    assert_same_run(wd.run(SMALL, checkpoints=folder), wd.run(SMALL))


def test_other_data_of_the_same_name_is_refused(folder):
    data = wd.load("digits")
    stopped(SMALL, folder, 1, data=data)
    shifted = wd.load("digits").train.inputs + 1
    other = wd.Dataset(**vars(data) | {"train": data.train._replace(inputs=shifted)})
    with pytest.raises(wd.InputError, match="on other data .fingerprint"):
        wd.run(SMALL, other, checkpoints=folder)


def test_a_newer_format_is_refused_by_name(folder):
    stopped(SMALL, folder, 1)
    (step,) = files.steps_in(folder)
    path = folder / str(step) / seal.PAPER
    found = json.loads(path.read_text())
    found["paper"]["format"] = 7
    found["seal"] = seal.seal_of(json.dumps(found["paper"]))
    path.write_text(json.dumps(found))
    with pytest.raises(
        wd.InputError, match=rf"{step} was written by a newer jaxwd .*7"
    ):
        wd.run(SMALL, checkpoints=folder)
    (folder / files.MARK).write_text('{"format": 8}')
    with pytest.raises(
        wd.InputError, match=rf"{files.MARK} was written by a newer .*8"
    ):
        Checkpoints(folder)


def test_another_version_of_jax_is_said_and_read(folder, monkeypatch):
    stopped(SMALL, folder, 1)
    monkeypatch.setattr(
        checkpoint_paper, "versions", lambda: {"jaxwd": wd.__version__, "jax": "99.1"}
    )
    said = []
    with Checkpoints(folder, says=said.append) as kept:
        wd.run(SMALL, checkpoints=kept)
        assert kept.restored is not None
    assert f"written with jax {jax.__version__}, this is 99.1: numbers" in said[0]


def test_arrays_that_cannot_be_read_here_are_no_damage(folder, monkeypatch):
    """Whole by their sums: the checkpoint stays, and it is said why."""
    stopped(SMALL, folder, 1)

    def read(*_):
        raise ValueError("no codec\nof this name")

    monkeypatch.setattr("jaxwd.training.checkpoint_arrays.read", read)
    with pytest.raises(
        wd.InputError, match="is whole and cannot be read here: .*no codec"
    ) as error:
        wd.run(SMALL, checkpoints=folder)
    assert "\n" not in str(error.value)
    assert len(files.steps_in(folder)) == 1


def test_nothing_is_cleared_where_nobody_can_tell_who_is_writing(folder, monkeypatch):
    stopped(SMALL, folder, 1)
    (folder / "99.writing").mkdir()
    monkeypatch.setattr(files, "fcntl", None)
    wd.run(SMALL, checkpoints=folder)
    assert (folder / "99.writing").exists()


def test_a_folder_that_cannot_be_made_is_said(folder):
    folder.parent.joinpath("file").write_text("")
    with pytest.raises(wd.InputError, match=r"cannot be written \(Not a directory\)"):
        wd.run(SMALL, checkpoints=folder.parent / "file" / "state")


def test_a_folder_of_something_else_is_left_as_it_is(tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(wd.InputError, match=r"no checkpoints of jaxwd .thesis.tex"):
        wd.run(SMALL, checkpoints=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(wd.InputError, match="is a file; give the name of a folder"):
        Checkpoints(tmp_path / "thesis.tex")


def test_other_arrays_under_the_same_recipe_are_refused(folder):
    with Checkpoints(folder) as kept:
        kept.latest({"a": jnp.ones(3)}, SMALL)
        kept.save(1, {"a": jnp.ones(3)}, {})
        said = r"other arrays .*: 0.a .*float32\[3\].* there, .*float32\[4\].* here"
        with pytest.raises(wd.InputError, match=said):
            kept.latest({"a": jnp.ones(4)}, SMALL)


def test_two_processes_do_not_write_to_one_folder(folder):
    with Checkpoints(folder) as kept:
        kept.latest({}, SMALL)
        said = f"process {os.getpid()} is writing checkpoints to"
        with pytest.raises(wd.InputError, match=said):
            Checkpoints(folder).latest({}, SMALL)
    with Checkpoints(folder) as free:
        free.latest({}, SMALL)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda c: c.save(1, {}, {}), "call latest.* before save"),
        (lambda c: (c.latest({}, SMALL), c.save(1, {}, {"x": {1}})), "JSON"),
        (lambda c: (c.latest({}, SMALL), c.save(-1, {}, {})), "step=-1 is not allowed"),
        (lambda c: Checkpoints(c.folder, keep=0), "keep=0 is not allowed"),
    ],
)
def test_what_makes_no_sense_is_refused(call, said, folder):
    with Checkpoints(folder) as kept, pytest.raises(wd.InputError, match=said):
        call(kept)


# --- the folder -------------------------------------------------------------------------


def ones(value):
    return {"θ": jnp.full(1000, value), "key": jax.random.key(int(value))}


def like(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def test_quick_saves_are_all_kept_though_one_is_under_way(folder):
    with Checkpoints(folder, keep=100) as kept:
        kept.latest(ones(0), SMALL)
        for step in range(6):
            kept.save(step, ones(step), {"epoch": step})
    assert files.steps_in(folder) == list(range(6))


def test_a_save_is_waited_for_though_a_signal_came_amid_the_waiting(
    folder, monkeypatch
):
    """Python 3.11 takes a thread for ended whose join a signal has interrupted."""

    class Interrupted(Exception):
        pass

    def interrupt(*_):
        raise Interrupted

    committing = files.commit

    def slowly(*given):
        time.sleep(1)
        committing(*given)

    monkeypatch.setattr(files, "commit", slowly)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with Checkpoints(folder) as kept:
            kept.latest(ones(0), SMALL)
            kept.save(1, ones(1), {})
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(Interrupted):
                kept.wait()
        assert files.steps_in(folder) == [1]
    finally:
        signal.signal(signal.SIGALRM, before)


def test_what_was_restored_stays_what_it_was(folder):
    """Epochs trained since are not among those of before."""
    stopped(SMALL, folder, 2)
    with Checkpoints(folder) as kept:
        wd.run(SMALL, checkpoints=kept)
        assert len(kept.restored.progress["history"]) == 2
    other = folder.with_name("other")
    with pytest.raises(Stop):
        wd.run_streamed(SMALL, checkpoints=other, on_epoch=stop_after(2))
    with Checkpoints(other) as kept:
        wd.run_streamed(SMALL, checkpoints=kept)
        assert len(kept.restored.progress["history"]) == 2


def test_the_newest_are_kept_and_no_more(folder):
    with Checkpoints(folder, keep=2) as kept:
        kept.latest(ones(0), SMALL)
        for step in (1, 10, 9, 100):
            kept.save(step, ones(step), {})
    names = {path.name for path in folder.iterdir()}
    assert names == {"10", "100", files.MARK, files.LOCK}


@pytest.mark.parametrize("rows", [1000, 5000], ids=["small", "large"])
def test_a_state_may_be_donated_while_it_is_written(rows, folder):
    step = jax.jit(lambda x: x + 1, donate_argnums=0)
    x = jnp.zeros((rows, 500))
    assert (x.nbytes > arrays.SMALL) == (rows == 5000)
    with Checkpoints(folder, keep=9) as kept:
        kept.latest(x, SMALL)
        for number in range(5):
            kept.save(number, x, {})
            x = step(x)
        kept.wait()
        for number in range(4, -1, -1):
            found = kept.latest(x, SMALL)
            assert (found.step, np.unique(found.state)) == (number, [number])
            files.remove(folder / str(number))


def test_typed_keys_and_small_types_come_back(folder):
    mine = {
        "key": jax.random.key(3),
        "keys": jax.random.split(jax.random.key(4, impl="rbg"), 3),
        "none": jnp.zeros((0, 3)),
        "large": jnp.arange(arrays.SMALL, dtype=jnp.float32),
        "half": jnp.full((2, 3), 0.1, jnp.bfloat16),
        "flag": jnp.array([True, False]),
        "count": jnp.int32(7),
        "nothing": (),
    }
    with Checkpoints(folder) as kept:
        kept.latest(mine, SMALL)
        kept.save(1, mine, {"nan": float("nan"), "third": 1 / 3})
        saved = kept.latest(like(mine), SMALL)
    assert saved.progress["third"] == 1 / 3
    assert np.isnan(saved.progress["nan"])
    assert jax.tree.structure(saved.state) == jax.tree.structure(mine)
    assert shapes(arrays.named(saved.state)) == shapes(arrays.named(mine))
    for name in ("key", "keys"):
        there, here = saved.state.pop(name), mine.pop(name)
        assert jnp.array_equal(jax.random.key_data(there), jax.random.key_data(here))
    assert_trees_equal(saved.state, mine)


def test_small_arrays_are_written_together_and_others_by_themselves(folder):
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    mine = {
        "a": jnp.ones(3),
        "large": jnp.zeros(arrays.SMALL // 4 + 1),
        "everywhere": jax.device_put(jnp.ones(4), NamedSharding(mesh, PartitionSpec())),
        "spread": jax.device_put(
            jnp.ones(4), NamedSharding(mesh, PartitionSpec("data"))
        ),
    }
    with Checkpoints(folder) as kept:
        kept.latest(mine, SMALL)
        kept.save(1, mine, {})
        saved = kept.latest(mine, SMALL)
    paper = seal.read(folder / "1")
    assert [name.split(".")[1] for name in paper["together"]] == ["a", "everywhere"]
    assert_trees_equal(saved.state, mine)
    for name, leaf in mine.items():
        assert saved.state[name].sharding == leaf.sharding


def test_the_first_format_is_read(folder):
    """Written by jaxwd at ca3e5ec, with Orbax 0.12.8."""
    shutil.copytree(ROOT / "tests/fixtures/checkpoint_format_1", folder)
    mine = {
        "key": jax.random.key(3),
        "half": jnp.full((2, 3), 0.1, jnp.bfloat16),
        "count": jnp.int32(7),
        "kernel": jnp.arange(6.0).reshape(2, 3),
    }
    with Checkpoints(folder, says=[].append) as kept:
        saved = kept.latest(like(mine), SMALL)
        assert (saved.step, saved.progress) == (5, {"epoch": 1})
        assert jnp.array_equal(saved.state.pop("key"), mine.pop("key"))
        assert_trees_equal(saved.state, mine)
    assert json.loads((folder / files.MARK).read_text())["format"] == seal.FORMAT


def test_a_loop_of_ones_own_goes_on(folder):
    """Such as with schedule_free, which recipes do not know."""
    tx = wd.schedule_free("adam", 0.1, decay=wd.decoupled(0.1))

    @jax.jit
    def step(state):
        params, opt_state = state
        updates, opt_state = tx.update(params, opt_state, params)
        return jax.tree.map(jnp.add, params, updates), opt_state

    params = {"kernel": jnp.arange(6.0).reshape(3, 2)}
    state = whole = params, tx.init(params)
    for _ in range(6):
        whole = step(whole)
    for number in range(6):
        with Checkpoints(folder) as kept:
            saved = kept.latest(state, SMALL)
            assert (saved is None) == (number == 0)
            state = step(state if saved is None else saved.state)
            kept.save(number, state, {})
    assert_trees_equal(state, whole)


def test_arrays_come_back_in_the_sharding_that_is_asked_for(folder):
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    spread = NamedSharding(mesh, PartitionSpec("data"))
    x = jax.random.normal(jax.random.key(0), (6, 5))
    with Checkpoints(folder) as kept:
        kept.latest(x, SMALL)
        kept.save(1, x, {})
        there = jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=spread)
        two = kept.latest(there, SMALL).state
        assert two.sharding == spread
        kept.save(2, two, {})
        one = kept.latest(x, SMALL).state
    assert one.sharding == x.sharding
    np.testing.assert_array_equal(one, x)
    np.testing.assert_array_equal(two, x)


def test_what_a_killed_process_left_is_cleared(folder):
    with Checkpoints(folder) as kept:
        kept.latest(ones(0), SMALL)
        for step in (1, 2, 3):
            kept.save(step, ones(step), {})
    (folder / "4.writing").mkdir()
    (folder / "4.writing" / "half").write_bytes(b"x")
    (folder / "1").rename(folder / "1.gone")  # between a rename and a removal
    (folder / "2").rename(folder / "2.old")  # between two renames
    (folder / f"{files.MARK}.writing").write_text("half")
    with Checkpoints(folder) as kept:
        assert kept.latest(ones(0), SMALL).step == 3
    names = {path.name for path in folder.iterdir()}
    assert names == {"2", "3", files.MARK, files.LOCK}


def test_what_a_living_process_is_writing_is_not_cleared(folder):
    with Checkpoints(folder) as kept:
        kept.latest(ones(0), SMALL)
        (folder / "7.writing").mkdir()
        with pytest.raises(wd.InputError, match="is writing checkpoints"):
            Checkpoints(folder).latest(ones(0), SMALL)
        assert (folder / "7.writing").exists()


def test_a_full_disk_is_told_and_the_earlier_checkpoints_stay(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with Checkpoints(folder) as kept:
        kept.latest(ones(0), SMALL)
        kept.save(1, ones(1), {})
        kept.wait()
        monkeypatch.setattr(files, "commit", full)
        kept.save(2, ones(2), {})
        with pytest.raises(OSError, match=r"checkpoint 2 .*: No space left on device;"):
            kept.save(3, ones(3), {})
        assert kept.latest(ones(0), SMALL).step == 1
    assert files.steps_in(folder) == [1]
    assert not list(folder.glob("*.writing"))


def test_nothing_is_pickled(folder):
    sources = [path.read_text() for path in (ROOT / "jaxwd").rglob("*.py")]
    imports = re.compile(
        r"^\s*(import|from) .*\b(pickle|cloudpickle|dill|joblib)\b", re.M
    )
    assert not any(map(imports.search, sources))
    stopped(SMALL, folder, 1)
    for path in folder.rglob("*"):
        if path.is_file():
            assert not re.match(rb"\x80[\x02-\x05]", path.read_bytes()), path


def test_only_one_module_imports_orbax():
    found = [
        path.name
        for path in (ROOT / "jaxwd").rglob("*.py")
        if re.search(r"^\s*(import|from) orbax", path.read_text(), re.M)
    ]
    assert found == ["checkpoint_arrays.py"]


def test_names_of_leaves_are_unique():
    tree = {"a.b": 1, "a": {"b": 2}, "λ/ü": 3}
    assert arrays.named(tree) == {"0.a.b": 2, "1.a.b": 1, "2.___": 3}


def test_importing_jaxwd_imports_no_orbax():
    code = "import sys, jaxwd; jaxwd.run; print('orbax.checkpoint' in sys.modules)"
    got = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert got.stdout == "False\n"
