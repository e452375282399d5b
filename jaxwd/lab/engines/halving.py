"""Successive halving: all members for a few epochs, the best third for more, and so on.

    rungs at E/η^k, …, E/η, E epochs; behind each, the best ⌈n/η⌉ of n go on

Jamieson and Talwalkar, Non-stochastic best arm identification and hyperparameter
optimization, 2016. All members of a rung reach it before it is decided, so the decision
depends on their losses alone and on no order or timing; lanes whose members pause,
diverge or end go to the next ones at once.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxwd.data import Dataset
from jaxwd.errors import InputError, require
from jaxwd.lab.engines.drive import Ticket
from jaxwd.lab.engines.many import Sweep
from jaxwd.lab.engines.outcome import Outcome, Watcher
from jaxwd.lab.grid import Member
from jaxwd.training import Recipe

if TYPE_CHECKING:
    from jaxwd.lab.ledger import Ledger


def halving(
    members: Sequence[Member | Recipe],
    data: Dataset,
    *,
    eta: float = 3.0,
    first: int | None = None,
    seed: int = 0,
    engine: str = "auto",
    chunk: int | None = None,
    ledger: "Ledger | None" = None,
    watcher: Watcher | None = None,
) -> list[Outcome]:
    """Train members by successive halving and return what became of each.

    Those that are not among the best by validation loss are stopped, with status
    `stopped` and the rung in the message; they are never tested. Learning rates that
    need long to pay off are judged by their first epochs: with schedules that end low,
    early losses favour small rates and strong decay, so compare like with like.

    Args:
        members: as in `run_many`; all with the same number of epochs.
        data: shared by all.
        eta: of n members ⌈n/eta⌉ go on to eta times the epochs.
        first: epochs of the first rung; default so small that about one member is
            left for the last, at least 1.
        seed: of the draw that decides between equal losses.
        engine: as in `run_many`.
        chunk: as in `run_many`.
        ledger: as in `run_many`; a start after a kill takes the same decisions.
        watcher: told of the progress.

    Raises:
        InputError: eta not above 1, members of unequal epochs, and as in `run_many`.

    >>> import jaxwd as wd
    >>> from jaxwd.lab.grid import product
    >>> recipe = wd.Recipe(model="mlp", epochs=2)
    >>> grid = product(recipe, {"learning_rate": (1e-5, 1e-4, 1e-3, 1e-2)})
    >>> outcomes = halving(grid, wd.load("friedman"), eta=2, engine="map")
    >>> [outcome.status for outcome in outcomes]
    ['stopped', 'stopped', 'finished', 'finished']
    """
    require("eta", eta, 1.0, open_low=True)
    if engine == "ray":
        raise InputError(
            "halving takes members out of their lanes between rungs, which engine ray "
            "does not do; leave halving out, or use an engine of one process"
        )
    sweep = Sweep(members, data, engine, chunk, ledger, watcher)
    lengths = {member.recipe.epochs for member in sweep.members}
    if len(lengths) > 1:
        raise InputError(
            f"halving compares members epoch by epoch; their epochs differ: "
            f"{', '.join(map(str, sorted(lengths)))}"
        )
    steps = rungs(lengths.pop(), len(sweep.members), eta, first)
    # One member is one draw, whatever lanes it runs in and whoever ended before it.
    order = np.random.default_rng(seed).permutation(len(sweep.members))
    tickets = {t.place: t for t in sweep.book.tickets(range(len(sweep.members)))}
    alive = list(range(len(sweep.members)))
    for until in steps:
        _reach(sweep, [tickets[place] for place in alive if place in tickets], until)
        if until == steps[-1]:
            break
        losses = {place: _loss(sweep, tickets, place, until) for place in alive}
        ranked = sorted(alive, key=lambda place: (losses[place], order[place]))
        keep = math.ceil(len(alive) / eta)
        best = [place for place in ranked[:keep] if math.isfinite(losses[place])]
        for place in ranked[keep:]:
            if place not in sweep.book.outcomes:
                ticket = tickets[place]
                sweep.book.ended(ticket, _stopped(ticket, until, keep, len(alive)))
        alive = sorted(best)
    return sweep.outcomes()


def rungs(epochs: int, members: int, eta: float, first: int | None = None) -> list[int]:
    """Return the epochs of the rungs, the last of which is the whole training.

    >>> rungs(20, 27, 3), rungs(20, 4, 3), rungs(1, 100, 3), rungs(20, 100, 3, first=5)
    ([2, 7, 20], [7, 20], [1], [5, 15, 20])
    """
    if first is not None:
        require("first", first, 1, epochs, whole=True)
        found = [first]
        while found[-1] * eta < epochs:
            found.append(round(found[-1] * eta))
        return sorted({*found, epochs})
    count = min(_logarithm(members, eta), _logarithm(epochs, eta))
    return sorted({max(1, round(epochs / eta**i)) for i in range(count + 1)})


def _logarithm(value: float, eta: float) -> int:
    return int(math.log(value) / math.log(eta) + 1e-9)


def _reach(sweep: Sweep, tickets: list[Ticket], until: int) -> None:
    """Bring tickets to a rung, group by group."""
    waiting = [t for t in tickets if t.place not in sweep.book.outcomes]
    for group in sweep.groups:
        mine = [t for t in waiting if t.place in set(group.places)]
        # Claimed at the first rung, they are ours at the others.
        sweep.run(group, mine, until, ours=any(t.history for t in mine))
    while left := sweep.book.waited():
        for group in sweep.groups:
            mine = [t for t in left if t.place in set(group.places)]
            sweep.run(group, mine, until, ours=True)


def _loss(sweep: Sweep, tickets: dict[int, Ticket], place: int, until: int) -> float:
    """Return the validation loss at a rung; infinite where it had diverged before."""
    outcome = sweep.book.outcomes.get(place)
    history = outcome.history if outcome else tickets[place].history
    return history[until - 1]["validation_loss"] if len(history) >= until else math.inf


def _stopped(ticket: Ticket, until: int, keep: int, of: int) -> Outcome:
    loss = ticket.history[-1]["validation_loss"]
    message = (
        f"stopped after epoch {until}: validation loss {loss:.4g} is not among the best "
        f"{keep} of {of}"
    )
    return Outcome(
        ticket.recipe,
        ticket.labels,
        ticket.history,
        None,
        message,
        None,
        "stopped",
        ticket.seconds,
    )
