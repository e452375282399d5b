"""Does decay do the same over the study's seven optimizers, coupled and decoupled?

Three trainings for each of SGD, momentum, Nesterov, Adagrad, Adadelta, RMSprop and
Adam: none, coupled with the study's λ, and decoupled with a λ that makes its time
constant a given share of the run (τ/T), the same for every optimizer. Each decayed
arm is compared with the same optimizer without decay. Learning rates are the usual
ones, not tuned: read it as a look at what each scheme does, not as a ranking.

    python experiments/optimizers.py                   # or: jaxwd run optimizers
"""

from dataclasses import dataclass, replace

from jaxwd.errors import InputError, require
from jaxwd.flags import Flags
from jaxwd.lab.experiment import experiment, recipe

# The usual learning rate of each optimizer at the default hyperparameters.
RATES = {
    "sgd": 0.1,
    "momentum": 0.01,
    "nesterov": 0.01,
    "adagrad": 0.01,
    "adadelta": 1.0,
    "rmsprop": 0.001,
    "adam": 0.001,
}


@dataclass(frozen=True)
class OptimizerFlags(Flags):
    """The shared flags, with what this experiment adds."""

    epochs: int = 5
    seeds: int = 5
    dropout: float = 0.0
    tau_over_run: float = 1.0
    """τ/T of the decoupled arms: λ = 1/(τ/T · T · mean learning rate)."""
    rate_scale: float = 1.0
    """Multiplies every optimizer's learning rate."""

    def check(self):
        super().check()
        require("--tau-over-run", self.tau_over_run, 0.0, open_low=True)
        require("--rate-scale", self.rate_scale, 0.0, open_low=True)
        for flag in (
            "learning_rate",
            "optimizer",
            "decay",
            "times",
            "penalty",
            "modify",
        ):
            if getattr(self, flag) != getattr(Flags, flag):
                raise InputError(
                    f"--{flag.replace('_', '-')} has no effect here: seven optimizers at "
                    "their own rates, each without, with coupled and with decoupled "
                    "decay; use --rate-scale, --strength and --tau-over-run"
                )


def arms(flags, data):
    import numpy as np

    from jaxwd import coupled, decoupled
    from jaxwd.lab import Arm

    examples = flags.train_examples or data.train.examples
    base = replace(recipe(flags), dropout=flags.dropout)
    steps = base.steps_per_epoch(examples) * base.epochs
    found = []
    for name, rate in RATES.items():
        none = replace(base, optimizer=name, learning_rate=rate * flags.rate_scale)
        mean_rate = none.learning_rate * float(np.mean(none.rate(steps).values()))
        strength = 1 / (flags.tau_over_run * steps * mean_rate)
        found += [
            Arm(name, none, against=name),
            Arm(f"{name}+coupled", replace(none, decay=coupled(flags.strength)), name),
            Arm(f"{name}+decoupled", replace(none, decay=decoupled(strength)), name),
        ]
    return found


def main(arguments=None):
    return experiment("optimizers", __doc__, arms, arguments, flags=OptimizerFlags)


if __name__ == "__main__":
    raise SystemExit(main())
