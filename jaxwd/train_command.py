"""`jaxwd train`: one training, long or short, that goes on where it was stopped."""

import contextlib
import json
import pathlib
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from jaxwd.errors import Diverged, InputError, require
from jaxwd.flags import Flags, guarded, parse

_ABOUT = """Train one recipe and keep its state after every epoch. The same command goes on
where it was stopped, by Ctrl-C, SIGTERM, kill -9 or a power cut, and ends with the same
bits as if it had not been; of a finished training it says so."""
RECIPE, CHECKPOINTS, ARM = "recipe.json", "checkpoints", "training"
_WITHOUT_EFFECT = ("seeds",)


@dataclass(frozen=True)
class TrainFlags(Flags):
    """The shared flags, with what one training adds."""

    dropout: float = 0.0
    """Dropout rate, before the output layer where the model is cnn or mlp."""
    seed: int = 0
    """Root of every random draw: start, order, dropout."""
    vary: tuple[str, ...] = ()
    """Further fields of the recipe as PATH=VALUE, such as optimizer_options.momentum=0.95
    or model_options.hidden=[64,64]."""
    devices: int | None = None
    """How many devices take part in a layout; default all."""
    stream: str | None = None
    """Data read while it is trained on, for more than the memory holds, in place of
    --dataset: npy:FOLDER, array_record:PATH, folder:PATH, tfds:NAME. Needs
    jaxwd[stream]."""
    every_steps: int | None = None
    """With --stream: keep the state after so many steps of an epoch too."""
    out: pathlib.Path | None = None
    """Folder of checkpoints, ledger and recipe; default runs/train-DIGEST."""
    keep: int = 3
    """Checkpoints that stay."""
    export: pathlib.Path | None = None
    """Write weights (safetensors), forward pass (StableHLO) and normalisation here."""
    export_for: tuple[str, ...] = ()
    """Platforms of the forward pass: cpu, cuda, rocm, tpu; default where it was trained."""

    def check(self) -> None:
        """Raise `InputError` for values that no training can use."""
        super().check()
        require("--keep", self.keep, 1)
        for flag in _WITHOUT_EFFECT:
            if getattr(self, flag) != getattr(Flags, flag):
                raise InputError(f"--{flag} has no effect here: give --seed")
        if self.every_steps is not None:
            require("--every-steps", self.every_steps, 1)
            if self.stream is None:
                raise InputError("--every-steps needs --stream NAME")
        if self.stream is not None and self.dataset != Flags.dataset:
            raise InputError("--dataset has no effect beside --stream; leave it away")
        if self.export_for and self.export is None:
            raise InputError("--export-for needs --export FOLDER")


def command(words: list[str]) -> int:
    """Train the recipe that the flags describe; return the exit code."""

    def run() -> None:
        flags = parse(TrainFlags, "jaxwd train", _ABOUT, words)
        flags.check()
        if flags.stream is not None:
            flags = replace(flags, dataset=flags.stream)
        with stopping:
            execute(flags, stopping)

    stopping = Stopping()
    try:
        return guarded(run)
    except Stopped as stopped:
        if stopping.begun:
            print(
                f"stopped by {stopped}; what was trained is kept\n"
                f"resume with: {shlex.join(['jaxwd', 'train', *words])}",
                file=sys.stderr,
            )
        else:
            print(f"stopped by {stopped} before training began", file=sys.stderr)
        return stopped.code


def execute(flags: TrainFlags, stopping: "Stopping") -> Any:
    """Train with given flags and return the result, None where it stood in the ledger."""
    from jaxwd import runtime, terminal
    from jaxwd.lab.experiment import check_recipe, decayed_leaves
    from jaxwd.lab.ledger import FILE, Ledger, writable_folder
    from jaxwd.lab.study import Arm, run_study
    from jaxwd.losses import task
    from jaxwd.report.noted import note
    from jaxwd.training import run, run_streamed
    from jaxwd.training.parallel import layout

    console = terminal.console(soft_wrap=True)  # paths and commands are copied from it
    spread = flags.devices if flags.layout != Flags.layout else None
    device = runtime.setup(flags.device, cache=flags.cache, cpu_devices=spread)
    data = _data(flags)
    recipe = recipe_of(flags)
    check_recipe(recipe, data)
    layout(flags.layout, recipe.batch_size, flags.devices)
    # All that can be refused is refused by now, before anything is written.
    folder = flags.out or pathlib.Path("runs") / f"train-{recipe.digest()}"
    kept = _Kept(folder / CHECKPOINTS, flags.keep, stopping, console.print)
    _write_recipe(writable_folder(folder), recipe)
    console.print(f"{recipe}, seed {recipe.seed}", highlight=False)
    console.print(f"{data}")
    console.print(f"{recipe.epochs} epochs, {device}, state kept in {kept.folder}")
    arm, score = Arm(ARM, recipe), task(data.task).score_name
    examples = {ARM: recipe.train_examples or data.train.examples}
    mask = decayed_leaves([arm], data)
    asked = (str(recipe), [arm], str(data), examples, score, mask)
    note(folder, *asked, seeds=[recipe.seed])
    results = []

    def train(recipe: Any, data: Any, **how: Any) -> Any:
        how |= {"devices": flags.devices, "checkpoints": kept}
        if flags.stream is None:
            result = run(recipe, data, **how)
        else:
            result = run_streamed(recipe, data, every_steps=flags.every_steps, **how)
        results.append(result)
        return result

    with (
        kept,
        Ledger(folder / FILE) as ledger,
        _epochs(recipe, score, console) as drawn,
    ):
        drawn.stopping, drawn.kept = stopping, kept
        study = run_study(
            [arm],
            [recipe.seed],
            data,
            question=str(recipe),
            ledger=ledger,
            layout=flags.layout,
            watcher=drawn,
            runner=train,
        )
        stopping.begun = False  # all is kept, another start would only say so
        if flags.export is not None and study.finals[ARM] and not results:
            train(recipe, data, layout=flags.layout)  # is complete: reads the weights
    if not study.finals[ARM]:
        raise Diverged(next(iter(study.diverged[ARM].values())))
    if study.reused:
        console.print(f"finished before; remove {folder} to train it anew")
    final = study.finals[ARM][recipe.seed]
    measured = [f"{k.replace('_', ' ')} {final[k]:.4f}" for k in _shown(final, score)]
    console.print(", ".join(measured), highlight=False)
    if flags.export is not None:
        from jaxwd.export import export

        for path in export(
            flags.export, results[-1], data, platforms=flags.export_for or None
        ):
            console.print(f"wrote {path}", highlight=False)
    console.print(
        f"jaxwd report {shlex.quote(str(folder))} makes a page of it",
        highlight=False,
    )
    return results[-1] if results else None


def _data(flags: TrainFlags) -> Any:
    """Return the data set or the stream that flags name."""
    if flags.stream is None:
        from jaxwd.lab.experiment import load_data

        return load_data(flags)
    from jaxwd.data.streams import require_grain, stream

    require_grain()
    return stream(
        flags.stream,
        image_size=flags.image_size,
        grayscale=flags.grayscale,
        data_dir=flags.data_dir,
        manual_dir=flags.manual_dir,
        context=flags.context,
    )


def recipe_of(flags: TrainFlags) -> Any:
    """Return the recipe that the flags describe, all of it.

    >>> recipe_of(TrainFlags(seed=3, vary=("model_options.hidden=[8,8]",))).model_options
    (('init', 'lecun'), ('hidden', (8, 8)))
    """
    from jaxwd.lab.experiment import recipe, scheme
    from jaxwd.lab.grid import vary

    made = replace(
        recipe(flags), decay=scheme(flags), dropout=flags.dropout, seed=flags.seed
    )
    for word in flags.vary:
        path, equals, text = word.partition("=")
        if not equals:
            raise InputError(f"--vary {word} is not allowed; give PATH=VALUE")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        made = vary(made, path, tuple(value) if isinstance(value, list) else value)
    return made


def _write_recipe(folder: pathlib.Path, recipe: Any) -> None:
    """Write the recipe into its folder, or refuse the folder of another one."""
    from jaxwd.training.checkpoint_paper import differences

    path = folder / RECIPE
    values = json.loads(json.dumps(recipe.to_dict()))
    if path.is_file():
        try:
            there = json.loads(path.read_text(encoding="utf-8"))["recipe"]
        except (ValueError, KeyError, TypeError):
            there = values  # damaged: the checkpoints know it too
        unlike = list(differences(there, values))
        if unlike:
            raise InputError(
                f"{folder} holds the training of another recipe: {', '.join(unlike[:3])}; "
                "give another --out, or the flags it was begun with"
            )
    text = json.dumps({"recipe": values, "digest": recipe.digest()}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def _shown(final: dict[str, float], score: str) -> Iterator[str]:
    for part in ("train", "validation", "test"):
        for name in ("loss", score):
            if f"{part}_{name}" in final:
                yield f"{part}_{name}"


# --- stopping ----------------------------------------------------------------------------


class Stopped(BaseException):
    """Ctrl-C or SIGTERM; `guarded` lets it pass."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


class Stopping:
    """What to do at Ctrl-C and SIGTERM: the first ends the training behind this epoch.

    While nothing is trained, and at the second one, it ends at once. The save under way
    is waited for in any case.

    Attributes:
        training: whether there is an epoch under way.
        begun: whether there is something to go on with.
    """

    def __init__(self) -> None:
        self.training = self.begun = False
        self._asked = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stopping":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._got)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def check(self) -> None:
        """Raise `Stopped` where somebody asked for it."""
        if self._asked:
            raise Stopped(self._asked)

    def _got(self, number: int, _: object) -> None:
        if self._asked or not self.training:
            raise Stopped(number)
        self._asked = number
        print(
            f"\n{signal.Signals(number).name}: stopping behind this epoch, a second "
            "one stops at once",
            file=sys.stderr,
        )


class _Kept:
    """Checkpoints that say when training begins and where it goes on.

    A thin layer, so that Orbax and JAX are loaded when they are needed.
    """

    def __new__(
        cls,
        folder: pathlib.Path,
        keep: int,
        stopping: Stopping,
        say: Callable[..., None],
    ) -> Any:
        from jaxwd.training.checkpoints import Checkpoints

        class Kept(Checkpoints):
            def latest(self, *given: Any) -> Any:
                saved = super().latest(*given)
                stopping.training = stopping.begun = True
                if saved is not None:
                    done = len(saved.progress["history"])
                    say(f"going on behind epoch {done}, step {saved.step}")
                return saved

        return Kept(folder, keep=keep, says=lambda words: say(f"note: {words}"))


# --- progress ----------------------------------------------------------------------------


@contextlib.contextmanager
def _epochs(recipe: Any, score: str, console: Any) -> Iterator[Any]:
    """Yield a watcher: a bar with the time left, or a line now and then."""
    from jaxwd.lab.progress import epochs_bar

    bar = epochs_bar(console)
    watcher = _Watcher(bar, recipe.epochs, score)
    if not console.is_terminal:
        yield watcher
        return
    with bar:
        yield watcher


class _Watcher:
    """Draws, and ends the training where somebody asked for it."""

    every = 2.0
    """Seconds between two lines where nothing is drawn."""

    def __init__(self, bar: Any, epochs: int, score: str) -> None:
        self.bar, self.epochs, self.score = bar, epochs, score
        self.task = bar.add_task("compiling", total=epochs)
        self.stopping: Stopping = Stopping()
        self.kept: Any = None
        self.said = float("-inf")

    def epoch(self, arm: str, seed: int, row: dict[str, float]) -> None:
        """Draw an epoch; those before a stop count, and say nothing of the speed."""
        found = self.kept.restored
        old = found is not None and row["epoch"] <= len(found.progress["history"])
        score = f"validation {self.score} {row[f'validation_{self.score}']:.4f}"
        self.bar.update(self.task, description=score)
        if old:
            self.bar.reset(self.task, total=self.epochs, completed=row["epoch"])
            return
        self.bar.update(self.task, completed=row["epoch"])
        last = row["epoch"] == self.epochs
        if not self.bar.console.is_terminal and (
            last or row["seconds"] - self.said >= self.every
        ):
            self.said = row["seconds"]
            self.bar.console.print(
                f"epoch {row['epoch']} of {self.epochs}: loss {row['running_loss']:.4f}, "
                f"{score}, {row['seconds']:.1f} s",
                highlight=False,
            )
        if not last:
            self.stopping.check()

    def done(self, arm: str, seed: int, outcome: Any, reused: bool) -> None:
        """Learn that it ended."""
        self.stopping.training = False

    def waiting(self, runs: int) -> None:
        """Say that another process is at it."""
        self.bar.console.print("another process is at this training; waiting for it")
