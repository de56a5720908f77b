"""Names in lowered code are ones that Python and torch.fx take."""

import keyword

import pytest

from torchkeras_fn.engine.graphs.naming import CONSTANTS, identifier, module_key


def test_keys_avoid_what_torch_needs():
    assert [module_key(name) for name in ("block.1", "forward", "train", "dense_1")] == ["block_1", "forward_", "train_", "dense_1"]


def test_keys_leave_room_for_the_constants():
    assert module_key(CONSTANTS) != CONSTANTS


@pytest.mark.parametrize("name", ["", "class", "self", "2nd", "my model", "a-b", 'quote"', "größe"])
def test_an_identifier_is_one(name):
    cleaned = identifier(name)
    assert cleaned.isidentifier() and not keyword.iskeyword(cleaned) and cleaned != "self"
