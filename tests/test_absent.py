"""Names of Keras that are not here say what is."""

import pytest

import torchkeras_fn
from torchkeras_fn import absent


@pytest.mark.parametrize("name", absent._INSTEAD)
def test_a_name_without_a_meaning_here_says_what_to_use(name):
    with pytest.raises(AttributeError, match=f"has no attribute {name!r}. [A-Z].*[.]$"):
        getattr(torchkeras_fn, name)


def test_any_other_name_is_unknown_and_no_more():
    with pytest.raises(AttributeError, match="module 'torchkeras_fn' has no attribute 'laers'[.]$"):
        torchkeras_fn.laers  # noqa: B018
    assert not hasattr(torchkeras_fn, "__wrapped__")


@pytest.mark.parametrize("name", absent._LAYERS_INSTEAD)
def test_a_layer_that_is_not_here_says_what_to_use(name):
    with pytest.raises(AttributeError, match=f"'torchkeras_fn.layers' has no attribute {name!r}. [a-zA-Z].*[.]$"):
        getattr(torchkeras_fn.layers, name)


def test_any_other_layer_is_unknown_and_no_more():
    with pytest.raises(AttributeError, match="module 'torchkeras_fn.layers' has no attribute 'Dens'[.]$"):
        torchkeras_fn.layers.Dens  # noqa: B018


@pytest.mark.parametrize("name", absent._UTILS_INSTEAD)
def test_a_utility_that_is_not_here_says_what_to_use(name):
    with pytest.raises(AttributeError, match=f"'torchkeras_fn.utils' has no attribute {name!r}. [a-zA-Z].*[.]$"):
        getattr(torchkeras_fn.utils, name)


def test_any_other_utility_is_unknown_and_no_more():
    with pytest.raises(AttributeError, match="module 'torchkeras_fn.utils' has no attribute 'plot'[.]$"):
        torchkeras_fn.utils.plot  # noqa: B018
