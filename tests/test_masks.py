"""Which leaves decay: first match wins, nothing is silently unmatched."""

import jax
import jax.numpy as jnp
import pytest

import jaxwd as wd

PARAMS = {
    "conv1": {"kernel": jnp.ones((3, 3, 1, 4)), "bias": jnp.ones(4)},
    "norm": {"scale": jnp.ones(4), "bias": jnp.ones(4)},
    "head": {"kernel": jnp.ones((4, 2)), "bias": jnp.ones(2)},
}


def decayed(where, params=PARAMS):
    report = wd.mask_report(where, params)
    return {row.name: row.multiplier for row in report.rows if row.multiplier}


def test_default_is_kernels_only():
    assert decayed(wd.kernels) == {"conv1/kernel": 1, "head/kernel": 1}


def test_kernels_at_the_top_of_the_tree_count_too():
    assert decayed(wd.kernels, {"kernel": jnp.ones(2), "b": jnp.ones(2)}) == {
        "kernel": 1
    }


@pytest.mark.parametrize(
    ("where", "names"),
    [
        (wd.everything, 6),
        (wd.matrices, 2),
        ("head/.*", 2),
        ({"head/.*": 0.0, ".*": 1.0}, 4),
        ([("head/kernel", 0.5), (".*kernel", 1.0)], 2),
        ([("head/.*", False), (".*kernel", True)], 1),
    ],
)
def test_forms_of_where(where, names):
    assert len(decayed(where)) == names


def test_first_match_wins():
    where = [("head/kernel", 0.5), (".*kernel", 1.0)]
    assert decayed(where) == {"conv1/kernel": 1.0, "head/kernel": 0.5}


def test_patterns_match_the_whole_name():
    with pytest.raises(wd.InputError, match="'conv' matches no leaf"):
        decayed("conv")


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("conv1/kernal", r"nearest of the 6 leaves: 'conv1/kernel'"),
        ([(".*kernel", 1), ("head/kernel", 0.5)], r"earlier rules take all it matches"),
        ("conv1/(", r"no regular expression"),
        (["conv1/kernel"], r"give a pattern of leaf names, a table"),
        (lambda p: p, r"give a pattern of leaf names, a table"),
        ({"conv1": {"kernel": True}}, r"give a pattern of leaf names, a table"),
        ([], r"names no leaf; use jaxwd.none\(\)"),
        ({".*": -1.0}, r"multiplier of rule '\.\*'=-1 is not allowed"),
    ],
)
def test_mistakes_are_errors(where, message):
    with pytest.raises(wd.InputError, match=message):
        wd.mask_report(where, PARAMS)


def test_report_counts_and_prints():
    report = wd.mask_report(wd.kernels, PARAMS)
    assert (report.decayed, report.total) == (36 + 8, 36 + 4 + 8 + 8 + 2)
    assert report.summary == "decays 2 of 6 leaves, 44 of 58 parameters"
    lines = str(report).splitlines()
    assert lines[0].split() == ["leaf", "shape", "λ", "×", "rule"]
    assert len(lines) == 8


def test_rules_are_values():
    assert wd.rules("a") == wd.rules([("a", 1.0)]) == wd.rules({"a": True})
    assert hash(wd.rules("a")) == hash(wd.rules({"a": 1}))


class Pair(tuple):
    """A user's own container, registered as a pytree below."""


jax.tree_util.register_pytree_node(
    Pair, lambda p: (tuple(p), None), lambda _, x: Pair(x)
)


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        (jnp.ones(3), [""]),
        ([jnp.ones(2), {"w": jnp.ones(2)}], ["0", "1/w"]),
        (Pair((jnp.ones(1), jnp.ones(1))), ["0", "1"]),
        ({"a": None, "b": jnp.ones(1)}, ["b"]),
    ],
)
def test_any_pytree_has_names(tree, names):
    assert list(decayed(wd.everything, tree)) == names


def test_nnx_state_uses_flax_names():
    from flax import nnx

    params = nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.Param)
    assert decayed(wd.kernels, params) == {"kernel": 1}


def test_works_inside_nnx_optimizer():
    """Masks are callables, which is the form nnx.Optimizer accepts (jax#31256)."""
    from flax import nnx

    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    tx = wd.optimizer("sgd", 0.1, decay=wd.decoupled(0.5))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    before = model.kernel[...]
    zero = jax.tree.map(jnp.zeros_like, nnx.state(model, nnx.Param))
    optimizer.update(model, zero)
    assert jnp.allclose(model.kernel[...], 0.95 * before, rtol=1e-6)
