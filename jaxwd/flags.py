"""The flags every experiment shares. Reading them needs neither JAX nor TFDS."""

import os
import pathlib
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, make_dataclass
from types import ModuleType
from typing import Any, TypeVar

from jaxwd.errors import Diverged, InputError, require, unknown
from jaxwd.signals import Terminated, arrived, terminable
from jaxwd.terminal import one_line, take_any_letter

F = TypeVar("F")

MOST = 1_000_000
"""Of epochs, seeds, trials: lists of more would fill the memory before anything ran."""
DECAYS = ("penalized", "coupled", "decoupled", "proximal")
MODIFIERS = (
    *("cautious", "tangent", "to_init", "to_ema", "to_norm"),
    *("stable", "awd", "adadecay", "alpha_decay", "auto_l2"),
)


@dataclass(frozen=True)
class Flags:
    """What is trained, how, on what; every choice of an experiment."""

    dataset: str = "fashion_mnist_12k"
    """A name of `jaxwd list datasets`, tfds:NAME, folder:PATH (a sub-folder a class), or
    text:PATH."""
    train_examples: int | None = None
    """Use only this many training examples, classes in balance."""
    model: str = "cnn"
    """A name of `jaxwd list models`."""
    init: str = "lecun"
    """How weights start: lecun, glorot, he, orthogonal, normal, he_dropout."""
    optimizer: str = "sgd"
    """A name of `jaxwd list optimizers`."""
    learning_rate: float = 0.1
    """Peak learning rate α."""
    schedule: str = "constant"
    """Shape of the learning rate, a name of `jaxwd list schedules`."""
    warmup: int = 0
    """Steps of linear rise before the schedule's shape begins."""
    clip: str | None = None
    """Gradient clip before decay: value, global_norm, block_norm, adaptive."""
    clip_at: float = 1.0
    """Threshold of the clip."""
    decay: str = "coupled"
    """penalized (L2 in the loss), coupled (in the gradient), decoupled (beside a step),
    proximal (on the finished step)."""
    strength: float = 5e-4
    """λ, in the scheme's own unit."""
    times: str = "lr"
    """What multiplies λ in decoupled and proximal decay: lr, schedule, constant,
    corrected, lr_squared."""
    penalty: str = "half_l2"
    """Shape of the penalty, penalized or proximal: half_l2, l2, l1, elastic_net,
    group_lasso; penalized also l2_per_example (m = batch), soft_orthogonality, spectral."""
    modify: tuple[str, ...] = ()
    """Further choices, in order: cautious, tangent, to_init, to_ema, to_norm, stable, awd,
    adadecay, alpha_decay, auto_l2."""
    dropout: float = 0.5
    """Dropout rate of the arms with dropout, before the output layer."""
    label_noise: float = 0.0
    """Share of the training labels that are made wrong, once, by the seed."""
    batch_size: int = 32
    """Examples a step."""
    accumulate: int = 1
    """Take a step's batch in so many parts, for less memory."""
    precision: str = "float32"
    """float32, mixed (bfloat16 passes over float32 weights), bfloat16,
    bfloat16_stochastic (rounded by chance); decay is computed in float32 always."""
    average: float | None = None
    """β of a moving average of the weights, which is then what is measured."""
    remat: str | None = None
    """What the backward pass computes again to save memory: elementwise, or blocks
    (resnet18, wrn, vit, gpt)."""
    epochs: int = 20
    """Passes over the training examples."""
    seeds: int = 5
    """Paired seeds an arm."""
    device: str = "auto"
    """auto, cpu, gpu or tpu."""
    layout: str = "single"
    """How a batch is spread over devices: single, sharded, shard_map, pmap, or fsdp, which
    spreads weights too."""
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
    out: pathlib.Path | None = None
    """Folder of the results, default runs/NAME; finished runs in it are not run again."""
    cache: bool = True
    """Keep compiled programs on disk for the next start."""

    def check(self) -> None:
        """Raise `InputError` for values that no experiment can use."""
        require("--epochs", self.epochs, 1, MOST)
        require("--batch-size", self.batch_size, 1)
        require("--seeds", self.seeds, 1, MOST)
        require("--strength", self.strength, 0.0)
        require("--learning-rate", self.learning_rate, 0.0)
        require("--dropout", self.dropout, 0.0, 1.0)
        if self.decay not in DECAYS:
            raise unknown("decay", self.decay, DECAYS)
        if self.penalty != "half_l2" and self.decay not in ("penalized", "proximal"):
            raise InputError(
                f"--penalty {self.penalty} goes with --decay penalized and proximal only; "
                "decay would stand in the loss and in the optimizer (--decay "
                f"{self.decay})"
            )
        if self.times != "lr" and self.decay not in ("decoupled", "proximal"):
            raise InputError(
                f"--times {self.times} goes with --decay decoupled and proximal only, not "
                f"with --decay {self.decay}"
            )
        for name in self.modify:
            if name not in MODIFIERS:
                raise unknown("modify", name, MODIFIERS)


def parse(
    kind: type[F], name: str, description: str, arguments: Sequence[str] | None
) -> F:
    """Return the flags given on a command line.

    Args:
        kind: a dataclass; each field is a flag and the string below it its help.
        name: the program's name for the help text.
        description: shown above the flags; default the dataclass's docstring.
        arguments: the words after the program's name; default those of the process.
    """
    import tyro

    return tyro.cli(kind, prog=name, description=description or None, args=arguments)


def flags_of(module: ModuleType) -> type[Flags]:
    """Return the one dataclass derived from `Flags` that a module defines, or `Flags`.

    Raises:
        InputError: it defines several.
    """
    own = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, Flags)
        and kind.__module__ == module.__name__
    ]
    if len(own) > 1:
        names = ", ".join(kind.__name__ for kind in own)
        raise InputError(f"{module.__name__} defines several sets of flags: {names}")
    return own[0] if own else Flags


def joined(flags: type[Flags], words: type, *fields: tuple[str, type, object]) -> Any:
    """Return an experiment's flags with a command's words behind them.

    What the experiment sets itself is its default.

    Args:
        flags: of the experiment.
        words: of the command; flags that have them already are returned as they are.
        fields: further ones, as (name, type, default).
    """
    if issubclass(flags, words):
        return flags
    bases = (words,) if issubclass(words, flags) else (flags, words)
    made = make_dataclass(flags.__name__, fields, bases=bases, frozen=True)
    made.__doc__ = flags.__doc__
    return made


def guarded(command: Callable[[], object]) -> int:
    """Run a command and turn what people do wrong into one line and an exit code.

    Returns:
        0 when it worked; 1 where the system refused (a full disk), or where a program
        failed, jaxwd or the experiment (`JAXWD_TRACEBACK=1` shows all of it); 2 for bad
        input; 3 where every training diverged; 130 after Ctrl-C, 143 after SIGTERM,
        129 after SIGHUP.
    """
    take_any_letter()
    try:
        with terminable():
            command()
    except InputError as error:
        return _said(2, error)
    except Diverged as error:
        return _said(3, error)
    except KeyboardInterrupt as error:
        return _stopped(error.code - 128 if isinstance(error, Terminated) else None)
    except BrokenPipeError:  # the reader, `head` perhaps, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if (number := arrived()) is not None:  # a library made an error of the signal
            return _stopped(number)
        if isinstance(error, OSError):
            return _said(1, error)
        if os.environ.get("JAXWD_TRACEBACK"):
            raise
        return _said(1, f"{_in_words(error)}; JAXWD_TRACEBACK=1 shows the whole of it")
    return 0


def _stopped(number: int | None) -> int:
    """Say how to go on after a signal, Ctrl-C by default; return the exit code."""
    number = number or signal.SIGINT
    by = "interrupted" if number == signal.SIGINT else signal.Signals(number).name
    said = f"{by}; finished runs are kept, the same command goes on"
    print(said, file=sys.stderr)
    return 128 + number


def _said(code: int, error: object) -> int:
    print(f"error: {one_line(error)}", file=sys.stderr)
    return code


def _in_words(error: Exception) -> str:
    """Return kind, message and place of an error that nobody foresaw."""
    said = str(error).strip().partition("\n")[0]
    named = f"{type(error).__name__}: {said}".removesuffix(": ")
    if isinstance(error, SyntaxError):  # says itself where it is
        return named
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{named} ({last.filename}, line {last.lineno})"
