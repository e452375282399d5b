"""Engine `ray` on a cluster of two nodes, by its address; and two sweeps in one process.

About a minute; `pytest tests/heavy/test_ray_nodes.py`.
"""

import json
import os
import pathlib
import sys
from dataclasses import replace

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import jaxwd as wd
from jaxwd.lab import Ledger, run_many
from jaxwd.lab.engines import Silent
from jaxwd.lab.engines.remote import Cluster, Rules
from jaxwd.lab.engines.remote.cluster import _token
from jaxwd.lab.engines.remote.driver import Driver

pytest.importorskip("ray")

from test_ray import GRID


@pytest.fixture
def nodes(monkeypatch):
    """A head without room for workers, and two nodes with room for one each."""
    pytest.importorskip("ray", minversion="2.60")  # its harness, not what is tested
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", _token())  # Ray remembers one a process
    from ray.cluster_utils import Cluster as Several

    cluster = Several(initialize_head=True, head_node_args={"num_cpus": 0})
    two = [cluster.add_node(num_cpus=1) for _ in range(2)]
    yield cluster, two
    cluster.shutdown()


@pytest.fixture
def digits():
    return wd.load("digits")


def numbers(ledger):
    """Return all runs without their keys, which name the hardware a worker found."""
    runs = [json.loads(line) for line in ledger.canonical().splitlines()]
    return sorted(
        json.dumps({k: v for k, v in run.items() if k != "key"}) for run in runs
    )


def test_a_node_that_goes_away_takes_no_member_along(
    nodes, digits, tmp_path, monkeypatch
):
    cluster, two = nodes
    drivers, run = [], Driver.run
    monkeypatch.setattr(Driver, "run", lambda it: drivers.append(it) or run(it))
    grid = [m._replace(recipe=replace(m.recipe, epochs=120)) for m in GRID]
    with Ledger(tmp_path / "whole.sqlite", provenance={}) as ledger:
        run_many(grid, digits, engine="map", ledger=ledger)
        want = numbers(ledger)

    class Notes(Silent):
        def __init__(self):
            self.said = []

        def rows(self, rows):
            chunks = drivers[0].scheduler.chunks.values()
            busy = [chunk for chunk in chunks if chunk and chunk.places]
            if len(busy) == len(two) == 2:
                cluster.remove_node(two.pop(), allow_graceful=False)

        def says(self, message):
            self.said.append(message)

    notes = Notes()
    there = Cluster(
        address=cluster.address,
        worker_engine="map",
        threads=int(os.environ.get("NPROC", 0)) or None,
        rules=Rules(losses=2),  # were a member blamed once more, it would be given up
    )
    with Ledger(tmp_path / "x.sqlite", provenance={}) as ledger:
        outcomes = run_many(
            grid, digits, engine="ray", cluster=there, ledger=ledger, watcher=notes
        )
        assert numbers(ledger) == want
    lost = [line for line in notes.said if "its node is gone" in line]
    assert lost, notes.said
    assert not any("given up" in line for line in notes.said)
    assert {o.status for o in outcomes} == {"finished", "diverged"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_two_sweeps_of_one_process_start_a_ray_each(digits):
    # Ray 2.52 leaves files of its own open where it ends.
    for _ in range(2):
        (outcome,) = run_many(GRID[:1], digits, engine="ray", cluster=Cluster(cpus=1))
        assert outcome.status == "finished"
