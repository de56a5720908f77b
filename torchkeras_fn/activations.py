"""Activation functions under Keras' names. All are plain functions over torch tensors, and record themselves on an fx proxy.

Arrays, numbers and nested lists of them are taken too, as tensors of `floatx()`.
"""

import functools
import numbers
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
import torch.nn.functional as F

from torchkeras_fn import config
from torchkeras_fn.registry import Registry

P = ParamSpec("P")
R = TypeVar("R")

_of_torch: dict[Any, Callable[..., Any]] = {}
"""The activation for a function of torch that computes the same: they have one name in a config."""


def _taking_arrays(function: Callable[P, R], name: str | None = None) -> Callable[P, R]:
    """Return an activation that makes a tensor of an array first; a `name` is given to a function of torch."""

    @functools.wraps(function)
    def activation(*args: P.args, **kwargs: P.kwargs) -> R:
        if args and isinstance(args[0], (np.ndarray, numbers.Number, list, tuple)):
            args = (_floats(args[0]), *args[1:])  # type: ignore[assignment]
        return function(*args, **kwargs)

    if name is not None:
        activation.__name__ = activation.__qualname__ = name
        activation.__module__ = __name__
        activation.__doc__ = f"Return what torch's `{getattr(function, '__name__', name)}` makes of each element."
        _of_torch[function] = activation
    return activation


def as_torch(activation: Any) -> Any:
    """Return torch's own function for an activation that is one, and takes arrays besides; any other as it is.

    >>> as_torch(tanh) is torch.tanh, as_torch(relu) is relu
    (True, True)
    """
    function = getattr(activation, "__wrapped__", None)
    return function if function is not None and _of_torch.get(function) is activation else activation


def _floats(array: Any) -> torch.Tensor:
    """An array as a tensor: what has no float type of its own, or numpy's default, takes that of `floatx()`."""
    tensor = torch.as_tensor(array)
    chosen = isinstance(array, np.ndarray) and tensor.is_floating_point() and tensor.dtype != torch.float64
    return tensor if chosen or tensor.dtype.is_complex else tensor.to(config.dtype(None))


elu = _taking_arrays(F.elu, "elu")
selu = _taking_arrays(F.selu, "selu")
celu = _taking_arrays(F.celu, "celu")
relu6 = _taking_arrays(F.relu6, "relu6")
softplus = _taking_arrays(F.softplus, "softplus")
softsign = _taking_arrays(F.softsign, "softsign")
sigmoid = _taking_arrays(torch.sigmoid, "sigmoid")
log_sigmoid = _taking_arrays(F.logsigmoid, "log_sigmoid")
hard_sigmoid = _taking_arrays(F.hardsigmoid, "hard_sigmoid")
silu = swish = _taking_arrays(F.silu, "silu")
hard_silu = hard_swish = _taking_arrays(F.hardswish, "hard_silu")
tanh = _taking_arrays(torch.tanh, "tanh")
hard_tanh = _taking_arrays(F.hardtanh, "hard_tanh")
tanh_shrink = _taking_arrays(F.tanhshrink, "tanh_shrink")
mish = _taking_arrays(F.mish, "mish")
exponential = _taking_arrays(torch.exp, "exponential")


@_taking_arrays
def keras_2_hard_sigmoid(x: torch.Tensor) -> torch.Tensor:
    """Return `0.2 * x + 0.5`, kept between 0 and 1: what Keras 2 calls `hard_sigmoid`, which since Keras 3 is `x / 6 + 0.5`.

    >>> keras_2_hard_sigmoid([-3.0, 0.0, 1.0])
    tensor([0.0000, 0.5000, 0.7000])
    """
    return torch.clamp(0.2 * x + 0.5, 0, 1)


@_taking_arrays
def linear(x: torch.Tensor) -> torch.Tensor:
    """Return `x` itself.

    >>> linear(torch.tensor([-1.0, 2.0]))
    tensor([-1.,  2.])
    """
    return x


@_taking_arrays
def relu(
    x: torch.Tensor, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0, alpha: float | None = None
) -> torch.Tensor:
    """Return `x` above `threshold` and `negative_slope * (x - threshold)` elsewhere; with a `max_value`, the former between 0 and it.

    Keras 2 calls the slope `alpha`: both work.

    >>> relu(torch.tensor([-2.0, 1.0, 9.0]))
    tensor([0., 1., 9.])
    >>> relu(torch.tensor([-2.0, 1.0, 9.0]), negative_slope=0.5, max_value=6.0)
    tensor([-1.,  1.,  6.])
    """
    negative_slope = negative_slope if alpha is None else alpha
    if threshold:
        above = x if max_value is None else torch.clamp(x, 0.0, max_value)
        return torch.where(x > threshold, above, negative_slope * (x - threshold) if negative_slope else 0.0)
    result = F.leaky_relu(x, negative_slope) if negative_slope else F.relu(x)
    return result if max_value is None else torch.clamp(result, max=max_value)


@_taking_arrays
def leaky_relu(x: torch.Tensor, negative_slope: float = 0.2) -> torch.Tensor:
    """Return `x` above zero and `negative_slope * x` below. (torch's default slope is 0.01, Keras' is 0.2.)

    >>> leaky_relu(torch.tensor([-10.0, 3.0]))
    tensor([-2.,  3.])
    """
    return F.leaky_relu(x, negative_slope)


@_taking_arrays
def softmax(x: torch.Tensor, axis: int | Sequence[int] | None = -1) -> torch.Tensor:
    """Return positive values that sum to one along `axis`, or over several axes together: over all with `None`.

    >>> softmax(torch.tensor([[0.0, 0.0]]))
    tensor([[0.5000, 0.5000]])
    >>> softmax(torch.zeros(1, 2, 2), axis=(1, 2)).sum()
    tensor(1.)
    """
    return torch.softmax(x, axis) if isinstance(axis, int) else torch.exp(log_softmax(x, axis))


@_taking_arrays
def log_softmax(x: torch.Tensor, axis: int | Sequence[int] | None = -1) -> torch.Tensor:
    """Return the logarithm of `softmax(x, axis)`, without the loss of precision of doing the two one by one.

    >>> log_softmax(torch.tensor([0.0, 0.0])).exp()
    tensor([0.5000, 0.5000])
    """
    if isinstance(axis, int):
        return torch.log_softmax(x, axis)
    return x - torch.logsumexp(x, tuple(range(x.ndim) if axis is None else axis), keepdim=True)


@_taking_arrays
def gelu(x: torch.Tensor, approximate: bool = False) -> torch.Tensor:
    """Return `x` times the standard normal distribution function at `x`; `approximate=True` takes the tanh formula.

    Source: Hendrycks and Gimpel, 2016, https://arxiv.org/abs/1606.08415

    >>> gelu(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.1587,  0.0000,  0.8413])
    """
    return F.gelu(x, approximate="tanh" if approximate else "none")


@_taking_arrays
def glu(x: torch.Tensor, axis: int = -1) -> torch.Tensor:
    """Return the first half of `x` along `axis` times the sigmoid of the second half; that axis becomes half as long.

    Source: Dauphin et al., 2017, https://arxiv.org/abs/1612.08083

    >>> glu(torch.tensor([4.0, 0.0]))
    tensor([2.])
    """
    return F.glu(x, dim=axis)


@_taking_arrays
def threshold(x: torch.Tensor, threshold: float, default_value: float) -> torch.Tensor:
    """Return `x` where it is above `threshold` and `default_value` elsewhere.

    >>> threshold(torch.tensor([-1.0, 3.0]), threshold=2.0, default_value=7.0)
    tensor([7., 3.])
    """
    return F.threshold(x, threshold, default_value)


@_taking_arrays
def hard_shrink(x: torch.Tensor, threshold: float = 0.5) -> torch.Tensor:
    """Return `x` where it is further than `threshold` from zero, else zero.

    >>> hard_shrink(torch.tensor([-1.0, 0.3, 2.0]))
    tensor([-1.,  0.,  2.])
    """
    return F.hardshrink(x, threshold)


@_taking_arrays
def soft_shrink(x: torch.Tensor, threshold: float = 0.5) -> torch.Tensor:
    """Return `x` moved towards zero by `threshold`, and zero where it was nearer than that.

    >>> soft_shrink(torch.tensor([-1.0, 0.3, 2.0]))
    tensor([-0.5000,  0.0000,  1.5000])
    """
    return F.softshrink(x, threshold)


@_taking_arrays
def squareplus(x: torch.Tensor, b: float = 4) -> torch.Tensor:
    """Return `(x + sqrt(x² + b)) / 2`, a softplus without exponentials.

    Source: Barron, 2021, https://arxiv.org/abs/2112.11687

    >>> squareplus(torch.tensor([0.0]))
    tensor([1.])
    """
    return (x + torch.sqrt(torch.square(x) + b)) / 2


@_taking_arrays
def sparse_plus(x: torch.Tensor) -> torch.Tensor:
    """Return zero below -1, `x` above 1, and the parabola `(x + 1)² / 4` that joins them smoothly.

    >>> sparse_plus(torch.tensor([-2.0, 0.0, 3.0]))
    tensor([0.0000, 0.2500, 3.0000])
    """
    return torch.where(x < 1, torch.square(F.relu(x + 1)) / 4, x)


@_taking_arrays
def sparse_sigmoid(x: torch.Tensor) -> torch.Tensor:
    """Return `(x + 1) / 2`, kept between zero and one: the slope of `sparse_plus`.

    >>> sparse_sigmoid(torch.tensor([-2.0, 0.0, 3.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    return torch.clamp((x + 1) / 2, 0, 1)


@_taking_arrays
def sparsemax(x: torch.Tensor, axis: int = -1) -> torch.Tensor:
    """Return the point nearest to `x` among those that are not negative and sum to one along `axis`; many are exactly zero.

    Source: Martins and Astudillo, 2016, https://arxiv.org/abs/1602.02068. The threshold they subtract is the
    largest of `(sum of the k largest - 1) / k` over all k, which needs no look at the values.

    >>> sparsemax(torch.tensor([3.0, 2.5, 0.0]))
    tensor([0.7500, 0.2500, 0.0000])
    """
    sums = torch.cumsum(torch.sort(x, dim=axis, descending=True)[0], dim=axis)
    counts = torch.cumsum(torch.ones_like(x), dim=axis)
    return F.relu(x - torch.amax((sums - 1) / counts, dim=axis, keepdim=True))


_registry = Registry(
    "activation",
    {
        "linear": linear,
        "relu": relu,
        "leaky_relu": leaky_relu,
        "relu6": relu6,
        "elu": elu,
        "selu": selu,
        "celu": celu,
        "softplus": softplus,
        "softsign": softsign,
        "softmax": softmax,
        "log_softmax": log_softmax,
        "sigmoid": sigmoid,
        "log_sigmoid": log_sigmoid,
        "hard_sigmoid": hard_sigmoid,
        "keras_2_hard_sigmoid": keras_2_hard_sigmoid,
        "silu": silu,
        "hard_silu": hard_silu,
        "tanh": tanh,
        "hard_tanh": hard_tanh,
        "hard_shrink": hard_shrink,
        "soft_shrink": soft_shrink,
        "tanh_shrink": tanh_shrink,
        "squareplus": squareplus,
        "sparse_plus": sparse_plus,
        "sparsemax": sparsemax,
        "sparse_sigmoid": sparse_sigmoid,
        "glu": glu,
        "threshold": threshold,
        "gelu": gelu,
        "exponential": exponential,
        "mish": mish,
    },
    aliases={"swish": "silu", "hard_swish": "hard_silu", "exp": "exponential", "identity": "linear"},
)
deserialize = _registry.deserialize


def serialize(activation: Any) -> Any:
    """Return the name or config that `deserialize` turns back into the activation, a function of torch that computes the same included.

    >>> serialize(silu), serialize(F.silu)
    ('silu', 'silu')
    """
    return _registry.serialize(_of_torch.get(activation, activation) if callable(activation) else activation)


def get(identifier: Any) -> Callable[..., Any]:
    """Return the activation for a name, a config or a callable (given back as it is); `None` means `linear`.

    Raises `ValueError` with the nearest name for one that is not known.

    >>> get("tanh") is tanh, get(None) is linear
    (True, True)
    >>> get("rleu")
    Traceback (most recent call last):
        ...
    ValueError: Unknown activation 'rleu'. Did you mean 'relu'?
    """
    found: Callable[..., Any] = linear if identifier is None else _registry.get(identifier)
    return found
