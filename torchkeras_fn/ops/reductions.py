"""Sums, means, extremes and the like, over one axis, several, or (`axis=None`) all; with `keepdims` the axes stay, of size 1."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from torchkeras_fn.ops.conversion import as_floats, as_tensor, axes_of

Axis = int | Sequence[int] | None


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the sum.

    >>> sum([[1.0, 2.0], [3.0, 4.0]], axis=0)
    tensor([4., 6.])
    """
    return torch.sum(as_tensor(x), dim=axes_of(axis), keepdim=keepdims)


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the mean, as floats: of booleans it is the share of those that are true.

    >>> mean([True, False])
    tensor(0.5000)
    """
    return torch.mean(as_floats(x), dim=axes_of(axis), keepdim=keepdims)


def var(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the mean squared distance from the mean.

    >>> var([1.0, 3.0])
    tensor(1.)
    """
    return torch.var(as_floats(x), dim=axes_of(axis), correction=0, keepdim=keepdims)


def std(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the square root of `var(x)`.

    >>> std([1.0, 3.0])
    tensor(1.)
    """
    return torch.std(as_floats(x), dim=axes_of(axis), correction=0, keepdim=keepdims)


def max(x: Any, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Any:
    """Return the largest element, or `initial` where that is larger.

    >>> max([[1.0, 2.0], [3.0, 0.0]], axis=-1)
    tensor([2., 3.])
    """
    found = torch.amax(as_tensor(x), dim=() if axis is None else axes_of(axis), keepdim=keepdims)
    return found if initial is None else torch.clamp(found, min=initial)


def min(x: Any, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Any:
    """Return the smallest element, or `initial` where that is smaller.

    >>> min([[1.0, 2.0], [3.0, 0.0]], axis=-1)
    tensor([1., 0.])
    """
    found = torch.amin(as_tensor(x), dim=() if axis is None else axes_of(axis), keepdim=keepdims)
    return found if initial is None else torch.clamp(found, max=initial)


amax, amin = max, min


def prod(x: Any, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """Return the product.

    >>> prod([[1.0, 2.0], [3.0, 4.0]], axis=1)
    tensor([ 2., 12.])
    """
    x = as_tensor(x, dtype)
    axes = range(x.ndim) if axis is None else [one % x.ndim for one in (axis if isinstance(axis, Sequence) else [axis])]
    for one in sorted(axes, reverse=True):
        x = torch.prod(x, dim=one, keepdim=keepdims)
    return x


def any(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return whether any element is true, or not 0.

    >>> any([[0, 1], [0, 0]], axis=1)
    tensor([ True, False])
    """
    return torch.any(as_tensor(x).to(torch.bool), dim=axes_of(axis), keepdim=keepdims)


def all(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return whether all elements are true, or not 0.

    >>> all([[0, 1], [1, 1]], axis=1)
    tensor([False,  True])
    """
    return torch.all(as_tensor(x).to(torch.bool), dim=axes_of(axis), keepdim=keepdims)


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Return the index of the largest element; that in the flat tensor without an `axis`.

    >>> argmax([[1.0, 2.0], [3.0, 0.0]], axis=-1)
    tensor([1, 0])
    """
    return torch.argmax(as_tensor(x), dim=axis, keepdim=keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Return the index of the smallest element; that in the flat tensor without an `axis`.

    >>> argmin([[1.0, 2.0], [3.0, 0.0]], axis=-1)
    tensor([0, 1])
    """
    return torch.argmin(as_tensor(x), dim=axis, keepdim=keepdims)


def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the logarithm of the sum of exponentials, also where those would overflow.

    >>> logsumexp([1000.0, 1000.0])
    tensor(1000.6932)
    """
    x = as_floats(x)
    return torch.logsumexp(x, dim=tuple(range(x.ndim)) if axis is None else axes_of(axis), keepdim=keepdims)


def count_nonzero(x: Any, axis: Axis = None) -> Any:
    """Return how many elements are not 0.

    >>> count_nonzero([0, 2, 3])
    tensor(2)
    """
    return torch.count_nonzero(as_tensor(x), dim=axes_of(axis))


def average(x: Any, axis: Axis = None, weights: Any = None) -> Any:
    """Return the mean; with `weights` of the shape of `x`, or of that of the one `axis`, the weighted mean.

    >>> average([1.0, 4.0], weights=[2.0, 1.0])
    tensor(2.)
    """
    if weights is None:
        return mean(x, axis)
    x = as_floats(x)
    weights = as_tensor(weights, x.dtype, like=x)
    if weights.ndim != x.ndim and isinstance(axis, int):
        weights = torch.reshape(weights, [-1 if one == axis % x.ndim else 1 for one in range(x.ndim)])
    return sum(x * weights, axis) / sum(torch.ones_like(x) * weights, axis)


def median(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the element in the middle, or the mean of the two in the middle.

    >>> median([1.0, 5.0, 2.0, 4.0])
    tensor(3.)
    """
    return quantile(x, 0.5, axis, keepdims=keepdims)


def quantile(x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False) -> Any:
    """Return the values below which the shares `q` of the elements lie.

    >>> quantile([1.0, 2.0, 3.0], 0.25)
    tensor(1.5000)
    """
    x = as_floats(x)
    q = as_tensor(q, x.dtype, like=x)
    if not isinstance(axis, Sequence):
        return torch.quantile(x, q, axis, keepdim=keepdims, interpolation=method)
    axes = sorted(one % x.ndim for one in axis)
    found = torch.quantile(torch.movedim(x, axes, list(range(-len(axes), 0))).flatten(-len(axes)), q, -1, interpolation=method)
    for one in axes if keepdims else []:
        found = torch.unsqueeze(found, one + q.ndim)
    return found


def ptp(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the largest element minus the smallest.

    >>> ptp([1.0, 5.0, 2.0])
    tensor(4.)
    """
    return max(x, axis, keepdims) - min(x, axis, keepdims)


def nansum(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the sum of what is a number.

    >>> nansum([1.0, float("nan")])
    tensor(1.)
    """
    return torch.nansum(as_tensor(x), dim=axes_of(axis), keepdim=keepdims)


def nanmean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the mean of what is a number.

    >>> nanmean([1.0, float("nan")])
    tensor(1.)
    """
    return torch.nanmean(as_floats(x), dim=axes_of(axis), keepdim=keepdims)


def moments(x: Any, axes: Axis, keepdims: bool = False) -> tuple[Any, Any]:
    """Return the mean and the variance.

    >>> moments([1.0, 3.0], axes=0)
    (tensor(2.), tensor(1.))
    """
    return mean(x, axes, keepdims), var(x, axes, keepdims)


def cumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """Return the sums of the elements up to each; of the flat tensor without an `axis`.

    >>> cumsum([1.0, 2.0, 3.0])
    tensor([1., 3., 6.])
    """
    return _cumulative(torch.cumsum, x, axis, dtype)


def cumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """Return the products of the elements up to each; of the flat tensor without an `axis`.

    >>> cumprod([1.0, 2.0, 3.0])
    tensor([1., 2., 6.])
    """
    return _cumulative(torch.cumprod, x, axis, dtype)


def _cumulative(function: Callable[..., Any], x: Any, axis: int | None, dtype: Any) -> Any:
    x = as_tensor(x, dtype)
    return function(x.flatten(), 0) if axis is None else function(x, axis)
