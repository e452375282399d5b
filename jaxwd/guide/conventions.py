"""The table of conventions: what λ means where, one row each, and how one is found."""

import math

from jaxwd.errors import InputError, unknown
from jaxwd.guide.convention import HALF_LIFE, TAU, Convention, lasting_gain
from jaxwd.guide.setting import Setting

ADAMW = "Loshchilov and Hutter, Decoupled weight decay regularization, 2019"


def _normalized(setting: Setting) -> float:
    """√(b/(BT)): batch b, B examples, T epochs."""
    b, size, epochs = (
        setting.need(name, "the normalized λ√(b/(BT))")
        for name in ("batch_size", "dataset_size", "epochs")
    )
    return math.sqrt(b / (size * epochs))


def _also(words: str) -> dict[str, str | None]:
    """Return `torch.AdamW:adam tfa` as other names → the optimizer they say."""
    pairs = (word.partition(":") for word in words.split())
    return {name: optimizer or None for name, _, optimizer in pairs}


ROWS = (
    Convention(
        "lr",
        "step",
        takes="η_t{λ}",
        alpha=1,
        shape=1,
        aliases=_also(
            "decoupled torch.AdamW:adam optax.adamw:adam optax.nadamw:adam "
            "keras.weight_decay keras.AdamW:adam timm.adamw:adam timm.sgdw:sgd "
            "optax.lion:lion optax.muon:muon torch.Muon:muon"
        ),
        jaxwd="wd.decoupled({λ})",
        source="torch, Optax and Keras",
    ),
    Convention(
        "schedule",
        "step",
        takes="s_t{λ}",
        alpha=0,
        shape=1,
        aliases=_also(
            "paper big_vision axlearn optimi.decouple_lr "
            "composer.DecoupledAdamW:adam composer.DecoupledSGDW:sgd"
        ),
        jaxwd='wd.decoupled({λ}, times="schedule")',
        source=ADAMW,
    ),
    Convention(
        "constant",
        "step",
        takes="{λ}",
        alpha=0,
        shape=0,
        aliases=_also("optax.adafactor:adafactor tfa tfa.AdamW:adam"),
        jaxwd='wd.decoupled({λ}, times="constant")',
        source="Optax's adafactor, TensorFlow Addons",
    ),
    Convention(
        "corrected",
        "step",
        takes="(η_t²/α){λ}",
        alpha=1,
        shape=2,
        aliases=_also("AdamC:adam timm_c timm.adamc:adam timm.sgdc:sgd"),
        jaxwd='wd.decoupled({λ}, times="corrected")',
        source="Defazio, Why gradients rapidly increase near the end of training, 2025",
    ),
    Convention(
        "palm",
        "step",
        takes="η_t²{λ}",
        alpha=2,
        shape=2,
        aliases=_also("lr_squared"),
        jaxwd='wd.decoupled({λ}, times="lr_squared")',
        source="Chowdhery et al., PaLM, 2022",
    ),
    Convention(
        "normalized",
        "step",
        takes="s_t{λ}√(b/(BT))",
        alpha=0,
        shape=1,
        factor=_normalized,
        needs=("batch_size", "dataset_size", "epochs"),
        source=f"{ADAMW}, appendix",
    ),
    Convention(
        "stable_sgd",
        "step",
        takes="η_t{λ}/(1−μ)",
        alpha=1,
        shape=1,
        aliases=_also("SGDS:sgd timm.sgdp:sgd"),
        factor=lambda setting: lasting_gain(setting.need("momentum", "stable_sgd")),
        needs=("momentum",),
        source="Xie et al., On the overlooked pitfalls of weight decay, 2023",
    ),
    Convention(
        "coupled",
        "gradient",
        takes="{λ}θ",
        aliases=_also(
            "torch.SGD:sgd torch.Adam:adam torch.RMSprop:rmsprop torch.Adagrad:adagrad "
            "torch.Adadelta:adadelta optax.adadelta:adadelta"
        ),
        jaxwd="wd.coupled({λ})",
        source="torch's weight_decay outside AdamW",
    ),
    Convention(
        "half_l2",
        "gradient",
        takes="{λ}θ",
        in_loss=True,
        aliases=_also("penalized tf.nn.l2_loss"),
        jaxwd="wd.penalized({λ})",
        source="loss + ½λ‖θ‖²; Krogh and Hertz, 1991",
    ),
    Convention(
        "l2",
        "gradient",
        takes="2{λ}θ",
        in_loss=True,
        aliases=_also("keras.L2"),
        factor=lambda setting: 2.0,
        jaxwd='wd.penalized({λ}, penalty="l2")',
        source="loss + λ‖θ‖², Keras's regularizers.L2",
    ),
    Convention(
        "l2_per_example",
        "gradient",
        takes="{λ}θ/m",
        in_loss=True,
        factor=lambda setting: 1.0 / setting.need("examples", "λ/(2m)‖θ‖²"),
        needs=("examples",),
        jaxwd='wd.penalized({λ}, penalty="l2_per_example", examples={examples})',
        source="loss + λ/(2m)‖θ‖², m examples",
    ),
    Convention(
        "sklearn",
        "gradient",
        takes="{λ}θ/b",
        in_loss=True,
        aliases=_also("sklearn.MLP"),
        factor=lambda setting: 1.0 / setting.need("batch_size", "scikit-learn's MLP"),
        needs=("batch_size",),
        jaxwd='wd.penalized({λ}, penalty="l2_per_example", examples={batch_size})',
        source="scikit-learn's MLP with alpha = λ, b examples in a mini-batch",
    ),
    Convention(
        "l1",
        "sign",
        takes="{λ}·sign θ",
        in_loss=True,
        aliases=_also("keras.L1"),
        jaxwd='wd.penalized({λ}, penalty="l1")',
        source="loss + λ‖θ‖₁, Keras's regularizers.L1",
    ),
    *(
        Convention(
            f"{name}_{unit}",
            "time",
            takes=takes.replace("{λ}", "{λ}" if unit == "steps" else "({λ}M)"),
            aliases=_also(name if unit == "steps" else ""),
            clock=clock,
            needs=("dataset_size", "batch_size") if unit == "epochs" else (),
            source=source,
        )
        for name, takes, clock, source in (
            ("tau", "1/{λ}", TAU, "Wang and Aitchison, 2025: the EMA timescale"),
            ("half_life", "1−2^(−1/{λ})", HALF_LIFE, "what is left halves in this"),
        )
        for unit in ("steps", "epochs")
    ),
)

CONVENTIONS: dict[str, Convention] = {row.name: row for row in ROWS}
"""Name → row; b batch size, B dataset size, T epochs, M = B/b steps an epoch."""

AMBIGUOUS = {
    "independent": "paper (times the schedule) or constant (times nothing)",
    "adamw": "torch.AdamW (times the learning rate) or paper (times the schedule)",
    "sgdw": "timm.sgdw (times the learning rate) or paper (times the schedule)",
    "adam": "torch.Adam (in the gradient) or torch.AdamW (beside the step)",
    "sgd": "torch.SGD (in the gradient) or timm.sgdw (beside the step)",
    "keras": "keras.L2 (in the loss) or keras.weight_decay (beside the step)",
}
"""Words that mean two conventions; they are refused with both."""


def _plain(name: str) -> str:
    return name.strip().casefold().replace("-", "_").replace(" ", "_")


_NAMES: dict[str, tuple[str, str | None]] = {
    _plain(alias): (row.name, optimizer)
    for row in ROWS
    for alias, optimizer in ((row.name, None), *row.aliases.items())
}


def find(name: object) -> tuple[Convention, str | None]:
    """Return a convention by any of its names, and the optimizer that name says.

    Raises:
        InputError: a name that is unknown (with the nearest) or means two things.

    >>> row, optimizer = find("torch.AdamW")
    >>> row.name, optimizer
    ('lr', 'adam')
    """
    plain = _plain(str(name))
    if plain in AMBIGUOUS:
        raise InputError(f"convention {name!r} means {AMBIGUOUS[plain]}; say which")
    if plain not in _NAMES:
        spelled = {*CONVENTIONS, *(alias for row in ROWS for alias in row.aliases)}
        raise unknown("convention", name, spelled)
    row, optimizer = _NAMES[plain]
    return CONVENTIONS[row], optimizer


def table() -> list[str]:
    """Return one line a convention: name, what a step takes off, optimizers, aliases."""
    return [
        f"{row.name:17}{row.text('λ'):19}{row.optimizers:5}{', '.join(row.aliases)}"
        for row in ROWS
    ]
