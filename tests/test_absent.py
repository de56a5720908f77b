"""Names of Keras that are not here say what is."""

import importlib
import re

import pytest

import torchkeras_fn
from torchkeras_fn import absent

LISTED = [(module, name) for module, names in absent._INSTEAD.items() for name in names]
MODULES = ["", "backend", "layers", "ops", "optimizers", "preprocessing", "utils"]
"""Those that are asked for names by programs; into `engine` one only comes by imports."""
ASKED = [(module, name) for module, name in LISTED if module in MODULES]


def path_of(module: str) -> str:
    return f"torchkeras_fn.{module}".rstrip(".")


@pytest.mark.parametrize(("module", "name"), ASKED)
def test_a_name_without_a_meaning_here_says_what_to_use(module, name):
    with pytest.raises(AttributeError, match=f"'{path_of(module)}' has no attribute {name!r}. [a-zA-Z].*[.]$"):
        getattr(importlib.import_module(path_of(module)), name)


@pytest.mark.parametrize(("module", "name"), LISTED)
def test_who_imports_it_from_a_module_is_told_so_too(module, name):
    with pytest.raises(ImportError, match=f"{name!r} from '{path_of(module)}'. {re.escape(absent._INSTEAD[module][name])}$"):
        exec(f"from {path_of(module)} import {name}")


@pytest.mark.parametrize("line", ["import torchkeras_fn.datasets.mnist", "from torchkeras_fn.preprocessing.image import load_img"])
def test_a_module_within_one_that_is_not_here_is_not_found_and_says_what_to_use(line):
    with pytest.raises(ModuleNotFoundError, match="Nothing is downloaded|ImageFolder"):
        exec(line)


@pytest.mark.parametrize("module", MODULES)
def test_any_other_name_is_unknown_and_no_more(module):
    with pytest.raises(AttributeError, match=f"^module '{path_of(module)}' has no attribute 'Dens'$"):
        importlib.import_module(path_of(module)).Dens  # noqa: B018
    with pytest.raises(ImportError, match=f"^cannot import name 'Dens' from '{path_of(module)}'"):
        exec(f"from {path_of(module)} import Dens")


def test_a_name_with_a_slip_is_left_to_python_to_guess():
    with pytest.raises(AttributeError) as caught:
        torchkeras_fn.layers.Dens  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("Dens", torchkeras_fn.layers)


def test_names_are_looked_for_without_an_error():
    assert not hasattr(torchkeras_fn, "__wrapped__")
    assert not hasattr(torchkeras_fn.preprocessing, "image")
