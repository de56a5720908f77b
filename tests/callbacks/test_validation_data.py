"""`ValidationData`: what callbacks see of the arrays to validate on."""

import numpy as np
import pytest
import torch

from torchkeras_fn.callbacks.validation_data import ValidationData
from torchkeras_fn.engine.batches.arrays import Signature, arrays_of

A, B = np.ones((4, 2), dtype="float32"), np.zeros((4, 1), dtype="float32")


@pytest.mark.parametrize(
    ("x", "y", "weights", "expected"),
    [
        (A, B, None, [A, B, np.ones(4)]),
        (A, B, np.arange(4.0), [A, B, np.arange(4.0)]),
        ([A, B], [B, A], None, [A, B, B, A, np.ones(4), np.ones(4)]),
        (torch.ones(4, 2), torch.zeros(4, 1), None, [A, B, np.ones(4)]),
        (A, None, None, [A]),
    ],
)
def test_inputs_then_targets_then_weights(x, y, weights, expected):
    data = ValidationData(arrays_of(x, y, weights, Signature()))
    assert len(data) == len(expected)
    for found, wanted in zip(data, expected, strict=True):
        assert isinstance(found, np.ndarray) and np.array_equal(found, wanted)


def test_it_is_a_sequence():
    data = ValidationData(arrays_of(A, B, None, Signature()))
    x, y, *_ = data
    assert x.shape == (4, 2) and y.shape == (4, 1) and data[-1].tolist() == [1] * 4
    assert [part.shape for part in data[:2]] == [(4, 2), (4, 1)]
    with pytest.raises(IndexError):
        data[3]


def test_arrays_are_shared():
    assert np.shares_memory(ValidationData(arrays_of(A, B, None, Signature()))[0], A)
