"""Controls that ride along: what must be ruled out before an arm may claim its gain.

A control takes the winner of the arm it belongs to and changes one thing. It is not
tuned: it stands where the arm was found best.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from jaxwd.schedules import Schedule
from jaxwd.training import Recipe

if TYPE_CHECKING:
    from jaxwd.lab.study import Arm


class Control(NamedTuple):
    """What a control does and why.

    Attributes:
        name: how its arm is called, before the name of the arm it belongs to.
        what: what it does, in words.
        change: winner of the arm → the control's recipe.
        demanded: says for which recipes the control is due.
        why: what it rules out, with its source.
    """

    name: str
    what: str
    change: Callable[[Recipe], Recipe]
    demanded: Callable[[Recipe], bool]
    why: str


def _half(recipe: Recipe) -> Recipe:
    strength = recipe.decay.strength
    if isinstance(strength, Schedule):
        half = replace(strength, peak=strength.peak / 2)
    else:
        half = strength / 2
    return replace(recipe, decay=replace(recipe.decay, strength=half, gate=None))


def _is_cautious(recipe: Recipe) -> bool:
    return recipe.decay.gate is not None and recipe.decay.gate.name == "cautious"


CONTROLS: dict[str, Control] = {
    "half": Control(
        "λ/2",
        "plain decay with half the λ",
        _half,
        _is_cautious,
        "on gradients that are noise the gate of cautious decay (Chen et al., 2025) is "
        "open for half of the weights, and norms settle as they do under plain decay at "
        "λ/2; a gain over plain decay at λ may be that of less decay",
    )
}


def with_controls(arms: Sequence["Arm"]) -> list["Arm"]:
    """Return the arms, each followed by the controls that its recipe demands.

    >>> import jaxwd as wd
    >>> from jaxwd.lab import Arm
    >>> recipe = wd.Recipe(optimizer="adam", decay=wd.cautious(wd.decoupled(0.1)))
    >>> [arm.name for arm in with_controls([Arm("cautious", recipe)])]
    ['cautious', 'λ/2 of cautious']
    """
    from jaxwd.lab.study import Arm

    given = {(arm.follows, arm.control) for arm in arms}
    found: list[Arm] = []
    for arm in arms:
        found.append(arm)
        for key, control in CONTROLS.items():
            due = control.demanded(arm.recipe) and not arm.follows
            if due and (arm.name, key) not in given:
                name = f"{control.name} of {arm.name}"
                found.append(
                    Arm(
                        name,
                        control.change(arm.recipe),
                        against=arm.name,
                        follows=arm.name,
                        control=key,
                    )
                )
    return found
