"""What `compile` was given, as attributes of the model."""

import copy

import pytest
from torch import nn

from torchkeras_fn import Input, Model
from torchkeras_fn.layers import Dense


def drawn():
    x = Input(shape=(3,))
    return Model(x, [Dense(1, name="a")(x), Dense(1, name="b")(x)])


def test_a_compiled_model_says_what_it_was_compiled_with():
    model = drawn()
    model.compile("sgd", {"a": "mse", "b": "mae"}, loss_weights=[1.0, 2.0], weighted_metrics=["mse"])
    for each in (model, copy.deepcopy(model)):
        assert (each.loss, each.loss_weights, each.weighted_metrics) == ({"a": "mse", "b": "mae"}, [1.0, 2.0], ["mse"])
    model.compile(model.optimizer, model.loss)
    assert model.loss_weights is None


def test_before_that_it_has_no_such_attributes():
    with pytest.raises(AttributeError, match="loss"):
        drawn().loss  # noqa: B018


@pytest.mark.parametrize("own", [nn.MSELoss(), lambda y_true, y_pred: 0.0, nn.Parameter()])
def test_an_attribute_of_the_users_goes_first(own):
    class Own(Model):
        def __init__(self):
            super().__init__()
            self.loss = own

    model = Own()
    assert model.loss is own
    model.compile("sgd", "mse")
    assert model.loss is own
