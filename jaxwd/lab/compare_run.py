"""From flags to a finished comparison: data, tuning, final runs, report."""

import functools
import json
import pathlib
from collections.abc import Callable
from typing import Any

from jaxwd import runtime, terminal
from jaxwd.errors import Diverged
from jaxwd.lab.compare_command import margin_of
from jaxwd.lab.comparing import Budget, compare
from jaxwd.lab.comparison_progress import comparison_progress
from jaxwd.lab.controls import with_controls
from jaxwd.lab.engines import run_many
from jaxwd.lab.engines.solo import SpeedUp, alone
from jaxwd.lab.engines.table import engine as engine_of
from jaxwd.lab.experiment import check_recipe, decayed_leaves, load_data
from jaxwd.lab.ledger import Ledger
from jaxwd.lab.ledger.file import FILE, writable_folder
from jaxwd.lab.study import Study
from jaxwd.lab.tuning import plan
from jaxwd.losses import task
from jaxwd.report import summary, verdict, write_report
from jaxwd.report.html import write_html
from jaxwd.report.noted import note_study
from jaxwd.report.page import tables_of
from jaxwd.training.parallel import layout


def execute(name: str, about: str, arms: Callable, flags: Any) -> pathlib.Path:
    """Run a comparison with given flags and return the path of its report."""
    console = terminal.console()
    device = runtime.setup(flags.device, cache=flags.cache, cpu_devices=runtime.cores())
    loaded = load_data(flags)
    folder = flags.out or pathlib.Path("runs") / name
    study, mask = compared(about, arms(flags, loaded), loaded, flags, folder, device)
    for table in tables_of(study):
        console.print(table(study).rich(console.width))
    page = write_report(study, folder, mask)
    html = write_html(study, (), page.with_suffix(".html"), mask=mask)
    note_study(folder, study, mask)
    text = json.dumps(summary(study), ensure_ascii=False, indent=1, allow_nan=False)
    path = folder / "comparison.json"
    path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    console.print(verdict(study), highlight=False)
    if flags.compare_alone and study.epoch_seconds and any(study.finals.values()):
        arm = next(arm for arm in study.arms if study.finals[arm.name])
        speed_up = SpeedUp(study.epoch_seconds, *alone(arm.recipe, loaded))
        console.print(str(speed_up), highlight=False)
    console.print(f"report: {page} and {html.name}")
    if not any(study.finals.values()):
        raise Diverged("every run diverged; lower --learning-rate or --strength")
    return page


def compared(
    about: str, arms: list, data: Any, flags: Any, folder: pathlib.Path, device: str
) -> tuple[Study, str]:
    """Tune and train under progress bars; return the study and which leaves decay."""
    console = terminal.console()
    for arm in arms:
        if arm.tune:
            plan(arm, data, flags.trials, flags.search, flags.search_seed)
        else:
            check_recipe(arm.recipe, data)
    arms = with_controls(arms)
    mask = decayed_leaves(arms, data)
    layout(flags.layout, flags.batch_size, parts=flags.accumulate)
    if flags.engine != "auto":
        engine_of(flags.engine)
    budget = Budget(
        flags.trials,
        flags.tune_seeds,
        flags.seeds,
        flags.search,
        flags.search_seed,
        flags.select,
    )
    # All that can be refused is refused by now, before anything is written.
    ledgers = [Ledger(writable_folder(f) / FILE) for f in (folder, folder / "tuning")]
    question = about.strip().splitlines()[0]
    tuned = [arm.name for arm in arms if arm.tune]
    runs = len(tuned) * flags.trials * flags.tune_seeds
    console.print(question, style="bold")
    console.print(f"{data}")
    console.print(
        f"tuning: {len(tuned)} arms × {flags.trials} trials × {flags.tune_seeds} "
        f"seed{'s' * (flags.tune_seeds > 1)}; then {len(arms)} arms × {flags.seeds} fresh "
        f"seeds; {flags.epochs} epochs each, {device}"
    )
    if mask:
        console.print(mask.splitlines()[-1])
    score = task(data.task).score_name
    names = [arm.name for arm in arms]
    finals = len(arms) * flags.seeds
    drawn = comparison_progress(names, runs + finals, flags.epochs, score, console)
    many = functools.partial(run_many, engine=flags.engine)
    with ledgers[0] as finals, ledgers[1] as trials, drawn as progress:
        study = compare(
            arms,
            data,
            budget=budget,
            margin=margin_of(flags, score),
            question=question,
            ledger=finals,
            tuning_ledger=trials,
            watcher=progress.final,
            tuning_watcher=progress.tuning,
            examples=flags.examples,
            layout=flags.layout,
            run_many=many,
        )
    return study, mask
