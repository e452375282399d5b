"""`jaxwd explain`: what a recipe's decay does to each leaf of its model."""

import json
import textwrap
from dataclasses import dataclass, replace

from jaxwd.errors import InputError, require
from jaxwd.flags import Flags, guarded, parse

_WITHOUT_EFFECT = ("dropout", "seeds", "layout", "out")
_ABOUT = "Say what decay does to each leaf, measured on the chain; nothing is trained."


@dataclass(frozen=True)
class ExplainFlags(Flags):
    """The shared flags, with what `explain` adds."""

    step: int = 0
    """The step whose shrink is called `now`."""
    json: bool = False
    """Print JSON, every leaf and every number."""

    def check(self) -> None:
        """Raise `InputError` for values that cannot be used here."""
        super().check()
        require("--step", self.step, 0, 2**31 - 1)
        for flag in _WITHOUT_EFFECT:
            if getattr(self, flag) != getattr(Flags, flag):
                raise InputError(f"--{flag} has no effect here: nothing is trained")


def command(words: list[str]) -> int:
    """Explain the recipe that the flags describe; return the exit code."""

    def run() -> None:
        flags = parse(ExplainFlags, "jaxwd explain", _ABOUT, words)
        flags.check()
        _explain(flags)

    return guarded(run)


def _explain(flags: ExplainFlags) -> None:
    from jaxwd import runtime, terminal
    from jaxwd.data import load
    from jaxwd.lab.experiment import recipe, scheme
    from jaxwd.probe import explain
    from jaxwd.probe.text import WIDTH
    from jaxwd.training.loop import check

    runtime.setup(flags.device, cache=flags.cache)
    data = load(
        flags.dataset,
        image_size=flags.image_size,
        grayscale=flags.grayscale,
        data_dir=flags.data_dir,
        manual_dir=flags.manual_dir,
    )
    chosen = replace(recipe(flags), decay=scheme(flags))
    check(
        chosen,
        data if flags.train_examples is None else data.take(flags.train_examples),
    )
    found = explain(chosen, data=data, step=flags.step)
    console = terminal.console()
    if flags.json:
        print(json.dumps({"recipe": chosen.to_dict()} | found.to_dict(), indent=1))
    elif console.is_terminal:
        console.print(str(chosen), highlight=False)
        console.print(found.rich(console.width))
    else:
        print(textwrap.fill(str(chosen), WIDTH))
        print(found)
