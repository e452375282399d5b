"""`jaxwd train`: one training, long or short, that goes on where it was stopped."""

import pathlib
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from jaxwd.errors import Diverged, InputError
from jaxwd.flags import Flags, guarded, parse
from jaxwd.train.flags import TrainFlags, recipe_of, write_recipe
from jaxwd.train.stopping import Stopped, Stopping
from jaxwd.train.together import follow, leading
from jaxwd.train.watching import epochs, kept_in

_ABOUT = """Train one recipe and keep its state, by default after every epoch. The same
command goes on where it was stopped, by Ctrl-C, SIGTERM, kill -9 or a power cut, and ends
with the same bits as if it had not been; of a finished training it says so."""
CHECKPOINTS, ARM = "checkpoints", "training"


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
        code = guarded(run)
    except Stopped as stopped:
        if stopping.begun:
            print(
                f"stopped by {stopped}; what was trained is kept\n"
                f"resume with: {shlex.join(['jaxwd', 'train', *words])}",
                file=sys.stderr,
            )
        else:
            print(f"stopped by {stopped} before training began", file=sys.stderr)
        code = stopped.code
    if code:
        from jaxwd.training.processes import abandon

        abandon(code)  # where others still train
    return code


def execute(flags: TrainFlags, stopping: Stopping) -> Any:
    """Train with given flags and return the result, None where it stood in the ledger."""
    from jaxwd.training.processes import leave, tell

    try:
        result = _execute(flags, stopping)
    except (Stopped, Diverged) as end:
        if stopping.agreed or isinstance(end, Diverged):  # all end here, none is lost
            leave()
        raise
    except Exception as error:
        tell(error)
        raise
    leave()
    return result


def _execute(flags: TrainFlags, stopping: Stopping) -> Any:
    from jaxwd import runtime, terminal
    from jaxwd.lab.experiment import check_recipe, decayed_leaves
    from jaxwd.lab.ledger import FILE, Ledger, writable_folder
    from jaxwd.lab.study import Arm, run_study
    from jaxwd.losses import task
    from jaxwd.report.noted import note
    from jaxwd.training import run, run_streamed
    from jaxwd.training.parallel import layout
    from jaxwd.training.processes import expected, join

    spread = flags.devices if flags.layout != Flags.layout else None
    own = None if spread is None else -(-spread // expected(flags.processes))
    runtime.prepare(flags.device, cache=flags.cache, cpu_devices=own)
    me = join(flags.coordinator, flags.processes, flags.process)
    stopping.listen()
    if flags.every_steps is not None:
        stopping.where = f"within {flags.every_steps} steps"
    if me.count > 1 and flags.layout == Flags.layout:
        raise InputError(
            f"--layout {flags.layout} is for one process, here are {me.count}; give "
            "sharded, shard_map or fsdp"
        )
    # Paths and commands are copied from it.
    console = terminal.console(soft_wrap=True, quiet=me.index > 0)
    device = runtime.started(flags.device)
    streamed = flags.stream is not None or me.count > 1
    data = _data(flags, streamed)
    recipe = recipe_of(flags)
    check_recipe(recipe, data)
    layout(flags.layout, recipe.batch_size, flags.devices, recipe.accumulate)
    # All that can be refused is refused by now, before anything is written.
    folder = flags.out or pathlib.Path("runs") / f"train-{recipe.digest()}"
    kept = kept_in(
        folder / CHECKPOINTS, flags.keep, flags.every_epochs, stopping, console.print
    )
    results = []

    def train(recipe: Any, data: Any, **how: Any) -> Any:
        how |= {"devices": flags.devices, "checkpoints": kept}
        if streamed:
            how |= {"every_steps": flags.every_steps, "on_save": stopping.check}
            result = run_streamed(recipe, data, **how)
        else:
            result = run(recipe, data, **how)
        results.append(result)
        return result

    def each(row: dict[str, float]) -> None:
        if kept.fresh and not kept.old(row) and row["epoch"] < recipe.epochs:
            stopping.check()

    if me.index > 0:
        with kept:
            follow(lambda: train(recipe, data, layout=flags.layout, on_epoch=each))
        return results[-1] if results else None
    write_recipe(writable_folder(folder), recipe)
    console.print(f"{recipe}, seed {recipe.seed}", highlight=False)
    console.print(f"{data}")
    console.print(f"{recipe.epochs} epochs, {device}, state kept in {kept.folder}")
    arm, score = Arm(ARM, recipe), task(data.task).score_name
    examples = {ARM: recipe.train_examples or data.train.examples}
    mask = decayed_leaves([arm], data)
    asked = (str(recipe), [arm], str(data), examples, score, mask)
    note(folder, *asked, seeds=[recipe.seed])

    with (
        leading(train) as led,
        kept,
        Ledger(folder / FILE) as ledger,
        epochs(recipe, score, console) as drawn,
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
            runner=led,
        )
        stopping.begun = False  # all is kept, another start would only say so
        if flags.export is not None and study.finals[ARM] and not results:
            # Is complete as a rule, and reads the weights.
            led(recipe, data, layout=flags.layout, on_epoch=each)
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


def _data(flags: TrainFlags, streamed: bool) -> Any:
    """Return the data set or the stream that flags name."""
    if not streamed:
        from jaxwd.lab.experiment import load_data

        return load_data(flags)
    from jaxwd.data.streams import require_grain, stream

    require_grain()
    return stream(
        flags.stream or flags.dataset,
        image_size=flags.image_size,
        grayscale=flags.grayscale,
        data_dir=flags.data_dir,
        manual_dir=flags.manual_dir,
        context=flags.context,
    )


def _shown(final: dict[str, float], score: str) -> Iterator[str]:
    for part in ("train", "validation", "test"):
        for name in ("loss", score):
            if f"{part}_{name}" in final:
                yield f"{part}_{name}"
