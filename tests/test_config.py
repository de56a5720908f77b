"""Library-wide defaults: each is read back as set, and refuses what makes no sense."""

import random

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, config
from torchkeras_fn.layers import Dense


@pytest.fixture(autouse=True)
def restored():
    before = config.floatx(), config.epsilon(), config.image_data_format()
    yield
    config.set_floatx(before[0])
    config.set_epsilon(before[1])
    config.set_image_data_format(before[2])


def test_the_defaults_are_keras_defaults():
    assert (config.floatx(), config.epsilon(), config.image_data_format()) == ("float32", 1e-7, "channels_last")


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ("float32", torch.float32),
        ("torch.int8", torch.int8),
        (np.float64, torch.float64),
        (np.dtype("uint8"), torch.uint8),
        (torch.bfloat16, torch.bfloat16),
        (int, torch.int64),
        (bool, torch.bool),
        (None, torch.float32),
    ],
)
def test_the_ways_to_say_a_dtype(identifier, expected):
    assert config.dtype(identifier) is expected


@pytest.mark.parametrize("identifier", ["float33", "nn", np.dtype("datetime64[s]"), object(), 3])
def test_what_is_no_dtype_is_shown(identifier):
    with pytest.raises(ValueError, match="is not a dtype. Expected a name such as 'float32'"):
        config.dtype(identifier)


@pytest.mark.parametrize("value", ["float64", "bfloat16", torch.float16, np.float64])
def test_floatx_is_that_of_inputs_and_weights(value):
    config.set_floatx(value)
    x = Input(shape=(3,))
    layer = Dense(2)
    layer(x)
    assert x.dtype is layer.weights[0].dtype is config.dtype(value)
    assert config.floatx() == str(config.dtype(value)).removeprefix("torch.")


@pytest.mark.parametrize("value", ["int32", "bool", torch.int64])
def test_floatx_is_a_float_type(value):
    with pytest.raises(ValueError, match="floatx must be a float type"):
        config.set_floatx(value)
    assert config.floatx() == "float32"


def test_epsilon_is_what_was_set():
    config.set_epsilon(1e-3)
    assert config.epsilon() == 1e-3


@pytest.mark.parametrize("value", ["channels_first", "channels_last"])
def test_the_image_layout_is_what_was_set(value):
    config.set_image_data_format(value)
    assert config.image_data_format() == value


def test_an_unknown_image_layout_is_refused():
    with pytest.raises(ValueError, match="'channels_last' or 'channels_first', got 'channels_middle'"):
        config.set_image_data_format("channels_middle")


def test_the_image_layout_is_set_by_keras_keyword():
    config.set_image_data_format(data_format="channels_first")
    assert config.image_data_format() == "channels_first"


@pytest.mark.parametrize("seed", [7, 2**40])
def test_one_seed_repeats_all_generators(seed):
    def draw():
        config.set_random_seed(seed)
        return random.random(), np.random.random(), torch.rand(1).item()

    assert draw() == draw()


@pytest.mark.parametrize("seed", ["a", 1.5, None])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    with pytest.raises(TypeError, match="The seed is a whole number, got"):
        config.set_random_seed(seed)


def test_a_seed_may_be_a_number_of_numpy():
    config.set_random_seed(np.int64(7))
    first = random.random()
    config.set_random_seed(7)
    assert first == random.random()
