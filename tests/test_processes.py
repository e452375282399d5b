"""Joining processes: who is who, who is missing, and a training in two of them."""

import collections
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest
from process_worker import RECIPE, counted

import jaxwd as wd
from jaxwd.training import processes
from jaxwd.training.functions import order_of
from jaxwd.training.processes import places
from jaxwd.training.processes.watch import answer_the_roll, call_the_roll

HERE = pathlib.Path(__file__).parent


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Job:
    """Several processes of `process_worker.py`; all are ended when the block ends."""

    def __init__(self, folder, how, count, lost_after=20.0, **env):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        port = free_port()
        keep = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
        self.written = [(folder / f"said-{i}").open("w") for i in range(count)]
        self.all = [
            subprocess.Popen(
                [sys.executable, str(HERE / "process_worker.py"), str(folder), how]
                + [str(x) for x in (index, count, port, lost_after)],
                env=keep | env,
                stdout=subprocess.DEVNULL,
                stderr=self.written[index],
            )
            for index in range(count)
        ]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.all:
            process.kill()
            process.wait()
        for file in self.written:
            file.close()

    def codes(self, of=None, within=240):
        until = time.monotonic() + within
        return [
            self.all[i].wait(max(until - time.monotonic(), 0.1))
            for i in of or range(len(self.all))
        ]

    def said(self, index):
        """Return the lines of an error, without what gloo and XLA write."""
        text = (self.folder / f"said-{index}").read_text()
        return "\n".join(x for x in text.splitlines() if x.startswith("error"))

    def until_epoch(self, epoch, index):
        until, path = time.monotonic() + 240, self.folder / f"at-{index}"
        while not (
            path.exists() and path.read_text() not in ("", *map(str, range(epoch)))
        ):
            assert time.monotonic() < until, self.said(index)
            assert self.all[index].poll() is None, self.said(index)
            time.sleep(0.02)


def one_process():
    return wd.run_streamed(RECIPE, counted()[0])


def same_as_one(folder, alone):
    with np.load(folder / "params.npz") as found:
        got = [found[name] for name in found.files]
    wanted = [alone.params[a][b] for a in alone.params for b in alone.params[a]]
    for x, y in zip(got, wanted, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
    final = json.loads((folder / "final.json").read_text())
    for key in final.keys() - {"seconds"}:
        assert final[key] == pytest.approx(alone.final[key], rel=1e-4), key


def same_bits(folder, other):
    with np.load(folder / "params.npz") as a, np.load(other / "params.npz") as b:
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name])


def rows_of(process, count):
    """Return how often a process reads each row: its share of every batch, of the
    training split when that is measured at the end, and one row for the shapes."""
    rows = [0]
    for epoch in range(RECIPE.epochs):
        order = np.asarray(order_of(jax.random.key(RECIPE.seed), epoch, 192))
        share = 16 // count
        mine = order.reshape(12, 16)[:, process * share : (process + 1) * share]
        rows += mine.ravel().tolist()
    return collections.Counter(rows + np.split(np.arange(192), count)[process].tolist())


def test_two_processes_give_what_one_gives_and_each_reads_its_own_rows(tmp_path):
    with Job(tmp_path / "job", "shard_map", 2) as job:
        alone = one_process()
        assert job.codes() == [0, 0], (job.said(0), job.said(1))
    same_as_one(job.folder, alone)
    for process in range(2):
        rows = json.loads((job.folder / f"rows-{process}.json").read_text())
        assert collections.Counter(rows) == rows_of(process, 2)


def test_a_killed_process_ends_the_job_and_the_next_start_goes_on(tmp_path):
    with Job(tmp_path / "job", "sharded", 2, KEEP="1", SLOW="0.15") as job:
        job.until_epoch(2, index=0)
        job.all[1].send_signal(signal.SIGKILL)
        began = time.monotonic()
        assert job.codes(of=[0]) == [processes.LOST]
        assert time.monotonic() - began < 10  # seen by its connection, not by silence
        assert job.said(0) == (
            "error: process 1 of 2 is lost (its connection closed); process 0 ends, "
            "code 4: start all again, with checkpoints the training goes on"
        )
    with Job(tmp_path / "job", "sharded", 2, KEEP="1") as again:
        assert again.codes() == [0, 0], (again.said(0), again.said(1))
    with Job(tmp_path / "whole", "sharded", 2) as whole:
        assert whole.codes() == [0, 0], (whole.said(0), whole.said(1))
    same_bits(again.folder, whole.folder)
    same_as_one(again.folder, one_process())
    first, other = (
        json.loads((again.folder / f"written-{i}.json").read_text()) for i in (0, 1)
    )
    assert {"36", "36.writing/checkpoint.json", "lock"} <= set(first)
    # Of another process's there are its arrays at most.
    assert all(".writing/state" in name for name in other)
    read = len(json.loads((again.folder / "rows-1.json").read_text()))
    assert read < 0.9 * sum(
        rows_of(1, 2).values()
    )  # an epoch at least was not repeated


@pytest.mark.parametrize("memory", ["", "1"], ids=["streamed", "in memory"])
def test_processes_with_other_seeds_are_refused(memory, tmp_path):
    """Each would train on; nothing else would show it."""
    with Job(tmp_path / "job", "sharded", 2, SEED="7", MEMORY=memory) as job:
        codes = job.codes(within=120)
        text = "".join((job.folder / f"said-{i}").read_text() for i in range(2))
    assert set(codes) <= {1, processes.LOST}
    assert "the recipe of process 1 differ from those of process 0" in text


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_in_one_process_ends_all_at_once_and_says_why(failing, tmp_path):
    """Not after minutes in which JAX waits for the other, nor by its stack trace."""
    with Job(tmp_path / "job", "sharded", 2, FAIL=str(failing)) as job:
        job.until_epoch(1, index=failing)
        began = time.monotonic()
        codes = job.codes()
        assert time.monotonic() - began < 15
        assert (codes[failing], codes[1 - failing]) == (1, processes.LOST)
        assert "lost (this one process has no more room)" in job.said(1 - failing)
        assert "Terminating" not in (job.folder / f"said-{failing}").read_text()


# --- where a process finds out which one it is ------------------------------------------

SLURM = {
    "SLURM_JOB_ID": "123456",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "gpu[007-009,12]",
    "SLURM_NTASKS": "8",
    "SLURM_NNODES": "4",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
}
TPU = {"TPU_WORKER_HOSTNAMES": "t-0,t-1", "TPU_WORKER_ID": "1"}
SLICES = TPU | {
    "MEGASCALE_NUM_SLICES": "3",
    "MEGASCALE_SLICE_ID": "2",
    "MEGASCALE_COORDINATOR_ADDRESS": "first:8080",
}


@pytest.mark.parametrize(
    ("env", "place"),
    [
        ({}, None),
        (processes.variables("h:1", 4, 2), places.Place("h:1", 4, 2)),
        (SLURM, places.Place("gpu007:23456", 8, 5, [1])),
        (SLURM | {"SLURM_NTASKS": "4"}, places.Place("gpu007:23456", 4, 5)),
        (
            SLURM | {"SLURM_NTASKS": "2", "SLURM_STEP_NUM_NODES": "1"},
            places.Place("gpu007:23456", 2, 5, [1]),
        ),
        (SLURM | {"CUDA_VISIBLE_DEVICES": "3"}, places.Place("gpu007:23456", 8, 5)),
        (
            SLURM | {"CUDA_VISIBLE_DEVICES": "0,1"},
            places.Place("gpu007:23456", 8, 5, [1]),
        ),
        (SLURM | {"SLURM_STEP_ID": "4294967290"}, None),
        ({k: v for k, v in SLURM.items() if k != "SLURM_STEP_ID"}, None),
        (SLURM | {"SLURM_NTASKS": "1"}, None),
        (TPU, places.Place("t-0:8482", 2, 1)),
        (SLICES, places.Place("first:8482", 6, 5)),
        ({"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}, None),
    ],
)
def test_a_launcher_says_which_process_this_is(env, place):
    assert places.found("auto", env) == place


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"coordinator": "h:1"},
            "coordinator=h:1 given, processes, process missing; give all three",
        ),
        ({"processes": 2}, "processes=2 given, coordinator, process missing"),
        (
            {"coordinator": "h", "processes": 2, "process": 0},
            "coordinator='h' is not allowed; give host:port",
        ),
        (
            {"coordinator": "h:²", "processes": 2, "process": 0},
            "coordinator='h:²' is not allowed; give host:port",
        ),
        (
            {"coordinator": "h:1", "processes": 2, "process": 2},
            r"process=2 is not allowed; give a number in \[0, 1\]",
        ),
        ({"environment": "slrum"}, "unknown environment 'slrum'; did you mean 'slurm'"),
        (
            {"environment": "tpu"},
            "environment 'tpu': TPU_WORKER_HOSTNAMES, TPU_WORKER_ID not set "
            r"\(here: none of its variables\)",
        ),
    ],
)
def test_what_is_missing_is_said(given, message):
    with pytest.raises(wd.InputError, match=message):
        processes.join(**given)


def test_half_an_environment_is_said(monkeypatch):
    monkeypatch.setenv("JAXWD_PROCESSES", "2")
    with pytest.raises(
        wd.InputError,
        match=r"'ray': JAXWD_COORDINATOR, JAXWD_PROCESS not set \(here: "
        r"JAXWD_PROCESSES=2\)",
    ):
        processes.join()
    monkeypatch.setenv("JAXWD_COORDINATOR", "h:1")
    monkeypatch.setenv("JAXWD_PROCESS", "one")
    with pytest.raises(
        wd.InputError, match="JAXWD_PROCESS='one' is not a whole number"
    ):
        processes.join()


def test_one_process_is_no_job():
    assert processes.join() == (0, 1)
    assert processes.join(processes=1) == (0, 1)
    assert processes.join("127.0.0.1:9", 1, 0) == (0, 1)
    assert processes.is_first()
    assert not jax.distributed.is_initialized()
    processes.leave()


# --- the roll ---------------------------------------------------------------------------


def answered(port, count, index, wait=5.0):
    """Return what a process is told, from a thread: its connection or an error."""
    got = []

    def answer():
        try:
            got.append(answer_the_roll(("127.0.0.1", port), count, index, wait, 9.0))
        except wd.InputError as error:
            got.append(str(error))

    thread = threading.Thread(target=answer)
    thread.start()
    return thread, got


def test_process_0_says_who_did_not_come():
    port = free_port()
    thread, got = answered(port, 4, 2)
    with pytest.raises(
        wd.InputError,
        match=rf"process 0 waited 1.5 s at 127.0.0.1:{port} and of 4 processes missed 1, 3",
    ):
        call_the_roll(("127.0.0.1", port), 4, 1.5, 9.0)
    thread.join()
    assert "process 2 was not taken in by process 0" in got[0]


def test_a_process_says_that_process_0_is_not_there():
    port = free_port()
    with pytest.raises(
        wd.InputError,
        match=f"process 1 found no process 0 at 127.0.0.1:{port} within 0.5 s",
    ):
        answer_the_roll(("127.0.0.1", port), 2, 1, 0.5, 9.0)


def test_strangers_twins_and_other_jobs_are_not_taken_in():
    port = free_port()
    called = []
    roll = threading.Thread(
        target=lambda: called.append(call_the_roll(("127.0.0.1", port), 3, 20, 9.0))
    )
    roll.start()
    other, of_other = answered(port, 5, 1)
    other.join()
    assert "it has processes=3, this one 5" in of_other[0]
    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
    first, of_first = answered(port, 3, 1, 20)
    time.sleep(0.3)
    twin, of_twin = answered(port, 3, 1)
    twin.join()
    assert "there is a process 1 already" in of_twin[0]
    last, of_last = answered(port, 3, 2, 20)
    for thread in (roll, first, last):
        thread.join()
    ports = [called[0][1], of_first[0][1], of_last[0][1]]
    assert len(set(ports)) == 1
    for watch, _ in (called[0], of_first[0], of_last[0]):
        watch.close()


def test_a_process_lost_before_jax_starts_ends_the_others():
    """One answers the roll and is gone; JAX alone would wait for it for minutes."""
    port = free_port()
    words = f"""from jaxwd.training import processes
processes.join('127.0.0.1:{port}', 2, 0)"""
    with subprocess.Popen(
        [sys.executable, "-c", words],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stderr=subprocess.PIPE,
        text=True,
    ) as first:
        try:
            watch, _ = answer_the_roll(("127.0.0.1", port), 2, 1, 60, 9.0)
            watch.close()
            assert first.wait(20) == processes.LOST
        finally:
            first.kill()  # else the block would wait for it
        assert "process 1 of 2 is lost (its connection closed)" in first.stderr.read()


def test_a_port_in_use_is_said():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        with pytest.raises(
            wd.InputError, match="cannot listen there: Address already in use; give a"
        ):
            call_the_roll(("127.0.0.1", port), 2, 1.0, 9.0)
