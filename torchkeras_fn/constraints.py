"""Limits on weights, applied after every step of the optimizer.

Weights are in Keras' layout, `(in, out)` or `(spatial..., in, out)`: `axis=0` is the inputs of each unit of a dense layer,
`axis=[0, 1, 2]` those of each filter of a 2D convolution. Arrays are taken as well as tensors; tensors are returned.
"""

from collections.abc import Sequence
from typing import Any

import torch

from torchkeras_fn import config
from torchkeras_fn.arguments import number
from torchkeras_fn.configurable import Configurable
from torchkeras_fn.registry import Registry

Axis = int | Sequence[int]


class Constraint(Configurable):
    """Turns a weight into one that is allowed. A subclass defines `__call__(w)`, which returns a tensor of the same shape.

    >>> class Centered(Constraint):
    ...     def __call__(self, w):
    ...         return w - w.mean()
    >>> Centered()(torch.tensor([1.0, 3.0]))
    tensor([-1.,  1.])
    """

    def __init__(self) -> None:
        """Take no arguments."""

    def __call__(self, w: torch.Tensor) -> torch.Tensor:
        """Return the nearest weight to `w` that is allowed."""
        raise NotImplementedError(f"{type(self).__name__} needs a __call__(w) that returns the constrained weight.")


class MaxNorm(Constraint):
    """Shrinks the vectors along `axis` that are longer than `max_value`. Raises `ValueError` for a negative length.

    >>> MaxNorm(max_value=5.0)(torch.tensor([[3.0, 6.0], [4.0, 8.0]]))
    tensor([[3., 3.],
            [4., 4.]])
    """

    def __init__(self, max_value: float = 2, axis: Axis = 0):
        self.max_value = number(max_value, "max_value", minimum=0)
        self.axis = _axes(axis)

    def __call__(self, w: torch.Tensor) -> torch.Tensor:
        w = torch.as_tensor(w)
        norms = _norms(w, self.axis)
        return w * (torch.clamp(norms, max=self.max_value) / (norms + config.epsilon()))


class NonNeg(Constraint):
    """Sets negative values to zero.

    >>> NonNeg()(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def __call__(self, w: torch.Tensor) -> torch.Tensor:
        return torch.clamp(torch.as_tensor(w), min=0)


class UnitNorm(Constraint):
    """Makes the vectors along `axis` of length one.

    >>> UnitNorm()(torch.tensor([[3.0], [4.0]]))
    tensor([[0.6000],
            [0.8000]])
    """

    def __init__(self, axis: Axis = 0):
        self.axis = _axes(axis)

    def __call__(self, w: torch.Tensor) -> torch.Tensor:
        w = torch.as_tensor(w)
        return w / (_norms(w, self.axis) + config.epsilon())


class MinMaxNorm(Constraint):
    """Moves the length of the vectors along `axis` into the range from `min_value` to `max_value`.

    `rate` is how much of the way is gone each time, from 0 (none) to 1 (all of it). Raises `ValueError` for an empty
    range, a negative length or another rate.

    >>> MinMaxNorm(max_value=1.0, rate=0.5)(torch.tensor([[0.0], [3.0]]))
    tensor([[0.],
            [2.]])
    """

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axis = 0):
        self.min_value = number(min_value, "min_value", minimum=0)
        self.max_value = number(max_value, "max_value", minimum=0)
        self.rate = number(rate, "rate", minimum=0)
        self.axis = _axes(axis)
        if self.min_value > self.max_value:
            raise ValueError(f"'min_value' must not exceed 'max_value', got {min_value!r} and {max_value!r}.")
        if self.rate > 1:
            raise ValueError(f"'rate' must be between 0 and 1, got {rate!r}.")

    def __call__(self, w: torch.Tensor) -> torch.Tensor:
        w = torch.as_tensor(w)
        norms = _norms(w, self.axis)
        wanted = torch.lerp(norms, torch.clamp(norms, self.min_value, self.max_value), self.rate)
        return w * (wanted / (norms + config.epsilon()))


def _norms(w: torch.Tensor, axis: int | tuple[int, ...]) -> torch.Tensor:
    norms: torch.Tensor = torch.linalg.vector_norm(w, dim=axis, keepdim=True)
    return norms


def _axes(axis: Any) -> int | tuple[int, ...]:
    axes = tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)
    if not axes or not all(isinstance(one, int) and not isinstance(one, bool) for one in axes):
        raise ValueError(f"'axis' must be an integer or a list of integers, got {axis!r}.")
    return axes if len(axes) > 1 else axes[0]


max_norm, non_neg, unit_norm, min_max_norm = MaxNorm, NonNeg, UnitNorm, MinMaxNorm
maxnorm, nonneg, unitnorm = MaxNorm, NonNeg, UnitNorm  # Keras 1's names, which Keras 2 still knew

_registry = Registry("constraint", {"max_norm": MaxNorm, "non_neg": NonNeg, "unit_norm": UnitNorm, "min_max_norm": MinMaxNorm})
serialize = _registry.serialize
deserialize = _registry.deserialize


def get(identifier: Any) -> Any:
    """Return the constraint for a name, a config, a class or a function from a weight to a weight; `None` for `None`.

    Raises `ValueError` with the nearest name for one that is not known.

    >>> get("max_norm").get_config()
    {'max_value': 2, 'axis': 0}
    """
    return _registry.get(identifier)
