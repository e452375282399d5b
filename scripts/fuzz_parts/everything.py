"""Fuzz every way in for a while, and say what was tried and found; see `scripts/fuzz`."""

import argparse
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

SCRIPTS = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(SCRIPTS))


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", help="properties; default all of them")
    parser.add_argument("--seconds", type=int, default=30, help="for each (30)")
    parser.add_argument("--list", action="store_true", help="name the properties")
    given = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from fuzz_parts.properties import PROPERTIES

    if given.list:
        print("\n".join(PROPERTIES))
        return 0
    for name in given.names:
        if name not in PROPERTIES:
            parser.error(f"no property is named {name!r}; see --list")
    if importlib.util.find_spec("atheris") is None:
        parser.error("needs atheris: pip install 'jaxwd[fuzz]'")
    found = [steered(name, given.seconds) for name in given.names or PROPERTIES]
    print(f"{len(found)} ways in, {sum(found)} with a fault")
    return min(sum(found), 1)


def steered(name: str, seconds: int) -> bool:
    """Fuzz one property in a process of its own; say whether something was found."""
    words = [sys.executable, str(SCRIPTS / "fuzz_parts" / "steered.py"), name]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="jaxwd-fuzz-") as work:
        got = subprocess.run(
            [*words, str(seconds)], capture_output=True, text=True, cwd=work
        )
    said = got.stdout + got.stderr
    tried = re.search(r"number_of_executed_units:\s*(\d+)", said)
    count = tried.group(1) if tried else "?"
    took = time.monotonic() - began
    print(f"{name:20}{count:>8} inputs in {took:.0f} s", end="", flush=True)
    if not got.returncode:
        print(": nothing found")
        return False
    shown = [x for x in said.splitlines() if not x.startswith("INFO: ")]
    print(":\n" + "\n".join(f"    {line}" for line in shown[-60:]))
    return True


if __name__ == "__main__":
    raise SystemExit(main())
