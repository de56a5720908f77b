"""`Configurable`: the arguments of a constructor, written down as plain values and read back."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch

from torchkeras_fn import backend, layers
from torchkeras_fn.configurable import Configurable, constructor_arguments, plain


class Point(Configurable):
    def __init__(self, x, y=0, *, label=None):
        self.x, self.y, self.label = x, y, label


class Anything(Configurable):
    def __init__(self, first, **rest):
        self.first, self.rest = first, rest


class Bare(Configurable):
    pass


class Several(Configurable):
    def __init__(self, *points):
        self.points = points


class Inherited(Point):
    pass


@pytest.mark.parametrize(
    ("made", "config"),
    [
        (Point(1), {"x": 1, "y": 0, "label": None}),
        (Point(1, 2, label="a"), {"x": 1, "y": 2, "label": "a"}),
        (Point(y=2, x=1), {"x": 1, "y": 2, "label": None}),
        (Inherited(1), {"x": 1, "y": 0, "label": None}),
        (Anything(1, second=2), {"first": 1, "second": 2}),
        (Bare(), {}),
        (Several(), {}),
    ],
)
def test_the_config_is_the_arguments_by_name(made, config):
    assert made.get_config() == config
    assert type(made).from_config(config).get_config() == config


def test_arguments_that_are_wrong_are_refused_as_ever():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        Point()
    with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
        Bare(3)


def test_arguments_without_a_name_cannot_be_written():
    with pytest.raises(NotImplementedError, match=r"Several takes \*points, which have no names: override get_config"):
        Several(1, 2).get_config()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (torch.float32, "float32"),
        (Point(1), {"class_name": "Point", "config": {"x": 1, "y": 0, "label": None}}),
        ({"a": (np.int64(1),)}, {"a": [1]}),
        ("text", "text"),
        (None, None),
    ],
)
def test_values_are_made_plain(value, expected):
    assert plain(value) == expected
    json.dumps(plain(value))


def test_numpy_numbers_become_pythons():
    assert type(Point(np.int64(3)).get_config()["x"]) is int


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_a_copy_keeps_its_arguments(copied):
    assert copied(Point(1, label="a")).get_config() == {"x": 1, "y": 0, "label": "a"}


def test_arguments_of_any_constructor():
    assert constructor_arguments(Point(1), (1,), {"label": "b"}) == {"x": 1, "y": 0, "label": "b"}


def test_a_data_format_that_was_chosen_by_default_holds_where_another_default_is_in_force():
    before = backend.image_data_format()
    try:
        backend.set_image_data_format("channels_first")
        config = layers.Conv2D(2, 3).get_config()
    finally:
        backend.set_image_data_format(before)
    assert layers.Conv2D.from_config(config).data_format == "channels_first"


def test_an_object_shows_the_call_that_made_it():
    assert repr(Point(3, label="a")) == "Point(3, label='a')"
