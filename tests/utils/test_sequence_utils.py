"""`pad_sequences`: lists of steps as one array."""

import numpy as np
import pytest

from torchkeras_fn import preprocessing, utils
from torchkeras_fn.utils import pad_sequences

LISTS = [[1], [2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[0, 0, 1], [0, 2, 3], [4, 5, 6]]),
        ({"padding": "post"}, [[1, 0, 0], [2, 3, 0], [4, 5, 6]]),
        ({"maxlen": 2}, [[0, 1], [2, 3], [5, 6]]),
        ({"maxlen": 2, "truncating": "post"}, [[0, 1], [2, 3], [4, 5]]),
        ({"maxlen": 4, "value": -1}, [[-1, -1, -1, 1], [-1, -1, 2, 3], [-1, 4, 5, 6]]),
        ({"maxlen": 0}, [[], [], []]),
    ],
)
def test_short_ones_are_filled_and_long_ones_cut(options, expected):
    padded = pad_sequences(LISTS, **options)
    assert padded.dtype == np.int32
    assert padded.tolist() == expected


def test_steps_may_be_vectors():
    padded = pad_sequences([np.ones((1, 2)), np.ones((3, 2))], dtype="float32", value=0.5)
    assert padded.shape == (2, 3, 2)
    assert padded[0].tolist() == [[0.5, 0.5], [0.5, 0.5], [1, 1]]


def test_empty_sequences_are_all_padding():
    assert pad_sequences([[], [1, 2]]).tolist() == [[0, 0], [1, 2]]
    assert pad_sequences([]).shape == (0, 0)


def test_text_is_padded_as_objects():
    assert pad_sequences([["a"], ["b", "c"]], dtype=object, value="-").tolist() == [["-", "a"], ["b", "c"]]


@pytest.mark.parametrize(
    ("sequences", "options", "message"),
    [
        (LISTS, {"padding": "both"}, "'padding' must be one of"),
        (LISTS, {"truncating": "both"}, "'truncating' must be one of"),
        ([1, 2], {}, "Expected a list of sequences"),
        (3, {}, "Expected a list of sequences"),
        (LISTS, {"value": "-"}, "does not fit the dtype"),
        ([[], ["a", "b"]], {}, "The sequences hold text, such as 'a', which does not fit the dtype 'int32'"),
        (LISTS, {"maxlen": "3"}, "'maxlen' must be an integer of at least 0, got '3'"),
        (LISTS, {"maxlen": -1}, "'maxlen' must be an integer of at least 0, got -1"),
        ([np.ones((1, 2)), np.ones((1, 3))], {}, "The steps of sequence 1 have the shape"),
    ],
)
def test_what_cannot_be_padded(sequences, options, message):
    with pytest.raises(ValueError, match=message):
        pad_sequences(sequences, **options)


def test_it_is_where_keras_users_look_for_it():
    assert preprocessing.sequence.pad_sequences is utils.pad_sequences
