"""Schemes as other code bases mean them, by the names people know them under."""

from collections.abc import Callable

from jaxwd.decay.constructors import coupled, decoupled
from jaxwd.decay.scheme import DecayScheme
from jaxwd.errors import unknown
from jaxwd.masks import everything, kernels, matrices
from jaxwd.schedules import ScalarOrSchedule

PRESETS: dict[str, Callable[[ScalarOrSchedule], DecayScheme]] = {
    "torch.SGD": lambda s: coupled(s, where=everything),
    "torch.Adam": lambda s: coupled(s, where=everything),
    "torch.AdamW": lambda s: decoupled(s, where=everything),
    "optax.adamw": lambda s: decoupled(s, where=everything),
    "optax.adafactor": lambda s: decoupled(s, times="constant", where=everything),
    "keras": lambda s: decoupled(s, where=everything),
    "keras.L2": lambda s: coupled(s, penalty="l2"),
    "paper": lambda s: decoupled(s, times="schedule", where=everything),
    "big_vision": lambda s: decoupled(s, times="schedule", where=kernels),
    "timm": lambda s: decoupled(s, where=matrices),
    "timm_c": lambda s: decoupled(s, times="corrected", where=matrices),
    "palm": lambda s: decoupled(s, times="lr_squared", where=everything),
}
"""Name → scheme of λ: what decays, and what multiplies λ, by default over there.

| preset                        | λ multiplied by   | decays                          |
|-------------------------------|-------------------|---------------------------------|
| `torch.SGD`, `torch.Adam`     | the optimizer     | every parameter given           |
| `torch.AdamW`, `optax.adamw`  | η_t               | every parameter given           |
| `optax.adafactor`             | nothing           | every parameter given           |
| `keras` (`weight_decay=`)     | η_t               | every variable                  |
| `keras.L2`                    | the optimizer, ×2 | kernels (a layer's regularizer) |
| `paper` (AdamW, SGDW)         | s_t               | every parameter                 |
| `big_vision`                  | s_t               | kernels                         |
| `timm`, `timm_c` (`…c` names) | η_t; η_t²/α       | leaves with two axes or more    |
| `palm`                        | η_t²; λ = 1 there | every parameter                 |
"""


def preset(name: str, strength: ScalarOrSchedule) -> DecayScheme:
    """Return the scheme that λ = `strength` means in the code base `name`.

    Args:
        name: a row of `jaxwd.decay.PRESETS`.
        strength: λ as written there.

    Raises:
        InputError: unknown name, or a bad λ.

    >>> print(preset("big_vision", 1e-4))
    decoupled(0.0001, times=schedule)
    """
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name](strength)
