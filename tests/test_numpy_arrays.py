"""Arrays that torch cannot read as they lie: backwards, in another byte order, only to be read, of bfloat16."""

import warnings

import ml_dtypes
import numpy as np
import pytest
import torch

from torchkeras_fn import Sequential, backend, initializers, ops
from torchkeras_fn.layers import Dense
from torchkeras_fn.numpy_arrays import from_numpy

NUMBERS = np.arange(12, dtype="float32").reshape(3, 4)


def only_to_be_read():
    array = NUMBERS.copy()
    array.flags.writeable = False
    return array


ARRAYS = {
    "backwards": np.ascontiguousarray(NUMBERS[::-1])[::-1],
    "byte order": NUMBERS.astype(">f4"),
    "read-only": only_to_be_read(),
    "bfloat16": NUMBERS.astype(ml_dtypes.bfloat16),
}


def test_memory_is_shared_where_it_can_be():
    array = np.zeros(2, "float32")
    from_numpy(array)[0] = 5
    assert array[0] == 5


def stack(**options):
    return Sequential([Dense(3, input_shape=(4,), use_bias=False, **options)])


def set_weights(array):
    model = stack()
    model.set_weights([array.T])
    return model.get_weights()[0].T


def set_value(array):
    variable = backend.variable(np.zeros((3, 4)))
    backend.set_value(variable, array)
    return backend.get_value(variable)


WAYS = {
    "from_numpy": from_numpy,
    "set_weights": set_weights,
    "set_weights of tensors": lambda array: set_weights(from_numpy(array)),
    "variable": lambda array: backend.get_value(backend.variable(array)),
    "set_value": set_value,
    "ops": lambda array: ops.multiply(array, 1),
    "constant": lambda array: stack(kernel_initializer=initializers.Constant(array.T)).get_weights()[0].T,
    "a layer": lambda array: Dense(4, kernel_initializer="identity", use_bias=False)(array).detach(),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_any_array_is_taken(way, array):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(torch.as_tensor(WAYS[way](array)).float(), torch.from_numpy(NUMBERS))
