"""Is decoupled decay better than coupled once each is tuned?

Adam and momentum SGD, each without decay, with coupled (L2 in the gradient) and with
decoupled decay. Every arm has the same number of trials over its own ranges, learning
rate included; the winners are trained again on fresh paired seeds, and compared with the
coupled one of the same optimizer. (For SGD without momentum the two are equal.)

    python experiments/coupled_vs_decoupled.py
    jaxwd compare coupled_vs_decoupled --train-examples 1000 --epochs 5 --model mlp

Cost: 1.3 minutes, 0.4 of computing, for the second line (96 trials, 60 final runs; 2 cores
of an AMD EPYC busy with other work, JAX 0.10.2).
Answer, at that size: coupled and decoupled are equivalent within ±0.5 points of test
accuracy, over Adam (90 % interval −0.24 to +0.40) and momentum (−0.01 to +0.15), 10 paired
seeds; so is no decay at all. The CNN on all data may answer otherwise.
"""

from dataclasses import dataclass, replace

from jaxwd.flags import Flags
from jaxwd.lab.compare_command import comparison
from jaxwd.lab.experiment import recipe

# Coupled Adam divides λθ by √v, so its λ is of the gradient's size and no share of θ.
RANGES = {
    "adam": ((1e-4, 1e-2), (1e-6, 1e-2), (1e-3, 10.0)),
    "momentum": ((1e-3, 0.3), (1e-6, 1e-2), (1e-6, 1e-2)),
}


@dataclass(frozen=True)
class CoupledFlags(Flags):
    """The shared flags, with this experiment's defaults."""

    schedule: str = "cosine"
    epochs: int = 10
    dropout: float = 0.0


def arms(flags, data):
    import jaxwd as wd
    from jaxwd.lab import Arm

    base = replace(recipe(flags), dropout=flags.dropout)
    found = []
    for name, (rates, coupled, decoupled) in RANGES.items():
        rate = {"learning_rate": wd.log_range(*rates)}
        plain = replace(base, optimizer=name)
        l2 = {**rate, "decay.strength": wd.log_range(*coupled)}
        own = {**rate, "decay.strength": wd.log_range(*decoupled)}
        found += [
            Arm(f"{name} coupled", replace(plain, decay=wd.coupled(0.0)), tune=l2),
            Arm(f"{name} decoupled", replace(plain, decay=wd.decoupled(0.0)), tune=own),
            Arm(f"{name} none", plain, tune=rate),
        ]
        reference = f"{name} coupled"
        found[-3:] = [replace(arm, against=reference) for arm in found[-3:]]
    return found


def main(arguments=None):
    return comparison(
        "coupled_vs_decoupled", __doc__, arms, arguments, flags=CoupledFlags
    )


if __name__ == "__main__":
    raise SystemExit(main())
