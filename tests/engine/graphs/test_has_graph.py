"""What a user's class keeps beside its graph: layers and weights of a loss or a step of its own."""

import copy

import numpy as np
import pytest
import torch

from torchkeras_fn import Model, Sequential, ops
from torchkeras_fn.layers import Dense, Input

ONES = np.ones((4, 3), "float32")


def built(layer):
    layer.build((None, 2))
    return layer


class Beside(Model):
    """Its loss is that of a head which the graph does not run."""

    def __init__(self, regularizer=None):
        x, shown = Input(shape=(3,)), Dense(2, name="shown")
        super().__init__(x, shown(x))
        self.shown = shown
        self.head = built(Dense(1, kernel_regularizer=regularizer))
        self.scale = self.add_weight(name="scale", shape=())
        self.further = [built(Dense(1))]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(self.head(y_pred) + self.further[0](y_pred) + self.scale)


class Before(Model):
    """Keeps its layers before the model that is drawn with them is one."""

    def __init__(self):
        self.first, self.second, self.aside = Dense(2, name="one"), Dense(2, name="two"), built(Dense(1))
        x = Input(shape=(3,))
        super().__init__(x, self.second(self.first(x)))


class Stack(Sequential):
    def __init__(self):
        super().__init__([Input(shape=(3,)), Dense(2)])
        self.head = built(Dense(1))


def shapes(model):
    return [array.shape for array in model.get_weights()]


def test_what_is_kept_beside_a_graph_counts_among_the_weights_behind_those_of_the_graph():
    assert shapes(Beside()) == [(3, 2), (2,), (), (2, 1), (1,), (2, 1), (1,)]


def test_what_is_kept_beside_a_graph_is_trained():
    model = Beside()
    model.compile("sgd")
    before = model.get_weights()
    model.fit(ONES, ONES, verbose=0)
    assert all((new != old).any() for new, old in zip(model.get_weights(), before, strict=True))


def test_regularizers_beside_a_graph_are_asked():
    model = Beside("l2")
    assert [loss.item() for loss in model.losses] == [pytest.approx(0.01 * model.head.kernel.square().sum().item())]


def test_freezing_a_model_freezes_what_it_keeps_beside_its_graph():
    model = Beside()
    model.trainable = False
    assert not model.head.trainable and not model.trainable_weights


def test_a_layer_beside_a_graph_is_frozen_alone():
    model = Beside()
    model.head.trainable = False
    assert len(model.trainable_weights) == 5


def test_layers_that_were_kept_before_the_model_was_drawn_are_kept():
    model = Before()
    assert [layer.name for layer in (model.first, model.second)] == ["one", "two"]
    assert shapes(model) == [(3, 2), (2,), (2, 2), (2,), (2, 1), (1,)]


def test_attributes_stay_when_the_graph_is_drawn_further():
    model = Beside()
    model.add_loss(ops.sum(model.outputs[0]))
    model.compile("sgd", "mse")
    assert isinstance(model.shown, Dense) and isinstance(model.head, Dense)


def test_attributes_of_a_stack_stay_when_it_grows_and_shrinks():
    model = Stack()
    model.add(Dense(5))
    model.pop()
    assert shapes(model) == [(3, 2), (2,), (2, 1), (1,)]


def test_a_copy_has_layers_of_its_own_beside_its_graph():
    model = Beside()
    copied = copy.deepcopy(model)
    assert shapes(copied) == shapes(model) and copied.head is not model.head


def test_an_attribute_with_the_name_of_another_layer_in_the_graph_takes_no_weights_away():
    model = Beside()
    shown = model.layers[1]
    model.shown = built(Dense(1))
    kept = {id(parameter) for parameter in model.parameters()}
    assert all(id(parameter) in kept for parameter in (*shown.parameters(), *model.shown.parameters()))


def test_what_is_kept_beside_a_graph_is_saved(tmp_path):
    model, again = Beside(), Beside()
    model.save_weights(tmp_path / "weights")
    again.load_weights(tmp_path / "weights")
    assert all(torch.equal(a, b) for a, b in zip(model.weights, again.weights, strict=True))
