"""The flags of `jaxwd train`, and the recipe that they describe."""

import json
import pathlib
from dataclasses import dataclass, replace
from typing import Any

from jaxwd.errors import InputError, require
from jaxwd.flags import Flags

RECIPE = "recipe.json"
_WITHOUT_EFFECT = ("seeds",)


@dataclass(frozen=True)
class TrainFlags(Flags):
    """The shared flags, with what one training adds."""

    dropout: float = 0.0
    """Dropout rate, before the output layer where the model is cnn or mlp."""
    seed: int = 0
    """Root of every random draw: start, order, dropout."""
    vary: tuple[str, ...] = ()
    """Further fields of the recipe as PATH=VALUE, such as optimizer_options.momentum=0.95
    or model_options.hidden=[64,64]."""
    devices: int | None = None
    """How many devices take part in a layout, of all processes; default all."""
    coordinator: str | None = None
    """HOST:PORT of process 0, to train in several processes; each reads its own rows, the
    first writes. By srun, on TPU slices and by JAXWD_ variables they find each other."""
    processes: int | None = None
    """How many processes there are."""
    process: int | None = None
    """The number of this one, from 0."""
    stream: str | None = None
    """Data read while it is trained on, for more than the memory holds, in place of
    --dataset: npy:FOLDER, array_record:PATH, folder:PATH, tfds:NAME. Needs
    jaxwd[stream]."""
    every_epochs: int = 1
    """Epochs between two checkpoints; the last one, and the one behind which it is
    stopped, are kept in any case."""
    every_steps: int | None = None
    """With --stream: keep the state after so many steps of an epoch too."""
    out: pathlib.Path | None = None
    """Folder of checkpoints, ledger and recipe; default runs/train-DIGEST."""
    keep: int = 3
    """Checkpoints that stay."""
    export: pathlib.Path | None = None
    """Write weights (safetensors), forward pass (StableHLO) and normalisation here."""
    export_for: tuple[str, ...] = ()
    """Platforms of the forward pass: cpu, cuda, rocm, tpu; default where it was trained."""

    def check(self) -> None:
        """Raise `InputError` for values that no training can use."""
        super().check()
        require("--keep", self.keep, 1)
        require("--every-epochs", self.every_epochs, 1)
        if self.devices is not None:
            require("--devices", self.devices, 1)
        if self.processes is not None:
            require("--processes", self.processes, 1)
        for flag in _WITHOUT_EFFECT:
            if getattr(self, flag) != getattr(Flags, flag):
                raise InputError(f"--{flag} has no effect here: give --seed")
        if self.every_steps is not None:
            require("--every-steps", self.every_steps, 1)
            if self.stream is None:
                raise InputError("--every-steps needs --stream NAME")
        if self.stream is not None and self.dataset != Flags.dataset:
            raise InputError("--dataset has no effect beside --stream; leave it away")
        if self.export_for and self.export is None:
            raise InputError("--export-for needs --export FOLDER")


def recipe_of(flags: TrainFlags) -> Any:
    """Return the recipe that the flags describe, all of it.

    >>> recipe_of(TrainFlags(seed=3, vary=("model_options.hidden=[8,8]",))).model_options
    (('init', 'lecun'), ('hidden', (8, 8)))
    """
    from jaxwd.lab.experiment import recipe, scheme
    from jaxwd.lab.grid import vary

    made = replace(
        recipe(flags), decay=scheme(flags), dropout=flags.dropout, seed=flags.seed
    )
    for word in flags.vary:
        path, equals, text = word.partition("=")
        if not equals:
            raise InputError(f"--vary {word} is not allowed; give PATH=VALUE")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        made = vary(made, path, tuple(value) if isinstance(value, list) else value)
    return made


def write_recipe(folder: pathlib.Path, recipe: Any) -> None:
    """Write the recipe into its folder, or refuse the folder of another one."""
    from jaxwd.training.checkpoint_paper import differences

    path = folder / RECIPE
    values = json.loads(json.dumps(recipe.to_dict()))
    if path.is_file():
        try:
            there = json.loads(path.read_text(encoding="utf-8"))["recipe"]
        except (ValueError, KeyError, TypeError):
            there = values  # damaged: the checkpoints know it too
        unlike = list(differences(there, values))
        if unlike:
            raise InputError(
                f"{folder} holds the training of another recipe: {', '.join(unlike[:3])}; "
                "give another --out, or the flags it was begun with"
            )
    text = json.dumps({"recipe": values, "digest": recipe.digest()}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
