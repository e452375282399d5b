"""What was observed, as lines for a terminal and as a Markdown page."""

import sys
from typing import NamedTuple

from faults_parts.stage import Observed


class Line(NamedTuple):
    """One fault and what came of it."""

    name: str
    about: str
    got: Observed
    seconds: float

    def __str__(self) -> str:
        got = self.got
        bad = [f"{got.lost} runs lost"] * bool(got.lost)
        bad += [f"{got.changed} results changed"] * bool(got.changed) + got.wrong
        head = f"{self.name:22}{got.tried:>4} × {self.seconds:6.1f} s  {got.said}"
        return "\n".join([head, *(f"    WRONG: {x}" for x in bad)])


def as_markdown(lines: list[Line], seed: int, short: bool) -> str:
    """Return the page `experiments/results/faults.md`."""
    from jaxwd.lab.provenance import commit, processor, provenance

    versions = provenance()["versions"]
    total = [
        sum(getattr(x.got, name) for x in lines)
        for name in ("tried", "lost", "changed")
    ]
    rows = [
        f"| {x.name} | {x.about} | {x.got.tried} | {x.got.lost} | {x.got.changed} "
        f"| {x.got.said}{'; WRONG: ' * bool(x.got.wrong)}{len(x.got.wrong) or ''} |"
        for x in lines
    ]
    command = f"./scripts/faults --seed {seed}{' --short' * short}"
    if any(line.name == "soak" for line in lines):
        command += " --soak"
    text = f"""# Bad days

`{command} --write experiments/results/faults.md`: every fault is brought about, the same
command goes on, and what stands in the ledger at the end is compared with a run that
nothing befell.

**Faults tried: {total[0]}. Runs lost: {total[1]}. Results changed: {total[2]}.**

| fault | what is done | tried | runs lost | results changed | observed |
| :-- | :-- | --: | --: | --: | :-- |
"""
    about = (
        f"\n{sum(x.seconds for x in lines):.0f} s on {processor()}, "
        f"{provenance()['cores']} cores, Python {sys.version.split()[0]}, JAX "
        f"{versions['jax']}, commit {commit()}.\n"
    )
    return text + "\n".join(rows) + "\n" + about
