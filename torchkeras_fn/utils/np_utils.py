"""Small conversions of arrays, under the name that Keras 2 programs import."""

from typing import Any

import numpy as np

from torchkeras_fn.arguments import positive_integer


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """Return class indices of shape `(...)` (or `(..., 1)`) as one-hot float32 rows `(..., num_classes)`.

    `num_classes` is one more than the largest index unless given. Raises `ValueError` for an index that is no whole number, below 0 or
    not below `num_classes`, and for text.

    >>> to_categorical([0, 2])
    array([[1., 0., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    given = np.asarray(x)
    if given.dtype.kind == "O":
        given = np.asarray(given.tolist())
    if given.dtype.kind not in "biuf":
        raise ValueError(
            f"Class indices must be whole numbers, got an array with dtype {given.dtype}. "
            "Give texts numbers first, as np.unique(values, return_inverse=True) does."
        )
    is_whole = np.isfinite(given) & (np.trunc(given) == given)
    if not is_whole.all():
        raise ValueError(f"Class indices must be whole numbers, got {given[~is_whole].flat[0]}.")
    indices = given.astype("int64")
    if indices.ndim > 1 and indices.shape[-1] == 1:
        indices = indices[..., 0]
    count = positive_integer(num_classes, "num_classes") if num_classes else int(indices.max(initial=-1)) + 1
    if indices.size and not 0 <= indices.min() <= indices.max() < count:
        raise ValueError(f"Class indices must lie between 0 and {count - 1}, got {indices.min()} to {indices.max()}.")
    rows = np.zeros((*indices.shape, count), dtype="float32")
    np.put_along_axis(rows, indices[..., None], 1.0, axis=-1)
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
