"""One recipe, two libraries: a recipe is a function of `torchkeras_fn` or `keras` that draws with whichever it is given."""

import keras
import numpy as np
import torch

import torchkeras_fn as tk

LIBRARIES = (tk, keras)


def twins(recipe, seed=0):
    """Return the recipe's model in our library and in Keras, with the same random weights, set in ours and copied to Keras."""
    keras.backend.clear_session(free_memory=False)
    ours, theirs = (recipe(library) for library in LIBRARIES)
    assert [weight.shape for weight in ours.get_weights()] == [weight.shape for weight in theirs.get_weights()]
    ours.set_weights(random_weights(theirs, seed))
    theirs.set_weights(ours.get_weights())
    return ours, theirs


def random_weights(model, seed=0):
    """Return weights for a Keras model that leave no bias at 0 and no variance at 1."""
    random = np.random.default_rng(seed)
    values = []
    for weight in model.weights:
        value = random.normal(size=weight.shape) / np.sqrt(max(1, weight.shape[0] if len(weight.shape) > 1 else 4))
        if weight.name.endswith(("gamma", "variance")):
            value = random.uniform(0.5, 1.5, size=weight.shape)
        values.append(value.astype("float32"))
    return values


def array(values):
    """Return a tensor of either library, or anything like an array, as numpy."""
    return keras.ops.convert_to_numpy(values) if isinstance(values, (torch.Tensor, keras.Variable)) else np.asarray(values)


def same(ours, theirs, tolerance=1e-5):
    """Compare two arrays, or lists or dicts of them, and their shapes."""
    if isinstance(theirs, dict):
        assert sorted(ours) == sorted(theirs)
        for name in theirs:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=tolerance, atol=tolerance, err_msg=name)
    elif isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            same(mine, other, tolerance)
    else:
        ours, theirs = array(ours), array(theirs)
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
