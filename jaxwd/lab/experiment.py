"""From flags to a finished report: what every experiment file calls."""

import pathlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from jaxwd.errors import Diverged
from jaxwd.flags import Flags, guarded, parse


def experiment(
    name: str,
    about: str | None,
    arms: Callable,
    arguments: Sequence[str] | None = None,
    *,
    flags: type[Flags] = Flags,
) -> int:
    """Run an experiment from the command line and return its exit code.

    Args:
        name: of the experiment; results go to `runs/NAME` unless `--out` says else.
        about: the file's docstring; its first line is the question.
        arms: `function(flags, data) → list[Arm]`.
        arguments: words of the command line; default those of the process.
        flags: `Flags`, or a dataclass derived from it with other defaults.
    """

    def command() -> None:
        given = parse(flags, name, about or "", arguments)
        given.check()
        execute(name, about or name, arms, given)

    return guarded(command)


def execute(name: str, about: str, arms: Callable, flags: Flags) -> pathlib.Path:
    """Run an experiment with given flags and return the path of its report."""
    from jaxwd import runtime, terminal
    from jaxwd.lab.ledger import FILE, Ledger, writable_folder
    from jaxwd.lab.progress import progress
    from jaxwd.lab.study import run_study
    from jaxwd.losses import task
    from jaxwd.report import (
        decay_table,
        fit_table,
        result_table,
        verdict,
        write_report,
    )
    from jaxwd.report.html import write_html
    from jaxwd.report.noted import note
    from jaxwd.training.parallel import layout

    console = terminal.console()
    device = runtime.setup(flags.device, cache=flags.cache)
    loaded = load_data(flags)
    alternatives = arms(flags, loaded)
    for arm in alternatives:
        check_recipe(arm.recipe, loaded)
    question = about.strip().splitlines()[0]
    mask = decayed_leaves(alternatives, loaded)
    layout(flags.layout, flags.batch_size, parts=flags.accumulate)
    # All that can be refused is refused by now, before anything is written.
    folder = writable_folder(flags.out or pathlib.Path("runs") / name)
    ledger = Ledger(folder / FILE)
    console.print(question, style="bold")
    console.print(f"{loaded}")
    runs = len(alternatives) * flags.seeds
    console.print(
        f"{len(alternatives)} arms × {flags.seeds} seeds × {flags.epochs} epochs, {device}"
    )
    if mask:
        console.print(mask.splitlines()[-1])
    everything, scored = loaded.train.examples, task(loaded.task).score_name
    used = {a.name: a.recipe.train_examples or everything for a in alternatives}
    asked = (question, alternatives, str(loaded), used, scored, mask)
    note(folder, *asked, seeds=list(range(flags.seeds)))

    names = [arm.name for arm in alternatives]
    score = task(loaded.task).score_name
    with ledger, progress(names, runs, flags.epochs, score, console) as watcher:
        study = run_study(
            alternatives,
            range(flags.seeds),
            loaded,
            question=question,
            ledger=ledger,
            layout=flags.layout,
            watcher=watcher,
        )
    for table in (result_table, fit_table, decay_table):
        console.print(table(study).rich(console.width))
    page = write_report(study, folder, mask)
    console.print(verdict(study), highlight=False)
    html = write_html(study, (), page.with_suffix(".html"), mask=mask)
    console.print(f"report: {page} and {html.name}")
    if not any(study.finals.values()):
        raise Diverged("every run diverged; lower --learning-rate or --strength")
    return page


def load_data(flags: Flags):
    """Return the data set that flags name."""
    from jaxwd.data import load

    return load(
        flags.dataset,
        image_size=flags.image_size,
        grayscale=flags.grayscale,
        data_dir=flags.data_dir,
        manual_dir=flags.manual_dir,
        context=flags.context,
    )


def recipe(flags: Flags):
    """Return the recipe that flags describe, without decay and dropout."""
    from jaxwd.training import Recipe

    return Recipe(
        dataset=flags.dataset,
        train_examples=flags.train_examples,
        model=flags.model,
        model_options=(("init", flags.init),),
        optimizer=flags.optimizer,
        learning_rate=flags.learning_rate,
        schedule=flags.schedule,
        warmup=flags.warmup,
        clip=flags.clip,
        clip_at=flags.clip_at,
        label_noise=flags.label_noise,
        accumulate=flags.accumulate,
        precision=flags.precision,
        average=flags.average,
        remat=flags.remat,
        batch_size=flags.batch_size,
        epochs=flags.epochs,
    )


def scheme(flags: Flags):
    """Return the decay scheme that flags describe."""
    from jaxwd import decay

    words: dict = {"penalty": flags.penalty}
    if flags.decay in ("decoupled", "proximal"):
        words["times"] = flags.times
    if flags.penalty == "l2_per_example":
        words["examples"] = flags.batch_size
    made = getattr(decay, flags.decay)(flags.strength, **words)
    for modifier in flags.modify:
        made = getattr(decay, modifier)(made)
    return made


def check_recipe(recipe, data) -> None:
    """Refuse bad recipes before anything is written."""
    from jaxwd.models import initializer
    from jaxwd.training.loop import check

    initializer(dict(recipe.model_options).get("init", "lecun"))
    check(
        recipe,
        data if recipe.train_examples is None else data.take(recipe.train_examples),
    )


def decayed_leaves(arms, data) -> str:
    """Return which leaves decay, as text, for the first arm that decays."""
    import jax

    from jaxwd.masks import mask_report
    from jaxwd.schedules import value_at
    from jaxwd.training.parts import model_of

    decayed = [arm.recipe for arm in arms if arm.recipe.decay.kind != "none"]
    if not decayed:
        return ""
    chosen = replace(decayed[0], seed=0)
    model = model_of(chosen, data.outputs)
    example = jax.ShapeDtypeStruct(data.input_shape, data.input_dtype)
    params, _ = jax.eval_shape(
        lambda key, x: model.init(key, x, value_at(chosen.dropout, 0)),
        jax.random.key(0),
        example,
    )
    return str(mask_report(chosen.decay.where, params))
