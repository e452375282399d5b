"""One property under atheris, which mutates inputs towards code not yet reached.

python scripts/fuzz_parts/steered.py PROPERTY SECONDS   # used by scripts/fuzz
"""

import pathlib
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))


def main(name: str, seconds: str) -> None:
    import importlib

    atheris: Any = importlib.import_module("atheris")

    coverage = atheris.instrument_imports  # pyright: ignore[reportAttributeAccessIssue]
    with coverage(include=["jaxwd"], enable_loader_override=False):
        from fuzz_parts.properties import PROPERTIES
    check = PROPERTIES[name].hypothesis.fuzz_one_input  # type: ignore[attr-defined]
    # An input that takes longer than this hangs.
    limits = ["-timeout=60", "-rss_limit_mb=6000", f"-max_total_time={seconds}"]
    quiet = ["-max_len=2048", "-print_final_stats=1", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *limits, *quiet], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
