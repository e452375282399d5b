"""Where faults are tried: a folder, children that can be killed, what they should give.

Children are forked from a process that has imported everything and started nothing of
JAX, so each begins within milliseconds.
"""

import contextlib
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

EXPERIMENT = '''"""Does decay help?"""
from dataclasses import replace

import jaxwd as wd
from jaxwd.lab import Arm, product
from jaxwd.lab.experiment import experiment, recipe, scheme
from jaxwd.lab.ranges import linear_range


def base(flags):
    return replace(recipe(flags), model_options={"hidden": (16,)})


def arms(flags, data):
    decayed = replace(base(flags), decay=scheme(flags))
    tune = {"decay.strength": linear_range(1e-4, 1e-2)}
    return [Arm("plain", base(flags)), Arm("decay", decayed, tune=tune)]


def grid(flags, data):
    decayed = replace(base(flags), decay=scheme(flags))
    return product(decayed, {"decay.strength": [1e-4, 1e-3, 1e-2], "seed": range(4)})


def main(arguments=None):
    return experiment("mine", __doc__, arms, arguments)
'''
FLAGS = ("--dataset", "friedman", "--model", "mlp", "--learning-rate", "0.01")
ENDS = 180.0
"""Seconds after which a child that does not end counts as hanging."""


@dataclass
class Observed:
    """What came of one fault.

    Attributes:
        tried: how often it was tried.
        said: what was observed, for a person.
        lost: runs that were finished and are not there any more, or never came.
        changed: results that differ from those of an uninterrupted run.
        wrong: what else should not be: a traceback, a hang, an exit code.
    """

    tried: int
    said: str
    lost: int = 0
    changed: int = 0
    wrong: list[str] = field(default_factory=list)


class Stage:
    """A folder with an experiment in it, and the children at work there.

    Args:
        folder: empty; removed by the caller.
        seed: of every random moment.
        short: fewer and smaller.
    """

    def __init__(self, folder: pathlib.Path, seed: int, short: bool) -> None:
        self.folder, self.seed, self.short = folder, seed, short
        self.here = pathlib.Path(__file__).parents[2]
        self.draw = random.Random(seed)
        self.experiment = folder / "mine.py"
        self.experiment.write_text(EXPERIMENT)
        self.count = 0
        self.env = {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "JAXWD_CACHE": str(folder / "cache"),
            "TFDS_DATA_DIR": str(folder / "tfds"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        os.environ.update(self.env)

    def fresh(self, name: str = "out") -> pathlib.Path:
        """Return the path of a folder that is not there yet."""
        self.count += 1
        return self.folder / f"{name}-{self.count}"

    def words(self, command: str, out: pathlib.Path, epochs: int = 0) -> list[str]:
        """Return the words of a command that trains the experiment into a folder."""
        more = {
            "train": ("--vary", "model_options.hidden=[16]"),
            "run": ("--seeds", "2"),
            # One after another: these engines give the same bits in any company.
            "sweep": ("--engine", "map", "--chunk", "4", "--no-compare-alone"),
            "compare": ("--trials", "2", "--seeds", "2", "--engine", "loop"),
        }[command]
        epochs = epochs or (30 if self.short else 60)
        given = (*FLAGS, "--epochs", str(epochs), *more, "--out", str(out))
        named = [str(self.experiment)] * (command != "train")
        return [command, *named, *given]

    def fork(self, work: Callable[[], int | None]) -> "Child":
        """Begin a child that does `work` and ends with its exit code."""
        log = self.fresh("log")
        child = os.fork()
        if child:
            return Child(child, log)
        code = 99
        try:
            opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(opened, 1)
            os.dup2(opened, 2)
            code = work() or 0
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)

    def command(self, words: list[str]) -> "Child":
        """Begin a child that is the `jaxwd` command."""

        def work() -> int:
            from jaxwd import cli

            return cli.main(words)

        return self.fork(work)

    def process(
        self, words: list[str], env: Mapping[str, str] | None = None
    ) -> "Child":
        """Begin `jaxwd` as a process of its own, for what happens at its very end."""
        log = self.fresh("log")
        with log.open("wb") as opened:
            made = subprocess.Popen(
                [sys.executable, "-m", "jaxwd", *words],
                stdout=opened,
                stderr=opened,
                env={**self.env, **(env or {})},
            )
        return Child(made.pid, log)


class Child:
    """A child process: waited for, killed, and what it said."""

    def __init__(self, pid: int, log: pathlib.Path) -> None:
        self.pid, self.log, self.began = pid, log, time.monotonic()
        self.code: int | None = None

    @property
    def said(self) -> str:
        """Return all it has said so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait(self, seconds: float = ENDS) -> int | None:
        """Return its exit code, negative for a signal; None if it has not ended."""
        deadline = time.monotonic() + seconds
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                return None
            else:
                time.sleep(0.005)
        return self.code

    def end(self) -> int:
        """Wait for its end; one that hangs is killed, and -9 returned."""
        code = self.wait()
        return self.kill() if code is None else code

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send a signal and return the exit code."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
        if number == signal.SIGKILL:
            return self.wait(ENDS) or 0
        return self.end()

    def until(self, condition: Callable[[], bool], seconds: float = ENDS) -> bool:
        """Wait until something holds; False where the child ended before."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self.wait(0.01) is not None or time.monotonic() > deadline:
                return condition()
        return True


def canonical(folder: pathlib.Path) -> str:
    """Return all of a folder's ledgers that does not depend on time or interruptions."""
    from jaxwd.lab.ledger import Ledger

    texts = []
    for path in sorted(folder.rglob("ledger.sqlite")):
        with Ledger(path, readonly=True) as ledger:
            texts.append(ledger.canonical())
    return "\n".join(texts)


def compared(got: str, wanted: str) -> tuple[int, int]:
    """Return how many runs of a canonical text are missing, and how many differ."""
    mine, reference = (
        {line[:40]: line for line in x.splitlines()} for x in (got, wanted)
    )
    lost = sum(
        key not in mine or '"status":"finished"' not in mine[key]
        for key, line in reference.items()
        if '"status":"finished"' in line
    )
    both = mine.keys() & reference.keys()
    return lost, sum(mine[key] != reference[key] for key in both)


def faulty(child: Child, codes: tuple[int, ...], *wanted: str) -> list[str]:
    """Return what is wrong with how a command ended: code, traceback, what it said."""
    said = child.said
    found = []
    if child.code not in codes:
        found.append(f"exit code {child.code} instead of {codes}: …{said[-300:]}")
    if "JAXWD_TRACEBACK" in said:
        found.append(f"an error that nobody foresaw: …{said[-300:]}")
    if "Traceback" in said:
        at = said.index("Traceback")
        found.append(f"a traceback: …{said[max(0, at - 200) : at + 2000]}")
    missing = [words for words in wanted if words not in said]
    if missing:
        found.append(f"did not say {missing}: …{said[-300:]}")
    return found
