"""Reductions that pass over what is no number (NaN), over one axis, several, or (`axis=None`) all."""

import math
from typing import Any

import torch

from torchkeras_fn.ops.conversion import as_floats, as_tensor
from torchkeras_fn.ops.reductions import Axis, all, argmax, argmin, cumprod, cumsum, max, min, prod, quantile_by, reduced


def nansum(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the sum of what is a number.

    >>> nansum([1.0, float("nan")])
    tensor(1.)
    """
    return reduced(torch.nansum, as_tensor(x), axis, keepdims)


def nanmean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the mean of what is a number.

    >>> nanmean([1.0, float("nan")])
    tensor(1.)
    """
    return reduced(torch.nanmean, as_floats(x), axis, keepdims)


def nanvar(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the mean squared distance of what is a number from the mean of it.

    >>> nanvar([1.0, float("nan"), 3.0])
    tensor(1.)
    """
    x = as_floats(x)
    return nanmean(torch.square(x - nanmean(x, axis, keepdims=axis not in ((), []))), axis, keepdims)


def nanstd(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the square root of `nanvar(x)`.

    >>> nanstd([1.0, float("nan"), 3.0])
    tensor(1.)
    """
    return torch.sqrt(nanvar(x, axis, keepdims))


def nanprod(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the product of what is a number.

    >>> nanprod([2.0, float("nan"), 3.0])
    tensor(6.)
    """
    return prod(_filled(x, 1.0), axis, keepdims)


def nanmax(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the largest number; NaN where there is none.

    >>> nanmax([1.0, float("nan"), 3.0])
    tensor(3.)
    """
    return _where_any(max(_filled(x, -math.inf), axis, keepdims), x, axis, keepdims)


def nanmin(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the smallest number; NaN where there is none.

    >>> nanmin([1.0, float("nan"), 3.0])
    tensor(1.)
    """
    return _where_any(min(_filled(x, math.inf), axis, keepdims), x, axis, keepdims)


def nanargmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Return the index of the largest number; -1 where there is none.

    >>> nanargmax([1.0, float("nan"), 3.0])
    tensor(2)
    """
    return _where_any(argmax(_filled(x, -math.inf), axis, keepdims), x, axis, keepdims, -1)


def nanargmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Return the index of the smallest number; -1 where there is none.

    >>> nanargmin([1.0, float("nan"), 3.0])
    tensor(0)
    """
    return _where_any(argmin(_filled(x, math.inf), axis, keepdims), x, axis, keepdims, -1)


def nanmedian(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the number in the middle, or the mean of the two in the middle.

    >>> nanmedian([1.0, float("nan"), 3.0])
    tensor(2.)
    """
    return nanquantile(x, 0.5, axis, keepdims=keepdims)


def nanquantile(x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False) -> Any:
    """Return the values below which the shares `q` of the numbers lie.

    >>> nanquantile([1.0, float("nan"), 3.0], 0.25)
    tensor(1.5000)
    """
    return quantile_by(torch.nanquantile, x, q, axis, method, keepdims)


def nanpercentile(x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False) -> Any:
    """Return the values below which `q` in a hundred of the numbers lie.

    >>> nanpercentile([1.0, float("nan"), 3.0], 25)
    tensor(1.5000)
    """
    return nanquantile(x, as_floats(q) / 100, axis, method, keepdims)


def nancumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """Return the sums of the numbers up to each element; of the flat tensor without an `axis`.

    >>> nancumsum([1.0, float("nan"), 3.0])
    tensor([1., 1., 4.])
    """
    return cumsum(_filled(x, 0.0), axis, dtype)


def nancumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """Return the products of the numbers up to each element; of the flat tensor without an `axis`.

    >>> nancumprod([2.0, float("nan"), 3.0])
    tensor([2., 2., 6.])
    """
    return cumprod(_filled(x, 1.0), axis, dtype)


def _filled(x: Any, value: float) -> Any:
    """The tensor with a number, which changes no result, in the place of what is none."""
    x = as_tensor(x)
    return torch.where(torch.isnan(x), value, x) if x.is_floating_point() else x


def _where_any(found: Any, x: Any, axis: Axis, keepdims: bool, otherwise: float = math.nan) -> Any:
    """What was found, and something else where there is no number along the axes."""
    x = as_tensor(x)
    return torch.where(all(torch.isnan(x), axis, keepdims), otherwise, found) if x.is_floating_point() else found
