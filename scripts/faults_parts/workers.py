"""Workers of a cluster that hang or are killed: the tests of engine ray do that."""

import importlib.util
import re
import subprocess
import sys

from faults_parts.stage import Observed, Stage

_TESTS = "killed_and_hanging_workers or driver_that_is_stopped"


def hanging(stage: Stage) -> Observed:
    """A worker that hangs, one that is killed, and a driver that is stopped."""
    if importlib.util.find_spec("ray") is None:
        return Observed(0, "not tried: Ray is not installed (pip install 'jaxwd[ray]')")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    got = subprocess.run(
        [*words, "tests/test_ray.py", "-k", _TESTS],
        cwd=stage.here,
        capture_output=True,
        text=True,
    )
    said = got.stdout.strip().splitlines()[-1:]
    count = re.search(r"(\d+) passed", got.stdout)
    found = Observed(
        int(count.group(1)) if count else 0, "tests/test_ray.py on a real "
    )
    found.said += f"local cluster: {''.join(said).strip('= ')}"
    if got.returncode:
        found.wrong.append(got.stdout[-800:])
    return found
