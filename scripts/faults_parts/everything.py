"""Try every fault and count what was lost or changed; see `scripts/faults`."""

import argparse
import os
import pathlib
import shutil
import sys
import tempfile
import time

SCRIPTS = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(SCRIPTS))

from faults_parts.report import Line, as_markdown  # noqa: E402
from faults_parts.stage import Stage  # noqa: E402


def main() -> int:
    from faults_parts.table import FAULTS

    parser = argparse.ArgumentParser(prog="scripts/faults", description=__doc__)
    parser.add_argument("names", nargs="*", help="faults; default all of them")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments (0)")
    parser.add_argument("--short", action="store_true", help="fewer, under a minute")
    parser.add_argument("--soak", action="store_true", help="10,000 members too")
    parser.add_argument("--list", action="store_true", help="name the faults")
    parser.add_argument(
        "--write", type=pathlib.Path, help="a Markdown file of the result"
    )
    given = parser.parse_args()
    if given.list:
        print("\n".join(f"{name:22}{row.about}" for name, row in FAULTS.items()))
        return 0
    for name in given.names:
        if name not in FAULTS:
            parser.error(f"no fault is named {name!r}; see --list")
    chosen = given.names or [
        name
        for name, row in FAULTS.items()
        if (row.in_short or not given.short) and (given.soak or name != "soak")
    ]
    # All of it before the first child is forked; none of it starts JAX's back end.
    from orbax.checkpoint import v1  # noqa: F401

    from jaxwd.lab.provenance import commit
    from jaxwd.report import html

    html._packed()  # half a second in every child
    commit()  # part of every run's name, and somebody may commit meanwhile

    folder = pathlib.Path(tempfile.mkdtemp(prefix="jaxwd-faults-"))
    lines = []
    try:
        stage = Stage(folder, given.seed, given.short)
        for name in chosen:
            began = time.monotonic()
            got = FAULTS[name].try_it(stage)
            line = Line(name, FAULTS[name].about, got, time.monotonic() - began)
            print(line, flush=True)
            lines.append(line)
    finally:
        if os.environ.get("JAXWD_KEEP_FAULTS"):
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    tried = sum(line.got.tried for line in lines)
    lost = sum(line.got.lost for line in lines)
    changed = sum(line.got.changed for line in lines)
    wrong = sum(len(line.got.wrong) for line in lines)
    print(f"faults tried: {tried}")
    print(f"runs lost: {lost}")
    print(f"results changed: {changed}")
    print(f"otherwise wrong: {wrong}")
    if given.write:
        given.write.write_text(as_markdown(lines, given.seed, given.short))
    return 1 if lost or changed or wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
