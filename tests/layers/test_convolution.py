"""Convolutions: errors, shapes, weights, configurations, and that channels_last costs no copy. tests/parity has the numbers."""

import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, layers
from torchkeras_fn.layers import Activation, Add, BatchNormalization, Conv1D, Conv2D, Conv2DTranspose, DepthwiseConv2D, SeparableConv2D

MOVES = ("permute", "movedim", "contiguous", "clone", "copy_", "pad")


def moves(model):
    """The names of the operations of the lowered network that move data or axes about."""
    names = [getattr(node.target, "__name__", node.target) for node in model.to_torch().graph.nodes if node.op.startswith("call_")]
    return [name for name in names if name in MOVES]


def same_as_layers(model, shape):
    """Compare the lowered network with the layers called one after the other."""
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    y = x
    for layer in model.layers[1:]:
        y = layer.eval()(y)
    torch.testing.assert_close(model.to_torch().eval()(x), y)


@pytest.mark.parametrize("activation", [None, "relu", "tanh", nn.ReLU(), "gelu"])
def test_three_convolutions_permute_at_the_ends_alone(activation):
    x = y = Input(shape=(8, 8, 3))
    for _ in range(3):
        y = Conv2D(4, 3, padding="same", activation=activation)(y)
    model = Model(x, y)
    assert moves(model) == ["permute", "permute"]
    same_as_layers(model, (8, 8, 3))


def test_normalization_activation_and_pooling_between_need_no_permutation():
    x = Input(shape=(8, 8, 3))
    y = Activation("relu")(BatchNormalization()(Conv2D(4, 3)(x)))
    model = Model(x, Conv2D(2, 2)(layers.MaxPooling2D()(y)))
    assert moves(model) == ["permute", "permute"]
    same_as_layers(model, (8, 8, 3))


def test_a_residual_block_needs_no_permutation():
    x = Input(shape=(8, 8, 3))
    y = Conv2D(4, 3, padding="same", activation="relu")(x)
    z = BatchNormalization()(Conv2D(4, 3, padding="same")(y))
    model = Model(x, Conv2D(2, 1)(Activation("relu")(Add()([y, z]))))
    assert moves(model) == ["permute", "permute"]
    data = torch.randn(2, 8, 8, 3)
    a = model.layers[1](data)
    b = model.layers[3].eval()(model.layers[2](a))
    torch.testing.assert_close(model.to_torch().eval()(data), model.layers[-1](torch.relu(a + b)))


def test_an_encoder_and_decoder_with_a_bridge_need_no_permutation():
    x = Input(shape=(8, 6, 3))
    first = Conv2D(4, 3, padding="same", activation="relu")(layers.ZeroPadding2D(((0, 1), (2, 0)))(Conv2D(4, 1)(x)))
    inner = layers.UpSampling2D((3, 2))(Conv2D(5, 2)(layers.Dropout(0.5)(layers.MaxPooling2D((3, 2))(first))))
    bridged = layers.Concatenate()([layers.Cropping2D(((0, 3), (0, 2)))(first), inner])
    model = Model(x, Conv2D(2, 1)(bridged))
    assert moves(model)[:3] == ["permute", "pad", "permute"]  # one out of the first half, for the cropping
    straight = layers.Concatenate()([inner, inner])
    model = Model(x, Conv2D(2, 1)(straight))
    assert moves(model) == ["permute", "pad", "permute"]
    data = torch.randn(2, 8, 6, 3)
    a = model.layers[2](model.layers[1](data))
    b = model.layers[4](model.layers[3](a))
    c = model.layers[6](model.layers[5].eval()(b))
    d = model.layers[7](c)
    torch.testing.assert_close(model.to_torch().eval()(data), model.layers[-1](torch.cat([d, d], -1)))


def test_a_softmax_over_the_channels_keeps_its_permutation():
    x = Input(shape=(8, 8, 3))
    model = Model(x, Conv2D(2, 3)(Conv2D(4, 3, activation="softmax")(x)))
    assert moves(model) == ["permute"] * 4
    same_as_layers(model, (8, 8, 3))


def test_channels_first_permutes_nothing():
    x = Input(shape=(3, 8, 8))
    assert moves(Model(x, Conv2D(2, 3, data_format="channels_first")(x))) == []


def test_what_goes_in_is_seen_as_channels_last_memory():
    layer = Conv2D(4, 3)
    assert layer.prepare(torch.ones(2, 8, 8, 3)).is_contiguous(memory_format=torch.channels_last)
    assert layer(torch.ones(2, 8, 8, 3)).is_contiguous()


def test_a_layer_shared_by_inputs_of_two_sizes_pads_each_as_it_needs():
    layer = Conv2D(2, 3, strides=2, padding="same")
    a, b = Input(shape=(8, 8, 1)), Input(shape=(7, 7, 1))
    model = Model([a, b], [layer(a), layer(b)])
    data = [torch.randn(2, 8, 8, 1), torch.randn(2, 7, 7, 1)]
    for mine, wanted in zip(model.to_torch()(*data), map(layer, data), strict=True):
        torch.testing.assert_close(mine, wanted)


@pytest.mark.parametrize(
    ("layer", "keys"),
    [
        (Conv2D(4, 3, name="c"), ["c.weight", "c.bias"]),
        (Conv2D(4, 3, use_bias=False, name="c"), ["c.weight"]),
        (Conv2DTranspose(4, 3, name="c"), ["c.weight", "c.bias"]),
        (DepthwiseConv2D(3, depth_multiplier=2, name="c"), ["c.weight", "c.bias"]),
        (SeparableConv2D(4, 3, name="c"), ["c.depthwise.weight", "c.pointwise.weight", "c.pointwise.bias"]),
    ],
)
def test_state_dict_keys(layer, keys):
    x = Input(shape=(8, 8, 3))
    assert list(Model(x, layer(x)).to_torch().state_dict()) == keys


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [
        (Conv1D(4, 3), {"kernel": (3, 2, 4), "bias": (4,)}),
        (Conv1D(4, 3, groups=2), {"kernel": (3, 1, 4), "bias": (4,)}),
        (layers.Conv1DTranspose(4, 3), {"kernel": (3, 4, 2), "bias": (4,)}),
        (layers.DepthwiseConv1D(3, depth_multiplier=5), {"kernel": (3, 2, 5), "bias": (10,)}),
        (layers.SeparableConv1D(4, 3), {"depthwise_kernel": (3, 2, 1), "pointwise_kernel": (1, 2, 4), "bias": (4,)}),
    ],
)
def test_weights_in_keras_layout(layer, shapes):
    layer(torch.ones(2, 9, 2))
    assert {weight.name: tuple(weight.view.shape) for weight in layer.named_weights()} == shapes


@pytest.mark.parametrize("size", [None, 9])
@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (Conv1D(4, 3), 7),
        (Conv1D(4, 3, strides=2, padding="same"), 5),
        (Conv1D(4, 3, padding="causal", dilation_rate=2), 9),
        (layers.Conv1DTranspose(4, 3, strides=2), 19),
        (layers.SeparableConv1D(4, 3, padding="same"), 9),
    ],
)
def test_shapes(layer, expected, size):
    layer = type(layer).from_config(layer.get_config())
    assert layer(Input(shape=(size, 2))).shape == (None, size and expected, 4)
    assert layer(torch.ones(2, 9, 2)).shape == (2, expected, 4)


@pytest.mark.parametrize(
    "layer",
    [
        Conv2D(4, (3, 2), strides=2, padding="same", activation="relu", kernel_regularizer="l2", kernel_constraint="max_norm"),
        Conv2DTranspose(4, 3, strides=2, output_padding=1),
        DepthwiseConv2D(3, depth_multiplier=2),
        SeparableConv2D(4, 3, data_format="channels_first"),
    ],
)
def test_configuration_round_trip(layer):
    config = layer.get_config()
    twin = type(layer).from_config(config)
    assert twin.get_config() == config
    assert twin(Input(shape=(8, 8, 3))).shape == layer(Input(shape=(8, 8, 3))).shape


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv2D(0, 3), "'filters' must be an integer of at least 1, got 0"),
        (lambda: Conv2D(4, 0), "'kernel_size' must be an integer of at least 1, got 0"),
        (lambda: Conv2D(4, (3, 3, 3)), r"'kernel_size' must be an integer or 2 of them, got \(3, 3, 3\)"),
        (lambda: Conv2D(4, 3, padding="full"), "'padding' must be one of 'valid', 'same'; got 'full'"),
        (lambda: Conv2D(4, 3, padding="causal"), "'padding' must be one of 'valid', 'same'; got 'causal'"),
        (lambda: Conv2D(4, 3, data_format="nchw"), "'data_format' must be one of 'channels_last', 'channels_first'; got 'nchw'"),
        (
            lambda: Conv2D(4, 3, strides=2, dilation_rate=2),
            r"Conv2D takes strides or a dilation_rate above 1, not both; got strides=\(2, 2\)",
        ),
        (lambda: Conv2D(4, 3, groups=3), "Conv2D needs filters that are divisible by groups, got 4 filters, 3 groups"),
        (lambda: Conv2DTranspose(4, 3, output_padding=1), r"Conv2DTranspose needs an output_padding below the strides, got \(1, 1\)"),
        (
            lambda: Conv2D(4, 3, name="c")(Input(shape=(8, 3))),
            r"^c .*\(None, 8, 3\): expected 4 dimensions \(batch, height, width, channels\), got 3",
        ),
        (
            lambda: Conv2D(4, 9, name="c")(Input(shape=(8, 8, 3))),
            r"^c .*the kernel covers \(9, 9\), which is larger than the input's \(8, 8\)",
        ),
        (
            lambda: Conv2D(4, 3, groups=2, name="c")(Input(shape=(8, 8, 3))),
            "^c .*expected a number of channels divisible by groups=2, got 3",
        ),
        (lambda: Conv2D(4, 3, name="c")(Input(shape=(8, 8, None))), "^c .*the number of channels must be known, got None"),
    ],
)
def test_mistakes_are_told_where_they_are_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bytes_become_floats():
    assert Conv2D(4, 3)(torch.ones(2, 8, 8, 3, dtype=torch.uint8)).dtype is torch.float32


def running_sum(x):
    return torch.cumsum(x, -1)


@pytest.mark.parametrize("kind", ["Conv1D", "DepthwiseConv1D", "SeparableConv1D", "Conv2D", "Conv2DTranspose", "SeparableConv2D"])
@pytest.mark.parametrize("activation", [running_sum, nn.Softplus()])
def test_an_activation_of_ones_own_is_applied_once_to_what_the_user_sees(kind, activation):
    sizes = {"kernel_size": 2} if kind.startswith("Depthwise") else {"filters": 3, "kernel_size": 2}
    shape = (6, 4) if kind.endswith("1D") else (6, 5, 4)
    x, y = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)), Input(shape=shape)
    plain, active = getattr(layers, kind)(**sizes), getattr(layers, kind)(**sizes, activation=activation)
    model = Model(y, active(y))
    expected = activation(plain(x))
    active.set_weights(plain.get_weights())
    torch.testing.assert_close(active(x), expected)
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("kind", ["SeparableConv1D", "SeparableConv2D", "ConvLSTM1D", "ConvLSTM2D"])
def test_an_activation_with_weights_has_the_shape_that_the_user_sees(kind):
    shape = {"SeparableConv1D": (6, 4), "SeparableConv2D": (6, 5, 4), "ConvLSTM1D": (2, 6, 4), "ConvLSTM2D": (2, 6, 5, 4)}[kind]
    layer = getattr(layers, kind)(3, 2, activation=layers.PReLU())
    y = layer(Input(shape=shape))
    assert tuple(layer.get_weights()[-1].shape) == y.shape[1:]


class Standardized(Conv2D):
    """Weight standardization, https://arxiv.org/abs/1903.10520"""

    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, kernel - kernel.mean((0, 1, 2), keepdim=True))


@pytest.mark.parametrize("options", [{}, {"padding": "same", "strides": 2, "activation": "relu"}, {"use_bias": False, "groups": 2}])
def test_a_subclass_may_convolve_with_another_kernel(options):
    x = torch.randn(2, 6, 7, 2, generator=torch.Generator().manual_seed(0))
    layer, plain = Standardized(4, 3, **options), Conv2D(4, 3, **options)
    layer(x), plain(x)
    kernel, *bias = layer.get_weights()
    plain.set_weights([kernel - kernel.mean((0, 1, 2), keepdims=True), *bias])
    inputs = Input(shape=(6, 7, 2))
    torch.testing.assert_close(layer(x), plain(x))
    torch.testing.assert_close(Model(inputs, layer(inputs))(x), plain(x))
