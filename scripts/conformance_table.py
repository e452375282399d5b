"""Write what scripts/conformance found as a table: every core × every scheme.

    python scripts/conformance_table.py report.xml experiments/results/conformance.md

`report.xml` is what pytest writes under `--junitxml`; of several, later ones count.
"""

import collections
import datetime
import pathlib
import platform
import re
import sys
import xml.etree.ElementTree as ET

import jax
import numpy as np
import optax

import jaxwd as wd
from jaxwd.lab.provenance import processor

TRAJECTORY = "test_one_program_for_all_strengths_follows_the_numpy_rule"
MARKS = {"passed": "✓", "skipped": "–", "failed": "**✗**"}
INTRO = (
    "Each ✓ is one program under `jit` and `vmap`: 120 steps in float64 with a rate that "
    "rises and falls, λ traced, 0 among its values, traced once, every weight of both "
    "leaves held to the scheme's rule in NumPy (rtol 1e-5, atol 1e-8; `tests/rules*.py`, "
    "`tests/scheme_rules.py`). One leaf decays and one does not."
)
ABOUT = {
    "test_narrow_gradients_with_wide_parameters_stay_wide": "bfloat16 gradients, float32 "
    "weights and state: float32 stays, and the way is near the one without rounding",
    "test_pmap_over_strengths_equals_each_alone": "`pmap` over two devices, λ = 0 on one",
    "test_the_mask_decides_and_not_the_name": "the same tree under other names with rules "
    "for them: equal to the last bit",
}


def outcome(case: ET.Element) -> str:
    kinds = {child.tag for child in case}
    if kinds & {"failure", "error"}:
        return "failed"
    return "skipped" if "skipped" in kinds else "passed"


def read(paths: list[str]) -> dict[str, dict[tuple[str, str], str]]:
    """Return test → (core, scheme) → passed, skipped or failed; the last file counts."""
    found: dict[str, dict[tuple[str, str], str]] = collections.defaultdict(dict)
    cases = [case for p in paths for case in ET.parse(p).getroot().iter("testcase")]
    for case in cases:
        match = re.fullmatch(r"(\w+)\[([^-]+)-(.+)\]", case.attrib["name"])
        if match:
            test, core, scheme = match.groups()
            found[test][core, scheme] = outcome(case)
    return found


def table(cells: dict[tuple[str, str], str]) -> str:
    cores = sorted(
        {core for core, _ in cells}, key=lambda name: (name.startswith("torch."), name)
    )
    schemes = sorted({scheme for _, scheme in cells})
    rows = [
        "| scheme | " + " | ".join(f"`{core}`" for core in cores) + " |",
        "| :-- |" + " :-: |" * len(cores),
    ]
    for scheme in schemes:
        marks = [MARKS[cells[core, scheme]] for core in cores]
        rows.append(f"| {scheme} | " + " | ".join(marks) + " |")
    return "\n".join(rows)


def counted(outcomes: collections.Counter) -> str:
    return ", ".join(f"{n:,} {kind}" for kind, n in sorted(outcomes.items()))


def main() -> None:
    found = read(sys.argv[1:-1])
    lines = [
        f"- {ABOUT[test]}: {counted(collections.Counter(found[test].values()))}"
        for test in ABOUT
    ]
    total = collections.Counter(x for cells in found.values() for x in cells.values())
    text = "\n\n".join(
        [
            "# Every core × every scheme",
            INTRO,
            table(found[TRAJECTORY]),
            "Beside it, over the cores named in `tests/heavy/test_conformance.py`:",
            "\n".join(lines),
            f"In all: {counted(total)}. Cores that decay inside themselves and cores "
            "whose rule sees all leaves at once are in `tests/test_cores.py`; MultiSteps, "
            "`masked`, `partition`, `frozen=` and `apply_if_finite` in "
            "`tests/test_schemes.py` and `tests/test_decay.py`, in every run of the gate.",
            f"jax {jax.__version__}, optax {optax.__version__}, NumPy {np.__version__}, "
            f"jaxwd {wd.__version__}, Python {platform.python_version()}, {processor()}, "
            f"{datetime.date.today()}. `./scripts/conformance`",
        ]
    )
    pathlib.Path(sys.argv[-1]).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
