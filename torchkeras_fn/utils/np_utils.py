"""Small conversions of arrays, under the name that Keras 2 programs import."""

from typing import Any

import numpy as np


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """Return class indices of shape `(...)` (or `(..., 1)`) as one-hot float32 rows `(..., num_classes)`.

    Raises `ValueError` for an index that is no whole number, below 0 or not below `num_classes`.

    >>> to_categorical([0, 2])
    array([[1., 0., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    given = np.asarray(x)
    indices = given.astype("int64")
    if (indices != given).any():
        raise ValueError(f"Class indices must be whole numbers, got {given[indices != given][0]}.")
    if indices.ndim > 1 and indices.shape[-1] == 1:
        indices = indices[..., 0]
    count = num_classes or (int(indices.max()) + 1 if indices.size else 0)
    if indices.size and not 0 <= indices.min() <= indices.max() < count:
        raise ValueError(f"Class indices must lie between 0 and {count - 1}, got {indices.min()} to {indices.max()}.")
    rows: np.ndarray = np.eye(count, dtype="float32")[indices]
    return rows


def normalize(x: Any, axis: int = -1, order: float = 2) -> np.ndarray:
    """Return an array divided by its norm along an axis; what is all 0 stays so.

    `order` is numpy's: 2 for the length, 1 for the sum of absolute values.

    >>> normalize([[3.0, 4.0], [0.0, 0.0]])
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    x = np.asarray(x)
    norms = np.linalg.norm(np.atleast_1d(x), order, axis, keepdims=True)
    scaled: np.ndarray = x / np.where(norms == 0, 1, norms)
    return scaled
