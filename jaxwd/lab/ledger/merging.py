"""Ledgers of several machines become one; nothing in them is changed."""

import contextlib
import pathlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from jaxwd.errors import InputError, unknown
from jaxwd.lab.ledger.book import Ledger
from jaxwd.lab.ledger.file import ledger_file
from jaxwd.lab.ledger.reading import Reader, Run
from jaxwd.lab.ledger.values import packed, timeless

CONFLICTS = ("refuse", "first")
_RANK = {"waiting": 0, "running": 0, "stopped": 1, "finished": 2, "diverged": 2}


class _Copy(NamedTuple):
    """A run as one of the ledgers holds it."""

    run: Run
    where: Reader

    def ending(self) -> str:
        """Return what a run reached, without times."""
        run = self.run
        curve = [timeless(row) for row in self.where.curve(run.key)]
        return packed([run.status, timeless(run.outcome), run.message, run.step, curve])


@dataclass(frozen=True)
class Merged:
    """What a merge did.

    Attributes:
        runs: how many keys the merged ledger holds.
        ended: how many of them have ended.
        taken: how many endings came from the other ledgers.
        conflicts: keys that ended differently in two ledgers; the first given was kept.
    """

    runs: int
    ended: int
    taken: int
    conflicts: tuple[str, ...]


def merge(
    out: str | pathlib.Path,
    inputs: Iterable[str | pathlib.Path],
    *,
    conflicts: str = "refuse",
) -> Merged:
    """Write the union of ledgers, by key, into `out`.

    Of one key, a run that finished or diverged wins over one that was stopped, and
    that over one that has not ended. What has not ended waits in the merged ledger.
    Equal endings (all but times) are one; of unequal ones nothing is written unless
    `conflicts="first"`, which keeps `out`'s, else the first given.

    Args:
        out: a new ledger, or one that takes part and comes first.
        inputs: ledgers, or folders that hold one; read only.
        conflicts: `refuse` or `first`.

    Raises:
        InputError: no input, an unknown rule, one key with two recipes, or different
            endings of one key.
    """
    paths = [ledger_file(path) for path in inputs]
    if conflicts not in CONFLICTS:
        raise unknown("rule for conflicts", conflicts, CONFLICTS)
    target = ledger_file(out)
    others = [p for p in paths if p.absolute() != target.absolute()]
    if not others:
        raise InputError("merge needs a ledger to take in, beside the one it writes")
    new = not target.exists()
    try:
        with contextlib.ExitStack() as stack:
            sources = [
                stack.enter_context(Ledger(path, readonly=True))
                for path in dict.fromkeys(others)
            ]
            ledger = stack.enter_context(Ledger(target, provenance={}))
            return _union(ledger, sources, conflicts)
    except BaseException:
        if new:
            target.unlink(missing_ok=True)
        raise


def _union(ledger: Ledger, sources: list[Ledger], conflicts: str) -> Merged:
    best: dict[str, _Copy] = {}
    differing: list[str] = []
    with ledger.together():  # nobody writes between looking and taking
        for where in (ledger, *sources):
            for run in where.runs():
                copy = _Copy(run, where)
                kept = best.setdefault(run.key, copy)
                _same_recipe(kept, copy)
                if _RANK[run.status] > _RANK[kept.run.status]:
                    best[run.key] = copy
                elif _conflict(kept, copy):
                    differing.append(run.key)
        differing = list(dict.fromkeys(differing))
        if differing and conflicts == "refuse":
            shown = ", ".join(differing[:3]) + (" …" if len(differing) > 3 else "")
            raise InputError(
                f"{len(differing)} runs ended differently in two ledgers ({shown}); "
                "nothing was merged: leave one ledger out, or keep the first given by "
                "--conflicts first"
            )
        taken = 0
        for key, (run, where) in best.items():
            if where is not ledger:
                taken += run.ended
                if run.ended:
                    made_by = where.provenance(key) or [{}]
                    ledger.take(run, where.curve(key), made_by[0])
                else:
                    _want(ledger, run)
        runs = ledger.runs()
    ended = sum(run.ended for run in runs)
    return Merged(len(runs), ended, taken, tuple(differing))


def _conflict(a: _Copy, b: _Copy) -> bool:
    """Say whether two copies of a run ended, equally far and not equally."""
    if a is b or not b.run.ended or _RANK[a.run.status] != _RANK[b.run.status]:
        return False
    return a.ending() != b.ending()


def _same_recipe(a: _Copy, b: _Copy) -> None:
    if packed(a.run.recipe) != packed(b.run.recipe):
        raise InputError(
            f"run {a.run.key} has one recipe in {a.where.path} and another in "
            f"{b.where.path}; these ledgers cannot be merged"
        )


def _want(ledger: Ledger, run: Run) -> None:
    ledger.add(run.key, run.recipe, arm=run.arm, seed=run.seed, labels=run.labels)
