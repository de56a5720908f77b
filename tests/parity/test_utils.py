"""The conversions of arrays and the random numbers give what the real Keras gives."""

import keras
import numpy as np
import pytest

from parity.twins import array
from torchkeras_fn import random, utils

LISTS = [[1], [2, 3], [4, 5, 6, 7], []]


@pytest.mark.parametrize("maxlen", [None, 1, 2, 6])
@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("truncating", ["pre", "post"])
@pytest.mark.parametrize("more", [{}, {"value": -1.5, "dtype": "float32"}, {"dtype": "int64"}])
def test_pad_sequences(maxlen, padding, truncating, more):
    options = {"maxlen": maxlen, "padding": padding, "truncating": truncating, **more}
    ours, theirs = utils.pad_sequences(LISTS, **options), keras.utils.pad_sequences(LISTS, **options)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("options", [{}, {"axis": 1, "order": 1}, {"order": 3}])
def test_normalize(options):
    x = np.random.default_rng(0).normal(size=(3, 4))
    x[1] = 0
    np.testing.assert_allclose(utils.normalize(x, **options), keras.utils.normalize(x, **options), rtol=1e-6)


@pytest.mark.parametrize(("x", "classes"), [([0, 2, 1], None), ([[0], [2]], 4), (np.array([[0, 1], [2, 2]]), 3)])
def test_to_categorical(x, classes):
    np.testing.assert_array_equal(utils.to_categorical(x, classes), keras.utils.to_categorical(x, classes))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("normal", {"mean": 1.0, "stddev": 2.0}),
        ("uniform", {"minval": -1.0, "maxval": 2.0}),
        ("truncated_normal", {"mean": 1.0, "stddev": 2.0}),
        ("randint", {"minval": 0, "maxval": 50}),
        ("binomial", {"counts": 40.0, "probabilities": 0.3}),
        ("gamma", {"alpha": 2.0}),
        ("beta", {"alpha": 2.0, "beta": 3.0}),
    ],
)
def test_a_distribution(name, arguments):
    ours = getattr(random, name)((200, 100), **arguments, seed=1).double().numpy()
    theirs = array(getattr(keras.random, name)((200, 100), **arguments, seed=1)).astype("float64")
    shares = [0.05, 0.25, 0.5, 0.75, 0.95]
    atol = max(0.05 * theirs.std(), float(name in ("randint", "binomial")))
    np.testing.assert_allclose(np.quantile(ours, shares), np.quantile(theirs, shares), atol=atol)
    assert ours.std() == pytest.approx(theirs.std(), rel=0.03)
