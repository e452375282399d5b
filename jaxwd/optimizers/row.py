"""One row of the table of optimizers: how a core is built, and where decay may enter."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import optax

from jaxwd.decay import DecayScheme
from jaxwd.decay.chain import Gains
from jaxwd.errors import InputError, require

Build = Callable[..., optax.GradientTransformation]


@dataclass(frozen=True)
class Core:
    """One row: how to build a core, with which defaults.

    Attributes:
        build: function(**hyperparameters) → core.
        defaults: every hyperparameter the row accepts, with its default.
        gains: hyperparameters → what the core makes of a gradient that stays the
            same, so that coupled decay shrinks by η·gain·λ a step; None where the core
            rescales gradients and the shrink depends on the data.
        unit_interval: the hyperparameters that must lie in [0, 1].
        around: function(decay, **hyperparameters) → the core with the transformation
            `decay` inside it; None where decay stands beside the core, as usual.
        needs: extra arguments without which `update` raises.
        note: what to mind, in one line; `jaxwd list optimizers` prints it.
    """

    build: Build
    defaults: Mapping[str, Any] = field(default_factory=dict)
    gains: Callable[[dict[str, Any]], Gains | None] = lambda hyper: None
    unit_interval: tuple[str, ...] = ("momentum", "b1", "b2", "rho", "decay", "alpha")
    around: Build | None = None
    needs: tuple[str, ...] = ()
    note: str = ""

    def filled(self, name: str, hyper: Mapping[str, Any]) -> dict[str, Any]:
        """Return the defaults with `hyper` filled in.

        Raises:
            InputError: a hyperparameter the row does not have, or one outside [0, 1]
                that must lie there.
        """
        for key, value in hyper.items():
            if key not in self.defaults:
                allowed = ", ".join(self.defaults) or "no hyperparameters"
                raise InputError(
                    f"optimizer {name!r} does not take {key}={value}; it takes {allowed}"
                )
        filled = {**self.defaults, **hyper}
        for key in self.unit_interval:
            if key in filled:
                require(f"{name}: {key}", filled[key], 0.0, 1.0)
        return filled

    def require_takes(self, name: str, decay: DecayScheme) -> None:
        """Raise where `decay` has no meaning over this core.

        Beside the core every scheme means what it always means. Inside it, λθ is
        multiplied by η_t and by what the core does behind that place: there is room
        for `decoupled(λ)` and for no other multiplier.
        """
        if self.around is None or decay.name == "decoupled lr":
            return
        if decay.kind not in ("none", "penalized", "coupled"):
            raise InputError(
                f"optimizer {name!r} does not take {decay}: inside the core only the "
                "learning rate multiplies λ; use decoupled(λ, times='lr'), or optimizer "
                f"{name.removesuffix('.inside')!r}, which decays beside the core"
            )

    @classmethod
    def of(cls, build: Build, **settings: Any) -> "Core":
        """Return the row of a builder whose keywords carry their defaults."""
        keywords = inspect.signature(build).parameters.values()
        defaults = {p.name: p.default for p in keywords if p.kind is p.KEYWORD_ONLY}
        return cls(build, defaults, **settings)

    @classmethod
    def beside(cls, around: Build, /, **settings: Any) -> "Core":
        """Return the row of `around(decay, …)` with nothing at the place inside."""
        return cls.of(functools.partial(around, optax.identity()), **settings)

    @classmethod
    def inside(cls, around: Build, /, **settings: Any) -> "Core":
        """Return the row `NAME.inside`: `decoupled` decay enters `around(decay, …)`."""
        return cls.beside(around, around=around, **settings)
