"""Tensors that are made of nothing but a shape. Where that holds symbolic sizes they are symbolic too, and made in every run."""

import math
from typing import Any

import numpy as np
import torch

from torchkeras_fn import config
from torchkeras_fn.engine.symbolic import is_symbolic
from torchkeras_fn.ops.conversion import as_floats, as_tensor, as_tensors, default_device, empty_tensor, is_size, sizes_of, source_of


def empty(shape: Any, dtype: Any = None) -> Any:
    """Return a tensor of any content, of `dtype` or else `floatx()`.

    >>> empty((2, 3)).shape
    torch.Size([2, 3])
    """
    return empty_tensor(shape, dtype)


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    """Return a tensor with one value everywhere, of `dtype` or else `floatx()`.

    >>> full((2,), 0.5)
    tensor([0.5000, 0.5000])
    """
    model, wanted = source_of(shape), config.dtype(dtype)
    if isinstance(fill_value, (int, float)) and not is_size(fill_value):
        if model is None:
            return torch.full(sizes_of(shape), fill_value, dtype=wanted, device=default_device())
        return model.new_full(sizes_of(shape), fill_value, dtype=wanted)
    return torch.broadcast_to(as_tensor(fill_value, wanted), sizes_of(shape))


def zeros(shape: Any, dtype: Any = None) -> Any:
    """Return a tensor of zeros, of `dtype` or else `floatx()`.

    >>> zeros((2,))
    tensor([0., 0.])
    """
    return full(shape, 0, dtype)


def ones(shape: Any, dtype: Any = None) -> Any:
    """Return a tensor of ones, of `dtype` or else `floatx()`.

    >>> ones((2,))
    tensor([1., 1.])
    """
    return full(shape, 1, dtype)


def zeros_like(x: Any, dtype: Any = None) -> Any:
    """Return zeros in the shape of `x`, and in its dtype unless given.

    >>> zeros_like(torch.ones(2))
    tensor([0., 0.])
    """
    return torch.zeros_like(as_tensor(x), dtype=None if dtype is None else config.dtype(dtype))


def ones_like(x: Any, dtype: Any = None) -> Any:
    """Return ones in the shape of `x`, and in its dtype unless given.

    >>> ones_like(torch.zeros(2))
    tensor([1., 1.])
    """
    return torch.ones_like(as_tensor(x), dtype=None if dtype is None else config.dtype(dtype))


def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Any:
    """Return one value everywhere in the shape of `x`, and in its dtype unless given; or values that are repeated up to that shape.

    >>> full_like(torch.zeros(2), 3)
    tensor([3., 3.])
    """
    x = as_tensor(x)
    if isinstance(fill_value, (int, float)):
        return torch.full_like(x, fill_value, dtype=None if dtype is None else config.dtype(dtype))
    zeros = zeros_like(x, dtype)
    return zeros + as_tensor(fill_value, zeros.dtype, like=zeros)


def empty_like(x: Any, dtype: Any = None) -> Any:
    """Return a tensor of any content in the shape of `x`, and in its dtype unless given.

    >>> empty_like(torch.zeros(2)).shape
    torch.Size([2])
    """
    return torch.empty_like(as_tensor(x), dtype=None if dtype is None else config.dtype(dtype))


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Any:
    """Return the numbers from `start` to before `stop`; from 0 to before `start` where that stands alone.

    Integers are of type `int32` and others of `floatx()` unless `dtype` is given. Ends may be symbolic sizes.

    >>> arange(3)
    tensor([0, 1, 2], dtype=torch.int32)
    >>> arange(0.0, 1.0, 0.5)
    tensor([0.0000, 0.5000])
    """
    ends = [0, start, step] if stop is None else [start, stop, step]
    ends = [end.item() if isinstance(end, (torch.Tensor, np.generic)) else end for end in ends]
    wanted = config.dtype(dtype or (None if any(isinstance(end, float) for end in ends) else "int32"))
    model = source_of(ends)
    if model is None:
        return torch.arange(*ends, dtype=wanted, device=default_device())
    start, stop, step = ends
    counted = torch.cumsum(model.new_ones((-(-(stop - start) // step),), dtype=torch.int64), 0) - 1
    return (counted * step + start).to(wanted)


def linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None, axis: int = 0
) -> Any:
    """Return `num` numbers at equal distances from `start` to `stop`, the latter included unless `endpoint=False`.

    Between tensors the numbers stand along a new `axis`. With `retstep` the distance is returned, too.

    >>> linspace(0.0, 1.0, 3)
    tensor([0.0000, 0.5000, 1.0000])
    >>> linspace([0.0, 1.0], [4.0, 1.0], 3, axis=-1)
    tensor([[0., 2., 4.],
            [1., 1., 1.]])
    """
    ends = [end.item() if isinstance(end, np.generic) else end for end in (start, stop)]
    if not all(isinstance(end, (int, float)) for end in ends):
        ends = [as_floats(end) for end in as_tensors(*ends)]
    start, stop = ends
    step = (stop - start) / (num - endpoint or math.nan)
    last = stop if endpoint else stop - step
    if isinstance(start, (int, float)):
        numbers = torch.linspace(start, last, num, dtype=config.dtype(dtype), device=default_device())
    else:
        shares = torch.linspace(0, 1, num, dtype=step.dtype, device=None if is_symbolic(step) else step.device)
        numbers = start + (last - start) * torch.reshape(shares, (-1, *[1] * step.ndim))
        numbers = torch.movedim(numbers if dtype is None else numbers.to(config.dtype(dtype)), 0, axis)
    return (numbers, step) if retstep else numbers


def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: float = 10, dtype: Any = None, axis: int = 0
) -> Any:
    """Return `base` to the power of each of `linspace(start, stop, num)`.

    >>> logspace(0.0, 2.0, 3)
    tensor([  1.,  10., 100.])
    """
    wanted = config.dtype(dtype)
    exponents = linspace(start, stop, num, endpoint, False, dtype if wanted.is_floating_point else "float64", axis)
    return torch.pow(base, exponents).to(wanted)


def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    """Return `num` numbers from `start` to `stop`, each as many times the one before it; both have the same sign.

    >>> geomspace(1.0, 100.0, 3)
    tensor([  1.,  10., 100.])
    """
    first, last = as_tensors(start, stop)
    numbers = logspace(torch.log10(torch.abs(first)), torch.log10(torch.abs(last)), num, endpoint, 10, "float64", axis)
    return (numbers * torch.unsqueeze(torch.sign(first), axis)).to(config.dtype(dtype))


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Any:
    """Return a matrix `(N, M)`, square unless told otherwise, with ones on the `k`-th diagonal above the main one and zeros elsewhere.

    >>> eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    rows, columns = (arange(size, dtype="int64") for size in (N, N if M is None else M))
    return (torch.unsqueeze(rows + k, 1) == columns).to(config.dtype(dtype))


def identity(n: int, dtype: Any = None) -> Any:
    """Return the square matrix with ones on the diagonal and zeros elsewhere.

    >>> identity(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    return eye(n, dtype=dtype)


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Any:
    """Return a matrix with ones at and below the `k`-th diagonal, and zeros above it.

    >>> tri(2)
    tensor([[1., 0.],
            [1., 1.]])
    """
    return torch.tril(ones((N, N if M is None else M), dtype), k)
