"""Poolings: the mean without the padding by its formula, errors, shapes, configurations. tests/parity has the rest of the numbers."""

import itertools

import pytest
import torch

from torchkeras_fn import Input, Model, layers
from torchkeras_fn.layers import AveragePooling2D, GlobalAveragePooling2D, GlobalMaxPooling1D, MaxPooling1D, MaxPooling2D


def by_formula(x, window, stride, reduce):
    """Pool the middle axes with TensorFlow's 'same' padding, one window at a time."""
    spans = []
    for size in x.shape[1:-1]:
        count = -(-size // stride)
        before = max((count - 1) * stride + window - size, 0) // 2
        spans.append([(max(i * stride - before, 0), min(i * stride - before + window, size)) for i in range(count)])
    rows = [torch.stack([reduce(x[:, a:b, c:d]) for c, d in spans[1]], 1) for a, b in spans[0]]
    return torch.stack(rows, 1)


@pytest.mark.parametrize(("window", "stride", "size"), itertools.product((1, 2, 3, 4, 5), (1, 2, 3), (5, 6, 7)))
def test_same_padding_counts_for_nothing(window, stride, size):
    x = torch.randn(2, size, 8, 3, generator=torch.Generator().manual_seed(0)) - 3
    options = {"strides": stride, "padding": "same"}
    torch.testing.assert_close(AveragePooling2D(window, **options)(x), by_formula(x, window, stride, lambda part: part.mean((1, 2))))
    torch.testing.assert_close(MaxPooling2D(window, **options)(x), by_formula(x, window, stride, lambda part: part.amax((1, 2))))


@pytest.mark.parametrize("size", [None, 9])
@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (MaxPooling1D(), 4),
        (MaxPooling1D(2, padding="same"), 5),
        (MaxPooling1D(3, strides=1), 7),
        (MaxPooling1D(4, strides=1, padding="same"), 9),
        (layers.AveragePooling1D(3, strides=2, padding="same"), 5),
        (GlobalMaxPooling1D(keepdims=True), 1),
    ],
)
def test_shapes(layer, expected, size):
    is_global = isinstance(layer, GlobalMaxPooling1D)
    layer = type(layer).from_config(layer.get_config())
    assert layer(Input(shape=(size, 2))).shape == (None, expected if size or is_global else None, 2)
    assert layer(torch.ones(2, 9, 2)).shape == (2, expected, 2)


@pytest.mark.parametrize(
    "layer", [MaxPooling2D((2, 3), strides=1, padding="same"), GlobalAveragePooling2D("channels_first", keepdims=True)]
)
def test_configuration_round_trip(layer):
    config = layer.get_config()
    twin = type(layer).from_config(config)
    assert twin.get_config() == config
    torch.testing.assert_close(twin(torch.ones(2, 6, 6, 3)), layer(torch.ones(2, 6, 6, 3)))


def test_a_lowered_pooling_without_padding_is_torchs_own():
    x = Input(shape=(8, 8, 3))
    modules = [type(module).__name__ for module in Model(x, AveragePooling2D()(MaxPooling2D()(x))).to_torch().children()]
    assert modules == ["MaxPool2d", "AvgPool2d"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MaxPooling2D(0), "'pool_size' must be an integer of at least 1, got 0"),
        (lambda: MaxPooling2D(2, strides=(1, 1, 1)), r"'strides' must be an integer or 2 of them, got \(1, 1, 1\)"),
        (lambda: MaxPooling2D(padding="causal"), "'padding' must be one of 'valid', 'same'; got 'causal'"),
        (
            lambda: MaxPooling2D(9, name="p")(Input(shape=(8, 8, 3))),
            r"^p .*the window covers \(9, 9\), which is larger than the input's \(8, 8\)",
        ),
        (lambda: GlobalAveragePooling2D(name="p")(Input(shape=(8, 3))), "^p .*expected 4 dimensions .*, got 3"),
        (lambda: GlobalMaxPooling1D(data_format="last"), "'data_format' must be one of 'channels_last', 'channels_first'; got 'last'"),
    ],
)
def test_mistakes_are_told_where_they_are_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_keras_2_names():
    assert layers.MaxPool2D is MaxPooling2D and layers.AvgPool2D is AveragePooling2D
    assert layers.GlobalAvgPool2D is GlobalAveragePooling2D and layers.Convolution2D is layers.Conv2D


@pytest.mark.parametrize(("size", "window", "stride"), itertools.product((1, 2, 3), (2, 3, 4, 5), (1, 2, None)))
def test_a_volume_may_be_thinner_than_the_window(size, window, stride):
    x = torch.randn(1, size, 2, 2, 3, generator=torch.Generator().manual_seed(0))
    volume = layers.AveragePooling3D((window, 1, 1), stride and (stride, 1, 1), "same")(x)
    image = layers.AveragePooling2D((window, 1), stride and (stride, 1), "same")(x.flatten(2, 3))
    torch.testing.assert_close(volume.flatten(2, 3), image)
