"""Objects of any vocabulary as descriptions, and back."""

import numpy as np
import pytest
import torch

from torchkeras_fn import (
    Input,
    Model,
    Sequential,
    activations,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
)
from torchkeras_fn.utils import custom_object_scope, deserialize_keras_object, register_keras_serializable, serialize_keras_object

OBJECTS = {
    "layers": layers.Dense(3, activation="relu"),
    "losses": losses.MeanSquaredError(),
    "metrics": metrics.MeanSquaredError(),
    "optimizers": optimizers.Adam(0.5),
    "optimizers.schedules": optimizers.schedules.ExponentialDecay(0.1, 10, 0.5),
    "initializers": initializers.Constant(2.0),
    "regularizers": regularizers.L2(0.25),
    "constraints": constraints.MaxNorm(1.5),
}


@pytest.mark.parametrize("home", OBJECTS)
def test_an_object_comes_back_from_its_description(home):
    described = serialize_keras_object(OBJECTS[home])
    made = deserialize_keras_object(described)
    assert described["module"] == f"keras.{home}"
    assert type(made) is type(OBJECTS[home]) and made.get_config() == OBJECTS[home].get_config()


@pytest.mark.parametrize("value", [None, 3, 0.5, "relu", [1, [2]], {"units": 3}])
def test_what_is_no_object_is_what_it_is(value):
    assert deserialize_keras_object(serialize_keras_object(value)) == value


@pytest.mark.parametrize("value", [np.array([1, 2], "int16"), np.ones((2, 1)), torch.tensor([0.5]), torch.tensor(True)])
def test_arrays_and_tensors_come_back_from_their_values(value):
    made = deserialize_keras_object(serialize_keras_object({"kept": value}))["kept"]
    assert type(made) is type(value) and made.dtype == value.dtype and made.tolist() == value.tolist()


def test_objects_in_a_structure():
    made = deserialize_keras_object(serialize_keras_object({"inner": [layers.Dense(3), "name"]}))
    assert made["inner"][0].units == 3 and made["inner"][1] == "name"


def test_an_object_that_was_made_already_stays():
    layer = layers.Dense(3)
    assert deserialize_keras_object(layer) is layer


@pytest.mark.parametrize("function", [activations.relu, losses.mean_squared_error])
def test_a_function_comes_back_from_its_name(function):
    assert deserialize_keras_object(serialize_keras_object(function)) is function


@pytest.mark.parametrize("model", [Sequential([Input((2,)), layers.Dense(3)]), "functional"])
def test_a_model_comes_back(model):
    x = Input((2,))
    model = Model(x, layers.Dense(3)(x)) if model == "functional" else model
    made = deserialize_keras_object(serialize_keras_object(model))
    made.set_weights(model.get_weights())
    torch.testing.assert_close(made(torch.ones(1, 2)), model(torch.ones(1, 2)))


class Doubled(layers.Layer):
    def call(self, inputs):
        return 2 * inputs


@pytest.mark.parametrize("given", [{"custom_objects": {"Doubled": Doubled}}, {"module_objects": globals()}])
def test_a_class_of_ones_own_is_given(given):
    assert type(deserialize_keras_object(serialize_keras_object(Doubled()), **given)) is Doubled


def test_a_class_of_ones_own_is_in_scope():
    with custom_object_scope({"Doubled": Doubled}):
        assert type(deserialize_keras_object(serialize_keras_object(Doubled()))) is Doubled


def test_a_registered_class_needs_not_be_given():
    @register_keras_serializable("tests of objects")
    class Tripled(layers.Layer):
        def call(self, inputs):
            return 3 * inputs

    described = serialize_keras_object(Tripled())
    assert (described["class_name"], described["registered_name"]) == ("Tripled", "tests of objects>Tripled")
    assert type(deserialize_keras_object(described)) is Tripled


def test_an_unknown_class_says_how_it_becomes_known():
    with pytest.raises(ValueError, match="Unknown layer 'Doubled'.*register_keras_serializable.*custom_objects"):
        deserialize_keras_object(serialize_keras_object(Doubled()), printable_module_name="layer")


def test_an_unknown_function_says_how_it_becomes_known():
    with pytest.raises(ValueError, match="Unknown function 'globals_of'.*custom_objects"):
        deserialize_keras_object({"class_name": "function", "config": "globals_of"})


@pytest.mark.parametrize("value", [object(), lambda x: x, layers.Dense])
def test_what_has_no_description_is_refused(value):
    with pytest.raises(ValueError, match="cannot be described"):
        serialize_keras_object(value)


class Around(layers.Layer):
    """A layer that describes the one inside, as Keras' guide to saving has it."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, inputs):
        return self.inner(inputs)

    def get_config(self):
        return {**super().get_config(), "inner": serialize_keras_object(self.inner)}

    @classmethod
    def from_config(cls, config):
        return cls(deserialize_keras_object(config.pop("inner")), **config)


@pytest.mark.parametrize("inner", [layers.Dense(3, activation="tanh"), Sequential([Input((2,)), layers.Dense(3)])])
def test_a_layer_inside_another_is_saved(inner, tmp_path):
    x, data = Input((2,)), np.ones((4, 2), "float32")
    model = Model(x, Around(inner)(x))
    model.save(tmp_path / "model.keras")
    loaded = models.load_model(tmp_path / "model.keras", custom_objects={"Around": Around})
    np.testing.assert_allclose(loaded.predict(data, verbose=0), model.predict(data, verbose=0), rtol=1e-6)
