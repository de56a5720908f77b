"""Layers over images and categories against the real Keras: sizes, and what is random with both ends of its range alike."""

from itertools import product

import keras
import numpy as np
import pytest
import torch

import torchkeras_fn as tk
from parity.test_layers import compare, table
from parity.test_small_layers import case
from parity.twins import LIBRARIES, same

IMAGES = np.random.default_rng(0).uniform(0, 255, size=(2, 5, 7, 3)).astype("float32")
FILLS, KINDS = ("reflect", "constant", "nearest", "wrap"), ("bilinear", "nearest")
WARPS = {
    f"{name} {arguments} {fill} {kind}": (name, arguments, {"fill_mode": fill, "interpolation": kind, "fill_value": 7.0})
    for (name, arguments), fill, kind in product(
        [
            ("RandomRotation", ((0.1, 0.1),)),
            ("RandomRotation", ((-0.3, -0.3),)),
            ("RandomZoom", ((0.3, 0.3), (-0.2, -0.2))),
            ("RandomZoom", ((-0.4, -0.4),)),
            ("RandomTranslation", ((0.25, 0.25), (-0.2, -0.2))),
        ],
        FILLS,
        KINDS,
    )
} | {
    "brightness": ("RandomBrightness", ((0.2, 0.2),), {}),
    "brightness in a range": ("RandomBrightness", ((-0.2, -0.2),), {"value_range": (50, 200)}),
    "no contrast": ("RandomContrast", ((0.0, 0.0),), {}),
}


@pytest.mark.parametrize(("name", "arguments", "options"), table(WARPS))
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_images_in_training(name, arguments, options, data_format):
    x = torch.tensor(IMAGES if data_format == "channels_last" else IMAGES.transpose(0, 3, 1, 2))
    ours, theirs = (getattr(k.layers, name)(*arguments, **options, data_format=data_format) for k in LIBRARIES)
    same(ours(x), theirs(x, training=True), 1e-3)
    same(ours.eval()(x), x, 0)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("size", [(4, 9), (3, 2), (10, 10)])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *product(
            ("bilinear", "nearest", "bicubic"), [{}, {"crop_to_aspect_ratio": True}, {"pad_to_aspect_ratio": True, "fill_value": 3.0}]
        ),
        *product(("bilinear", "bicubic"), [{"antialias": True}]),
    ],
)
def test_resizing(kind, options, size, dtype):
    x = torch.tensor(IMAGES.astype(dtype))
    ours, theirs = (k.layers.Resizing(*size, kind, **options)(x) for k in LIBRARIES)
    assert ours.dtype == theirs.dtype
    same(ours, theirs, 1e-4)


@pytest.mark.parametrize("size", [(3, 4), (5, 7), (6, 4), (2, 9)])
def test_center_crop(size):
    ours, theirs = (k.layers.CenterCrop(*size)(torch.tensor(IMAGES)) for k in LIBRARIES)
    same(ours, theirs, 1e-4)
    same(tk.layers.CenterCrop(*size)(IMAGES[0]), ours[0], 0)


POOLINGS = {}
for _kind, (_rank, _shape) in product(("Average", "Max"), ((1, (7, 3)), (2, (7, 5, 3)), (3, (4, 5, 6, 2)))):
    POOLINGS |= case(f"Adaptive{_kind}Pooling{_rank}D", _shape, output_size=3)
    POOLINGS |= case(f"Adaptive{_kind}Pooling{_rank}D", _shape, output_size=2, data_format="channels_first")


@pytest.mark.parametrize(("make", "shape"), table(POOLINGS))
def test_adaptive_pooling(make, shape):
    compare(make, [shape])


@pytest.mark.parametrize("mode", ["multi_hot", "one_hot", "count"])
@pytest.mark.parametrize("shape", [(4, 3), (4, 1), (4,), (2, 3, 4)])
def test_category_encoding(mode, shape):
    x = torch.tensor(np.random.default_rng(0).integers(0, 5, size=shape))
    ours, theirs = (k.layers.CategoryEncoding(5, mode)(x) for k in LIBRARIES)
    same(ours, theirs, 0)


def test_counts_with_weights():
    x, weights = torch.tensor([[0, 2, 2]]), torch.tensor([[0.5, 1.0, 2.0]])
    ours, theirs = (k.layers.CategoryEncoding(4, "count")(x, count_weights=weights) for k in LIBRARIES)
    same(ours, theirs)


@pytest.mark.parametrize("mode", ["int", "one_hot", "multi_hot", "count"])
def test_discretization(mode):
    x = torch.tensor([[-2.0, -1.0, -0.5], [0.0, 0.5, 7.0]])
    ours, theirs = (k.layers.Discretization([-1.0, 0.0, 0.5], output_mode=mode)(x) for k in LIBRARIES)
    same(ours, theirs, 0)


# ---------------------------------------------------------------------- SpectralNormalization


def critic(k):
    wrapped = k.layers.SpectralNormalization
    layers = [wrapped(k.layers.Conv2D(4, 2, activation="tanh"), power_iterations=2), k.layers.Flatten(), wrapped(k.layers.Dense(1))]
    return k.Sequential([k.Input((5, 7, 3)), *layers])


def test_spectral_normalization_trains_alike():
    keras.backend.clear_session(free_memory=False)
    ours, theirs = critic(tk), critic(keras)
    ours.set_weights(theirs.get_weights())
    x, y = np.tile(IMAGES / 255, (8, 1, 1, 1)), np.arange(16.0).reshape(16, 1) / 16
    losses = []
    for k, model in zip(LIBRARIES, (ours, theirs), strict=True):
        model.compile(k.optimizers.SGD(0.05, momentum=0.9), "mse")
        losses.append(model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0).history["loss"])
    same(*losses, 1e-4)
    same(ours.get_weights(), theirs.get_weights(), 1e-4)
    same(ours.predict(x, verbose=0), theirs.predict(x, verbose=0), 1e-4)
    same(ours.get_weights(), theirs.get_weights(), 1e-4)
