"""Do ½λ‖θ‖², λ‖θ‖² and λ/(2m)‖θ‖² differ in anything but the size of λ?

Their gradients are λθ, 2λθ and λθ/m, so what a step takes off is η·λ_eff with λ_eff = λ,
2λ, λ/m. At three sizes, each form is trained with one and the same written λ, where
results differ, and with the λ that gives one and the same λ_eff, where every run of the
three forms is the same run; m is the batch size. Each arm is compared with ½λ‖θ‖².

    python experiments/conventions.py                  # or: jaxwd run conventions
    jaxwd run conventions --train-examples 4000

Cost: 8 minutes for the second line (75 trainings; 2 cores of an AMD EPYC busy with other
work, JAX 0.10.2).
Answer, at that size, the study's CNN on 4,000 images: all six arms of equal λ_eff gave
exactly the runs of ½λ‖θ‖², 5 seeds each. With the written λ = 0.05 kept, λ‖θ‖² has a test
accuracy 5.4 points lower [2.7, 8.1] and λ/(2m)‖θ‖² one 9.0 points higher [6.7, 11.3].
"""

from dataclasses import dataclass, replace

from jaxwd.errors import InputError, require
from jaxwd.flags import Flags
from jaxwd.lab.experiment import experiment, recipe


@dataclass(frozen=True)
class ConventionFlags(Flags):
    """The shared flags, with what this experiment adds."""

    epochs: int = 5
    dropout: float = 0.0
    strengths: tuple[float, ...] = (5e-4, 5e-3, 5e-2)
    """λ_eff of each group of arms."""

    def check(self):
        super().check()
        for strength in self.strengths:
            require("--strengths", strength, 0.0, open_low=True)
        for flag in ("decay", "strength", "times", "penalty", "modify"):
            if getattr(self, flag) != getattr(Flags, flag):
                raise InputError(
                    f"--{flag} has no effect here: three penalties in the loss, at "
                    "--strengths"
                )


def arms(flags, data):
    import jaxwd as wd
    from jaxwd.lab import Arm

    base, m = replace(recipe(flags), dropout=flags.dropout), flags.batch_size
    found = []
    for size in flags.strengths:
        forms = {
            "½λ‖θ‖²": (size, {}),
            "λ‖θ‖², same λ": (size, {"penalty": "l2"}),
            "λ‖θ‖², λ/2": (size / 2, {"penalty": "l2"}),
            "λ/(2m)‖θ‖², same λ": (size, {"penalty": "l2_per_example", "examples": m}),
            "λ/(2m)‖θ‖², mλ": (size * m, {"penalty": "l2_per_example", "examples": m}),
        }
        for form, (strength, words) in forms.items():
            decay = wd.penalized(strength, **words)
            reference = f"½λ‖θ‖² {size:g}"
            found.append(Arm(f"{form} {size:g}", replace(base, decay=decay), reference))
    return found


def main(arguments=None):
    return experiment("conventions", __doc__, arms, arguments, flags=ConventionFlags)


if __name__ == "__main__":
    raise SystemExit(main())
