"""Upsampling, padding and cropping: what goes where, both data formats, every form of the options, and errors."""

import pytest
import torch

from torchkeras_fn import Input, Model, layers

STEPS = torch.arange(6.0).reshape(1, 3, 2)
IMAGE = torch.arange(24.0).reshape(1, 3, 4, 2)


def test_upsampling_repeats():
    torch.testing.assert_close(layers.UpSampling1D(3)(STEPS), STEPS.repeat_interleave(3, 1))
    torch.testing.assert_close(layers.UpSampling2D((2, 3))(IMAGE), IMAGE.repeat_interleave(2, 1).repeat_interleave(3, 2))
    torch.testing.assert_close(layers.UpSampling2D(2, "channels_first")(IMAGE), IMAGE.repeat_interleave(2, 2).repeat_interleave(2, 3))


@pytest.mark.parametrize("size", range(1, 60))
def test_every_step_is_repeated_equally_often(size):
    torch.testing.assert_close(layers.UpSampling1D(size)(STEPS), STEPS.repeat_interleave(size, 1))


def test_padding_and_cropping_put_back():
    pad, crop = (getattr(layers, name)(((1, 2), (0, 3))) for name in ("ZeroPadding2D", "Cropping2D"))
    padded = pad(IMAGE)
    assert padded.shape == (1, 6, 7, 2)
    assert padded.sum() == IMAGE.sum()
    assert torch.equal(crop(padded), IMAGE)


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (layers.UpSampling2D(2), (None, None, 3), (None, None, None, 3)),
        (layers.UpSampling2D(2), (None, 5, 3), (None, None, 10, 3)),
        (layers.ZeroPadding2D(1), (None, 5, 3), (None, None, 7, 3)),
        (layers.Cropping2D(1), (None, 5, 3), (None, None, 3, 3)),
        (layers.Cropping2D(1, data_format="channels_first"), (None, 5, 6), (None, None, 3, 4)),
        (layers.ZeroPadding3D((1, 2, 3)), (None, 5, 3, 1), (None, None, 9, 9, 1)),
    ],
)
def test_unknown_sizes_stay_unknown(layer, shape, expected):
    model = Model(x := Input(shape=shape), layer(x))
    assert model.output_shape == expected
    assert list(model.lowered.children()) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.UpSampling1D(0), "'size' must be an integer of at least 1, got 0"),
        (lambda: layers.UpSampling1D((2, 2)), r"'size' must be an integer, got \(2, 2\)"),
        (lambda: layers.UpSampling2D((2, 2, 2)), r"'size' must be an integer or 2 of them, got \(2, 2, 2\)"),
        (lambda: layers.UpSampling2D(2.5), "'size' must be an integer or 2 of them, got 2.5"),
        (lambda: layers.UpSampling2D(2, interpolation="cubist"), "'interpolation' must be one of .*; got 'cubist'"),
        (lambda: layers.UpSampling2D(2, "channels_sideways"), "'data_format' must be one of .*; got 'channels_sideways'"),
        (lambda: layers.ZeroPadding1D(-1), "'padding' must be an integer of at least 0, got -1"),
        (lambda: layers.ZeroPadding2D((1, 2, 3)), "'padding' must be an integer, 2 of them, or 2 pairs of them"),
        (lambda: layers.ZeroPadding3D("all"), "'padding' must be an integer, 3 of them, or 3 pairs of them; got 'all'"),
        (lambda: layers.Cropping2D(((1, 2, 3), 1)), r"'cropping' must be an integer or 2 of them, got \(1, 2, 3\)"),
        (lambda: layers.Cropping1D(2)(Input(shape=(4, 3))), r"Cropping1D cannot be built .*\(None, 4, 3\): 'cropping' must be less"),
        (lambda: layers.Cropping2D(2)(Input(shape=(None, 4, 3))), "'cropping' must be less than the sizes"),
        (lambda: layers.UpSampling2D(2)(Input(shape=(4, 3))), "UpSampling2D cannot .*expected 4 dimensions, the batch included, got 3"),
        (lambda: layers.ZeroPadding1D(1)([Input(shape=(4, 3))] * 2), "got a list of 2 inputs"),
    ],
)
def test_what_is_wrong_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
