"""What do L2 decay and dropout do to a small CNN on ten classes of images?

Four trainings: plain, L2 with λ = 0.0005, dropout of one half, and both; SGD at 0.1,
20 epochs, batch 32, seeds paired between the arms.

    python experiments/article.py                      # or: jaxwd run article
    python experiments/article.py --dataset cifar10 --device gpu
    python experiments/article.py --strength 0.01 --train-examples 2000
"""

from dataclasses import replace

from jaxwd.lab.experiment import experiment, recipe, scheme


def arms(flags, data):
    from jaxwd.lab import Arm

    plain = recipe(flags)
    l2, rate = scheme(flags), flags.dropout
    return [
        Arm("plain", plain),
        Arm("L2", replace(plain, decay=l2)),
        Arm("dropout", replace(plain, dropout=rate)),
        Arm("L2+dropout", replace(plain, decay=l2, dropout=rate)),
    ]


def main(arguments=None):
    return experiment("article", __doc__, arms, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
