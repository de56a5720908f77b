"""`to_categorical`: indices to one-hot rows; `normalize`: vectors of length one."""

import numpy as np
import pytest
import torch

from torchkeras_fn.utils import normalize, to_categorical


@pytest.mark.parametrize("x", [[0, 2], (0, 2), np.array([0, 2]), np.array([[0], [2]]), torch.tensor([0, 2]), np.array([0.0, 2.0])])
def test_indices_become_rows(x):
    assert to_categorical(x).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_rows_are_float32():
    assert to_categorical([1]).dtype == np.float32


def test_the_number_of_classes_may_be_given():
    assert to_categorical([0, 1], num_classes=4).shape == (2, 4)


@pytest.mark.parametrize(("shape", "expected"), [((5,), (5, 3)), ((5, 1), (5, 3)), ((5, 7), (5, 7, 3)), ((5, 7, 1), (5, 7, 3)), ((), (3,))])
def test_the_classes_are_the_last_axis(shape, expected):
    assert to_categorical(np.zeros(shape), 3).shape == expected


def test_no_index_makes_no_row():
    assert to_categorical([], 3).shape == (0, 3)


@pytest.mark.parametrize("x", [[-1, 0], [0, 3]])
def test_an_index_out_of_range_is_told(x):
    with pytest.raises(ValueError, match="Class indices must lie between 0 and 2, got"):
        to_categorical(x, 3)


@pytest.mark.parametrize("x", [[0.5, 1], [0, float("nan")], [0, float("inf")], ["0", "1"], np.array(["a"], dtype=object)])
def test_indices_are_whole_numbers(x):
    with pytest.raises(ValueError, match="Class indices must be whole numbers"):
        to_categorical(x)


def test_whole_numbers_may_be_in_a_column_of_objects():
    assert to_categorical(np.array([0, 1], dtype=object)).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("num_classes", ["3", 3.0, -1])
def test_the_number_of_classes_is_a_positive_integer(num_classes):
    with pytest.raises(ValueError, match="'num_classes' must be an integer of at least 1"):
        to_categorical([0, 1], num_classes)


def test_a_row_of_a_large_vocabulary_takes_no_more_than_itself():
    assert to_categorical([7], 10_000_000)[0].nonzero()[0].tolist() == [7]


# ---------------------------------------------------------------------- normalize


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, [0.6, 0.8]), ({"order": 1}, [3 / 7, 4 / 7]), ({"axis": 0}, [1, 1]), ({"order": np.inf}, [0.75, 1])],
)
def test_vectors_are_divided_by_their_norm(options, expected):
    np.testing.assert_allclose(normalize(np.array([[3.0, 4.0], [0.0, 0.0]]), **options), [expected, [0, 0]])


def test_a_single_vector_is_normalized():
    assert normalize([3.0, 4.0]).tolist() == pytest.approx([0.6, 0.8])
