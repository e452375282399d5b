"""`jaxwd compare`: an experiment's arms, each tuned alike, compared on fresh seeds."""

import pathlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxwd.errors import InputError, require
from jaxwd.flags import MOST, Flags, flags_of, guarded, joined, parse

SEEDS = 10
# Half a point: less than the noise of most test sets' own choice of examples.
_POINTS = 0.5


@dataclass(frozen=True)
class CompareWords:
    """What a comparison may spend, on top of an experiment's own flags."""

    trials: int = 16
    """Trials of every tuned arm, over its own ranges; failed ones count."""
    tune_seeds: int = 1
    """Seeds of each trial; the final seeds are others."""
    search: str = "sobol"
    """How trials are spread: sobol (even at any number), grid (every combination)."""
    search_seed: int = 0
    """Of the values tried."""
    select: str = "score"
    """What chooses a winner, on validation data: score or loss."""
    margin: float | None = None
    """The largest difference that does not matter, in points of accuracy (default 0.5) or
    in units of the score (default: equivalence is not tested)."""
    engine: str = "auto"
    """How runs share programs: auto (measures a few steps), loop, map, vmap, devices or
    devices+vmap."""
    compare_alone: bool = True
    """Time a member alone at the end, and print the speed-up of the final runs' grid."""
    examples: bool = False
    """Keep the score of every test example of the final runs, for an interval over seeds
    and examples alike."""


def command(words: list[str]) -> int:
    """Compare the arms of an experiment, by file or by name; return the exit code."""
    if words[:1] in (["-h"], ["--help"]):
        print(
            "usage: jaxwd compare EXPERIMENT [FLAGS]: a file, or a name of experiments/\n"
            "`jaxwd compare article --help` lists the flags"
        )
        return 0

    def run() -> None:
        from jaxwd.cli import load_experiment

        if not words or words[0].startswith("-"):
            raise InputError("compare needs an experiment: a file, or article")
        found = load_experiment(words[0], needs=("arms",))
        name, kind = pathlib.Path(words[0]).stem, flags_of(found)
        _run(name, found.__doc__, found.arms, words[1:], kind)

    return guarded(run)


def comparison(
    name: str,
    about: str | None,
    arms: Callable,
    arguments: Sequence[str] | None = None,
    *,
    flags: type[Flags] = Flags,
) -> int:
    """Run a comparison from the command line and return its exit code.

    Args:
        name: of the experiment; results go to `runs/NAME` unless `--out` says else.
        about: the file's docstring; its first line is the question.
        arms: `function(flags, data) → list[Arm]`; those with `tune` are tuned.
        arguments: words of the command line; default those of the process.
        flags: `Flags`, or a dataclass derived from it with other defaults.
    """
    return guarded(lambda: _run(name, about, arms, arguments, flags))


def _run(
    name: str,
    about: str | None,
    arms: Callable,
    arguments: Sequence[str] | None,
    flags: type[Flags],
) -> None:
    given = parse(with_budget(flags), name, about or "", arguments)
    check(given)
    from jaxwd.lab.compare_run import execute

    execute(name, about or name, arms, given)


def with_budget(flags: type[Flags]) -> type:
    """Return the experiment's flags joined with those of a comparison.

    What an experiment sets itself (its own `trials`, `seeds`, …) is its default.
    """
    own = {} if flags is Flags else vars(flags)
    return joined(flags, CompareWords, ("seeds", int, own.get("seeds", SEEDS)))


def check(given) -> None:
    """Raise `InputError` for values that no comparison can use."""
    given.check()
    require("--trials", given.trials, 1, MOST)
    require("--tune-seeds", given.tune_seeds, 1, MOST)
    require("--search-seed", given.search_seed, 0)
    if given.margin is not None:
        require("--margin", given.margin, 0.0, open_low=True)


def margin_of(given, score: str) -> float | None:
    """Return the margin in the score's own unit."""
    if score == "accuracy":
        return (_POINTS if given.margin is None else given.margin) / 100
    return given.margin
