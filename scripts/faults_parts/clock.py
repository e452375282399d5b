"""A clock that steps back by an hour, before and within a sweep."""

import subprocess
import sys

from faults_parts.kills import reference, under_way
from faults_parts.stage import Observed, Stage, canonical, compared

# Replaced in the process: libfaketime 0.9.10 makes `poll` fail at random (EINVAL), which
# git and others then wait with.
_STEPPED = """
import sys, time
real, at = time.time, time.monotonic() + float(sys.argv[1])
time.time = lambda: real() - 3600.0 * (time.monotonic() > at)
from jaxwd import cli
raise SystemExit(cli.main(sys.argv[2:]))
"""


def stepping_back(stage: Stage) -> Observed:
    """Claims of a killed process lie an hour ahead; then the clock steps mid-way."""
    wanted, seconds = reference(stage, "sweep")
    found = Observed(0, "")
    out = stage.fresh()
    # A process with the right clock is killed; its heartbeat is an hour in the future
    # of the one that goes on.
    child = stage.command(stage.words("sweep", out))
    child.until(lambda: under_way(out))
    child.wait(stage.draw.uniform(0, 0.2))
    child.kill()
    for moment in (0.0, stage.draw.uniform(0.2, 0.6) * seconds)[
        : 1 + (not stage.short)
    ]:
        if moment:
            out = stage.fresh()
        code, said = _slow_clock(stage, stage.words("sweep", out), moment)
        found.tried += 1
        if code or "Traceback" in said:
            found.wrong.append(f"exit code {code}: {said[-400:]}")
        lost, changed = compared(canonical(out), wanted)
        found.lost += lost
        found.changed += changed
    found.wrong += _heartbeats(stage)
    found.tried += 1
    found.said = (
        "by an hour, over the claims of a killed process and amid a sweep: same "
        "ledger; a heartbeat far in the future does not keep a run for ever"
    )
    return found


def _slow_clock(stage: Stage, words: list[str], moment: float) -> tuple[int, str]:
    """Run a command whose clock steps back by an hour `moment` seconds after its start."""
    made = [sys.executable, "-c", _STEPPED, str(moment), *words]
    got = subprocess.run(made, env=stage.env, capture_output=True, text=True)
    return got.returncode, got.stdout + got.stderr


def _heartbeats(stage: Stage) -> list[str]:
    """A holder elsewhere (before a reboot) whose last heartbeat lies in the future."""
    import time

    from jaxwd.lab.ledger.holder import STALE, Holder

    now = time.time()
    cases = {now - 1: True, now - 2 * STALE: False, now + 3600: False, now + 5: True}
    return [
        f"a heartbeat {beat - now:+.0f} s away counts as {'gone' if lives else 'alive'}"
        for beat, lives in cases.items()
        if Holder("x", "elsewhere", "another boot", 1, "1", beat).lives() != lives
    ]
