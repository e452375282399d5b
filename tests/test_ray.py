"""Engine `ray` on a real cluster: two workers, killed, hanging, stopped, told apart."""

import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import pytest

import jaxwd as wd
from jaxwd import cli
from jaxwd.lab import Ledger, product, run_many
from jaxwd.lab.engines import Silent
from jaxwd.lab.engines.remote import Cluster, Rules, same
from jaxwd.lab.engines.remote.cluster import _causes, _token_of_its_own, connected
from jaxwd.lab.engines.remote.driver import Driver

pytest.importorskip("ray")

TINY = wd.Recipe(
    dataset="digits",
    model="mlp",
    model_options={"hidden": (32,)},
    train_examples=1000,
    epochs=16,
    batch_size=8,
    dropout=0.2,
    decay=wd.coupled(0.0),
)
BAD = 1e25
GRID = product(TINY, {"learning_rate": (0.05, BAD, 0.1), "seed": range(7)})
# Three losses might meet one member by chance, and it would be given up as it should.
TWO = Cluster(
    worker_engine="map", rules=Rules(least=3.0, factor=4.0, before=20.0, losses=9)
)


# Made longer by `JAXWD_RAY_HEAVY=1`: more moments, and drivers that are killed as well.
HEAVY = os.environ.get("JAXWD_RAY_HEAVY") == "1"
SEEDS = range(5) if HEAVY else (5,)
ENDINGS = (
    (signal.SIGKILL, signal.SIGINT, signal.SIGKILL, signal.SIGTERM)
    if HEAVY
    else (signal.SIGINT, signal.SIGTERM)
)


@pytest.fixture(scope="module")
def ray():
    """A cluster that outlives the sweeps of this file; each has its own workers."""
    with connected(Cluster(cpus=2), 0) as ray:
        yield ray


@pytest.fixture(scope="module")
def digits():
    return wd.load("digits")


@pytest.fixture(scope="module")
def reference(tmp_path_factory, digits):
    """What one process makes of the grid."""
    path = tmp_path_factory.mktemp("whole") / "ledger.sqlite"
    with Ledger(path, provenance={}) as ledger:
        outcomes = run_many(GRID, digits, engine="map", ledger=ledger)
        return outcomes, ledger.canonical()


class Trouble(Silent):
    """A watcher that sends a busy worker a signal behind certain epochs."""

    def __init__(self, monkeypatch, plan, seed):
        self.draw, self.plan, self.drivers = random.Random(seed), plan, []
        self.told, self.done, self.said, self.ends = 0, [], [], []
        self.hit = []
        run = Driver.run
        monkeypatch.setattr(
            Driver, "run", lambda driver: self.drivers.append(driver) or run(driver)
        )

    def rows(self, rows):
        self.told += len(rows)
        while self.plan and self.told >= self.plan[0][0]:
            driver = self.drivers[0]
            chunks = driver.scheduler.chunks
            busy = [
                w
                for w in chunks
                if chunks[w] and chunks[w].places and w not in self.hit
            ]
            if not busy:  # these rows are the last words of one that is dead
                return
            self.hit.append(self.draw.choice(busy))
            os.kill(driver.staff.joined[self.hit[-1]]["pid"], self.plan[0][1])
            self.done.append(self.plan.pop(0)[1])

    def says(self, message):
        self.said.append(message)

    def ended(self, place, outcome, reused):
        self.ends.append(place)


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_and_hanging_workers_change_nothing(
    seed, ray, digits, reference, tmp_path, monkeypatch
):
    draw = random.Random(seed)
    plan = [
        (draw.randrange(15, 60), signal.SIGKILL),
        (draw.randrange(75, 110), signal.SIGSTOP),
        (draw.randrange(130, 170), signal.SIGKILL),
    ]
    trouble = Trouble(monkeypatch, plan, seed)
    with Ledger(tmp_path / "x.sqlite", provenance={}) as ledger:
        outcomes = run_many(
            GRID, digits, engine="ray", cluster=TWO, ledger=ledger, watcher=trouble
        )
        assert trouble.done == [signal.SIGKILL, signal.SIGSTOP, signal.SIGKILL]
        lost = [line for line in trouble.said if "lost" in line]
        assert len(lost) >= 3  # a busy machine may look like one more that hangs
        assert sum("no sign of life for" in line for line in lost) >= 1
        assert sum("begin again" in line for line in lost) >= 1  # others had told all
        assert ledger.canonical() == reference[1]
        assert {run.status for run in ledger.runs()} == {"finished", "diverged"}
        (made_by,) = ledger.provenance()
    assert made_by["worker"]["threads"] == int(os.environ["NPROC"])
    assert made_by["worker"]["devices"] == ["cpu: cpu"]
    assert trouble.told == sum(len(outcome.history) for outcome in outcomes)
    assert sorted(trouble.ends) == list(range(len(GRID)))
    for mine, other in zip(outcomes, reference[0], strict=True):
        assert (mine.recipe, mine.labels) == (other.recipe, other.labels)
        assert (mine.status, mine.step, mine.message) == (
            other.status, other.step, other.message)  # fmt: skip
        assert len(mine.history) == len(other.history)


def test_every_ray_of_a_process_has_one_token(monkeypatch):
    """It remembers the first that it was given; heavy: two are started for real."""
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    seen = []
    for _ in range(2):
        with _token_of_its_own():
            seen.append(os.environ["RAY_AUTH_TOKEN"])
    assert seen[0] == seen[1]
    assert "RAY_AUTH_TOKEN" not in os.environ


OWN = """from flax import linen

class Mine(linen.Module):
    @linen.compact
    def __call__(self, x, dropout_rate=0.0, deterministic=True):
        return linen.Dense(10)(x.reshape(x.shape[0], -1))
"""


def test_workers_choose_compile_once_and_take_models_of_ones_own(ray, digits, tmp_path):
    """Without a ledger, `auto`, two structures, and a model that no worker can import."""
    (tmp_path / "own.py").write_text(OWN)
    module = cli.load_experiment(str(tmp_path / "own.py"), needs=("Mine",))
    own = replace(TINY, model=wd.from_linen(module.Mine()), model_options=())
    grid = [replace(r, epochs=2, seed=s) for r in (own, TINY) for s in (0, 1)]

    class Notes(Silent):
        def __init__(self):
            self.compilations, self.chose = [], []

        def compiled(self, *about):
            self.compilations.append(about[:2])

        def chosen(self, engine, timings):
            self.chose.append(engine)

    notes = Notes()
    outcomes = run_many(
        grid, digits, engine="ray", watcher=notes, cluster=Cluster(max_in_flight=2)
    )
    assert [outcome.status for outcome in outcomes] == ["finished"] * 4
    assert len(notes.chose) == len(notes.compilations) == 2
    alone = wd.run(grid[2], digits)
    assert outcomes[2].final["test_loss"] == pytest.approx(
        alone.final["test_loss"], rel=1e-5
    )


def test_all_of_it_listens_on_this_machine_alone(ray):
    """`_node_ip_address` does not see to that in Ray 2.60; see `cluster`."""
    me, listening = os.getpid(), {}
    for table in ("tcp", "tcp6"):
        lines = pathlib.Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        for line in lines:
            cells = line.split()
            if cells[3] == "0A":  # LISTEN
                listening[f"socket:[{cells[9]}]"] = cells[1].partition(":")[0]
    where = set()
    for pid in descendants(me):
        for fd in pathlib.Path(f"/proc/{pid}/fd").glob("*"):
            try:
                where.add(listening.get(os.readlink(fd)))
            except OSError:
                continue
    local = {"0100007F", "00000000000000000000000001000000",
             "0000000000000000FFFF00000100007F"}  # fmt: skip
    assert where - {None} <= local
    assert where - {None}
    assert ray.get_runtime_context().gcs_address.startswith("127.0.0.1:")
    assert "dashboard_url" not in ray.worker.global_worker.node.address_info


def descendants(pid):
    found = [pid]
    for one in found:
        for task in pathlib.Path(f"/proc/{one}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found[1:]


# --- the command --------------------------------------------------------------------

FILE = '''"""Which strength?"""
from jaxwd.lab import product
from jaxwd.lab.experiment import recipe, scheme
from dataclasses import replace


def grid(flags, data):
    base = replace(recipe(flags), decay=scheme(flags), model_options=(("hidden", (8,)),))
    return product(base, {"learning_rate": (0.1, 0.2), "seed": range(flags.seeds)})
'''
WORDS = "--dataset digits --model mlp --train-examples 96 --batch-size 16 --epochs 100"


def words(folder, *more):
    file = folder / "mine.py"
    file.write_text(FILE)
    out = ["--out", str(folder / "out"), "--seeds", "6", "--dropout", "0"]
    return ["sweep", str(file), *WORDS.split(), *out, *more]


def ended(folder):
    """Return how many members have ended, and the ledger as text."""
    if not (folder / "out" / "ledger.sqlite").exists():
        return 0, ""
    with Ledger(folder / "out" / "ledger.sqlite", readonly=True) as ledger:
        return sum(run.ended for run in ledger.runs()), ledger.canonical()


def lives(pid):
    return pathlib.Path(f"/proc/{pid}").exists()


def named(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def wait_until(condition, seconds=100):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


def test_a_driver_that_is_stopped_leaves_nobody_and_goes_on(ray, tmp_path):
    """Stopped by Ctrl-C or SIGTERM, or killed, and started again: as if never stopped."""
    how = ["--engine", "ray", "--worker-engine", "map", "--max-in-flight", "1"]
    for ending in ENDINGS:
        before, _ = ended(tmp_path)
        process = subprocess.Popen(
            [sys.executable, "-m", "jaxwd.cli", *words(tmp_path, *how, "--chunk", "1")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: process.poll() is not None or ended(tmp_path)[0] > before)  # noqa: B023
        theirs = descendants(process.pid)
        workers = [pid for pid in theirs if named(pid).startswith("ray::Worker")]
        assert len(workers) == 1
        process.send_signal(ending)
        _, said = process.communicate(timeout=60)
        # After a kill, Ray's own agents stay for a minute and then see that all is over.
        gone = workers if ending == signal.SIGKILL else theirs
        wait_until(lambda: not any(map(lives, gone)))  # noqa: B023
    assert process.returncode == 128 + ENDINGS[-1], said
    assert "finished runs are kept, the same command goes on" in said
    before, _ = ended(tmp_path)
    assert len(ENDINGS) <= before < 12
    out = " ".join(started_anew(words(tmp_path, *how)).split())
    assert f"12 finished; {before} of them by other starts" in out
    (tmp_path / "alone").mkdir()
    started_anew(words(tmp_path / "alone", "--engine", "map"))
    assert ended(tmp_path) == ended(tmp_path / "alone")


def started_anew(given):
    """Return what a command says in a process of its own, as its first start had."""
    command = [sys.executable, "-m", "jaxwd.cli", *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- refused ------------------------------------------------------------------------


def test_workers_with_other_code_are_refused_in_one_line(ray, digits, monkeypatch):
    other = same.code() | {"jax": "0.0.1"}
    monkeypatch.setattr(same, "code", lambda: other)
    with pytest.raises(
        wd.InputError, match=r"has jax 0\.\d+.* instead of 0\.0\.1"
    ) as e:
        run_many(GRID, digits, engine="ray", cluster=Cluster(max_in_flight=1))
    assert len(str(e.value).splitlines()) == 1


def test_code_is_compared_by_versions_and_by_files():
    mine = {"jax": "1", "jaxwd's files": "a"}
    same.require_same(mine, dict(mine), "h")
    with pytest.raises(wd.InputError, match="worker on h has jaxwd's files b instead"):
        same.require_same(mine, mine | {"jaxwd's files": "b"}, "h")
    assert {"jaxwd", "jax", "jaxlib", "numpy", "python", "jaxwd's files"} <= {
        *same.code()
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"worker_cpus": 0}, r"worker_cpus=0 is not allowed"),
        ({"worker_gpus": -1}, r"worker_gpus=-1 is not allowed"),
        ({"max_in_flight": 0}, r"max_in_flight=0 is not allowed"),
        ({"worker_engine": "vmop"}, r"unknown engine 'vmop'; did you mean 'vmap'"),
        ({"address": "ray://head:10001"}, r"cannot stream results; run the command on"),
        ({"rules": Rules(losses=1)}, r"losses=1 is not allowed"),
    ],
)
def test_senseless_clusters_are_refused(given, message):
    with pytest.raises(wd.InputError, match=message):
        Cluster(**given)


def test_an_address_where_nobody_listens_is_refused_at_once(tmp_path):
    """Ray itself would knock for a quarter of an hour."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        given = words(tmp_path, "--engine", "ray", "--address", address)
        command = [sys.executable, "-m", "jaxwd.cli", *given]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert f"address={address}: no Ray there" in done.stderr
    lines = done.stderr.strip().splitlines()
    # XLA 0.10.0 logs of programs that it finds in the cache.
    assert len([line for line in lines if "cpu_aot_loader" not in line]) == 1


def test_the_address_of_the_environment_is_looked_at_too(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(wd.InputError, match="cannot stream results"):
        Cluster()


def test_an_error_that_led_to_another_is_found():
    try:
        try:
            raise PermissionError("AuthenticationError: token mode is 'disabled'")
        except PermissionError as error:
            raise ConnectionError("no answer") from error
    except ConnectionError as error:
        assert {"ConnectionError", "AuthenticationError"} <= _causes(error)


FULL = """import os
import sys
from flax import linen

class Mine(linen.Module):
    @linen.compact
    def __call__(self, x, dropout_rate=0.0, deterministic=True):
        if "default_worker" in sys.argv[0]:
            raise OSError(28, "No space left on device")
        return linen.Dense(10)(x.reshape(x.shape[0], -1))
"""


def test_an_error_of_the_place_gives_no_member_up(ray, digits, tmp_path):
    """A full disk is not the members' fault: they wait for a better day."""
    (tmp_path / "full.py").write_text(FULL)
    module = cli.load_experiment(str(tmp_path / "full.py"), needs=("Mine",))
    own = replace(TINY, model=wd.from_linen(module.Mine()), model_options=())
    with Ledger(tmp_path / "ledger.sqlite", provenance={}) as ledger:
        with pytest.raises(OSError, match="No space left on device"):
            run_many(
                [replace(own, seed=s) for s in (0, 1)], digits, engine="ray",
                cluster=Cluster(max_in_flight=1, worker_engine="map"), ledger=ledger,
            )  # fmt: skip
        assert {run.status for run in ledger.runs()} == {"waiting"}


def test_a_missing_ray_is_named(digits, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(wd.InputError, match=r"pip install 'jaxwd\[ray\]'"):
        run_many(GRID, digits, engine="ray")


def test_a_worker_that_no_node_can_hold_is_refused(ray, digits):
    with pytest.raises(wd.InputError, match="no room for a worker \\(64 CPUs, 0 GPUs"):
        run_many(GRID, digits, engine="ray", cluster=Cluster(worker_cpus=64))


def test_a_cluster_is_for_ray_and_halving_is_not(digits):
    with pytest.raises(wd.InputError, match="a cluster is for engine='ray', not"):
        run_many(GRID, digits, engine="map", cluster=TWO)
    with pytest.raises(wd.InputError, match="which engine ray does not do"):
        wd.lab.halving(GRID, digits, engine="ray")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--address", "auto"], "--address is for --engine ray only"),
        (["--max-in-flight", "3"], "--max-in-flight is for --engine ray only"),
        (["--engine", "ray", "--halving", "3"], "--halving does not go with --engine"),
        (["--engine", "ray", "--device", "gpu"], "say --worker-gpus 1"),
        (["--engine", "ray", "--worker-cpus", "0"], "worker_cpus=0 is not allowed"),
        (["--engine", "ray", "--address", "ray://x:1"], "cannot stream results"),
    ],
)
def test_bad_words_are_refused_before_anything_is_written(
    more, message, tmp_path, capsys
):
    assert cli.main(words(tmp_path, *more)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
