"""A training in four processes: every layout, and every way in which one is lost.

A minute or two; `pytest tests/heavy/test_four_processes.py`.
"""

import pathlib
import signal
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from test_processes import Job, one_process, same_as_one

from jaxwd.training.processes import LOST


@pytest.fixture(scope="module")
def alone():
    return one_process()


@pytest.mark.parametrize("memory", ["", "1"], ids=["streamed", "in memory"])
@pytest.mark.parametrize("how", ["sharded", "shard_map", "fsdp"])
def test_four_processes_give_what_one_gives(how, memory, alone, tmp_path):
    with Job(tmp_path / "job", how, 4, KEEP="1", MEMORY=memory) as job:
        assert job.codes() == [0] * 4, [job.said(i) for i in range(4)]
    same_as_one(job.folder, alone)


@pytest.mark.parametrize("how", ["single", "pmap"])
def test_a_layout_for_one_process_says_so(how, tmp_path):
    with Job(tmp_path / "job", how, 2) as job:
        assert all(job.codes())
        # Whoever refuses first ends; the other may see that before it refuses itself.
        text = "".join((job.folder / f"said-{i}").read_text() for i in range(2))
    assert f"layout={how!r} is for one process, here are 2; use 'sharded'" in text


@pytest.mark.parametrize(
    ("victim", "how", "why", "within"),
    [
        (2, signal.SIGKILL, "its connection closed", 10),
        (0, signal.SIGKILL, "its connection closed", 10),
        (3, signal.SIGSTOP, "silent for", 30),
        (0, signal.SIGSTOP, "silent for", 30),
    ],
)
def test_whoever_is_lost_the_others_end_and_a_new_start_goes_on(
    victim, how, why, within, alone, tmp_path
):
    """A stopped process keeps its connections: silence for 8 s is what tells."""
    others = [i for i in range(4) if i != victim]
    folder = tmp_path / "job"
    with Job(folder, "fsdp", 4, lost_after=8, KEEP="1", SLOW="0.15") as job:
        job.until_epoch(2, index=others[0])
        job.all[victim].send_signal(how)
        began = time.monotonic()
        codes = job.codes(of=others)
        assert time.monotonic() - began < within
        for i, code in zip(others, codes, strict=True):
            said = job.said(i)
            assert f"process {victim} of 4 is lost ({why}" in said, (i, code, said)
            assert code in (LOST, -signal.SIGABRT)  # JAX may end it in the same moment
    with Job(folder, "fsdp", 4, KEEP="1") as again:
        assert again.codes() == [0] * 4, [again.said(i) for i in range(4)]
    same_as_one(folder, alone)
