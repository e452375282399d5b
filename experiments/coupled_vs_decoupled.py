"""Is decoupled decay better than coupled once each is tuned?

Adam and momentum SGD, each without decay, with coupled (L2 in the gradient) and with
decoupled decay. Every arm has the same number of trials over its own ranges, learning
rate included; the winners are trained again on fresh paired seeds, and compared with the
coupled one of the same optimizer. (For SGD without momentum the two are equal.)

    python experiments/coupled_vs_decoupled.py
    jaxwd compare coupled_vs_decoupled --train-examples 2000 --epochs 5 --trials 8

Cost: 9 minutes for the second line (48 trials, 60 final runs; 2 cores of an AMD EPYC busy
with other work, JAX 0.10.2).
Answer, at that size, the study's CNN on 2,000 images: coupled and decoupled are equivalent
within ±0.5 points of test accuracy, over Adam (90 % interval −0.37 to +0.18) and momentum
(−0.27 to +0.41), 10 paired seeds. No decay at all is equivalent to coupled Adam's (−0.10 to
+0.28) and not told apart from momentum's (95 % −0.21 to +0.76): five epochs are too short
for decay to act (τ/T is 285 and more where it is known). A perceptron on 1,000 images
(`--model mlp`) answered alike. All data and longer runs may answer otherwise.
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
