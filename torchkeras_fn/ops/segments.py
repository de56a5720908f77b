"""Rows that belong together by their ids, each such segment made one row. Rows whose id is no segment's are left out."""

import math
from typing import Any

import torch

from torchkeras_fn.engine.symbolic import is_symbolic
from torchkeras_fn.ops.conversion import as_tensor
from torchkeras_fn.ops.indexing import reduced_into


def segment_sum(data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False) -> Any:
    """Return the sums of the rows that have the same id, in the place of that id; 0 where there are none.

    Without `num_segments` there are as many as the largest id says. `sorted` is only taken.

    >>> segment_sum([1.0, 2.0, 3.0], [0, 1, 1], 2)
    tensor([1., 5.])
    """
    data = as_tensor(data)
    return _segments(data, segment_ids, num_segments, "sum", 0)


def segment_prod(data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False) -> Any:
    """Return the products of the rows that have the same id, as `segment_sum` the sums; 1 where there are none.

    >>> segment_prod([1.0, 2.0, 3.0], [0, 1, 1], 2)
    tensor([1., 6.])
    """
    data = as_tensor(data)
    return _segments(data, segment_ids, num_segments, "prod", 1)


def segment_max(data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False) -> Any:
    """Return the largest of the rows that have the same id, as `segment_sum` the sums; the least there is where there are none.

    >>> segment_max([1.0, 2.0, 3.0], [0, 1, 1], 3)
    tensor([1., 3., -inf])
    """
    data = as_tensor(data)
    least = -math.inf if data.dtype.is_floating_point else torch.iinfo(data.dtype).min
    return _segments(data, segment_ids, num_segments, "amax", least)


def segment_min(data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False) -> Any:
    """Return the smallest of the rows that have the same id, as `segment_sum` the sums; the most there is where there are none.

    >>> segment_min([1.0, 2.0, 3.0], [0, 1, 1], 3)
    tensor([1., 2., inf])
    """
    data = as_tensor(data)
    most = math.inf if data.dtype.is_floating_point else torch.iinfo(data.dtype).max
    return _segments(data, segment_ids, num_segments, "amin", most)


def _segments(data: Any, segment_ids: Any, num_segments: int | None, reduction: str, empty: float) -> Any:
    ids = as_tensor(segment_ids, "int64", like=data)
    if num_segments is None:
        if is_symbolic(ids):
            raise ValueError("'num_segments' must be given where the ids are symbolic, as the shape of the result depends on them.")
        num_segments = int(ids.max()) + 1 if ids.numel() else 0
    rows = torch.where((ids < 0) | (ids >= num_segments), num_segments, ids)  # one more row takes what is left out
    start = data.new_full((num_segments + 1, *(data.size(axis) for axis in range(1, data.ndim))), empty)
    return reduced_into(start, rows, data, reduction)[:num_segments]
