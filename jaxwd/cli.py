"""The `jaxwd` command. JAX is imported only by what needs it."""

import importlib
import importlib.resources
import importlib.util
import pathlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

from tyro.conf import Positional

from jaxwd import __version__, listing
from jaxwd.errors import InputError, unknown
from jaxwd.flags import guarded, parse
from jaxwd.guide import commands

USAGE = f"""jaxwd {__version__}: the weight-decay laboratory for JAX

usage: jaxwd COMMAND [ARGUMENTS]

  run EXPERIMENT [FLAGS]   train an experiment's arms, print its tables, write a report;
                           EXPERIMENT is a file or a name such as article, optimizers
                           (`jaxwd run article --help` lists the flags)
  compare EXPERIMENT [FLAGS]
                           tune every arm alike on validation data, retrain the winners
                           on fresh paired seeds, and say what differs
  sweep EXPERIMENT [FLAGS] train its grid in as few programs as it has structures, into a
                           ledger; the same command goes on where it was stopped
  train [FLAGS]            one training that keeps its state: the same command goes on
                           where it was stopped; --export writes weights and program
  report RUNS              one HTML file of a folder of results, to open offline or mail
  explain [FLAGS]          what decay does to each leaf: shrink a step, half-life, traps
  convert LAMBDA --source A --target B
                           the same decay in another convention, or why there is none
  recommend --dataset-size N --batch-size B --epochs E --learning-rate LR
                           where to begin with the strength, beside published recipes
  ledger show|export|merge what a folder's runs are; as CSV, JSON, Parquet; several as one
  list [KIND]              what can be chosen by name: optimizers, schemes, schedules,
                           models, initializers, clips, datasets, conventions, scaling
  data NAME                fetch and decode a data set, and say what is in it
  doctor                   versions, devices, cache folder, and a first step on the device
  --version, --help

Errors are one line on the standard error; the exit code is 2 for bad input, 3 for a
diverged training, 130 after Ctrl-C, 143 after SIGTERM.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0
    if words[0] == "--version":
        print(f"jaxwd {__version__}")
        return 0
    command, rest = words[0], words[1:]
    if command not in COMMANDS:
        print(f"error: {unknown('command', command, COMMANDS)}", file=sys.stderr)
        return 2
    codes: list[int] = []
    return guarded(lambda: codes.append(COMMANDS[command](rest))) or codes[0]


def run(words: list[str]) -> int:
    """Run an experiment, by file or by name."""
    if words[:1] in (["-h"], ["--help"]):
        print(USAGE, end="")
        return 0
    if not words or words[0].startswith("-"):
        print(
            "error: run needs an experiment: a file, article or optimizers",
            file=sys.stderr,
        )
        return 2
    return load_experiment(words[0]).main(words[1:])


def load_experiment(name: str, needs: tuple[str, ...] = ("main",)) -> ModuleType:
    """Return the module of an experiment: a file, or one that ships with jaxwd.

    It has to define one of the functions `needs`.
    """
    shipped = _shipped()
    path = pathlib.Path(name)
    if path.suffix != ".py":
        if name not in shipped:
            raise unknown("experiment", name, shipped)
        path = shipped[name]
    if not path.is_file():
        raise InputError(f"experiment {name} is no file; or use: {', '.join(shipped)}")
    spec = importlib.util.spec_from_file_location(f"jaxwd_experiment_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    if not any(hasattr(module, function) for function in needs):
        takes = {"main": "main(arguments)", "grid": "grid(flags, data)"}
        wanted = " or ".join(takes.get(name, f"{name}(flags, data)") for name in needs)
        raise InputError(f"experiment {path} has no {wanted}; see experiments/")
    return module


def _shipped() -> dict[str, pathlib.Path]:
    """Return the experiments of a checkout, or of the installed package."""
    package = pathlib.Path(str(importlib.resources.files("jaxwd")))
    for folder in (package / "experiments", package.parent / "experiments"):
        files = sorted(folder.glob("*.py"))
        if files:
            return {file.stem: file for file in files}
    return {}


@dataclass(frozen=True)
class DataWords:
    """Fetch and decode a data set, and say what is in it."""

    name: Positional[str]
    """A name of `jaxwd list datasets`, tfds:NAME, folder:PATH, or text:PATH."""
    image_size: int | None = None
    """Resize the pictures of folders and of mixed TFDS sets to this side."""
    grayscale: bool = False
    """Read a folder's pictures with one channel."""
    context: int | None = None
    """Characters in a sequence of a text, default 64."""
    data_dir: str | None = None
    """Where TFDS keeps prepared data; default $TFDS_DATA_DIR or ~/tensorflow_datasets."""
    manual_dir: str | None = None
    """A folder with data files you downloaded by hand."""


def data(words: list[str]) -> int:
    """Fetch and decode a data set, and say what is in it."""

    def command() -> None:
        given = parse(DataWords, "jaxwd data", "", words)
        import numpy as np

        from jaxwd.data import load

        found = load(
            given.name,
            image_size=given.image_size,
            grayscale=given.grayscale,
            data_dir=given.data_dir,
            manual_dir=given.manual_dir,
            context=given.context,
        )
        print(found)
        if found.task == "classification":
            counts = np.bincount(found.train.targets, minlength=len(found.classes))
            for name, count in zip(found.classes, counts, strict=True):
                print(f"  {count:7,}  {name}")

    return guarded(command)


@dataclass(frozen=True)
class DoctorWords:
    """Say what this installation is, and whether a first step works."""


def doctor(words: list[str]) -> int:
    """Say what this installation is, and whether a first step works."""

    def command() -> None:
        parse(DoctorWords, "jaxwd doctor", "", words)
        from jaxwd import runtime
        from jaxwd.lab.provenance import provenance

        device = runtime.setup()
        about = provenance()
        for name, version in about["versions"].items():
            print(f"{name:12}{version}")
        print(f"{'python':12}{about['python']}")
        print(f"{'processor':12}{about['processor']}, {about['cores']} cores")
        print(f"{'device':12}{device}")
        print(f"{'cache':12}{runtime.compilation_cache()}")
        import jaxwd as wd

        result = wd.run(wd.Recipe(train_examples=320, epochs=2))
        first, last = (row["running_loss"] for row in result.history)
        print(
            f"{'training':12}20 steps of the CNN: loss {first:.3f} to {last:.3f}, "
            f"compiled in {result.compile_seconds:.1f} s"
        )

    return guarded(command)


# Each is `command(words)` of a module that is loaded when it is called.
ELSEWHERE = {
    "explain": "jaxwd.probe.command",
    "compare": "jaxwd.lab.compare_command",
    "sweep": "jaxwd.lab.sweep",
    "ledger": "jaxwd.lab.ledger.command",
    "train": "jaxwd.train.command",
    "report": "jaxwd.report.command",
}


def _of(module: str) -> Callable[[list[str]], int]:
    return lambda words: importlib.import_module(module).command(words)


COMMANDS = {"run": run, "list": listing.list_names, "data": data, "doctor": doctor}
COMMANDS |= commands.COMMANDS | {name: _of(m) for name, m in ELSEWHERE.items()}


if __name__ == "__main__":
    raise SystemExit(main())
