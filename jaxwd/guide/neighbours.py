"""Published recipes, each with its own convention, and the τ of its own numbers.

Every row was read in the code or documentation named as its source. Learning rates are
peaks, batches whole (all devices). Language models count tokens as examples.
"""

import math
from dataclasses import dataclass

from jaxwd.guide.conventions import find
from jaxwd.guide.conversion import Conversion
from jaxwd.guide.convert import convert
from jaxwd.guide.side import family

IMAGENET, CIFAR = 1_281_167, 50_000


@dataclass(frozen=True)
class Published:
    """One recipe.

    Attributes:
        name: model and data.
        strength: λ as it was published.
        convention: what λ means there; a name `convert` knows.
        learning_rate: the peak.
        batch_size: examples (tokens) a step.
        dataset_size: examples (tokens) an epoch.
        epochs: passes over the data.
        source: who, year, where it was read.
        momentum: of SGD.
        schedule: how the learning rate moves, in words.
    """

    name: str
    strength: float
    convention: str
    learning_rate: float
    batch_size: int
    dataset_size: int
    epochs: float
    source: str
    momentum: float | None = None
    schedule: str = "cosine"

    @property
    def optimizer(self) -> str:
        """Return `sgd` or `adam`."""
        return find(self.convention)[1] or "adam"

    @property
    def tau_epochs(self) -> Conversion:
        """Return τ in epochs at the peak learning rate, from the row's own numbers."""
        return convert(
            self.strength,
            source=self.convention,
            target="tau_epochs",
            learning_rate=self.learning_rate,
            momentum=self.momentum,
            batch_size=self.batch_size,
            dataset_size=self.dataset_size,
            epochs=self.epochs,
        )

    @property
    def tau_over_run(self) -> float:
        """Return τ as a share of the run."""
        return self.tau_epochs / self.epochs


def _nano_gpt(name: str, rate: float, tokens: int, data: int, steps: int) -> Published:
    return Published(
        name,
        *(0.1, "torch.AdamW", rate, tokens, data, steps * tokens / data),
        "Karpathy, nanoGPT, 2022: configs and data/*/readme.md",
    )


PUBLISHED = (
    # λ, its convention, peak learning rate, batch, examples an epoch, epochs
    Published(
        "ResNet-50, ImageNet",
        *(1e-4, "torch.SGD", 0.1, 256, IMAGENET, 90),
        "torchvision references, V1 weights",
        momentum=0.9,
        schedule="step",
    ),
    Published(
        "ResNet-50, ImageNet, long",
        *(2e-5, "torch.SGD", 0.5, 1024, IMAGENET, 600),
        "torchvision references, V2 weights, 2021",
        momentum=0.9,
    ),
    Published(
        "MobileNetV2, ImageNet",
        *(4e-5, "torch.SGD", 0.045, 256, IMAGENET, 300),
        "torchvision references",
        momentum=0.9,
        schedule="exponential",
    ),
    Published(
        "WRN-28-10, CIFAR",
        *(5e-4, "torch.SGD", 0.1, 128, CIFAR, 200),
        "Zagoruyko and Komodakis, Wide residual networks, 2016, pytorch/main.py",
        momentum=0.9,
        schedule="step",
    ),
    Published(
        "ResNet-18 mixup, CIFAR-10",
        *(1e-4, "torch.SGD", 0.1, 128, CIFAR, 200),
        "Zhang et al., mixup, 2018, mixup-cifar10/train.py",
        momentum=0.9,
        schedule="step",
    ),
    Published(
        "Shake-Shake 2x96d, CIFAR-10",
        *(0.025, "normalized", 1e-3, 128, CIFAR, 1500),
        "Loshchilov and Hutter, AdamW, 2019, AdamW-and-SGDW/README.md",
    ),
    Published(
        "ViT-S/16, ImageNet",
        *(1e-4, "big_vision", 1e-3, 1024, round(0.99 * IMAGENET), 90),
        "Beyer et al., Better plain ViT baselines, 2022, vit_s16_i1k.py",
    ),
    Published(
        "ViT-B/16, ImageNet",
        *(0.3, "torch.AdamW", 3e-3, 4096, IMAGENET, 300),
        "torchvision references",
    ),
    Published(
        "DeiT-B, ImageNet",
        *(0.05, "torch.AdamW", 1e-3, 1024, IMAGENET, 300),
        "Touvron et al., DeiT, 2021, main.py",
    ),
    Published(
        "ConvNeXt-T, ImageNet",
        *(0.05, "torch.AdamW", 4e-3, 4096, IMAGENET, 300),
        "Liu et al., ConvNeXt, 2022, TRAINING.md and main.py",
    ),
    _nano_gpt("GPT-2 124M, OpenWebText", 6e-4, 491_520, 9_035_582_198, 600_000),
    _nano_gpt("character GPT, Shakespeare", 1e-3, 16_384, 1_003_854, 5_000),
    Published(
        "OLMo-1B, 3.1T tokens",
        *(0.1, "torch.AdamW", 4e-4, 2048 * 2048, 739_328 * 2048 * 2048, 1),
        "Groeneveld et al., OLMo, 2024, OLMo-1B.yaml",
    ),
    Published(
        "OLMo-7B, 2T tokens",
        *(0.1, "torch.AdamW", 3e-4, 2048 * 2048, 2_000_000_000_000, 1),
        "Groeneveld et al., OLMo, 2024, OLMo-7B.yaml",
        schedule="linear",
    ),
)
"""The recipes. τ of all of them is a test against the figures worked out by hand."""


def nearest(
    *, optimizer: str, epochs: float, dataset_size: float, count: int = 6
) -> tuple[Published, ...]:
    """Return the recipes most like a run: same kind of optimizer, length, data.

    The distance is |log of the ratio of epochs|, and a quarter of that of the data
    sizes, since images and tokens are hard to compare; another kind of optimizer
    counts as a factor of 100.
    """
    kind = "sgd" if family(optimizer) == "sgd" else "adam"

    def distance(row: Published) -> float:
        other = math.log(100.0) if row.optimizer != kind else 0.0
        length = abs(math.log(row.epochs / epochs))
        return other + length + abs(math.log(row.dataset_size / dataset_size)) / 4

    return tuple(sorted(PUBLISHED, key=distance)[:count])
