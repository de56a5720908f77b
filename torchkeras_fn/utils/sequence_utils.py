"""Sequences of different lengths as one array."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from torchkeras_fn.arguments import one_of, positive_integer


def pad_sequences(
    sequences: Sequence[Sequence[Any]],
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> np.ndarray:
    """Return sequences of steps as one array `(count, maxlen, ...)`, of `dtype`: short ones are filled up with `value`, long ones cut.

    `maxlen` is the longest length unless given. `padding` and `truncating` say at which end: `'pre'`, the front, or `'post'`.
    Raises `ValueError` for other words or another `maxlen`, for what is no sequence, for steps of different shapes, and for text
    where `dtype` is of numbers.

    >>> pad_sequences([[1], [2, 3], [4, 5, 6]], maxlen=2)
    array([[0, 1],
           [2, 3],
           [5, 6]], dtype=int32)
    """
    one_of(padding, "padding", "pre", "post")
    one_of(truncating, "truncating", "pre", "post")
    if not hasattr(sequences, "__len__") or not all(hasattr(each, "__len__") for each in sequences):
        raise ValueError(f"Expected a list of sequences, got {sequences!r}.")
    is_text = np.issubdtype(dtype, np.str_) or np.issubdtype(dtype, np.object_)
    if isinstance(value, str) and not is_text:
        raise ValueError(f"The value {value!r} does not fit the dtype {dtype!r}. Set dtype=object for sequences of text.")
    longest = max((len(each) for each in sequences), default=0)
    length = longest if maxlen is None else positive_integer(maxlen, "maxlen", minimum=0)
    first = next((np.asarray(each) for each in sequences if len(each)), np.empty(0))
    if first.dtype.kind in "US" and not is_text:
        raise ValueError(
            f"The sequences hold text, such as {str(first.flat[0])!r}, which does not fit the dtype {dtype!r}. "
            "Make indices of the words first, or set dtype=object and a text as the value."
        )
    step = first.shape[1:]
    padded = np.full((len(sequences), length, *step), value, dtype=dtype)
    for row, each in enumerate(sequences):
        kept = np.asarray(each[-length:] if truncating == "pre" else each[:length], dtype=dtype) if length and len(each) else None
        if kept is None:
            continue
        if kept.shape[1:] != step:
            raise ValueError(f"The steps of sequence {row} have the shape {kept.shape[1:]}, those before it have {step}.")
        place = slice(length - len(kept), length) if padding == "pre" else slice(len(kept))
        padded[row, place] = kept
    return padded
