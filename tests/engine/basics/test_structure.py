"""How tensors are nested: put on, taken off, read from a configuration, and shown in messages."""

import copy
import pickle

import pytest
import torch

from torchkeras_fn.engine.basics.structure import Structure, nested

NESTS = [
    {"b": 1, "a": 2},
    [1, {"b": 2, "a": [3, 4]}],
    {"z": {"y": (1, 2)}, "a": [3]},
    [[1], 2],
    ((1, 2), [3]),
]


@pytest.mark.parametrize("nest", NESTS)
def test_what_is_taken_apart_is_put_together_again(nest):
    structure, leaves = Structure.split(nest)
    assert structure.pack(leaves) == nest


@pytest.mark.parametrize("plain", [1, [1, 2], (1, 2), [1]])
def test_a_leaf_or_a_list_has_no_structure(plain):
    structure, leaves = Structure.split(plain)
    assert structure is None
    assert leaves == (list(plain) if isinstance(plain, (list, tuple)) else [plain])


def test_a_dict_goes_by_its_keys_in_their_order_whatever_order_they_came_in():
    structure = Structure({"b": 0, "a": 0, "c": 0})
    assert structure.flat({"c": 3, "a": 1, "b": 2}) == [1, 2, 3]
    assert list(structure.pack([1, 2, 3])) == ["a", "b", "c"]


def test_a_list_of_the_leaves_is_in_order_as_it_is():
    assert Structure([0, {"b": 0, "a": 0}]).flat([1, 2, 3]) == [1, 2, 3]


def test_a_single_leaf_may_come_by_itself():
    assert Structure({"a": [0]}).flat("leaf") == ["leaf"]


@pytest.mark.parametrize("value", [{"a": 1}, {"a": 1, "b": 2, "c": 3}, [1], [1, [2]], 1, None])
def test_another_nest_is_refused(value):
    with pytest.raises(ValueError, match="expected {'a': ..., 'b': ...}, got "):
        Structure({"a": 0, "b": 0}).flat(value)


def test_shapes_are_shown_of_what_came():
    with pytest.raises(ValueError, match=r"expected \[\[...\], ...\], got \(Tensor of shape \(2, 3\)\)"):
        Structure([[0], 0]).flat((torch.ones(2, 3),))


@pytest.mark.parametrize(
    ("nest", "labels"), [({"b": 0, "a": 0}, ["a", "b"]), ([[0], 0], ["0/one", "two"]), ({"p": [0, 0]}, ["p/one", "p/two"])]
)
def test_labels_are_paths(nest, labels):
    assert Structure(nest).labels(["one", "two"]) == labels


@pytest.mark.parametrize(
    ("nest", "message"),
    [({1: 0}, "keys of a dict of tensors are strings, got 1"), ([[], 0], "An empty list"), ({"a": {}}, "An empty dict")],
)
def test_what_is_no_structure_is_refused(nest, message):
    with pytest.raises(ValueError, match=message):
        Structure.split(nest)


def test_a_nest_without_end_is_refused():
    nest = []
    nest.append(nest)
    with pytest.raises(ValueError, match="nested 20 deep"):
        Structure(nest)


@pytest.mark.parametrize(
    "nest", [{"a": 0}, {"a": 0, "b": 0}, {"a": 1, "b": 0}, {"a": 0, "b": True}, {"a": 0, "b": "1"}, [0, 1, 2], 0, "no"]
)
def test_a_configuration_with_other_leaves_is_refused(nest):
    with pytest.raises(ValueError, match="is no structure of 2 tensors"):
        Structure.read(nest, 2)


@pytest.mark.parametrize("nest", NESTS)
def test_a_structure_is_read_as_it_was_written(nest):
    structure = Structure(nest)
    assert Structure.read(structure.nest, structure.count) == structure


def test_none_is_no_structure():
    assert Structure.read(None, 2) is None and nested(None, [1, 2]) == [1, 2]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda structure: pickle.loads(pickle.dumps(structure))])
def test_a_copy_is_equal(duplicate):
    structure = Structure({"a": [0, 0], "b": 0})
    assert duplicate(structure) == structure and hash(duplicate(structure)) == hash(structure)
