"""Schedules: the shape's formula, warm-up, the peak, and nothing outside [0, 1]."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxwd as wd
from jaxwd.schedules import SHAPES

T = 100

# name, options, and the formula over t in [0, T), written once more.
FORMULAS = [
    ("constant", {}, lambda t: np.ones_like(t)),
    ("step", {"factor": 0.5, "every": 30}, lambda t: 0.5 ** np.floor(t / 30)),
    ("exponential", {"end": 0.01}, lambda t: 0.01 ** (t / T)),
    ("inverse_time", {"rate": 4.0}, lambda t: 1 / (1 + 4 * t / T)),
    ("polynomial", {"power": 3.0}, lambda t: (1 - t / T) ** 3),
    ("linear", {"end": 0.1}, lambda t: 0.1 + 0.9 * (1 - t / T)),
    ("cosine", {"end": 0.2}, lambda t: 0.2 + 0.8 * 0.5 * (1 + np.cos(np.pi * t / T))),
    (
        "warm_restarts",
        {"cycles": 2, "stretch": 1.0},
        lambda t: 0.5 * (1 + np.cos(np.pi * (t % 50) / 50)),
    ),
    ("wsd", {"cooldown": 0.25}, lambda t: np.minimum(1, 1 - (t - 75) / 25)),
]


@pytest.mark.parametrize(("name", "options", "formula"), FORMULAS)
def test_shape_equals_its_formula(name, options, formula):
    got = wd.schedule(name, 0.5, steps=T, **options)(jnp.arange(T))
    np.testing.assert_allclose(got, 0.5 * formula(np.arange(T)), rtol=1e-4, atol=1e-6)


def test_one_cycle_is_optax_and_torch_one_cycle():
    got = wd.one_cycle(0.5, steps=T)(jnp.arange(T))
    want = [optax.cosine_onecycle_schedule(T, 0.5)(t) for t in range(T)]
    np.testing.assert_allclose(got, want, rtol=1e-5)
    np.testing.assert_allclose(got[0], 0.5 / 25, rtol=1e-5)


@pytest.mark.parametrize("name", SHAPES)
def test_warm_up_rises_linearly_then_the_shape_begins(name):
    warm = wd.schedule(name, 2.0, steps=T, warmup=20)
    np.testing.assert_allclose(
        warm(jnp.arange(20)), 2.0 * np.arange(20) / 20, rtol=1e-6
    )
    plain = wd.schedule(name, 2.0, steps=T - 20)
    np.testing.assert_allclose(
        warm(jnp.arange(20, T)), plain(jnp.arange(T - 20)), rtol=1e-5, atol=1e-7
    )


@given(
    name=st.sampled_from(sorted(SHAPES)),
    steps=st.integers(1, 400),
    share=st.floats(0, 1),
)
def test_multiplier_stays_between_zero_and_one(name, steps, share):
    schedule = wd.schedule(name, 1.0, steps=steps, warmup=int(share * steps))
    # One shape for all examples compiles once; `values` is asked of one of them.
    values = np.asarray(schedule.multiplier(jnp.arange(400)))[:steps]
    assert np.isfinite(values).all()
    assert values.min() >= -1e-6
    assert values.max() <= 1 + 1e-6


@pytest.mark.parametrize("name", SHAPES)
def test_values_are_the_multipliers_of_every_step(name):
    schedule = wd.schedule(name, 0.3, steps=T, warmup=10)
    one_by_one = [float(schedule.multiplier(t)) for t in range(0, T, 7)]
    assert schedule.values().shape == (T,)
    np.testing.assert_allclose(schedule.values()[::7], one_by_one, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", SHAPES)
def test_by_name_equals_by_function(name):
    by_function = getattr(wd, name)(0.3, steps=T)
    np.testing.assert_array_equal(
        by_function.values(), wd.schedule(name, 0.3, steps=T).values()
    )


@pytest.mark.parametrize("name", SHAPES)
def test_peak_may_be_traced_and_step_too(name):
    schedule = jax.jit(lambda peak, t: wd.schedule(name, peak, steps=T)(t))
    np.testing.assert_allclose(
        schedule(0.3, 7), wd.schedule(name, 0.3, steps=T)(7), rtol=1e-6
    )


def test_schedules_are_values():
    assert wd.cosine(0.1, steps=10) == wd.schedule("cosine", 0.1, steps=10, end=0.0)
    assert len({wd.cosine(0.1, steps=10), wd.cosine(0.1, steps=10)}) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wd.schedule("cosin", 0.1, steps=5), "did you mean 'cosine'"),
        (
            lambda: wd.schedule("cosine", 0.1, steps=5, rate=2),
            "does not take rate=2; it",
        ),
        (lambda: wd.cosine(-0.1, steps=5), "peak=-0.1 is not allowed"),
        (lambda: wd.cosine(float("nan"), steps=5), "peak=nan is not allowed"),
        (lambda: wd.cosine(0.1, steps=0), "steps=0 is not allowed"),
        (lambda: wd.cosine(0.1, steps=5, warmup=6), "warmup=6 is not allowed"),
        (lambda: wd.cosine("a", steps=5), "peak='a' is not allowed; give a number"),
        (lambda: wd.cosine(0.1, steps=5.5), "steps=5.5 is not allowed; give a whole"),
        (lambda: wd.wsd(0.1, steps=5, cooldown=1.5), "cooldown=1.5 is not allowed"),
        (lambda: wd.wsd(0.1, steps=5, end=2.0), "end=2 is not allowed"),
        (lambda: wd.cosine(0.1, steps=5, end=-1.0), "end=-1 is not allowed"),
        (lambda: wd.linear(0.1, steps=5, end=float("nan")), "end=nan is not allowed"),
        (lambda: wd.step(0.1, steps=5, factor=10.0), "factor=10 is not allowed"),
        (lambda: wd.step(0.1, steps=5, every=-3), "every=-3 is not allowed"),
        (lambda: wd.polynomial(0.1, steps=5, power=-1.0), "power=-1 is not allowed"),
        (lambda: wd.inverse_time(0.1, steps=5, rate=-1.0), "rate=-1 is not allowed"),
        (lambda: wd.exponential(0.1, steps=5, end=0.0), "end=0 is not allowed"),
        (lambda: wd.one_cycle(0.1, steps=5, rise=1.0), "rise=1 is not allowed"),
        (lambda: wd.one_cycle(0.1, steps=5, start=0.0), "start=0 is not allowed"),
        (lambda: wd.warm_restarts(0.1, steps=5, cycles=1.5), "cycles=1.5 is not"),
    ],
)
def test_mistakes_are_errors(call, message):
    with pytest.raises(wd.InputError, match=message):
        call()
