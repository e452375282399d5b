"""Every docstring example runs, and every public name says what it is."""

import doctest
import importlib
import inspect
import pkgutil
import re

import pytest

import jaxwd
from jaxwd import decay

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(jaxwd.__path__, "jaxwd.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name):
    module = importlib.import_module(name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, _ = doctest.testmod(module, optionflags=flags)
    assert failed == 0


@pytest.mark.parametrize("name", [n for n in dir(jaxwd) if not n.startswith("_")])
def test_public_names_load_and_are_documented(name):
    value = getattr(jaxwd, name)
    if inspect.ismodule(value) or inspect.isfunction(value) or inspect.isclass(value):
        assert value.__doc__, name


@pytest.mark.parametrize("name", ["penalized", "coupled", "decoupled", "compose"])
def test_decay_docstrings_say_the_unit_the_errors_and_an_example(name):
    text = getattr(jaxwd, name).__doc__
    for part in ("Args:", "Raises:", ">>>"):
        assert part in text
    if name != "compose":
        assert "in units of" in text


@pytest.mark.parametrize("name", decay.CONSTRUCTORS + decay.MODIFIERS)
def test_every_scheme_says_its_source_its_reference_and_what_it_is_not_for(name):
    text = getattr(jaxwd, name).__doc__
    for part in ("Source", "Reference: ", "Not ", ">>>"):
        assert part in text or (name, part) == ("none", "Source")
    assert re.search(r"Source.*\b(19|20)\d\d\b", text, re.S) or name in (
        "none",
        "radial_brake",  # code without a paper
    )
