"""A whole training: one compiled epoch after another, numbers out.

Nothing on disk but checkpoints, where they are asked for.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxwd.data import Dataset, load
from jaxwd.errors import InputError
from jaxwd.losses import task
from jaxwd.models import Model
from jaxwd.training.arrays import Arrays, arrays_of
from jaxwd.training.checkpoints import Checkpoints
from jaxwd.training.epochs import Row, require_finite, row_of
from jaxwd.training.parallel import layout as layout_of
from jaxwd.training.parts import chain_of, require_outputs
from jaxwd.training.precision import warn_of_lost_decay
from jaxwd.training.processes.agreed import require_agreed
from jaxwd.training.program import Program, compile_program
from jaxwd.training.recipe import Recipe
from jaxwd.training.step import State


@dataclass(frozen=True)
class Result:
    """What a training gave.

    Attributes:
        recipe: what was run.
        history: one row of metrics for each epoch.
        final: metrics at the end; `train_`, `validation_` and `test_` loss and score
            are measured without dropout on every example of the split.
        params: the trained parameters, on the host; their moving average where the
            recipe has one, as they were measured.
        seconds: wall time of training and evaluation, without compilation.
        compile_seconds: wall time of compilation, about 0 where a program was reused.
        images_per_second: training examples seen a second, evaluation left out.
        model_state: what the model changed without a gradient, on the host.
    """

    recipe: Recipe
    history: list[Row]
    final: Row
    params: Any
    seconds: float
    compile_seconds: float
    images_per_second: float
    model_state: Any = ()


def run(
    recipe: Recipe,
    data: Dataset | None = None,
    *,
    layout: str = "single",
    devices: int | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    checkpoints: Checkpoints | str | os.PathLike | None = None,
) -> Result:
    """Train `recipe` on `data` and return what came out; a pure function of both.

    Two runs of one recipe on one machine are identical bit for bit: every random draw
    comes from the recipe's seed by `fold_in` on purpose, epoch and step.

    Args:
        recipe: all that determines the training.
        data: a `Dataset`; default `jaxwd.load(recipe.dataset)`.
        layout: a row of `jaxwd.training.LAYOUTS`; how a batch is spread over devices,
            those of other processes among them: each has to hold all data then, while
            `run_streamed` reads each process's share.
        devices: how many devices take part; default all.
        on_epoch: called with the row of metrics after each epoch; where a training goes
            on, first with the rows of the epochs before, so that it sees every epoch.
        checkpoints: a folder, or `Checkpoints`. Each epoch's state (each n-th with
            `Checkpoints(folder, every=n)`) is saved there in the background, and what is
            found there goes on: a training that was stopped ends with the bits of one
            that was not, whose `seconds` alone differ; one that is complete is only
            evaluated. Another number of devices or layout may go on with it, to
            rounding.

    Raises:
        InputError: a batch larger than the data, dropout for a model that fixes its
            own, a batch that the devices cannot share evenly, checkpoints of another
            recipe or of other data.
        Diverged: the loss stopped being finite; names the step and the recipe.
        OSError: a checkpoint could not be written.

    >>> recipe = Recipe(dataset="friedman", model="mlp", epochs=2, learning_rate=0.01)
    >>> run(recipe).final["test_loss"] < 0.5
    True
    """
    data = load(recipe.dataset) if data is None else data
    if recipe.train_examples is not None:
        data = data.take(recipe.train_examples)
    check(recipe, data)
    spread = layout_of(layout, recipe.batch_size, devices, recipe.accumulate)
    if jax.process_count() > 1:
        require_agreed(recipe=recipe.digest(), data=data.fingerprint(), layout=layout)
    arrays = spread.place(arrays_of(data))
    started = time.perf_counter()
    program = compile_program(
        recipe.structure(), data.task, data.outputs, spread, spread.abstract(arrays)
    )
    compile_seconds = time.perf_counter() - started
    numbers = spread.place(jax.tree.map(jnp.float32, recipe.numbers()))
    root = spread.place(jax.random.key(recipe.seed))
    state = program.init(root, numbers, arrays)
    steps = recipe.steps_per_epoch(data.train.examples)
    score_name = task(data.task).score_name
    with opened(checkpoints) as kept:
        past = Past([], 0.0, 0.0)
        if kept is not None:
            require_agreed(checkpoints=kept.folder, every=kept.every)
            saved = kept.latest(state, recipe, data.fingerprint())
            if saved is not None:
                state, past = saved.state, Past(**saved.progress)
        # A copy: what was restored stays what it was.
        history, in_epochs = list(past.history), past.in_epochs
        started = time.perf_counter() - past.seconds
        if on_epoch is not None:
            for row in history:
                on_epoch(row)
        for epoch in range(len(history), recipe.epochs):
            began = time.perf_counter()
            index = spread.place(jnp.int32(epoch))
            state, losses, scores, info = program.epoch(
                state, numbers, root, index, arrays
            )
            losses, scores = np.asarray(losses), np.asarray(scores)
            in_epochs += time.perf_counter() - began
            require_finite(recipe, losses, epoch, steps)
            row = row_of(epoch, losses, scores, info._asdict(), score_name)
            row |= _evaluated(program, state, arrays, "validation", score_name)
            require_finite(recipe, np.array([row["validation_loss"]]), epoch, steps)
            row["seconds"] = time.perf_counter() - started
            history.append(row)
            if kept is not None and kept.due(epoch + 1, recipe.epochs):
                past = Past(history, in_epochs, row["seconds"])
                kept.save((epoch + 1) * steps, state, past._asdict())
            if on_epoch is not None:
                on_epoch(row)
        final = dict(history[-1])
        for part in ("train", "test"):
            final |= _evaluated(program, state, arrays, part, score_name)
        return Result(
            recipe,
            history,
            final,
            spread.on_host(state.measured),
            time.perf_counter() - started,
            compile_seconds,
            recipe.epochs * steps * recipe.batch_size / in_epochs,
            spread.on_host(state.model_state),
        )


class Past(NamedTuple):
    """What a checkpoint notes beside the state: the epochs so far.

    Attributes:
        history: their rows.
        in_epochs: seconds of training in them, evaluation left out.
        seconds: wall time of training and evaluation.
    """

    history: list[Row]
    in_epochs: float
    seconds: float


@contextlib.contextmanager
def opened(given: Any) -> Iterator[Checkpoints | None]:
    """Yield the checkpoints; whatever happens, the save under way ends first."""
    if given is None:
        yield None
    elif isinstance(given, Checkpoints):
        try:
            yield given
        finally:
            given.wait()
    else:
        with Checkpoints(given) as kept:
            yield kept


def check(recipe: Recipe, data: Dataset) -> None:
    """Refuse what a program could not see, because numbers are its inputs."""
    steps = recipe.steps_per_epoch(data.train.examples) * recipe.epochs
    chain_of(recipe, steps)
    if recipe.label_noise and data.task == "regression":
        raise InputError(
            f"label_noise={recipe.label_noise}: {data.name} is a {data.task} and has no "
            "labels to change; leave it 0"
        )
    fixes_its_own = isinstance(recipe.model, Model) and not recipe.model.takes_dropout
    if fixes_its_own and recipe.dropout != 0:
        raise InputError(
            f"dropout={recipe.dropout}: {recipe.model.name} fixes its own dropout "  # type: ignore[union-attr]
            "rates; set them in the module, or give its call a dropout_rate argument"
        )
    require_outputs(
        recipe.structure(),
        data.input_shape,
        data.outputs,
        data.input_dtype,
        data.output_shape,
    )
    warn_of_lost_decay(recipe, data.train.examples)


def _evaluated(
    program: Program, state: State, arrays: Arrays, part: str, score_name: str
) -> Row:
    loss, score = program.evaluate[part](
        state.measured,
        state.model_state,
        getattr(arrays, part),
        arrays.mean,
        arrays.scale,
    )
    return {f"{part}_loss": loss.item(), f"{part}_{score_name}": score.item()}
