"""Sums, means, extremes and the like, over one axis, several, or (`axis=None`) all; with `keepdims` the axes stay, of size 1."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from torchkeras_fn.ops.conversion import as_floats, as_tensor, axes_of
from torchkeras_fn.ops.elementwise import maximum, minimum

Axis = int | Sequence[int] | None


def reduced(function: Callable[..., Any], x: Any, axis: Axis, keepdims: bool, **options: Any) -> Any:
    """Return what a reduction of torch makes along the axes. Along no axes, `axis=()`, every element stands for itself.

    >>> reduced(torch.sum, torch.ones(2, 3), 0, keepdims=False)
    tensor([2., 2., 2.])
    """
    axes = axes_of(axis)
    if axes == ():  # which is all axes for torch
        return function(torch.unsqueeze(x, -1), dim=-1, **options)
    return function(x, dim=axes, keepdim=keepdims, **options)


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the sum.

    >>> sum([[1.0, 2.0], [3.0, 4.0]], axis=0)
    tensor([4., 6.])
    """
    return reduced(torch.sum, as_tensor(x), axis, keepdims)


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the mean, as floats: of booleans it is the share of those that are true.

    >>> mean([True, False])
    tensor(0.5000)
    """
    return reduced(torch.mean, as_floats(x), axis, keepdims)


def var(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the mean squared distance from the mean.

    >>> var([1.0, 3.0])
    tensor(1.)
    """
    return reduced(torch.var, as_floats(x), axis, keepdims, correction=0)


def std(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the square root of `var(x)`.

    >>> std([1.0, 3.0])
    tensor(1.)
    """
    return reduced(torch.std, as_floats(x), axis, keepdims, correction=0)


def max(x: Any, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Any:
    """Return the largest element, or `initial` where that is larger, or where there are none.

    >>> max([[1.0, 2.0], [3.0, 0.0]], axis=-1)
    tensor([2., 3.])
    """
    return _extreme(torch.amax, maximum, as_tensor(x), axis, keepdims, initial)


def min(x: Any, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Any:
    """Return the smallest element, or `initial` where that is smaller, or where there are none.

    >>> min([[1.0, 2.0], [3.0, 0.0]], axis=-1)
    tensor([1., 0.])
    """
    return _extreme(torch.amin, minimum, as_tensor(x), axis, keepdims, initial)


def _extreme(function: Callable[..., Any], further: Callable[..., Any], x: Any, axis: Axis, keepdims: bool, initial: Any) -> Any:
    if initial is not None and 0 in x.shape:
        return torch.full_like(any(x, axis, keepdims), initial, dtype=x.dtype)
    found = function(x, dim=(), keepdim=keepdims) if axis is None else reduced(function, x, axis, keepdims)
    return found if initial is None else further(found, initial)


amax, amin = max, min


def prod(x: Any, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """Return the product.

    >>> prod([[1.0, 2.0], [3.0, 4.0]], axis=1)
    tensor([ 2., 12.])
    """
    x = as_tensor(x, dtype)
    axis = axes_of(range(x.ndim) if axis is None else axis)
    axes = [one % x.ndim for one in (axis if isinstance(axis, tuple) else [axis])]
    for one in sorted(axes, reverse=True):
        x = torch.prod(x, dim=one, keepdim=keepdims)
    return x


def any(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return whether any element is true, or not 0.

    >>> any([[0, 1], [0, 0]], axis=1)
    tensor([ True, False])
    """
    return reduced(torch.any, as_tensor(x).to(torch.bool), axis, keepdims)


def all(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return whether all elements are true, or not 0.

    >>> all([[0, 1], [1, 1]], axis=1)
    tensor([False,  True])
    """
    return reduced(torch.all, as_tensor(x).to(torch.bool), axis, keepdims)


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Return the index of the largest element; that in the flat tensor without an `axis`.

    >>> argmax([[1.0, 2.0], [3.0, 0.0]], axis=-1)
    tensor([1, 0])
    """
    return torch.argmax(_ordered(x), dim=axis, keepdim=keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Return the index of the smallest element; that in the flat tensor without an `axis`.

    >>> argmin([[1.0, 2.0], [3.0, 0.0]], axis=-1)
    tensor([0, 1])
    """
    return torch.argmin(_ordered(x), dim=axis, keepdim=keepdims)


def _ordered(x: Any) -> Any:
    """A tensor of which torch finds the largest element, which it does not of truth values."""
    x = as_tensor(x)
    return x.to(torch.uint8) if x.dtype is torch.bool else x


def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the logarithm of the sum of exponentials, also where those would overflow.

    >>> logsumexp([1000.0, 1000.0])
    tensor(1000.6932)
    """
    x = as_floats(x)
    return reduced(torch.logsumexp, x, tuple(range(x.ndim)) if axis is None else axis, keepdims)


def count_nonzero(x: Any, axis: Axis = None) -> Any:
    """Return how many elements are not 0.

    >>> count_nonzero([0, 2, 3])
    tensor(2)
    """
    x, axes = as_tensor(x), axes_of(axis)
    return torch.count_nonzero(torch.unsqueeze(x, -1), dim=-1) if axes == () else torch.count_nonzero(x, dim=axes)


def average(x: Any, axis: Axis = None, weights: Any = None) -> Any:
    """Return the mean; with `weights` of the shape of `x`, or of that of the one `axis`, the weighted mean.

    >>> average([1.0, 4.0], weights=[2.0, 1.0])
    tensor(2.)
    """
    if weights is None:
        return mean(x, axis)
    x, axis = as_floats(x), axes_of(axis)
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
    return quantile_by(torch.quantile, x, q, axis, method, keepdims)


def percentile(x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False) -> Any:
    """Return the values below which `q` in a hundred of the elements lie.

    >>> percentile([1.0, 2.0, 3.0], 25)
    tensor(1.5000)
    """
    return quantile(x, as_floats(q) / 100, axis, method, keepdims)


def quantile_by(function: Callable[..., Any], x: Any, q: Any, axis: Axis, method: str, keepdims: bool) -> Any:
    """Return what one of torch's functions for quantiles makes, also over several axes, and of half precision.

    >>> quantile_by(torch.quantile, [1.0, 2.0, 3.0], 0.25, None, "linear", keepdims=False)
    tensor(1.5000)
    """
    x = as_floats(x)
    if x.dtype in (torch.float16, torch.bfloat16):  # of which torch finds no quantiles
        return quantile_by(function, x.to(torch.float32), q, axis, method, keepdims).to(x.dtype)
    q, axis = as_tensor(q, x.dtype, like=x), axes_of(axis)
    if not isinstance(axis, tuple):
        return function(x, q, axis, keepdim=keepdims, interpolation=method)
    axes = sorted(one % x.ndim for one in axis)
    x = torch.movedim(x, axes, list(range(-len(axes), 0))).flatten(-len(axes)) if axes else torch.unsqueeze(x, -1)
    found = function(x, q, -1, interpolation=method)
    for one in axes if keepdims else []:
        found = torch.unsqueeze(found, one + q.ndim)
    return found


def ptp(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the largest element minus the smallest.

    >>> ptp([1.0, 5.0, 2.0])
    tensor(4.)
    """
    return max(x, axis, keepdims) - min(x, axis, keepdims)


def moments(x: Any, axes: Axis, keepdims: bool = False, synchronized: bool = False) -> tuple[Any, Any]:
    """Return the mean and the variance. Raises `ValueError` for `synchronized`: they are those of this process.

    >>> moments([1.0, 3.0], axes=0)
    (tensor(2.), tensor(1.))
    """
    if synchronized:
        raise ValueError("Moments are those of this process. BatchNormalization(synchronized=True) has those of all processes.")
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
