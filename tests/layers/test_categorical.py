"""`CategoryEncoding` and `Discretization`: boundaries found or given, kept in files and copies, and errors."""

import io
import json

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Model, layers
from torchkeras_fn.models import clone_model, load_model

DATA = np.random.default_rng(0).normal(size=(1000, 2)).astype("float32")


def test_indices_that_are_none_count_nowhere():
    assert layers.CategoryEncoding(3, "count")(torch.tensor([[-1, 3, 2]])).tolist() == [[0, 0, 1]]


def test_a_column_of_floats_is_encoded():
    assert layers.CategoryEncoding(3, "one_hot")(np.array([[2.0], [0.0]])).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_counts_are_of_the_layers_type_whatever_that_of_the_weights():
    counts = layers.CategoryEncoding(3, "count")(torch.tensor([[0, 2, 2]]), count_weights=torch.tensor([[1, 2, 3]]))
    assert counts.dtype is torch.float32 and counts.tolist() == [[1, 0, 5]]


def test_fractions_as_weights_of_counts_stay_fractions_in_a_model():
    x, weights = Input((2,)), Input((2,))
    model = Model([x, weights], layers.CategoryEncoding(3, "count")(x, count_weights=weights))
    assert model.predict([np.array([[0, 2]]), np.array([[0.5, 1.5]])], verbose=0).tolist() == [[0.5, 0, 1.5]]


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
def test_codes_are_cast_as_the_model_is(mode):
    x = Input((2,), dtype="int64")
    model = Model(x, layers.Dense(1)(layers.CategoryEncoding(3, mode)(x))).double()
    assert model(torch.tensor([[0, 2]])).dtype is torch.float64


@pytest.mark.parametrize("data", [DATA, torch.tensor(DATA), [DATA[:300], DATA[300:]]])
def test_adapted_ranges_hold_as_many(data):
    layer = layers.Discretization(num_bins=4)
    layer.adapt(data)
    assert np.bincount(layer(DATA).flatten()).tolist() == [500] * 4


def test_a_model_drawn_before_learns_of_the_boundaries_and_keeps_them():
    layer, x = layers.Discretization(num_bins=4, output_mode="one_hot"), Input((2,))
    model = Model(x, layer(x))
    with pytest.raises(ValueError, match="Discretization has no boundaries yet: call its adapt"):
        model.predict(DATA, verbose=0)
    layer.adapt(DATA)
    expected = model.predict(DATA, verbose=0)
    assert expected.sum((0, 1)).tolist() == [500] * 4
    model.save(file := io.BytesIO())
    for twin in (load_model(file), clone_model(model)):
        np.testing.assert_array_equal(twin.predict(DATA, verbose=0), expected)
    again = layers.Discretization.from_config(json.loads(json.dumps(layer.get_config())))
    assert again.bin_boundaries == layer.bin_boundaries


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.CategoryEncoding(0), "'num_tokens' must be"),
        (lambda: layers.CategoryEncoding(3, "int"), "'output_mode' must be"),
        (lambda: layers.CategoryEncoding(3, sparse=True), "sparse=True is not possible"),
        (lambda: layers.CategoryEncoding(3)(torch.ones(1, 2), count_weights=torch.ones(1, 2)), "output_mode='count' only"),
        (lambda: layers.Discretization(), "One of 'bin_boundaries' and 'num_bins'"),
        (lambda: layers.Discretization([1.0], 3), "One of 'bin_boundaries' and 'num_bins'"),
        (lambda: layers.Discretization([1.0, 0.0]), "in ascending order"),
        (lambda: layers.Discretization([1.0]).adapt(DATA), "was given its boundaries"),
        (lambda: layers.Discretization(num_bins=3).adapt([]), "cannot adapt to no data"),
    ],
)
def test_what_is_wrong_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
