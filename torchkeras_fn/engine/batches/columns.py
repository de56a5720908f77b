"""One array of samples, whatever holds it: a shape, a dtype, and reading some rows as a tensor. Nothing is ever read whole."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import nn

from torchkeras_fn.numpy_arrays import from_numpy, is_readable

Index = Any
"""A slice, or a one-dimensional tensor of row numbers."""

_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
"""The types of which torch's `index_select` picks rows, but no single numbers, and those of their size of which it does."""


class Column:
    """Rows in the memory of a tensor or a numpy array (a memory map too), shared with its owner.

    >>> Column(torch.arange(6).view(3, 2)).take(slice(1, 2))
    tensor([[2, 3]])
    """

    def __init__(self, tensor: torch.Tensor):
        self.tensor = tensor
        self.shape = tuple(tensor.shape)
        self.dtype = tensor.dtype
        self._signed = tensor.view(_SIGNED[tensor.dtype]) if tensor.ndim == 1 and tensor.dtype in _SIGNED else None

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.tensor.device

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, index: Index) -> torch.Tensor:
        """Return some rows: a view for a slice, else a copy."""
        if isinstance(index, slice):
            return self.tensor[index]
        index = index if index.device == self.tensor.device else index.to(self.tensor.device)
        return self.tensor.index_select(0, index) if self._signed is None else self._signed.index_select(0, index).view(self.dtype)

    def each(self, indices: Sequence[Index]) -> Iterator[torch.Tensor]:
        """Yield what `take` returns for each of the indices, which are of one kind: without a Python function for each of them.

        >>> list(Column(torch.arange(4)).each([slice(0, 3), slice(3, 4)]))
        [tensor([0, 1, 2]), tensor([3])]
        """
        if type(self) is not Column or not indices:
            return map(self.take, indices)
        if isinstance(indices[0], slice):
            return map(self.tensor.__getitem__, indices)
        if indices[0].device != self.tensor.device:  # all row numbers go there at once: each copy waits for the device
            indices = torch.cat(list(indices)).to(self.tensor.device).split(list(map(len, indices)))
        if self._signed is not None:
            return map(torch.Tensor.view, map(self._signed.index_select, repeat(0), indices), repeat(self.dtype))
        return map(self.tensor.index_select, repeat(0), indices)

    def part(self, start: int, stop: int) -> "Column":
        """Return the rows from `start` to `stop`, sharing memory."""
        return Column(self.tensor[start:stop])

    def unsqueezed(self) -> "Column":
        """Return the rows with an axis of size 1 at the end."""
        return Column(self.tensor.unsqueeze(-1))

    def squeezed(self) -> "Column":
        """Return the rows without their last axis, which is of size 1."""
        return Column(self.tensor.squeeze(-1))


class ReadColumn(Column):
    """Rows that are read from what holds them, batch by batch: an HDF5 data set, a data frame, a sparse matrix.

    `read` returns an array for a slice, or for an increasing array of row numbers.

    >>> ReadColumn(lambda rows: np.ones((5, 2))[rows], (5, 2)).take(torch.tensor([3, 1])).shape
    torch.Size([2, 2])
    """

    def __init__(
        self, read: Callable[[Any], Any], shape: tuple[int, ...], start: int = 0, wide: bool = False, dtype: torch.dtype | None = None
    ):
        self._read, self._start, self._wide = read, start, wide
        self._inner = tuple(int(size) for size in shape)
        self.shape = (*self._inner, 1) if wide else self._inner
        self.dtype = dtype or from_numpy(np.asarray(read(slice(0, 1)))).dtype

    @property
    def device(self) -> torch.device:
        """The rows arrive on the CPU."""
        return torch.device("cpu")

    def take(self, index: Index) -> torch.Tensor:
        """Read some rows, in increasing order, and put them into the order that was asked for."""
        if isinstance(index, slice):
            start, stop, _ = index.indices(self.shape[0])
            return self._tensor(self._read(slice(self._start + start, self._start + stop)))
        increasing, order = torch.sort(index)
        rows = self._tensor(self._read(increasing.numpy() + self._start))
        return rows[torch.argsort(order)]

    def part(self, start: int, stop: int) -> "Column":
        """Return the rows from `start` to `stop`."""
        return ReadColumn(self._read, (stop - start, *self._inner[1:]), self._start + start, self._wide, self.dtype)

    def unsqueezed(self) -> "Column":
        """Return the rows with an axis of size 1 at the end."""
        return ReadColumn(self._read, self._inner, self._start, wide=True, dtype=self.dtype)

    def squeezed(self) -> "Column":
        """Return the rows without their last axis, which is of size 1."""
        read, shape = self._read, self._inner[:-1]
        return ReadColumn(lambda rows: np.asarray(read(rows)).reshape(-1, *shape[1:]), shape, self._start, dtype=self.dtype)

    def _tensor(self, rows: Any) -> torch.Tensor:
        tensor = from_numpy(np.asarray(rows))
        return tensor.unsqueeze(-1) if self._wide else tensor


class Whole(Column):
    """What is one batch as it is, and is never cut into rows: see `is_whole`.

    >>> Whole(nn.utils.rnn.pack_sequence([torch.ones(2)]), "x").on(torch.device("cpu"), torch.float32).data
    tensor([1., 1.])
    """

    def __init__(self, value: Any, what: str):
        self.value, self.what = value, what
        self.shape, self.dtype = (), torch.float32  # which say nothing of it

    def __len__(self) -> int:
        """Refuse: what needs a number of rows cannot work with it. Raises `TypeError` that says what to do."""
        dense = " (or make it dense, .to_dense(), if that fits into memory)" if isinstance(self.value, torch.Tensor) else ""
        raise TypeError(
            f"{self.what} is a {_kind_of(self.value)}, which cannot be cut into batches. "
            f"Give it batch by batch: pass a DataLoader or a generator of (x, y){dense}."
        )

    def on(self, device: torch.device, floats: torch.dtype) -> Any:
        """Return it on a device, where it is a tensor with its floats of this type."""
        value = self.value
        return value.to(device, floats) if isinstance(value, torch.Tensor) and value.is_floating_point() else value.to(device)

    def part(self, start: int, stop: int) -> "Column":
        """Return the same: there are no parts."""
        return self


def is_whole(value: Any) -> bool:
    """Return whether this has no rows to be cut into, but a method `to`, which moves it: a `PackedSequence`, a sparse or nested tensor,
    or an object of a user's own such as a batch of graphs.

    >>> is_whole(torch.ones(2)), is_whole(torch.ones(2).to_sparse())
    (False, True)
    """
    if isinstance(value, torch.Tensor):
        return value.layout is not torch.strided or value.is_nested
    if isinstance(value, (np.ndarray, Mapping, nn.Module, type)) or hasattr(value, "shape") or hasattr(value, "__array__"):
        return False
    return callable(getattr(value, "to", None))


def _kind_of(value: Any) -> str:
    layout = "nested" if getattr(value, "is_nested", False) else str(getattr(value, "layout", ""))
    return f"tensor of the layout {layout}" if isinstance(value, torch.Tensor) else type(value).__name__


def column(data: Any, what: str) -> Column:
    """Return anything that has rows of numbers as a column. Raises `ValueError`, named by `what`, for anything else.

    Taken are tensors, numpy arrays and memory maps, nested lists of numbers, pandas data frames and series, SciPy
    sparse matrices, and objects with `shape` and slicing, such as HDF5 data sets.

    >>> column([[1, 2], [3, 4]], "x").shape
    (2, 2)
    """
    if isinstance(data, Column):
        return data
    if is_whole(data):
        dense = ": .to_dense() or, if it is nested, .to_padded_tensor(0.0)" if isinstance(data, torch.Tensor) else ""
        raise TypeError(f"{what} is a {_kind_of(data)}, but rows of numbers are expected, as in a dense tensor{dense}.")
    if isinstance(data, torch.Tensor):
        return _not_scalar(Column(_to_train_on(data)), what)
    if hasattr(data, "iloc") and hasattr(data, "to_numpy"):
        dtype = _frame_dtype(data)
        _check_numbers(data.iloc[:1].to_numpy(dtype=dtype), data, what)
        return ReadColumn(lambda rows: data.iloc[rows].to_numpy(dtype=dtype), data.shape)
    if hasattr(data, "tocsr") and hasattr(data, "nnz"):
        matrix = data.tocsr()
        return ReadColumn(lambda rows: matrix[rows].toarray(), matrix.shape)
    if hasattr(data, "shape") and hasattr(data, "__getitem__") and not isinstance(data, (np.ndarray, np.generic)):
        if not data.shape:
            raise ValueError(f"{what} is a single number. Expected an array with the samples along its first axis.")
        first = np.asarray(data[:1])
        _check_numbers(first, data, what)
        return ReadColumn(_reader(data), tuple(data.shape), dtype=from_numpy(first).dtype)
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ValueError(f"{what} is not an array: its parts have different shapes. Got a {type(data).__name__}.") from error
    _check_numbers(array, data, what)
    if not isinstance(data, np.ndarray) and array.dtype == np.float64:
        array = array.astype(np.float32)
    if array.ndim and not is_readable(array):
        return ReadColumn(lambda rows: array[rows], array.shape)
    return _not_scalar(Column(from_numpy(array)), what)


def _to_train_on(data: torch.Tensor) -> torch.Tensor:
    """Return the tensor without its history, sharing its memory; one out of `torch.inference_mode()` is no more of its kind."""
    if data.is_inference() and data.layout == torch.strided:
        return torch.from_dlpack(data.detach())
    return data.detach() if data.requires_grad else data


def _not_scalar(rows: Column, what: str) -> Column:
    if not rows.shape:
        raise ValueError(f"{what} is a single number. Expected an array with the samples along its first axis.")
    return rows


def _check_numbers(array: np.ndarray, data: Any, what: str) -> None:
    if array.dtype.kind not in "fiub" and not (array.dtype.kind == "c" and isinstance(data, np.ndarray)):  # as tensors may be
        raise ValueError(f"{what} is not an array of numbers: got a {type(data).__name__} with dtype {array.dtype}.{_culprit(array, data)}")


def _culprit(array: np.ndarray, data: Any) -> str:
    """What of the data is no number, and what to do about it, for an error message; nothing where it cannot be told."""
    dtypes = zip(data.columns, data.dtypes, strict=True) if hasattr(data, "columns") else ()
    columns = [name for name, dtype in dtypes if getattr(dtype, "kind", "O") not in "fiub"]
    where = f" No numbers are in the columns {columns}." if columns else ""
    text = f"{where} Give texts numbers first, as np.unique(values, return_inverse=True) does."
    if array.dtype.kind != "O":
        return text if array.dtype.kind in "US" else where
    odd = next((value for value in array.flat if not isinstance(value, Number)), 0)
    if isinstance(odd, str):
        return text
    if odd is None:
        return f"{where} It holds None: fill in what is missing first."
    if isinstance(odd, (np.ndarray, torch.Tensor, list, tuple)):
        return f"{where} It holds arrays: if they are alike, make it one array first, as np.stack(list(values)) does."
    return f"{where} Convert it first: .astype('float32')." if isinstance(odd, Number) else f"{where} It holds {odd!r:.60}."


def _frame_dtype(data: Any) -> Any:
    """The dtype that holds the numbers of a data frame, where pandas would make objects of them; `None` where it would not, or has none.

    It would for columns of several kinds, and for those that may have missing values.
    """
    dtypes = list(getattr(data, "dtypes", [])) if len(data.shape) == 2 else []
    if any(getattr(dtype, "kind", "O") not in "fiub" for dtype in dtypes):
        return None
    plain = {np.dtype(getattr(dtype, "numpy_dtype", getattr(dtype, "subtype", dtype))) for dtype in dtypes}
    return np.result_type(*plain) if plain and (len(plain) > 1 or not isinstance(dtypes[0], np.dtype)) else None


def _reader(data: Any) -> Callable[[Any], Any]:
    """Return the function that reads rows of an object with slicing; rows it cannot pick are sliced out one by one."""

    def read(rows: Any) -> Any:
        if isinstance(rows, slice):
            return data[rows]
        try:
            return data[rows]
        except (TypeError, ValueError, IndexError, NotImplementedError):
            return np.concatenate([np.asarray(data[row : row + 1]) for row in rows.tolist()])

    return read


def is_array(data: Any) -> bool:
    """Return whether this is one array: it has a shape or can be read as one, or it is nested lists of numbers.

    >>> is_array([1, 2]), is_array([np.ones(2), np.ones(3)])
    (True, False)
    """
    if isinstance(data, torch.Tensor) or hasattr(data, "shape") or hasattr(data, "__array__"):
        return True
    while isinstance(data, (list, tuple)) and data:
        if any(hasattr(part, "shape") and len(part.shape) > 0 for part in data):
            return False
        data = data[0]
    return isinstance(data, (int, float, bool, np.number)) or hasattr(data, "shape")
