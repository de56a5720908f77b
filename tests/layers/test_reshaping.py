"""`Flatten`, `Reshape`, `Permute`, `RepeatVector`: drawn and lowered they give what the function gives."""

import pytest
import torch

from torchkeras_fn import Input, Model
from torchkeras_fn.layers import Concatenate, Flatten, Permute, RepeatVector, Reshape


@pytest.mark.parametrize(
    ("layer", "shape", "function"),
    [
        (Flatten(), (3, 4), lambda x: x.reshape(-1, 12)),
        (Flatten(), (2, 3, 4), lambda x: x.reshape(-1, 24)),
        (Flatten(), (3,), lambda x: x),
        (Flatten(), (), lambda x: x[:, None]),
        (Flatten("channels_first"), (2, 3, 4), lambda x: x.permute(0, 2, 3, 1).reshape(-1, 24)),
        (Reshape((2, 6)), (3, 4), lambda x: x.reshape(-1, 2, 6)),
        (Reshape((-1, 2)), (3, 4), lambda x: x.reshape(-1, 6, 2)),
        (Reshape((12,)), (3, 4), lambda x: x.reshape(-1, 12)),
        (Reshape(12), (3, 4), lambda x: x.reshape(-1, 12)),
        (Reshape((-1,)), (), lambda x: x[:, None]),
        (Reshape(()), (1,), lambda x: x.reshape(-1)),
        (Permute((2, 1)), (3, 4), lambda x: x.permute(0, 2, 1)),
        (Permute((3, 1, 2)), (2, 3, 4), lambda x: x.permute(0, 3, 1, 2)),
        (RepeatVector(3), (4,), lambda x: x[:, None].repeat(1, 3, 1)),
    ],
)
def test_a_layer_gives_what_the_function_gives(layer, shape, function):
    x = Input(shape=shape)
    model = Model(x, layer(x))
    data = torch.randn(5, *shape)
    expected = function(data)
    assert torch.equal(model(data), expected)
    assert model.output_shape == (None, *expected.shape[1:])
    assert list(model.lowered.children()) == []


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (Flatten(), (None, 4), (None, None)),
        (Reshape((-1, 2)), (None, 4), (None, None, 2)),
        (Reshape((2, -1)), (None, 4), (None, 2, None)),
        (Reshape((24,)), (None, 4), (None, 24)),
        (Permute((2, 1)), (None, 4), (None, 4, None)),
    ],
)
def test_unknown_sizes_stay_unknown(layer, shape, expected):
    x = Input(shape=shape)
    model = Model(x, layer(x))
    assert model.output_shape == expected
    assert model(torch.ones(3, 6, 4)).shape[0] == 3


def test_what_an_unknown_size_turns_out_to_be_does_not_change_the_number_of_rows():
    x = Input(shape=(None, 4))
    model = Model(x, Concatenate()([Reshape((12,))(x), Flatten()(x)[:, :1]]))
    assert model(torch.ones(5, 3, 4)).shape == (5, 13)
    with pytest.raises(RuntimeError):
        model(torch.ones(5, 6, 4))


@pytest.mark.parametrize("layer", [Flatten(), Reshape((2, -1)), Reshape((2, 6)), Permute((2, 1))])
def test_an_empty_batch_goes_through(layer):
    x = Input(shape=(3, 4))
    assert len(Model(x, layer(x))(torch.ones(0, 3, 4))) == 0


@pytest.mark.parametrize("shape", [(5, 2), (5, -1), (13,)])
def test_numbers_of_elements_that_do_not_agree_are_told(shape):
    with pytest.raises(ValueError, match=r"Reshape cannot be built for input of shape \(None, 3, 4\): 12 elements per sample cannot take"):
        Reshape(shape)(Input(shape=(3, 4)))


def test_one_size_at_most_is_free():
    with pytest.raises(ValueError, match=r"At most one size of target_shape may be -1, got \(-1, -1\)"):
        Reshape((-1, -1))


@pytest.mark.parametrize("dims", [(0, 1), (1, 3), (1, 1)])
def test_axes_are_counted_from_one(dims):
    with pytest.raises(ValueError, match=r"dims must hold each number from 1 to 2 once"):
        Permute(dims)


def test_permuting_another_rank_is_told_with_the_shape():
    with pytest.raises(ValueError, match=r"Permute cannot .* shape \(None, 3\)"):
        Permute((2, 1))(Input(shape=(3,)))


def test_only_vectors_are_repeated():
    with pytest.raises(ValueError, match="expected 2 dimensions, the batch included, got 3"):
        RepeatVector(2)(Input(shape=(3, 4)))


def test_repeats_are_a_positive_integer():
    with pytest.raises(ValueError, match="'n' must be an integer of at least 1, got 0"):
        RepeatVector(0)


def test_an_unknown_data_format_is_named():
    with pytest.raises(ValueError, match="channels_sideways"):
        Flatten("channels_sideways")
