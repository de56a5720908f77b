"""Columns: rows of numbers out of anything that holds them, read as they are asked for and never whole."""

import warnings

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from torchkeras_fn.engine.batches.columns import Column, ReadColumn, column, is_array, is_whole

VALUES = np.arange(24, dtype="float32").reshape(8, 3)


class Recorded:
    """An array-like that notes how many rows each read took; without `picks`, it can only be sliced."""

    def __init__(self, values, picks=True):
        self.values, self.picks, self.reads = values, picks, []
        self.shape = values.shape

    def __getitem__(self, rows):
        if not self.picks and not isinstance(rows, slice):
            raise TypeError("only slices")
        found = self.values[rows]
        self.reads.append(len(found))
        return found


def memory_map(values, folder):
    path = folder / "rows.bin"
    values.tofile(path)
    return np.memmap(path, dtype=values.dtype, mode="r", shape=values.shape)


def hdf5(values, folder):
    h5py.File(folder / "rows.h5", "w").create_dataset("x", data=values)
    return h5py.File(folder / "rows.h5", "r")["x"]


KINDS = {
    "numpy": lambda values, folder: values,
    "fortran": lambda values, folder: np.asfortranarray(values),
    "every other row": lambda values, folder: np.repeat(values, 2, axis=0)[::2],
    "backwards": lambda values, folder: values[::-1].copy()[::-1],
    "big endian": lambda values, folder: values.astype(">f4"),
    "float64": lambda values, folder: values.astype("float64"),
    "long double": lambda values, folder: values.astype("longdouble"),
    "tensor": lambda values, folder: torch.tensor(values),
    "parameter": lambda values, folder: torch.nn.Parameter(torch.tensor(values)),
    "nested lists": lambda values, folder: values.tolist(),
    "data frame": lambda values, folder: pd.DataFrame(values),
    "csr": lambda values, folder: scipy.sparse.csr_matrix(values),
    "coo": lambda values, folder: scipy.sparse.coo_matrix(values),
    "sparse array": lambda values, folder: scipy.sparse.csc_array(values),
    "hdf5": hdf5,
    "memory map": memory_map,
    "slicing": lambda values, folder: Recorded(values),
    "only slices": lambda values, folder: Recorded(values, picks=False),
}


@pytest.fixture(params=KINDS)
def rows(request, tmp_path):
    return column(KINDS[request.param](VALUES, tmp_path), "x")


def test_shape_is_that_of_the_data(rows):
    assert rows.shape == (8, 3) and len(rows) == 8


def test_a_slice_gives_neighbours(rows):
    np.testing.assert_array_equal(rows.take(slice(2, 5)).numpy(), VALUES[2:5])


def test_a_slice_past_the_end_is_short(rows):
    np.testing.assert_array_equal(rows.take(slice(6, 12)).numpy(), VALUES[6:])


def test_row_numbers_give_rows_in_the_order_asked_for(rows):
    np.testing.assert_array_equal(rows.take(torch.tensor([5, 0, 7, 2])).numpy(), VALUES[[5, 0, 7, 2]])


def test_dtype_is_that_of_what_is_read(rows):
    assert rows.take(slice(0, 1)).dtype == rows.dtype == rows.take(torch.tensor([3])).dtype


def test_a_part_has_its_own_row_numbers(rows):
    part = rows.part(2, 7)
    np.testing.assert_array_equal(part.take(torch.tensor([4, 0])).numpy(), VALUES[[6, 2]])
    np.testing.assert_array_equal(part.take(slice(3, 9)).numpy(), VALUES[5:7])
    assert part.shape == (5, 3) and part.dtype == rows.dtype


def test_a_part_of_a_part_counts_from_the_part(rows):
    np.testing.assert_array_equal(rows.part(2, 8).part(1, 3).take(slice(None)).numpy(), VALUES[3:5])


def test_unsqueezed_rows_have_one_more_axis(rows):
    wide = rows.unsqueezed()
    assert wide.shape == (8, 3, 1) and wide.part(1, 3).shape == (2, 3, 1)
    np.testing.assert_array_equal(wide.take(torch.tensor([1, 0])).numpy(), VALUES[[1, 0], :, None])


@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame, scipy.sparse.csr_matrix, Recorded])
def test_squeezed_rows_have_one_axis_less(kind):
    narrow = column(kind(VALUES[:, :1]), "w").squeezed()
    assert narrow.shape == (8,) and narrow.part(1, 3).shape == (2,)
    np.testing.assert_array_equal(narrow.part(2, 8).take(torch.tensor([1, 0])).numpy(), VALUES[[3, 2], 0])


def test_an_array_of_arrays_is_told_how_to_become_one():
    rows = np.empty(8, dtype=object)
    rows[:] = list(VALUES)
    with pytest.raises(ValueError, match=r"It holds arrays.*np\.stack\(list\(values\)\)"):
        column(rows, "x")


def test_all_rows_are_on_the_cpu(rows):
    assert rows.device == torch.device("cpu")


@pytest.mark.parametrize("kind", ["numpy", "fortran", "every other row", "memory map"])
def test_memory_is_shared_with_numpy(kind, tmp_path):
    array = KINDS[kind](VALUES, tmp_path)
    assert column(array, "x").take(slice(0, 2)).data_ptr() == array.ctypes.data


def test_memory_is_shared_with_a_tensor():
    tensor = torch.ones(4, 2)
    assert column(tensor, "x").part(1, 3).take(slice(0, 1)).data_ptr() == tensor[1:].data_ptr()


def test_a_tensor_with_history_is_detached():
    assert not column(torch.ones(2, 1, requires_grad=True), "x").take(slice(None)).requires_grad


@pytest.mark.parametrize("kind", ["backwards", "big endian", "long double"])
def test_what_torch_cannot_read_is_converted_row_by_row(kind, tmp_path):
    assert isinstance(column(KINDS[kind](VALUES, tmp_path), "x"), ReadColumn)


def test_only_the_rows_asked_for_are_read():
    data = Recorded(VALUES)
    rows = column(data, "x")
    data.reads.clear()
    rows.take(slice(2, 4)), rows.take(torch.tensor([7, 1, 3]))
    assert data.reads == [2, 3]


def test_opening_reads_one_row():
    data = Recorded(VALUES)
    column(data, "x").part(2, 6).unsqueezed()
    assert data.reads == [1]


def test_rows_are_read_in_increasing_order_as_hdf5_demands():
    asked = []
    ReadColumn(lambda rows: asked.append(rows) or VALUES[rows], (8, 3)).take(torch.tensor([6, 1, 4]))
    assert asked[-1].tolist() == [1, 4, 6]


def test_rows_that_cannot_be_picked_are_sliced_one_by_one():
    data = Recorded(VALUES, picks=False)
    rows = column(data, "x")
    data.reads.clear()
    rows.take(torch.tensor([6, 1, 4]))
    assert data.reads == [1, 1, 1]


def test_read_only_arrays_do_not_warn():
    array = VALUES.copy()
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(column(array, "x").take(slice(None)), torch.tensor(VALUES))


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "int8", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"])
def test_every_kind_of_number_is_read_as_it_is(name):
    array = np.array([[0], [1], [1]], dtype=name)
    rows = column(array, "x")
    np.testing.assert_array_equal(rows.take(torch.tensor([2, 0])).numpy(), array[[2, 0]])
    assert rows.dtype == getattr(torch, name)


@pytest.mark.parametrize("name", ["uint8", "uint16", "uint32", "uint64"])
def test_single_numbers_without_a_sign_are_picked_in_any_order(name):
    rows = column(np.array([0, 1, 200], dtype=name), "y")
    index = torch.tensor([2, 0])
    assert rows.take(index).tolist() == [200, 0] and [found.tolist() for found in rows.each([index, index[:1]])] == [[200, 0], [200]]


@pytest.mark.parametrize("name", ["complex64", "complex128"])
def test_complex_numbers_are_read_as_they_are_like_those_of_tensors(name):
    array = np.array([1 + 2j, 3j, 4], dtype=name)
    rows = column(array, "x")
    assert rows.dtype == getattr(torch, name) and rows.take(torch.tensor([2, 0])).tolist() == [4, 1 + 2j]


def test_lists_of_floats_are_float32_and_lists_of_ints_stay_integers():
    assert column([1.5, 2.0], "x").dtype == torch.float32 and column([1, 2], "x").dtype == torch.int64


def test_a_list_of_scalar_tensors_or_numpy_numbers_is_an_array():
    assert column([torch.tensor(1.0), torch.tensor(2.0)], "x").shape == column([np.float32(1), np.float32(2)], "x").shape == (2,)


def test_a_series_is_one_dimensional_whatever_its_index():
    series = pd.Series([4.0, 5.0, 6.0], index=["c", "a", "b"])
    assert column(series, "y").take(torch.tensor([2, 0])).tolist() == [6.0, 4.0]


def test_a_data_frame_is_read_by_position_and_not_by_its_index():
    frame = pd.DataFrame(VALUES, index=range(10, 18)).iloc[::-1]
    assert column(frame, "x").take(torch.tensor([0])).tolist() == [[21.0, 22.0, 23.0]]


def test_a_data_frame_of_floats_integers_and_booleans_is_numbers():
    frame = pd.DataFrame({"a": [0.5, 1.5], "b": [True, False], "c": [3, 4]})
    assert column(frame, "x").take(slice(None)).tolist() == [[0.5, 1.0, 3.0], [1.5, 0.0, 4.0]]


def test_a_data_frame_with_columns_that_may_have_missing_values_is_numbers():
    frame = pd.DataFrame({"a": [1, 2], "b": [3, 4]}).astype("Int64")
    rows = column(frame, "x")
    assert rows.dtype == torch.int64 and rows.take(torch.tensor([1, 0])).tolist() == [[2, 4], [1, 3]]


def test_a_data_frame_with_sparse_columns_is_numbers():
    frame = pd.get_dummies(pd.DataFrame({"a": ["x", "y"], "b": [3, 4]}), sparse=True)
    assert column(frame, "x").take(slice(None)).tolist() == [[3, 1, 0], [4, 0, 1]]


def test_a_field_of_records_is_read_where_it_lies():
    records = np.array([(0, 1.5), (1, 2.5), (2, 3.5)], dtype=[("key", "i1"), ("value", "f4")])
    assert column(records["value"], "y").take(torch.tensor([2, 0])).tolist() == [3.5, 1.5]


@pytest.mark.parametrize("name", ["float32", "bfloat16", "int64", "bool"])
def test_a_tensor_out_of_inference_mode_is_one_to_train_on_in_the_same_memory(name):
    with torch.inference_mode():
        data = torch.ones(4, 3, dtype=getattr(torch, name))
    rows = column(data, "x").take(slice(1, 3))
    assert not rows.is_inference() and rows.dtype == data.dtype and rows.data_ptr() == data[1:].data_ptr()


def test_a_tensor_with_a_history_out_of_inference_mode_is_taken():
    with torch.inference_mode():
        data = torch.ones(2, 1).requires_grad_()
    assert not column(data, "x").take(slice(0, 2)).requires_grad


def test_what_numpy_can_read_is_an_array():
    class Readable:
        def __array__(self, dtype=None, copy=None):
            return np.ones((2, 3), dtype)

    assert is_array(Readable()) and column(Readable(), "x").shape == (2, 3)


def test_a_column_stays_what_it_is():
    rows = Column(torch.ones(2, 1))
    assert column(rows, "x") is rows


def test_an_empty_array_has_no_rows():
    assert column(np.ones((0, 3)), "x").shape == (0, 3) and len(column(Recorded(VALUES[:0]), "x")) == 0


NO_NUMBERS = [["a", "b"], np.array([object()]), pd.DataFrame({"a": ["x"], "b": [1]}), None, [[None]], np.array(["2020"], "M8")]


@pytest.mark.parametrize("data", NO_NUMBERS)
def test_what_is_not_numbers_is_refused_by_name(data):
    with pytest.raises(ValueError, match="The data of 'x' is not an array of numbers"):
        column(data, "The data of 'x'")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.array(["cat", "dog"]), "dtype <U3. Give texts numbers first"),
        (np.array([1, "dog"], dtype=object), "dtype object. Give texts numbers first"),
        (np.array([[1.0], [None]], dtype=object), "It holds None: fill in what is missing first"),
        (np.array([[1.0], [2]], dtype=object), r"Convert it first: .astype\('float32'\)"),
        (pd.DataFrame({"a": [1.0], "b": ["red"], "c": [2]}), r"No numbers are in the columns \['b'\]. Give texts numbers first"),
        (pd.DataFrame({"a": [1.0], "b": pd.to_datetime(["2020"])}), r"No numbers are in the columns \['b'\]. It holds Timestamp"),
        (pd.Series(["cat", "dog"], dtype="category"), "Give texts numbers first"),
    ],
)
def test_what_is_not_numbers_is_pointed_out(data, message):
    with pytest.raises(ValueError, match=message):
        column(data, "x")


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="x is not an array: its parts have different shapes"):
        column([[1.0, 2.0], [3.0]], "x")


@pytest.mark.parametrize("data", [3.0, np.float32(1), torch.tensor(1.0)])
def test_a_single_number_is_refused(data):
    with pytest.raises(ValueError, match="single number"):
        column(data, "x")


def test_an_hdf5_scalar_is_refused(tmp_path):
    with h5py.File(tmp_path / "one.h5", "w") as file, pytest.raises(ValueError, match="single number"):
        column(file.create_dataset("x", data=1.0), "x")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (np.ones(2), True),
        ([1, 2], True),
        ([[1, 2], [3, 4]], True),
        ((1.0, 2.0), True),
        ([np.float32(1)], True),
        ([True, False], True),
        (pd.Series([1]), True),
        ([np.ones(2)], False),
        ([None, np.ones(2)], False),
        ([[1], np.ones(2)], False),
        ([], False),
        ("ab", False),
        ({"a": 1}, False),
        (iter([1]), False),
        (None, False),
    ],
)
def test_is_array_tells_one_array_from_several(data, expected):
    assert is_array(data) is expected


PACKED = torch.nn.utils.rnn.pack_sequence([torch.ones(2)])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (PACKED, True),
        (torch.ones(2, 2).to_sparse(), True),
        (torch.nested.nested_tensor([torch.ones(2)], layout=torch.jagged), True),
        (torch.ones(2), False),
        (np.ones(2), False),
        ([PACKED], False),
        (pd.Series([1]), False),
        (torch.nn.Linear(1, 1), False),
        (torch.Tensor, False),
        (object(), False),
        (None, False),
    ],
)
def test_is_whole_tells_what_is_no_array_but_can_be_moved(data, expected):
    assert is_whole(data) is expected


@pytest.mark.parametrize("data", [PACKED, torch.ones(2, 2).to_sparse()])
def test_what_has_no_rows_is_no_column(data):
    with pytest.raises(TypeError, match="^y is a .*rows of numbers are expected"):
        column(data, "y")


def test_row_numbers_go_to_another_device_once_for_all_batches():
    class Copies(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.count += function._schema.name == "aten::_to_copy"
            return function(*args, **(kwargs or {}))

    batches = torch.randperm(10).split(4)
    with Copies() as copies:
        taken = list(Column(torch.empty(10, 3, device="meta")).each(batches))
    assert copies.count == 1 and [tuple(rows.shape) for rows in taken] == [(4, 3), (4, 3), (2, 3)]
