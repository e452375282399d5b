"""Is cautious decay better than plain decay, or only weaker?

The gate of cautious decay is shut for about half of the weights, so it takes off about
half as much. Plain and cautious decoupled decay are tuned alike; plain decay at half of
the λ that was best for cautious decay, at its learning rate, rides along as a control. A
gain over plain decay that the control shares is a gain of less decay.

    python experiments/controls_cautious.py            # or: jaxwd compare controls_cautious
    jaxwd compare controls_cautious --train-examples 1000 --epochs 5 --model mlp

Cost: 1 minute, 0.2 of computing, for the second line (48 trials, 40 final runs; 2 cores of
an AMD EPYC busy with other work, JAX 0.10.2).
Answer, at that size: cautious and plain, and cautious and its control, are equivalent
within ±0.5 points of test accuracy (10 paired seeds; 90 % intervals −0.16 to +0.13 and
−0.23 to +0.24). The CNN on all data may answer otherwise.
"""

from dataclasses import dataclass, replace

from jaxwd.flags import Flags
from jaxwd.lab.compare_command import comparison
from jaxwd.lab.experiment import recipe


@dataclass(frozen=True)
class CautiousFlags(Flags):
    """The shared flags, with this experiment's defaults."""

    optimizer: str = "adam"
    schedule: str = "cosine"
    epochs: int = 10
    dropout: float = 0.0


def arms(flags, data):
    import jaxwd as wd
    from jaxwd.lab import Arm

    base = replace(recipe(flags), dropout=flags.dropout)
    tune = {
        "learning_rate": wd.log_range(1e-4, 1e-2),
        "decay.strength": wd.log_range(1e-2, 10.0),
    }
    plain = wd.decoupled(0.0)
    # The control, plain decay at λ/2, is added by the comparison: see jaxwd.lab.controls.
    return [
        Arm("plain", replace(base, decay=plain), tune=tune),
        Arm("cautious", replace(base, decay=wd.cautious(plain)), tune=tune),
        Arm("none", base, tune={"learning_rate": tune["learning_rate"]}),
    ]


def main(arguments=None):
    return comparison(
        "controls_cautious", __doc__, arms, arguments, flags=CautiousFlags
    )


if __name__ == "__main__":
    raise SystemExit(main())
