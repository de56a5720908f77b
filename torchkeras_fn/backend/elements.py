"""Functions of single elements and reductions of which Keras 2's defaults or arguments are others than those of `ops`."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from torchkeras_fn import activations, ops
from torchkeras_fn.ops.conversion import as_floats, as_tensor, axes_of, is_tensor


def _writable(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose result may be written to: programs say `weights /= total`, which makes a new tensor in TensorFlow.

    torch writes where the tensor is, and these functions keep what they return for the gradient; they return a copy instead.
    """

    @functools.wraps(function)
    def of_its_own(*args: Any, **kwargs: Any) -> Any:
        made = function(*args, **kwargs)
        return made.clone() if isinstance(made, torch.Tensor) and made.requires_grad else made

    of_its_own.__module__ = __name__
    return of_its_own


hard_sigmoid = activations.keras_2_hard_sigmoid
exp = _writable(ops.exp)
sigmoid = _writable(ops.sigmoid)
softmax = _writable(ops.softmax)
tanh = _writable(ops.tanh)


@_writable
def sqrt(x: Any) -> Any:
    """Return the square root, and 0 for what is negative.

    >>> sqrt([-1.0, 4.0])
    tensor([0., 2.])
    """
    return torch.sqrt(torch.clamp(as_floats(x), min=0))


def clip(x: Any, min_value: Any, max_value: Any) -> Any:
    """Return `x` with what lies outside of the two values moved to the nearer; `None` is no limit.

    >>> clip([-1.0, 0.5, 2.0], 0, 1)
    tensor([0.0000, 0.5000, 1.0000])
    """
    above = x if min_value is None else ops.maximum(x, min_value)
    return as_tensor(above) if max_value is None else ops.minimum(above, max_value)


@_writable
def relu(x: Any, alpha: Any = 0.0, max_value: Any = None, threshold: Any = 0.0) -> Any:
    """Return `x` above `threshold` and `alpha * (x - threshold)` elsewhere, cut off at `max_value`. All may be tensors, such as weights.

    >>> relu([-2.0, 1.0, 9.0], alpha=0.5, max_value=6.0)
    tensor([-1.,  1.,  6.])
    """
    if not any(is_tensor(bound) for bound in (alpha, max_value, threshold)):
        return ops.relu(x, negative_slope=alpha, max_value=max_value, threshold=threshold)
    x = as_floats(x)
    bent = torch.where(x > threshold, x, alpha * (x - threshold))
    return bent if max_value is None else ops.minimum(bent, max_value)


relu.stands_for = activations.relu  # type: ignore[attr-defined]


def argmax(x: Any, axis: int | None = -1) -> Any:
    """Return the index of the largest element along the axis.

    >>> argmax([[1.0, 2.0], [3.0, 0.0]])
    tensor([1, 0])
    """
    return ops.argmax(x, axis)


def argmin(x: Any, axis: int | None = -1) -> Any:
    """Return the index of the smallest element along the axis.

    >>> argmin([[1.0, 2.0], [3.0, 0.0]])
    tensor([0, 1])
    """
    return ops.argmin(x, axis)


def cumsum(x: Any, axis: int = 0) -> Any:
    """Return the sums of the elements up to each along the axis.

    >>> cumsum([1.0, 2.0, 3.0])
    tensor([1., 3., 6.])
    """
    return ops.cumsum(x, axis)


def cumprod(x: Any, axis: int = 0) -> Any:
    """Return the products of the elements up to each along the axis.

    >>> cumprod([1.0, 2.0, 3.0])
    tensor([1., 2., 6.])
    """
    return ops.cumprod(x, axis)


def l2_normalize(x: Any, axis: int | Sequence[int] | None = None) -> Any:
    """Return `x` divided by its length along the axes, or all of it.

    >>> l2_normalize([3.0, 4.0])
    tensor([0.6000, 0.8000])
    """
    x = as_floats(x)
    axes: Any = tuple(range(x.ndim)) if axis is None else axes_of(axis)
    return F.normalize(x, dim=axes, eps=1e-6)


def in_top_k(predictions: Any, targets: Any, k: int) -> Any:
    """Return for each row of predictions whether the target class is among the `k` highest.

    >>> in_top_k([[0.1, 0.2, 0.7], [0.1, 0.2, 0.7]], [2, 0], 2)
    tensor([ True, False])
    """
    return ops.in_top_k(targets, predictions, k)


def batch_normalization(x: Any, mean: Any, var: Any, beta: Any, gamma: Any, axis: int = -1, epsilon: float = 1e-3) -> Any:
    """Return `(x - mean) / sqrt(var + epsilon) * gamma + beta`; all broadcast, or hold a number for each place along the axis.

    >>> batch_normalization([[1.0, 5.0]], [1.0, 1.0], [1.0, 4.0], None, None, epsilon=0.0)
    tensor([[0., 2.]])
    """
    given = [ops.reshape(part, (-1,)) if part is not None else None for part in (mean, var, beta, gamma)]
    return ops.batch_normalization(x, given[0], given[1], axis, given[2], given[3], epsilon)


def normalize_batch_in_training(
    x: Any, gamma: Any, beta: Any, reduction_axes: Sequence[int], epsilon: float = 1e-3
) -> tuple[Any, Any, Any]:
    """Return `x` normalized by its own mean and variance over the axes, and these two.

    >>> normalize_batch_in_training([[1.0], [3.0]], None, None, [0], epsilon=0.0)[0].flatten()
    tensor([-1.,  1.])
    """
    x = as_floats(x)
    mean, variance = ops.moments(x, reduction_axes)
    rest = [axis for axis in range(x.ndim) if axis not in [one % x.ndim for one in reduction_axes]]
    axis = rest[0] if rest else -1
    return ops.batch_normalization(x, mean, variance, axis, beta, gamma, epsilon), mean, variance
