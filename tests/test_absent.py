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
