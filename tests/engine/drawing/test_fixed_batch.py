"""Layers that work for batches of one size alone."""

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Model, backend
from torchkeras_fn.engine.drawing.fixed_batch import with_fixed_batch
from torchkeras_fn.layers import Conv2D, Dense, Flatten, Lambda, Layer
from torchkeras_fn.layers.merge import _Merge

BATCH = 8


class RandomWeightedAverage(_Merge):
    def _merge_function(self, inputs):
        share = backend.random_uniform((BATCH, 1, 1, 1))
        return share * inputs[0] + (1 - share) * inputs[1]


def sampled(inputs):
    mean, log_variance = inputs
    return mean + backend.exp(log_variance / 2) * backend.random_normal((BATCH, 2))


def test_a_merging_of_a_fixed_batch_is_drawn_for_any_batch():
    image = Input((28, 28, 1))
    assert RandomWeightedAverage()([image, image]).shape == (None, 28, 28, 1)


def test_a_merging_of_a_fixed_batch_is_drawn_for_images_of_any_size():
    image = Input((None, None, 1))
    assert RandomWeightedAverage()([image, image]).shape == (None, None, None, 1)


def test_layers_after_a_fixed_batch_train_on_such_batches():
    image, images = Input((4, 4, 1)), np.ones((2 * BATCH, 4, 4, 1), "float32")
    model = Model(image, Dense(1)(Flatten()(Conv2D(2, 3)(RandomWeightedAverage()([image, image])))))
    model.compile("sgd", "mse")
    history = model.fit(images, np.zeros((2 * BATCH, 1)), batch_size=BATCH, verbose=0)
    assert np.isfinite(history.history["loss"][0])


def test_a_function_of_a_fixed_batch_is_drawn():
    x = Input((5,))
    assert Lambda(sampled)([Dense(2)(x), Dense(2)(x)]).shape == (None, 2)


def test_a_layer_with_several_outputs_of_a_fixed_batch_is_drawn():
    class Noise(Layer):
        def call(self, inputs):
            return inputs + torch.randn(BATCH, 1), inputs

    assert [tensor.shape for tensor in Noise()(Input((3,)))] == [(None, 3), (None, 3)]


def test_what_the_shape_is_said_to_be_comes_before_what_a_fixed_batch_tells():
    class Noise(Layer):
        def call(self, inputs):
            return inputs + torch.randn(BATCH, 1)

        def compute_output_shape(self, input_shape):
            return (input_shape[0], 7)

    assert Noise()(Input((3,))).shape == (None, 7)


def test_a_mistake_beside_a_fixed_batch_is_reported_in_torchs_words():
    with pytest.raises(ValueError, match="must match the size of tensor b"):
        Lambda(lambda inputs: inputs + torch.randn(BATCH, 4))(Input((3,)))


def test_a_total_over_a_fixed_batch_is_not_taken_for_rows():
    rows = torch.empty(240, 3, device="meta")
    assert with_fixed_batch(lambda x: (x + torch.rand(BATCH, 1, device="meta")).sum(0), (rows,), {}) is None


def test_real_tensors_are_left_to_the_run_without_data():
    assert with_fixed_batch(lambda x: x + torch.rand(BATCH, 1), (torch.ones(0, 3),), {}) is None
