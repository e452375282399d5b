"""SIGTERM and Ctrl-C: a command saves, says how to go on and ends with its code."""

import signal

from faults_parts.kills import reference
from faults_parts.stage import Observed, Stage, canonical, compared, faulty

CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}
GOES_ON = "finished runs are kept, the same command goes on"
OF_TRAIN = "resume with: jaxwd train"


def terminated(stage: Stage) -> Observed:
    """SIGTERM, as a scheduler sends it."""
    return _ended(stage, signal.SIGTERM)


def interrupted(stage: Stage) -> Observed:
    """Ctrl-C."""
    return _ended(stage, signal.SIGINT)


def _ended(stage: Stage, number: signal.Signals) -> Observed:
    commands = ["sweep"] if stage.short else ["train", "run", "sweep", "compare"]
    found = Observed(0, "")
    for name in commands:
        wanted, _ = reference(stage, name)
        hit, most = 0, 1 if stage.short else 3
        for _ in range(5 * most):
            if hit == most:
                break
            out = stage.fresh()
            # A process of its own: threads and locks at its very end are its own too.
            child = stage.process(stage.words(name, out))
            began = child.until(lambda: (out / "ledger.sqlite").exists())  # noqa: B023
            child.wait(stage.draw.uniform(0, 1.5))
            if not began or child.code is not None:
                found.wrong += faulty(child, (0,))
                continue
            child.kill(number)
            hit += child.code != 0  # else it had ended, but for Python's own end
            before = "before training began" in child.said
            hint = GOES_ON if name != "train" else "" if before else OF_TRAIN
            said = () if child.code == 0 else (hint,)
            found.wrong += faulty(child, (0, CODES[number]), *said)
            again = stage.command(stage.words(name, out))
            again.end()
            found.wrong += faulty(again, (0,))
            lost, changed = compared(canonical(out), wanted)
            found.lost += lost
            found.changed += changed
        found.tried += hit
        if hit < most:
            found.wrong.append(f"{name}: ended by {hit} of {5 * most} signals")
    found.said = (
        f"{', '.join(commands)} at random moments: exit code {CODES[number]}, one line "
        "that says how to go on; the same command ended with the same ledger"
    )
    return found
