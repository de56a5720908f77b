"""Numpy arrays as tensors, also those that torch refuses: backwards, in another byte order, only to be read, or of bfloat16."""

import functools
import math
import warnings
from typing import Any

import numpy as np
import torch


def is_readable(array: np.ndarray) -> bool:
    """Return whether torch can read an array as it lies there: forwards, in steps of whole numbers, which fields of records are not.

    >>> is_readable(np.ones(2)), is_readable(np.ones(2)[::-1])
    (True, False)
    """
    size = array.dtype.itemsize
    return min(array.strides, default=0) >= 0 and math.gcd(size, *array.strides) == size and _is_known(array.dtype)


@functools.lru_cache(maxsize=64)
def _is_known(dtype: np.dtype) -> bool:
    """Whether torch has a dtype of numpy's."""
    if not dtype.isnative:
        return False
    try:
        torch.from_numpy(np.empty(0, dtype))
    except TypeError:
        return False
    return True


def from_numpy(array: np.ndarray) -> torch.Tensor:
    """Return a numpy array as a tensor: sharing its memory, unless torch cannot read it as it lies there.

    >>> from_numpy(np.ones(2)[::-1]).shape
    torch.Size([2])
    """
    if array.dtype.name == "bfloat16":  # which ml_dtypes lends to numpy
        return from_numpy(array.view(np.int16)).view(torch.bfloat16)
    if not is_readable(array):
        array = array.astype(np.float32 if array.dtype.itemsize > 8 else array.dtype.newbyteorder("="), order="C", copy=True)
    if array.flags.writeable:
        return torch.from_numpy(array)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def taken(value: Any) -> Any:
    """Return a numpy array as a tensor, and anything else as it is.

    >>> taken(np.ones(1)[::-1]), taken([1.0])
    (tensor([1.], dtype=torch.float64), [1.0])
    """
    return from_numpy(value) if isinstance(value, np.ndarray) else value
