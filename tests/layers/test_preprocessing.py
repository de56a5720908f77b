"""`Rescaling` and `Normalization`: figures given or found, weights, and errors."""

import json

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Model
from torchkeras_fn.layers import CategoryEncoding, Discretization, Normalization, Rescaling

DATA = np.random.default_rng(0).normal(size=(50, 3)) * [1, 2, 3] + [4, 5, 6]


def test_rescaling_of_bytes():
    x = Input(shape=(2,), dtype="uint8")
    assert Model(x, Rescaling(1 / 255)(x))(torch.tensor([[0, 255]], dtype=torch.uint8)).tolist() == [[0, 1]]
    assert Rescaling([1, 2], [0, 1])(torch.ones(1, 2)).tolist() == [[1, 3]]


LAYERS = [
    Rescaling(2.0),
    Normalization(mean=1.0, variance=4.0),
    Discretization([0.5, 2.0]),
    CategoryEncoding(4, "one_hot"),
    lambda x: CategoryEncoding(4, "count")(x, count_weights=x),
]


@pytest.mark.parametrize("layer", LAYERS)
def test_lists_of_numbers_are_data(layer):
    assert layer([[3, 2], [0, 1]]).tolist() == layer(torch.tensor([[3, 2], [0, 1]])).tolist()


@pytest.mark.parametrize("layer", [Rescaling(2.0), Normalization(), Discretization([0.5]), CategoryEncoding(2)])
def test_one_input_is_taken(layer):
    with pytest.raises(ValueError, match="expected one input, got a list of them"):
        layer([torch.ones(2, 2), torch.ones(2, 2)])


@pytest.mark.parametrize(
    "layer", [Rescaling(np.array([1.0, 2.0, 3.0]), np.float32(1)), Normalization(mean=torch.ones(3), variance=np.ones(3))]
)
def test_arrays_are_written_to_json(layer):
    config = json.loads(json.dumps(layer.get_config()))
    x = torch.randn(4, 3)
    torch.testing.assert_close(type(layer).from_config(config)(x), layer(x))
    assert layer.get_weights() == []


def test_normalization_adapts_once_drawn_lowered_or_not():
    layer = Normalization()
    x = Input(shape=(3,))
    model = Model(x, layer(x))
    torch.testing.assert_close(model(torch.ones(2, 3)), torch.ones(2, 3))
    layer.adapt(DATA)
    outputs = model.predict(DATA, verbose=0)
    np.testing.assert_allclose(outputs.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(outputs.std(0), 1, atol=1e-5)
    assert model.trainable_weights == []


@pytest.mark.parametrize(
    "batches", [lambda: [DATA[:7], DATA[7:]], lambda: iter([torch.tensor(DATA)]), lambda: ((part[None], 0) for part in DATA)]
)
def test_normalization_adapts_to_batches(batches):
    layer = Normalization()
    layer.adapt(batches())
    np.testing.assert_allclose(layer.get_weights()[0], DATA.mean(0), rtol=1e-5)
    np.testing.assert_allclose(layer.get_weights()[1], DATA.var(0), rtol=1e-5)


def test_inversion_takes_back():
    layer, back = Normalization(axis=None), Normalization(axis=None, invert=True)
    layer.adapt(DATA)
    back.adapt(DATA)
    x = torch.tensor(DATA, dtype=torch.float32)
    torch.testing.assert_close(back(layer(x)), x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rescaling("1/255"), "'scale' must be a finite number or an array of them, got '1/255'"),
        (lambda: Rescaling(1, offset=float("nan")), "'offset' must be"),
        (lambda: Rescaling([1, 2])(Input(shape=(3,))), r"Rescaling cannot be built .* must fit the channels, got shapes \(2,\)"),
        (lambda: Normalization(mean=1), "'mean' and 'variance' must be given together"),
        (lambda: Normalization(mean=1, variance=-1), "'variance' must not be negative"),
        (lambda: Normalization(axis="last"), "'axis' must be an integer"),
        (lambda: Normalization(axis=3)(Input(shape=(3,))), "'axis' must be axes of the input"),
        (lambda: Normalization(axis=1)(Input(shape=(None, 3))), "must be known; axis=None normalizes by a single mean"),
        (lambda: Normalization(mean=[1, 2], variance=[1, 2])(Input(shape=(3,))), r"must fit the sizes \(3,\)"),
        (lambda: Normalization(mean=1, variance=2).adapt(DATA), "was given its mean and variance"),
        (lambda: Normalization().adapt([]), "cannot adapt to no data at all"),
        (lambda: Normalization().adapt([DATA, DATA[:, :2]]), r"cannot adapt to data of shape \(50, 2\)"),
    ],
)
def test_what_is_wrong_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_failed_adaptation_changes_nothing():
    layer = Normalization()
    layer.adapt(DATA)
    before = layer.get_weights()
    with pytest.raises(ValueError, match="cannot adapt"):
        layer.adapt([DATA + 1, DATA[:, :2]])
    assert all(np.array_equal(a, b) for a, b in zip(before, layer.get_weights(), strict=True))


def test_what_is_no_data_is_refused():
    with pytest.raises(TypeError, match="Expected an array, a tensor or an iterable of batches to adapt to, got int"):
        Normalization().adapt(3)
