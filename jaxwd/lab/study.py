"""Run arms × seeds, paired, and gather what a table needs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jaxwd.data import Dataset
from jaxwd.decay import Shrink
from jaxwd.errors import InputError, unknown
from jaxwd.lab.ledger import Ledger
from jaxwd.lab.provenance import provenance, run_key
from jaxwd.lab.ranges import Range
from jaxwd.lab.turns import Turn, Watcher, endings
from jaxwd.losses import task
from jaxwd.training import Recipe, run

Row = dict[str, Any]


@dataclass(frozen=True)
class Arm:
    """One alternative in a comparison.

    Attributes:
        name: how tables call it.
        recipe: its training; the seed is left open.
        against: name of the arm it is compared with; default the study's first.
        tune: path of the recipe → `log_range`, `linear_range` or `choices`, each in
            the scheme's own unit; `jaxwd.lab.compare` looks for the best there. Empty:
            the recipe as it is.
        follows: name of the arm whose winner this control changes; see `control`.
        control: a row of `jaxwd.lab.controls.CONTROLS`.
    """

    name: str
    recipe: Recipe
    against: str = ""
    tune: Mapping[str, Range] = field(default_factory=dict, hash=False)
    follows: str = ""
    control: str = ""


@dataclass
class Study:
    """What came out, arm by arm.

    Attributes:
        question: what was asked, one line.
        arms: in the order given.
        data: the data set, in words.
        train_examples: how many training examples each arm saw, by its name.
        score: name of the score, `accuracy` or `negative_mse`.
        finals: arm name → final metrics of every seed that finished, by seed.
        curves: arm name → epochs' metrics of every seed that finished, by seed.
        diverged: arm name → message of every seed that diverged, by seed.
        provenance: versions, commit, hardware, command.
        reused: how many runs were taken from earlier starts of the same command.
        tuning: arm name → `jaxwd.lab.tuning.Tuned`, of the arms that were tuned.
        margin: the largest difference of the score that does not matter, for the test
            of equivalence; None where nobody said.
        examples: arm name → the score of every test example, by seed, for the bootstrap
            over seeds and examples; empty where it was not asked for.
        epoch_seconds: wall time of an epoch and member where a grid was trained together
            in this start, compilation left out; 0 where none was.
    """

    question: str
    arms: list[Arm]
    data: str
    train_examples: dict[str, int]
    score: str
    finals: dict[str, dict[int, Row]] = field(default_factory=dict)
    curves: dict[str, dict[int, list[Row]]] = field(default_factory=dict)
    diverged: dict[str, dict[int, str]] = field(default_factory=dict)
    provenance: Row = field(default_factory=dict)
    reused: int = 0
    tuning: dict[str, Any] = field(default_factory=dict)
    margin: float | None = None
    examples: dict[str, dict[int, Any]] = field(default_factory=dict)
    epoch_seconds: float = 0.0

    def values(self, arm: str, metric: str) -> dict[int, float]:
        """Return a final metric of an arm, by seed."""
        return {seed: row[metric] for seed, row in self.finals[arm].items()}

    def reference(self, arm: Arm) -> str:
        """Return the name of the arm that `arm` is compared with."""
        return arm.against or self.arms[0].name

    def compared(self) -> list[Arm]:
        """Return the arms that are compared with another one."""
        return [arm for arm in self.arms if self.reference(arm) != arm.name]

    def pairs(self, arm: Arm, metric: str) -> tuple[list[float], list[float]]:
        """Return a metric of an arm and of its reference, for seeds both finished."""
        a = self.values(arm.name, metric)
        b = self.values(self.reference(arm), metric)
        shared = sorted(a.keys() & b.keys())
        return [a[s] for s in shared], [b[s] for s in shared]

    def shrink(self, arm: Arm) -> Shrink | None:
        """Return the arm's realised shrink over the run."""
        return arm.recipe.shrink(self.train_examples[arm.name])

    def keep(self, arm: str, seed: int, outcome: Row | str, curve: list[Row]) -> None:
        """Take in how a run ended: its final metrics, or a message where it diverged."""
        if isinstance(outcome, str):
            self.diverged[arm][seed] = outcome
        else:
            self.finals[arm][seed] = outcome
            self.curves[arm][seed] = curve

    def identical(self, arm: Arm, other: str = "") -> bool:
        """Say whether every run of the arm ended exactly as the other's did.

        Args:
            arm: any.
            other: name of another arm; default the arm's reference.
        """
        mine, others = self.finals[arm.name], self.finals[other or self.reference(arm)]
        shared = mine.keys() & others.keys()
        return bool(shared) and all(
            _timeless(mine[seed]) == _timeless(others[seed]) for seed in shared
        )

    def twin(self, arm: Arm) -> str:
        """Return whose runs the arm's are, exactly: its reference's or an earlier arm's.

        "" where nobody's.
        """
        names = [other.name for other in self.arms]
        earlier = [self.reference(arm), *names[: names.index(arm.name)]]
        alike = (n for n in earlier if n != arm.name and self.identical(arm, n))
        return next(alike, "")


def _timeless(final: Row) -> Row:
    """Return what a run reached, without how long it took and how decay was counted."""
    left_out = ("seconds", "compile_seconds", "images_per_second")
    return {
        k: v for k, v in final.items() if k not in (*left_out, "penalty", "decay_share")
    }


def new_study(
    arms: Sequence[Arm], seeds: Sequence[int], data: Dataset, question: str
) -> Study:
    """Return a study of which nothing has been run yet.

    Raises:
        InputError: as `run_study`.
    """
    names = [arm.name for arm in arms]
    if not names or not seeds:
        raise InputError(
            f"a study needs arms and seeds; given {len(names)} and {len(seeds)}"
        )
    if len(set(names)) < len(names):
        raise InputError(f"two arms share a name: {', '.join(names)}")
    for arm in arms:
        if arm.against and arm.against not in names:
            raise unknown("reference arm", arm.against, names)
    examples = {
        arm.name: arm.recipe.train_examples or data.train.examples for arm in arms
    }
    study = Study(question, list(arms), str(data), examples, task(data.task).score_name)
    study.finals = {name: {} for name in names}
    study.curves = {name: {} for name in names}
    study.diverged = {name: {} for name in names}
    study.provenance = provenance()
    return study


def run_study(
    arms: Sequence[Arm],
    seeds: Sequence[int],
    data: Dataset,
    *,
    question: str = "",
    ledger: Ledger | None = None,
    layout: str = "single",
    watcher: Watcher | None = None,
    runner: Callable[..., Any] = run,
) -> Study:
    """Run every arm with every seed and return the study.

    Seeds are the outer loop: whenever it is interrupted, all arms have the same seeds
    but for the last. A run that diverges is recorded as such and its neighbours go on.

    Args:
        arms: the alternatives; the first is the reference.
        seeds: one run of every arm for each.
        data: shared by all arms.
        question: one line for the report.
        ledger: where to keep what is done; runs that ended there are not run again,
            and those that another process is at are waited for.
        layout: how a batch is spread over devices.
        watcher: told of every epoch.
        runner: the training function, for tests.

    Raises:
        InputError: fewer than one arm or seed, two arms of one name, or an arm
            compared with one that is not there.
    """
    study = new_study(arms, seeds, data, question)
    fingerprint = "" if ledger is None else data.fingerprint()
    turns = []
    for seed in seeds:
        for arm in arms:
            recipe = replace(arm.recipe, seed=seed)
            key = "" if ledger is None else run_key(recipe, fingerprint, layout)
            turns.append(Turn(arm.name, recipe, key))

    def train(recipe: Recipe, on_epoch: Callable[[Row], None]) -> Any:
        return runner(recipe, data, layout=layout, on_epoch=on_epoch)

    ended = {
        (turn.arm, turn.seed): ending
        for turn, ending in endings(turns, train, ledger, watcher)
    }
    for turn in turns:  # in their order, also where another process was at some
        outcome, curve, reused = ended[turn.arm, turn.seed]
        study.reused += reused
        study.keep(turn.arm, turn.seed, outcome, curve)
    return study
