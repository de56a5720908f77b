"""Models that were cast: integers that come in, weights that are made later, copies. What they compute is what torch would."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, Sequential, Trainer, layers
from torchkeras_fn.models import clone_model

ROWS = 6
_numbers = np.random.default_rng(0)
INTEGERS = _numbers.integers(0, 5, (ROWS, 3))
IMAGES = _numbers.integers(0, 4, (ROWS, 6, 6, 1)).astype("uint8")
FLOATS = _numbers.normal(size=(ROWS, 3))
SERIES = _numbers.normal(size=(ROWS, 4, 3))
Y = np.ones((ROWS, 1))


def of_integers(dtype):
    x = Input((3,), dtype=dtype)
    return Model(x, layers.Dense(1)(layers.Dense(2)(x)))


def of_images():
    x = Input((6, 6, 1), dtype="uint8")
    return Model(x, layers.Dense(1)(layers.Flatten()(layers.BatchNormalization()(layers.Conv2D(2, 3)(x)))))


def behind_pooling():
    x = Input((6, 6, 1), dtype="uint8")
    return Model(x, layers.Dense(1)(layers.GlobalAveragePooling2D()(x)))


def indices_and_numbers():
    x = Input((3,))
    return Model(x, layers.Dense(1)(layers.concatenate([layers.Flatten()(layers.Embedding(5, 2)(x)), layers.Dense(2)(x)])))


def nested():
    x = Input((3,), dtype="int64")
    return Model(x, layers.Dense(1)(of_integers("int64")(x)))


def of_doubles():
    x = Input((3,), dtype="float64")
    return Model(x, layers.Dense(1)(x))


def of_floats():
    x = Input((6, 6, 1))
    return Model(x, layers.Dense(1)(layers.Flatten()(layers.Conv2D(2, 3)(x))))


MODELS = {
    "int32": (lambda: of_integers("int32"), INTEGERS),
    "int64": (lambda: of_integers("int64"), INTEGERS),
    "images": (of_images, IMAGES),
    "behind pooling": (behind_pooling, IMAGES),
    "indices and numbers": (indices_and_numbers, INTEGERS),
    "nested": (nested, INTEGERS),
    "doubles": (of_doubles, FLOATS),
    "floats": (of_floats, IMAGES),
}


def train(model, x):
    model.compile("sgd", "mse", device="cpu")
    model.fit(x, Y, batch_size=4, shuffle=False, verbose=0)
    model.train_on_batch(x, Y)
    return model.predict(x, verbose=0)


def types_of(model):
    return {tensor.dtype for tensor in [*model.parameters(), *model.buffers()] if tensor.is_floating_point()}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_was_cast_takes_what_it_took(name, dtype):
    make, x = MODELS[name]
    model = make()
    before = model.predict(x, verbose=0)
    after = model.to(dtype).predict(x, verbose=0)
    assert after == pytest.approx(before, rel=1e-5 if dtype == torch.float64 else 0.1, abs=1e-5 if dtype == torch.float64 else 2.0)
    assert np.isfinite(train(model, x)).all()
    assert types_of(model) == {dtype}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_was_cast_and_cast_back_is_as_before(name):
    make, x = MODELS[name]
    model = make()
    before, code = model.predict(x, verbose=0), model.code
    model.double().float()
    assert np.array_equal(model.predict(x, verbose=0), before)
    assert model.code == code


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"])
@pytest.mark.parametrize("name", MODELS)
def test_a_copy_of_a_model_that_was_cast_computes_the_same(name, duplicate):
    make, x = MODELS[name]
    model = make().double()
    twin = duplicate(duplicate(model))
    assert np.array_equal(twin.predict(x, verbose=0), model.predict(x, verbose=0))
    assert np.array_equal(train(twin, x), train(model, x))
    assert train(twin.float(), x).dtype == np.float32


@pytest.mark.parametrize("make", [lambda: of_integers("int64"), lambda: Sequential([Input((3,)), layers.Dense(1)])], ids=["drawn", "stack"])
def test_a_model_of_layers_that_were_cast_one_by_one_can_be_copied(make):
    model = make()
    for layer in model.layers:
        layer.double()
    assert np.array_equal(copy.deepcopy(model).predict(INTEGERS, verbose=0), model.predict(INTEGERS, verbose=0))


def test_integers_become_doubles_without_a_detour():
    model = of_integers("int64").double()
    large = np.array([[2**30 + 1, 0, 0]])
    weights = [torch.as_tensor(weight) for weight in model.get_weights()]
    expected = (torch.as_tensor(large, dtype=torch.float64) @ weights[0] + weights[1]) @ weights[2] + weights[3]
    assert model.predict(large, verbose=0) == pytest.approx(expected.numpy(), rel=1e-15)


def test_a_cast_of_the_users_stays_in_a_model_that_was_not_cast():
    x = Input((3,))
    model = Model(x, layers.Dense(1)(x.to(torch.float64) * 2))
    assert "torch.float64" in model.code
    assert np.isfinite(train(model, FLOATS)).all()


def test_a_model_beside_one_that_was_cast_on_the_same_input_goes_on():
    x = Input((3,), dtype="int64")
    one, other = Model(x, layers.Dense(1)(x)), Model(x, layers.Dense(1)(x))
    one.double()
    for model, kind in ((one, np.float64), (other, np.float32), (copy.deepcopy(other), np.float32)):
        assert train(model, INTEGERS).dtype == kind


def test_a_layer_of_a_model_that_was_cast_is_drawn_on_in_its_type():
    layer = layers.Dense(2)
    Sequential([Input((3,)), layer]).double()
    x = Input((3,))
    assert layer(x).dtype == torch.float64
    assert layer(torch.ones(1, 3, dtype=torch.int64)).dtype == torch.float64


# ---------------------------------------------------------------------- cast before the weights are made


class Net(Model):
    def __init__(self):
        super().__init__()
        self.first, self.second = layers.Dense(3, "relu"), layers.Dense(1)

    def call(self, inputs):
        return self.second(self.first(inputs))


UNBUILT = {
    "dense": (lambda: Sequential([layers.Dense(3), layers.BatchNormalization(), layers.Dense(1)]), FLOATS),
    "of integers": (lambda: Sequential([layers.Dense(1)]), INTEGERS),
    "embedding": (lambda: Sequential([layers.Embedding(5, 3), layers.LSTM(2), layers.Dense(1)]), INTEGERS),
    "recurrent": (lambda: Sequential([layers.Bidirectional(layers.GRU(2)), layers.Dense(1)]), SERIES),
    "stack in a stack": (lambda: Sequential([Sequential([layers.Dense(3)]), layers.Dense(1)]), FLOATS),
    "model with a call": (Net, FLOATS),
}


@pytest.mark.parametrize("build", ["fit", "predict", "build"])
@pytest.mark.parametrize("name", UNBUILT)
def test_a_model_that_was_cast_before_it_is_built_is_built_in_that_type(name, build):
    make, x = UNBUILT[name]
    model = make().double()
    if build == "predict":
        model.predict(x, verbose=0)
    if build == "build":
        model.build((None, *x.shape[1:]))
    assert train(model, x).dtype == np.float64
    assert types_of(model) == {torch.float64}


def test_a_stack_that_was_cast_before_it_is_built_takes_doubles_as_they_are():
    model = Sequential([layers.Dense(1, kernel_initializer="ones")]).double()
    assert model.predict(np.array([[1.0, 1e-12]]), verbose=0)[0, 0] == 1 + 1e-12


@pytest.mark.parametrize("name", UNBUILT)
def test_a_stack_that_was_cast_before_it_is_built_may_be_copied_cast_and_cloned(name):
    make, x = UNBUILT[name]
    model = copy.deepcopy(make().double())
    expected = train(model, x)
    assert np.array_equal(copy.deepcopy(model).predict(x, verbose=0), expected)
    assert train(clone_model(model), x).dtype == np.float32
    assert train(model.float(), x).dtype == np.float32


def test_an_empty_stack_that_knows_its_input_can_be_copied():
    twin = copy.deepcopy(Sequential([Input((3,))]))
    twin.add(layers.Dense(1))
    assert twin.output_shape == (None, 1)


def test_a_plain_trainer_tells_the_layers_in_it():
    class Plain(Trainer, nn.Module):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def forward(self, x):
            return self.dense(x)

    assert Plain().double()(torch.ones(2, 3, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("copied", [lambda model: model, copy.deepcopy], ids=["itself", "copy"])
def test_a_nested_model_casts_floats_of_another_type(copied):
    x = Input(shape=(4,))
    inner = Sequential([layers.Dense(2, input_shape=(3,))])
    model = Model(x, inner(layers.Dense(3, dtype="float64")(x)))
    assert copied(model).predict(np.ones((2, 4))).dtype == np.float32


@pytest.mark.parametrize("copied", [lambda model: model, copy.deepcopy], ids=["itself", "copy"])
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_a_layer_with_heads_casts_each_of_its_arguments(kind, copied):
    x = Input(shape=(3, 4))
    other = layers.Dense(4, dtype="float64")(x)
    model = Model(x, layers.MultiHeadAttention(2, 2, dtype=kind)(x, other, key=x))
    assert copied(model).predict(np.ones((2, 3, 4))).dtype == np.dtype(kind)


def test_what_hides_steps_is_not_cast():
    layer = layers.MultiHeadAttention(2, 2)
    x, hidden = torch.rand(1, 3, 4), torch.tensor([[[True, False, False]] * 3])
    changed = torch.cat([x[:, :1], torch.ones(1, 2, 4)], 1)
    torch.testing.assert_close(layer(x, x, attention_mask=hidden), layer(x, changed, attention_mask=hidden))
