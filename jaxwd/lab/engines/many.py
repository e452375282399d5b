"""`run_many`: a grid in as few programs as it has structures."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from jaxwd.data import Dataset
from jaxwd.errors import InputError, require
from jaxwd.lab.engines.book import Book
from jaxwd.lab.engines.choose import chosen
from jaxwd.lab.engines.drive import Ticket, drive
from jaxwd.lab.engines.groups import Group, grouped
from jaxwd.lab.engines.interface import Engine, Job
from jaxwd.lab.engines.outcome import ForTwins, Outcome, Silent, Watcher
from jaxwd.lab.engines.table import engine as engine_of
from jaxwd.lab.grid import ALSO, Member, as_member
from jaxwd.training import Recipe
from jaxwd.training.loop import check

if TYPE_CHECKING:
    from jaxwd.lab.engines.remote.cluster import Cluster
    from jaxwd.lab.ledger import Ledger


def run_many(
    members: Sequence[Member | Recipe],
    data: Dataset,
    *,
    engine: str = "auto",
    chunk: int | None = None,
    ledger: "Ledger | None" = None,
    watcher: Watcher | None = None,
    splits: Sequence[str] = ("train", "test"),
    cluster: "Cluster | None" = None,
) -> list[Outcome]:
    """Train every member and return what became of each, in the order given.

    Members that differ in numbers only (λ, learning rate, dropout rate, seed, options
    that can be traced) share one compiled program. Each result equals that of
    `jaxwd.run`: bit for bit on `loop`, `map` and `devices`, to rounding on `vmap`. A
    member that diverges is recorded and leaves its lane to the next one.

    Args:
        members: recipes, or members of a grid; equal recipes are trained once.
        data: shared by all; `train_examples` takes its part of it.
        engine: a row of `jaxwd.lab.engines.ENGINES`, or `auto`, which measures a few
            steps on each and takes the quickest; or `ray`, see `jaxwd.lab.engines.remote`.
        chunk: the most members at a time; default by engine and memory.
        ledger: where epochs and outcomes are kept. What ended there is not run again,
            and what another living process runs is waited for.
        watcher: told of the progress.
        splits: measured at the end, beside validation; without "test" no choice can be
            made by test metrics.
        cluster: for engine `ray`, which one; default a Ray of this machine's own.

    Raises:
        InputError: no members, an unknown engine, a chunk below 1, a recipe that
            cannot be run, a cluster for another engine; nothing has been trained then.

    >>> import jaxwd as wd
    >>> from jaxwd.lab.grid import product
    >>> calm = {"learning_rate": 0.01, "decay": wd.coupled(0.0)}
    >>> recipe = wd.Recipe(model="mlp", epochs=1, **calm)
    >>> grid = product(recipe, {"decay.strength": (0.0, 0.1), "seed": range(2)})
    >>> outcomes = run_many(grid, wd.load("friedman"), engine="map")
    >>> [outcome.status for outcome in outcomes]
    ['finished', 'finished', 'finished', 'finished']
    """
    if engine == "ray":
        from jaxwd.lab.engines.remote.cluster import Cluster
        from jaxwd.lab.engines.remote.run import run_remote

        about = {"chunk": chunk, "ledger": ledger, "watcher": watcher}
        return run_remote(members, data, cluster or Cluster(), splits=splits, **about)
    if cluster is not None:
        raise InputError(f"a cluster is for engine='ray', not for engine={engine!r}")
    sweep = Sweep(members, data, engine, chunk, ledger, watcher, splits)
    for group in sweep.groups:
        waiting = sweep.book.tickets(group.places)
        sweep.run(group, waiting)
    while left := sweep.book.waited():
        for group in sweep.groups:
            mine = [t for t in left if t.place in group.places]
            sweep.run(group, mine, ours=True)
    return sweep.outcomes()


class Sweep:
    """What `run_many` and `halving` share: groups, engines, the book."""

    def __init__(
        self,
        members: Sequence[Member | Recipe],
        data: Dataset,
        engine: str,
        chunk: int | None,
        ledger: "Ledger | None",
        watcher: Watcher | None,
        splits: Sequence[str] = ("train", "test"),
        *,
        hardware: str | None = None,
    ) -> None:
        if engine != "auto":
            engine_of(engine)
        if chunk is not None:
            require("chunk", chunk, 1, whole=True)
        given = [as_member(member) for member in members]
        if not given:
            raise InputError("no members; give recipes or a grid of them")
        self.engine, self.chunk, self.data = engine, chunk, data
        self.splits = tuple(splits)
        # Equal recipes are one training; each keeps its own labels.
        twins: dict[str, list[int]] = {}
        for place, member in enumerate(given):
            twins.setdefault(member.recipe.digest(), []).append(place)
        self.given, self.twins = given, list(twins.values())
        self.watcher = ForTwins(watcher or Silent(), given, self.twins)
        self.members = [_of_all([given[i] for i in places]) for places in self.twins]
        check_members(self.members, data)
        self.groups = grouped([m.recipe for m in self.members], data)
        epochs = sum(m.recipe.epochs for m in given)
        self.watcher.begins(len(given), epochs, len(self.groups))
        self.book = Book(self.members, data, ledger, self.watcher, hardware)
        self.choices: dict[int, tuple[Job, Engine, int]] = {}

    def run(
        self,
        group: Group,
        waiting: list[Ticket],
        until: int | None = None,
        *,
        ours: bool = False,
    ) -> None:
        """Run tickets of one group to their end, or until an epoch."""
        if not waiting:
            return
        job, row, width = self._choice(group, waiting)
        if not row.idle_is_free and 2 * len(waiting) <= width:
            width = row.width(len(waiting), width)  # one more program, for less work

        def queue(free: int) -> list[Ticket]:
            if not ours:
                return self.book.claimed(waiting, free)
            taken = waiting[:free]
            del waiting[:free]
            return taken

        self.book.engine = row.name
        try:
            reached = drive(row, job, width, queue, self.book, until)
        finally:  # also what had ended when somebody pressed Ctrl-C
            self.book.settle(now=True)
        if reached < width:  # what did not fit will not fit the next time
            self.choices[group.places[0]] = (job, row, reached)

    def outcomes(self) -> list[Outcome]:
        """Return the outcomes in the order given, equal recipes included."""
        self.book.settle(now=True)
        found = {
            place: replace(self.book.outcomes[number], labels=self.given[place].labels)
            for number, places in enumerate(self.twins)
            for place in places
        }
        return [found[place] for place in range(len(self.given))]

    def _choice(self, group: Group, waiting: list[Ticket]) -> tuple[Job, Engine, int]:
        name = group.places[0]
        if name not in self.choices:
            job = replace(Job.of(group, self.data), splits=self.splits)
            if self.engine == "auto":
                recipes = [ticket.recipe for ticket in waiting]
                row, width, timings = chosen(job, recipes, self.chunk)
                self.watcher.chosen(row.name, timings)
            else:
                row = engine_of(self.engine)
                width = row.width(len(waiting), self.chunk)
            self.choices[name] = (job, row, width)
        return self.choices[name]


def _of_all(members: Sequence[Member]) -> Member:
    """Return the first of members with one recipe, with the names of the others."""
    first, *others = members
    if not others:
        return first
    names = [str(dict(m.labels).get("arm") or m) for m in others]
    return Member(first.recipe, (*first.labels, (ALSO, names)))


def check_members(members: Sequence[Member], data: Dataset) -> None:
    """Refuse what no program could see, before anything is written or trained.

    Raises:
        InputError: names the member and what is wrong with it.
    """
    parts: dict[int | None, Dataset] = {None: data}
    for member in members:
        n = member.recipe.train_examples
        if n is not None and n not in parts:
            parts[n] = data.take(n)
        try:
            check(member.recipe, parts[n])
        except InputError as error:
            raise InputError(f"member {member}: {error}") from None
