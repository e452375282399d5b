"""`jaxwd sweep`: train a grid into a ledger, resumably, and say what was best."""

import pathlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from jaxwd.errors import Diverged, InputError, require
from jaxwd.flags import Flags, flags_of, guarded, joined, parse

_ABOUT = """Train the grid of an experiment file: its `grid(flags, data)`, which returns
members made by `jaxwd.lab.product` and its like, or else its arms with every seed, each
over a grid of the ranges it is tuned over. What has ended in the ledger is not run
again."""
_BEST = 5


@dataclass(frozen=True)
class SweepFlags(Flags):
    """The shared flags, with what a sweep adds."""

    engine: str = "auto"
    """auto (measures a few steps), loop, map, vmap, devices or devices+vmap; or ray:
    processes on this machine or a cluster."""
    chunk: int | None = None
    """The most members at a time; default by engine and memory."""
    halving: float | None = None
    """Stop all but the best 1/η by validation loss at each rung; 3 is usual."""
    points: int = 6
    """Of arms with ranges: how many values of each, from end to end."""
    compare_alone: bool = True
    """Time a member alone at the end, and print the speed-up."""
    address: str | None = None
    """Of a Ray cluster, HOST:PORT or auto; default $RAY_ADDRESS, or else a Ray of this
    machine's own. TLS and tokens are Ray's: RAY_USE_TLS, RAY_AUTH_MODE=token."""
    max_in_flight: int | None = None
    """Ray: the most workers at a time; default as many as there is room for."""
    worker_cpus: float = 1.0
    """Ray: cores for each worker."""
    worker_gpus: float = 0.0
    """Ray: GPUs for each worker; a fraction shares one."""
    worker_engine: str = "auto"
    """Ray: how each worker trains its members, as in --engine."""

    def check(self) -> None:
        """Raise `InputError` for values that no sweep can use."""
        super().check()
        if self.chunk is not None:
            require("--chunk", self.chunk, 1)
        require("--points", self.points, 1)
        if self.halving is not None:
            require("--halving", self.halving, 1.0, open_low=True)
        if self.layout != Flags.layout:
            raise InputError(
                "--layout has no effect here: a grid is spread by members; use --engine"
            )
        if self.engine != "ray":
            for name in _OF_RAY:
                if getattr(self, name) != getattr(SweepFlags, name):
                    flag = name.replace("_", "-")
                    raise InputError(f"--{flag} is for --engine ray only")
        elif self.halving is not None:
            raise InputError("--halving does not go with --engine ray; leave one out")
        elif self.device == "gpu" and not self.worker_gpus:
            raise InputError("--device gpu: say --worker-gpus 1 with --engine ray")


_OF_RAY = ("address", "max_in_flight", "worker_cpus", "worker_gpus", "worker_engine")


def command(words: list[str]) -> int:
    """Sweep the grid of the experiment that the words name; return the exit code."""
    if not words or words[0].startswith("-"):
        given = SweepFlags if words[:1] in (["-h"], ["--help"]) else None
        if given is not None:
            return guarded(lambda: parse(given, "jaxwd sweep FILE", _ABOUT, words))
        words = [""]

    def run() -> None:
        from jaxwd.cli import load_experiment

        if not words[0]:
            raise InputError("sweep needs an experiment: a file, or article")
        module = load_experiment(words[0], needs=("grid", "arms"))
        name = pathlib.Path(words[0]).stem
        kind = joined(flags_of(module), SweepFlags)
        flags = parse(kind, f"jaxwd sweep {words[0]}", _ABOUT, words[1:])
        flags.check()
        execute(name, module.__doc__ or name, grid_of(module), flags)

    return guarded(run)


def sweep(
    name: str,
    about: str | None,
    grid: Callable,
    arguments: Sequence[str] | None = None,
    *,
    flags: type[SweepFlags] = SweepFlags,
) -> int:
    """Run a grid from the command line, as `experiment` runs arms; for file's `main`.

    Args:
        name: results go to `runs/NAME` unless `--out` says else.
        about: the file's docstring; its first line is the question.
        grid: `function(flags, data) → list[Member]`.
        arguments: words of the command line; default those of the process.
        flags: `SweepFlags`, or a dataclass derived from it.
    """

    def run() -> None:
        given = parse(flags, name, about or "", arguments)
        given.check()
        execute(name, about or name, grid, given)

    return guarded(run)


def grid_of(module: ModuleType) -> Callable:
    """Return an experiment's grid, or its arms, ranges and seeds as one."""
    if hasattr(module, "grid"):
        return module.grid

    def arms_by_seeds(flags: SweepFlags, data: Any) -> list:
        from jaxwd.lab.grid import Member, product

        return [
            Member(member.recipe, (("arm", arm.name), *member.labels))
            for arm in module.arms(flags, data)
            for member in product(
                arm.recipe,
                {path: where.grid(flags.points) for path, where in arm.tune.items()}
                | {"seed": range(flags.seeds)},
            )
        ]

    return arms_by_seeds


def execute(name: str, about: str, grid: Callable, flags: SweepFlags) -> list:
    """Run a grid with given flags and return the outcomes."""
    from jaxwd import runtime, terminal
    from jaxwd.lab.engines import halving, run_many
    from jaxwd.lab.engines.bars import bar
    from jaxwd.lab.engines.many import check_members
    from jaxwd.lab.engines.table import engine as engine_of
    from jaxwd.lab.experiment import load_data
    from jaxwd.lab.grid import as_member
    from jaxwd.lab.ledger import Ledger, writable_folder
    from jaxwd.lab.provenance import provenance
    from jaxwd.losses import task
    from jaxwd.report.html import write_html
    from jaxwd.report.noted import note

    console = terminal.console()
    # Where workers have the GPUs, this process leaves them alone.
    place = "cpu" if flags.engine == "ray" and flags.worker_gpus else flags.device
    device = runtime.setup(place, cache=flags.cache, cpu_devices=runtime.cores())
    data = load_data(flags)
    members = [as_member(member) for member in grid(flags, data)]
    how: dict[str, Any] = {"engine": flags.engine, "chunk": flags.chunk}
    if flags.engine == "ray":
        from jaxwd.lab.engines.remote import Cluster
        from jaxwd.lab.engines.remote.cluster import ray_module

        ray_module()
        how["cluster"] = Cluster(**{name: getattr(flags, name) for name in _OF_RAY})
    elif flags.engine != "auto":
        engine_of(flags.engine)
    check_members(members, data)
    # All that can be refused is refused by now, before anything is written.
    folder = writable_folder(flags.out or pathlib.Path("runs") / name)
    console.print(about.strip().splitlines()[0], style="bold")
    console.print(f"{data}")
    console.print(f"{len(members)} members, {device}, ledger in {folder}")
    score = task(data.task).score_name
    with (
        Ledger(folder / "ledger.sqlite") as ledger,
        bar(members, score, console) as drawn,
    ):
        how |= {"ledger": ledger, "watcher": drawn}
        if flags.halving is None:
            outcomes = run_many(members, data, **how)
        else:
            outcomes = halving(members, data, eta=flags.halving, **how)
    question, about_it = about.strip().splitlines()[0], provenance()
    note(folder, question, [], str(data), {}, score, "")
    page = write_html(
        None, outcomes, folder / "report.html", title=question, about=about_it
    )
    for line in summary(outcomes, drawn, score):
        console.print(line, highlight=False)
    if (
        flags.compare_alone
        and flags.engine != "ray"
        and drawn.epochs
        and len(members) > 1
    ):
        console.print(speed_up(outcomes, drawn, data), highlight=False)
    console.print(f"report: {page}")
    if not any(outcome.status == "finished" for outcome in outcomes):
        raise Diverged("no member finished; lower the learning rates or strengths")
    return outcomes


def summary(outcomes: Sequence, drawn: Any, score: str) -> list[str]:
    """Return what a person wants to know behind a grid, line by line."""
    structures = f"{drawn.groups} structure{'s' if drawn.groups != 1 else ''}"
    compiled = ", ".join(f"{e} × {n} ({s:.1f} s)" for e, n, s in drawn.compilations)
    told = ", ".join(f"{n} {status}" for status, n in sorted(drawn.ends.items()))
    if drawn.reused:
        told += f"; {drawn.reused} of them by other starts"
    lines = [
        f"{len(drawn.compilations)} compiled for {structures}: {compiled or 'reused'}",
        f"{len(outcomes)} members: {told}",
    ]
    finished = [outcome for outcome in outcomes if outcome.status == "finished"]
    best = sorted(finished, key=lambda o: -o.final[f"validation_{score}"])[:_BEST]
    for outcome in best:
        said = ", ".join(f"{path} {value}" for path, value in outcome.labels)
        value = outcome.final[f"validation_{score}"]
        lines.append(f"  validation {score} {value:.4f}  {said or outcome.recipe}")
    return lines


def speed_up(outcomes: Sequence, drawn: Any, data: Any) -> str:
    """Return the measured speed-up over one by one, as a sentence."""
    from jaxwd.lab.engines.solo import SpeedUp, alone

    seconds, steps = alone(outcomes[0].recipe, data)
    return str(SpeedUp(drawn.seconds / drawn.epochs, seconds, steps))
