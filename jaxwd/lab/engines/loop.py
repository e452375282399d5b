"""One by one with the compiled program of a single training: the measure of the rest."""

import time
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxwd.lab.engines.interface import Epoch, Job, host
from jaxwd.training import Recipe, State
from jaxwd.training.parallel import layout
from jaxwd.training.program import compile_program


class Loop:
    """Lanes that take turns; the program is the very one of `jaxwd.run`."""

    needs = 0

    def __init__(self, job: Job, width: int) -> None:
        self.job, self.width = job, width
        self.states: list[State | None] = [None] * width
        self.given: list[tuple | None] = [None] * width
        group = job.group
        began = time.perf_counter()
        # A trial and a group with further inputs have programs of their own.
        self.program = compile_program(
            group.structure,
            job.task,
            job.outputs,
            layout("single", group.structure.batch_size),
            job.shapes,
            *((group.also, job.limit) if group.also or job.limit else ()),
        )
        self.compile_seconds = time.perf_counter() - began

    def enter(
        self, fresh: Mapping[int, Recipe], resumed: Mapping[int, tuple[Recipe, State]]
    ) -> None:
        """Put members into lanes."""
        recipes = dict(fresh) | {lane: recipe for lane, (recipe, _) in resumed.items()}
        for lane, recipe in recipes.items():
            numbers = jax.tree.map(jnp.float32, recipe.numbers(self.job.group.also))
            root = jax.random.key(recipe.seed)
            self.given[lane] = (numbers, root)
            self.states[lane] = (
                jax.device_put(resumed[lane][1])
                if lane in resumed
                else self.program.init(root, numbers, self.job.arrays)
            )

    def epoch(self, indices: Sequence[int | None]) -> Epoch:
        """Train the lanes one after another."""
        steps, width = self.job.steps, self.width
        losses = np.zeros((width, steps), np.float32)
        scores = np.zeros((width, steps), np.float32)
        info: dict[str, np.ndarray] = {}
        for lane, index in enumerate(indices):
            if index is None:
                continue
            given = self.given[lane]
            assert given is not None
            self.states[lane], losses[lane], scores[lane], got = self.program.epoch(
                self.states[lane], *given, jnp.int32(index), self.job.arrays
            )
            for name, value in got._asdict().items():
                info.setdefault(name, np.zeros(width, np.float32))[lane] = value
        awake = [lane for lane, index in enumerate(indices) if index is not None]
        return Epoch(losses, scores, info, self.final("validation", awake))

    def leave(self, lanes: Sequence[int]) -> dict[int, State]:
        """Return the states of lanes on the host."""
        return {lane: host(self.states[lane]) for lane in lanes}

    def final(self, part: str, lanes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return loss and score of lanes on a split."""
        out = np.zeros((2, self.width), np.float32)
        arrays = self.job.arrays
        for lane in lanes:
            state = self.states[lane]
            assert state is not None
            out[:, lane] = self.program.evaluate[part](
                state.measured,
                state.model_state,
                getattr(arrays, part),
                arrays.mean,
                arrays.scale,
            )
        return out[0], out[1]
