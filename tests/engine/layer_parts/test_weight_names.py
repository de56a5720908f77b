"""What the weights of layers and models are called, and that a name changes nothing else."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn.engine.layer_parts.weight_names import give_name
from torchkeras_fn.layers import LSTM, BatchNormalization, Bidirectional, Dense, Input, Layer, TorchModuleWrapper
from torchkeras_fn.models import Model


def drawn():
    inputs = Input(shape=(3,))
    return Model(inputs, BatchNormalization()(Dense(2, use_bias=False)(inputs)))


def names(model):
    return [weight.name for weight in model.weights]


OF_DRAWN = ["dense_1/kernel:0", *(f"batch_normalization_1/{name}:0" for name in ("gamma", "beta", "moving_mean", "moving_variance"))]


def test_weights_are_called_after_their_layers_as_in_keras_2():
    assert names(drawn()) == OF_DRAWN


def test_weights_of_layers_inside_layers_are_called_after_both():
    inputs = Input(shape=(4, 3))
    found = names(Model(inputs, Bidirectional(LSTM(2, use_bias=False), name="both")(inputs)))
    assert [name.split("/")[0] for name in found] == ["both"] * 4 and found[1].endswith("/recurrent_kernel:0")


def test_weights_of_models_that_are_no_graph_are_called_after_their_attributes():
    class Net(Model):
        def __init__(self):
            super().__init__(name="net")
            self.head = Dense(2)

        def call(self, inputs):
            return self.head(inputs)

    net = Net()
    net(torch.ones(1, 3))
    assert names(net) == ["net/head/kernel:0", "net/head/bias:0"]


def test_weights_of_wrapped_modules_have_names():
    inputs = Input(shape=(3,))
    assert names(Model(inputs, TorchModuleWrapper(nn.Linear(3, 2), name="torch")(inputs))) == ["torch/weight:0", "torch/bias:0"]


def test_reading_the_weights_of_a_layer_does_not_number_it():
    class Scale(Layer):
        def build(self, input_shape):
            self.factor = self.add_weight(name="factor", shape=(1,))

    layer = Scale()
    layer.build((None, 3))
    assert names(layer) == ["scale/factor:0"] and layer.automatic_name is None


@pytest.mark.parametrize("jit_compile", [False, True])
def test_weights_have_names_after_training(jit_compile):
    model = drawn()
    model.compile("adam", "mse", jit_compile=jit_compile)
    model.fit(np.ones((8, 3)), np.ones((8, 2)), batch_size=4, verbose=0)
    assert names(model) == OF_DRAWN


@pytest.mark.parametrize("change", [copy.deepcopy, nn.Module.double], ids=["copied", "cast"])
def test_weights_have_names_in_copies_and_after_casts(change):
    model = drawn()
    names(model)
    assert names(change(model)) == OF_DRAWN


def test_penalties_by_name_choose_the_weights():
    """Mask R-CNN leaves batch normalization out of the weight decay in this way."""
    model = drawn()
    assert [weight.shape for weight in model.trainable_weights if "gamma" not in weight.name and "beta" not in weight.name] == [(2, 3)]


def test_a_named_weight_is_the_same_plain_parameter():
    weight = nn.Parameter(torch.ones(2))
    before = id(weight), weight.data_ptr(), weight._version
    give_name(weight, "a:0")
    assert (id(weight), weight.data_ptr(), weight._version) == before and type(weight) is nn.Parameter and weight.requires_grad


def test_an_optimizer_made_before_trains_the_named_weight():
    model = drawn()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(torch.ones(2, 3)).sum().backward()
    gradient, before = model.weights[0].grad, model.weights[0].detach().clone()
    optimizer.step()
    assert model.weights[0].name == "dense_1/kernel:0" and torch.equal(model.weights[0], before - gradient)


def test_a_weight_in_a_graph_is_left_alone_until_its_gradient_came():
    weight = nn.Parameter(torch.ones(2))
    loss = (weight * 2).sum()
    give_name(weight, "a:0")
    assert weight.name is None
    loss.backward()
    assert weight.grad.tolist() == [2, 2]


@pytest.mark.parametrize("register", [torch.Tensor.register_hook, torch.Tensor.register_post_accumulate_grad_hook])
def test_the_hooks_of_a_weight_stay(register):
    weight, seen = nn.Parameter(torch.ones(2)), []
    register(weight, seen.append)
    give_name(weight, "a:0")
    weight.sum().backward()
    assert len(seen) == 1
