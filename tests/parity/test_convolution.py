"""Convolutions and poolings against the real Keras: outputs, gradients, shapes, in both data formats."""

from itertools import product

import keras
import numpy as np
import pytest
import torch

from parity.twins import array, same, twins

SIZES = {1: (9,), 2: (8, 7), 3: (5, 6, 5)}
BOTH = ("channels_last", "channels_first")


def rows():
    """Yield layer name, rank, positional arguments and options."""
    for rank in (1, 2, 3):
        causal = [{"padding": "causal"}, {"padding": "causal", "dilation_rate": 2}] if rank == 1 else []
        convolution = [{}, {"padding": "same"}, {"padding": "same", "strides": 2}, {"padding": "same", "dilation_rate": 2}, *causal]
        for options in [*convolution, {"strides": 2, "use_bias": False}, {"groups": 2}, {"padding": "same", "activation": "relu"}]:
            yield f"Conv{rank}D", rank, (4, 3), options
        for kernel, strides in [(2, 1), (4, 1), (1, 2), (2, 3), (4, 3), (5, 2)]:
            yield f"Conv{rank}D", rank, (4, kernel), {"padding": "same", "strides": strides}
        yield f"Conv{rank}D", rank, (4, 3), {"activation": "softmax"}
        for kernel, strides, padding in product((1, 2, 3, 4), (1, 2, 3), ("valid", "same")):
            if rank < 3 or kernel > 2:
                yield f"Conv{rank}DTranspose", rank, (4, kernel), {"strides": strides, "padding": padding}
        for padding in ("valid", "same"):
            yield f"Conv{rank}DTranspose", rank, (4, 3), {"strides": 2, "padding": padding, "output_padding": 1, "activation": "tanh"}
            yield f"Conv{rank}DTranspose", rank, (4, 2), {"dilation_rate": 2, "padding": padding, "use_bias": False}
        for kind, window, strides, padding in product(("Max", "Average"), (2, 3), (None, 1, 2), ("valid", "same")):
            # Keras on torch repeats the border where the two ends of an axis need unequal padding, and averages that too;
            # TensorFlow leaves it out, as we do: tests/layers/test_pooling.py has the formula.
            if not (kind == "Average" and padding == "same" and window == 3 and strides != 1 and rank > 1):
                yield f"{kind}Pooling{rank}D", rank, (window,), {"strides": strides, "padding": padding}
        for kind, keepdims in product(("Max", "Average"), (False, True)):
            yield f"Global{kind}Pooling{rank}D", rank, (), {"keepdims": keepdims}
    for rank in (1, 2):
        plain = [{}, {"padding": "same"}, {"padding": "same", "strides": 2}, {"padding": "same", "dilation_rate": 2}]
        both = [{"strides": 2, "dilation_rate": 2}, {"strides": 3, "dilation_rate": 2, "padding": "same"}]
        for multiplier, options in product((1, 3), [*plain, *both, {"use_bias": False, "activation": "relu"}]):
            yield f"DepthwiseConv{rank}D", rank, (3,), {**options, "depth_multiplier": multiplier}
            yield f"SeparableConv{rank}D", rank, (5, 3), {**options, "depth_multiplier": multiplier}


TABLE = [
    pytest.param(name, rank, args, {**options, "data_format": data_format}, id=f"{name}{args}{options}{data_format}")
    for (name, rank, args, options), data_format in product(rows(), BOTH)
]


def recipe_of(name, args, options, shape):
    def recipe(k):
        x = k.Input(shape=shape)
        return k.Model(x, getattr(k.layers, name)(*args, **options)(x))

    return recipe


def shape_of(rank, data_format, sizes=None):
    sizes = sizes or SIZES[rank]
    return (*sizes, 4) if data_format == "channels_last" else (4, *sizes)


def gradients(model, x):
    inputs = torch.tensor(x, requires_grad=True)
    outputs = model(inputs)
    (outputs * torch.arange(outputs.numel()).reshape(outputs.shape).cos()).sum().backward()
    if isinstance(model, keras.Model):
        weights = [weight.value.grad for weight in model.trainable_weights]
    else:
        weights = [w.tensor.grad if w.axes is None else w.tensor.grad.permute(w.axes) for w in model.named_weights()]
    return array(outputs), weights, inputs.grad


@pytest.mark.parametrize(("name", "rank", "args", "options"), TABLE)
def test_layer(name, rank, args, options):
    shape = shape_of(rank, options["data_format"])
    ours, theirs = twins(recipe_of(name, args, options, shape))
    assert ours.output_shape == theirs.output_shape
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    expected = gradients(theirs, x)
    for mine, other in zip(gradients(ours, x), expected, strict=True):
        same(mine, other, 1e-4)
    same(ours.predict(x, verbose=0), expected[0], 1e-4)


@pytest.mark.parametrize("data_format", BOTH)
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    ("name", "args"),
    [("Conv2D", (3, 3, 2)), ("Conv2D", (3, 3)), ("Conv2DTranspose", (3, 3, 2)), ("MaxPooling2D", (3, 2)), ("AveragePooling2D", (2, 2))],
)
def test_unknown_sizes(name, args, padding, data_format):
    shape = shape_of(2, data_format, (None, None))
    ours, theirs = twins(recipe_of(name, args, {"padding": padding, "data_format": data_format}, shape))
    assert ours.output_shape == theirs.output_shape
    for sizes in [(6, 7), (9, 8)]:
        x = np.random.default_rng(0).normal(size=(2, *shape_of(2, data_format, sizes))).astype("float32")
        same(ours.predict(x, verbose=0), theirs.predict(x, verbose=0), 1e-4)


@pytest.mark.parametrize("keepdims", [False, True])
def test_average_of_the_steps_that_the_mask_shows(keepdims):
    def recipe(k):
        x = k.Input(shape=(4,), dtype="int32")
        return k.Model(x, k.layers.GlobalAveragePooling1D(keepdims=keepdims)(k.layers.Embedding(5, 3, mask_zero=True)(x)))

    ours, theirs = twins(recipe)
    x = np.array([[1, 2, 0, 0], [3, 0, 0, 0], [1, 2, 3, 4]])
    same(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))


def test_a_small_network_trains_alike():
    def recipe(k):
        return k.Sequential(
            [
                k.Input(shape=(8, 8, 1)),
                k.layers.Conv2D(4, 3, padding="same", activation="relu"),
                k.layers.MaxPooling2D(),
                k.layers.DepthwiseConv2D(3, strides=2, padding="same"),
                k.layers.SeparableConv2D(6, 3, padding="same", activation="tanh"),
                k.layers.GlobalAveragePooling2D(),
                k.layers.Dense(3, activation="softmax"),
            ]
        )

    ours, theirs = twins(recipe)
    random = np.random.default_rng(0)
    x, y = random.normal(size=(32, 8, 8, 1)).astype("float32"), random.integers(0, 3, size=32)
    histories = []
    for model in (ours, theirs):
        model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
        histories.append(model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history["loss"])
    same(histories[0], histories[1], 1e-4)
    same(ours.get_weights(), theirs.get_weights(), 1e-3)
