"""Elements by their places: taking them, putting others there, sorting them."""

import builtins
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from torchkeras_fn import config
from torchkeras_fn.arguments import one_of
from torchkeras_fn.ops.conversion import as_floats, as_tensor, is_size, sizes_of
from torchkeras_fn.ops.shaping import moveaxis


def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """Return the elements of `x` at the indices along an axis; of the flat tensor without one. Negative ones count from the end.

    >>> take([10.0, 20.0, 30.0], [[0, -1]])
    tensor([[10., 30.]])
    """
    x = as_tensor(x)
    x, axis = (torch.flatten(x), 0) if axis is None else (x, axis)
    if isinstance(indices, int):
        return torch.select(x, axis, indices)
    indices = as_tensor(indices, "int64", like=x if isinstance(x, torch.Tensor) else None)
    return x[(builtins.slice(None),) * (axis % x.ndim) + (indices,)]


def take_along_axis(x: Any, indices: Any, axis: int | None = None) -> Any:
    """Return the elements of `x` at indices that are its own at every place of the other axes, as `argsort` returns them.

    >>> take_along_axis([[3.0, 1.0]], [[1, 0]], axis=1)
    tensor([[1., 3.]])
    """
    x = as_tensor(x)
    indices = as_tensor(indices, "int64", like=x if isinstance(x, torch.Tensor) else None)
    x, indices, axis = (torch.flatten(x), torch.flatten(indices), 0) if axis is None else (x, indices, axis)
    length = x.shape[axis] if x.shape[axis] is not None else x.size(axis)
    return torch.take_along_dim(x, torch.where(indices < 0, indices + length, indices), axis)


def get_item(x: Any, key: Any) -> Any:
    """Return `x[key]`.

    >>> get_item([1.0, 2.0], 1)
    tensor(2.)
    """
    return as_tensor(x)[key]


def slice(inputs: Any, start_indices: Sequence[Any], shape: Sequence[Any]) -> Any:
    """Return the block of a shape that begins at the indices; a size of -1 means up to the end.

    >>> slice([[1.0, 2.0], [3.0, 4.0]], (0, 1), (2, -1))
    tensor([[2.],
            [4.]])
    """
    corners = zip(sizes_of(start_indices), sizes_of(shape), strict=True)
    ends = [(start, None if not is_size(size) and size == -1 else start + size) for start, size in corners]
    return as_tensor(inputs)[tuple(builtins.slice(*pair) for pair in ends)]


def slice_update(inputs: Any, start_indices: Sequence[Any], updates: Any) -> Any:
    """Return `inputs` with a block, which begins at the indices, replaced.

    >>> slice_update(torch.zeros(3), [1], [5.0])
    tensor([0., 5., 0.])
    """
    inputs = as_tensor(inputs)
    updates = as_tensor(updates, inputs.dtype, like=inputs)
    return _scattered(inputs, updates, sizes_of(start_indices), 0)


def _scattered(inputs: Any, updates: Any, starts: Sequence[Any], axis: int) -> Any:
    """Put the block in along the last axis, and that along the axis before it, up to the first."""
    start = starts[axis]
    length = updates.shape[axis] if updates.shape[axis] is not None else updates.size(axis)
    if axis + 1 < inputs.ndim:
        updates = _scattered(torch.narrow(inputs, axis, start, length), updates, starts, axis + 1)
    return torch.slice_scatter(inputs, updates, axis, start, start + length)


def scatter(indices: Any, values: Any, shape: Any) -> Any:
    """Return zeros of a shape with values added at indices `(count, axes)`.

    >>> scatter([[1], [1]], [2.0, 3.0], (3,))
    tensor([0., 5., 0.])
    """
    values = as_tensor(values)
    indices = as_tensor(indices, "int64", like=values)
    zeros = values.new_zeros(sizes_of(shape))
    return torch.index_put(zeros, tuple(torch.unbind(indices, -1)), values, accumulate=True)


def scatter_update(inputs: Any, indices: Any, updates: Any, reduction: str | None = None) -> Any:
    """Return `inputs` with the elements at indices `(count, axes)` replaced; or with a `reduction`, changed by the updates.

    `reduction` is `'add'`, `'max'`, `'min'` or `'mul'`. Raises `ValueError` for another one.

    >>> scatter_update(torch.zeros(3), [[1]], [2.0])
    tensor([0., 2., 0.])
    >>> scatter_update(torch.ones(3), [[1], [1]], [2.0, 5.0], reduction="add")
    tensor([1., 8., 1.])
    """
    inputs = as_tensor(inputs)
    indices = as_tensor(indices, "int64", like=inputs)
    updates = as_tensor(updates, inputs.dtype, like=inputs)
    kind = "none" if reduction is None else one_of(reduction, "reduction", "add", *_REDUCTIONS)
    if kind not in _REDUCTIONS:
        return torch.index_put(inputs, tuple(torch.unbind(indices, -1)), updates, accumulate=kind == "add")
    rows, sizes = torch.zeros_like(indices[:, 0]), [inputs.size(axis) for axis in range(inputs.ndim)]
    count = indices.shape[1]
    for axis, size in enumerate(sizes[:count]):  # the place of an element among all there are along these axes
        rows = rows * size + torch.remainder(indices[:, axis], size)
    changed = reduced_into(torch.reshape(inputs, (-1, *sizes[count:])), rows, updates, _REDUCTIONS[kind])
    return torch.reshape(changed, sizes)


_REDUCTIONS = {"max": "amax", "min": "amin", "mul": "prod"}
"""What torch calls the reductions."""


def reduced_into(x: Any, rows: Any, updates: Any, reduction: str) -> Any:
    """Return `x` with each row and the updates for it, `rows` says which they are, made one by a reduction of torch.

    >>> reduced_into(torch.zeros(2), torch.tensor([1, 1]), torch.tensor([2.0, 3.0]), "sum")
    tensor([0., 5.])
    """
    places = torch.broadcast_to(torch.reshape(rows, (-1, *[1] * (x.ndim - 1))), [updates.size(axis) for axis in range(updates.ndim)])
    return torch.scatter_reduce(x, 0, places, updates, reduction)


# ---------------------------------------------------------------------- in order


def sort(x: Any, axis: int | None = -1) -> Any:
    """Return `x` with the elements along an axis in ascending order; those of the flat tensor with `None`.

    >>> sort([2.0, 1.0])
    tensor([1., 2.])
    """
    x = as_tensor(x)
    return torch.sort(torch.flatten(x) if axis is None else x, dim=-1 if axis is None else axis)[0]


def argsort(x: Any, axis: int | None = -1) -> Any:
    """Return the indices that would sort the elements along an axis; those of the flat tensor with `None`.

    >>> argsort([2.0, 1.0])
    tensor([1, 0])
    """
    x = as_tensor(x)
    return torch.argsort(torch.flatten(x), stable=True) if axis is None else torch.argsort(x, dim=axis, stable=True)


def argpartition(x: Any, kth: int, axis: int | None = -1) -> Any:
    """Return indices that put the `kth` smallest element along an axis in its place, no larger ones before and no smaller ones after it.

    >>> argpartition([2.0, 3.0, 1.0], 0)[0]
    tensor(2)
    """
    return argsort(x, axis)


def top_k(x: Any, k: int, sorted: bool = True) -> Any:
    """Return the `k` largest elements along the last axis, and their indices.

    >>> top_k([1.0, 3.0, 2.0], 2)[1]
    tensor([1, 2])
    """
    return torch.topk(as_tensor(x), k, sorted=sorted)


def in_top_k(targets: Any, predictions: Any, k: int) -> Any:
    """Return for each row of predictions whether the target class is among the `k` highest.

    >>> in_top_k([2, 0], [[0.1, 0.2, 0.7], [0.1, 0.2, 0.7]], 2)
    tensor([ True, False])
    """
    predictions = as_tensor(predictions)
    own = torch.take_along_dim(predictions, torch.unsqueeze(as_tensor(targets, "int64", like=predictions), -1), -1)
    return torch.sum(predictions > own, -1) < k


def searchsorted(sorted_sequence: Any, values: Any, side: str = "left") -> Any:
    """Return where each value would have to be put in to keep the sequence sorted.

    >>> searchsorted([1.0, 2.0, 3.0], [2.5])
    tensor([2])
    """
    sorted_sequence = as_tensor(sorted_sequence)
    return torch.searchsorted(sorted_sequence, as_tensor(values, like=sorted_sequence), side=side)


def digitize(x: Any, bins: Any) -> Any:
    """Return the number of the bin each element falls in: how many of the ascending `bins` do not exceed it.

    >>> digitize([0.5, 1.0, 9.0], [1.0, 2.0])
    tensor([0, 1, 2])
    """
    x = as_tensor(x)
    return torch.bucketize(x, as_tensor(bins, like=x), right=True)


def histogram(x: Any, bins: int = 10, range: Sequence[float] | None = None) -> tuple[Any, Any]:
    """Return how many elements fall in each of so many bins of equal width, and the bounds of the bins.

    `range` has the first and the last bound, and is that of the elements unless given.

    >>> histogram([1.0, 2.0, 2.0, 3.0], bins=2)
    (tensor([1., 3.]), tensor([1., 2., 3.]))
    """
    x = torch.flatten(as_floats(x))
    counts, bounds = torch.histogram(x.cpu(), bins, range=None if range is None else tuple(map(float, range)))
    return counts.to(x.device), bounds.to(x.device)


def unique(
    x: Any,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """Return each element once, in ascending order; along an `axis` each part once.

    If asked for, a tuple of it and: where each comes first, which of them each of `x` is, how often each comes. With `size` there
    are so many, cut off, or filled with `fill_value` (0 unless given).

    >>> unique([3, 1, 3])
    tensor([1, 3])
    >>> unique([3, 1, 3], return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    x = as_tensor(x)
    dim = 0 if axis is None else axis
    values, inverse, counts = torch.unique(x, sorted, return_inverse=True, return_counts=True, dim=axis)
    places = torch.arange(inverse.numel(), device=x.device)
    firsts = torch.full_like(counts, inverse.numel()).scatter_reduce(0, torch.flatten(inverse), places, "amin")
    if size is not None:
        missing = max(size - counts.numel(), 0)
        padding = [0, 0] * (values.ndim - 1 - dim % values.ndim) + [0, missing]
        values = F.pad(values.narrow(dim, 0, min(size, counts.numel())), padding, value=fill_value or 0)
        firsts, counts = (F.pad(part[:size], [0, missing]) for part in (firsts, counts))
    found = [part for part, wanted in ((firsts, return_index), (inverse, return_inverse), (counts, return_counts)) if wanted]
    return (values, *found) if found else values


def nonzero(x: Any) -> Any:
    """Return the indices at which `x` is not 0, a row for each axis.

    >>> nonzero([0, 5])
    tensor([[1]])
    """
    return torch.transpose(torch.nonzero(as_tensor(x)), 0, 1)


def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Any:
    """Return how often each of the numbers from 0 occurs, or the sum of the weights there; of a matrix, row by row.

    >>> bincount([0, 2, 2])
    tensor([1, 0, 2])
    """
    x = as_tensor(x, "int64")
    weights = None if weights is None else as_tensor(weights, like=x)
    if x.ndim < 2:
        return torch.bincount(x, weights, minlength)
    length = max(minlength, int(x.max()) + 1 if x.numel() else 0)
    return torch.stack([torch.bincount(row, None if weights is None else weights[index], length) for index, row in enumerate(x)])


def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> Any:
    """Return a row for each class index, with a one there and zeros elsewhere; all zeros for an index that is no class.

    >>> one_hot([0, 2, -1], 3)
    tensor([[1., 0., 0.],
            [0., 0., 1.],
            [0., 0., 0.]])
    """
    x = as_tensor(x)
    # Compared with all classes, where torch's `one_hot` would look at the values, and wait for the device, to check them.
    classes = torch.arange(num_classes, device=x.device if isinstance(x, torch.Tensor) else None)
    rows = (torch.unsqueeze(x, -1) == classes).to(config.dtype(dtype))
    return rows if axis in (-1, x.ndim) else moveaxis(rows, -1, axis)


def multi_hot(inputs: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> Any:
    """Return a row for each sample, with a one at each of its class indices.

    >>> multi_hot([[0, 2]], 3)
    tensor([[1., 0., 1.]])
    """
    inputs = as_tensor(inputs)
    return torch.amax(one_hot(inputs, num_classes, axis, dtype), 1 if inputs.ndim > 1 else 0)
