"""Penalties on the size of weights or activations, added to the loss."""

from typing import Any

import torch

from torchkeras_fn.arguments import number, one_of
from torchkeras_fn.configurable import Configurable
from torchkeras_fn.registry import Registry


class Regularizer(Configurable):
    """Turns a tensor into a penalty. A subclass defines `__call__(x)`, which returns a scalar.

    >>> class Spread(Regularizer):
    ...     def __call__(self, x):
    ...         return x.var()
    >>> Spread()(torch.tensor([1.0, 3.0]))
    tensor(2.)
    """

    def __init__(self) -> None:
        """Take no arguments."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the penalty for `x`, a scalar."""
        raise NotImplementedError(f"{type(self).__name__} needs a __call__(x) that returns a scalar.")


class L1(Regularizer):
    """The sum of absolute values, times `l1`. Raises `ValueError` for a factor that is negative or not finite.

    >>> L1(0.5)(torch.tensor([1.0, -3.0]))
    tensor(2.)
    """

    def __init__(self, l1: float = 0.01):
        self.l1 = number(0.01 if l1 is None else l1, "l1", minimum=0)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.l1 * _absolute_sum(x)


class L2(Regularizer):
    """The sum of squares, times `l2`. Raises `ValueError` for a factor that is negative or not finite.

    >>> L2(0.5)(torch.tensor([1.0, -3.0]))
    tensor(5.)
    """

    def __init__(self, l2: float = 0.01):
        self.l2 = number(0.01 if l2 is None else l2, "l2", minimum=0)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.l2 * torch.sum(torch.square(x))


class L1L2(Regularizer):
    """The sum of absolute values times `l1`, plus the sum of squares times `l2`. A factor left out is zero.

    Raises `ValueError` for a factor that is negative or not finite.

    >>> L1L2(l1=1.0, l2=0.5)(torch.tensor([1.0, -3.0]))
    tensor(9.)
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0):
        self.l1 = number(0.0 if l1 is None else l1, "l1", minimum=0)
        self.l2 = number(0.0 if l2 is None else l2, "l2", minimum=0)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self.l1 and self.l2:
            return self.l1 * _absolute_sum(x) + self.l2 * torch.sum(torch.square(x))
        if self.l1:
            return self.l1 * _absolute_sum(x)
        return self.l2 * torch.sum(torch.square(x)) if self.l2 else x.new_zeros(())


class OrthogonalRegularizer(Regularizer):
    """The average |cosine| between different rows (or, with `mode='columns'`, columns) of a matrix, times `factor`.

    A penalty for a kernel of shape (inputs, units); zero if all are at right angles. Raises `ValueError` for another
    mode, for a bad factor, and when called with anything but a matrix.

    >>> OrthogonalRegularizer(factor=1.0)(torch.eye(3)), OrthogonalRegularizer(factor=1.0)(torch.ones(3, 3))
    (tensor(0.), tensor(1.0000))
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows"):
        self.factor = number(factor, "factor", minimum=0)
        self.mode = one_of(mode, "mode", "rows", "columns")

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if x.ndim != 2:
            raise ValueError(f"OrthogonalRegularizer takes a matrix, got a tensor of shape {tuple(x.shape)}.")
        vectors = torch.nn.functional.normalize(x if self.mode == "rows" else x.T, dim=1)
        cosines = torch.triu(vectors @ vectors.T, diagonal=1)
        pairs = max(1, len(vectors) * (len(vectors) - 1) // 2)
        return self.factor / pairs * _absolute_sum(cosines)


def _absolute_sum(x: torch.Tensor) -> torch.Tensor:
    total: torch.Tensor = torch.linalg.vector_norm(x, 1)  # one operation where sum(abs(x)) is two
    return total


def l1(l1: float = 0.01, l: float | None = None) -> L1:  # noqa: E741 - Keras 2's name of the argument
    """Return `L1(l1)`. Keras 2 calls the argument `l`, Keras 3 `l1`: both work.

    >>> l1(l=0.1).get_config()
    {'l1': 0.1}
    """
    return L1(l1 if l is None else l)


def l2(l2: float = 0.01, l: float | None = None) -> L2:  # noqa: E741 - Keras 2's name of the argument
    """Return `L2(l2)`. Keras 2 calls the argument `l`, Keras 3 `l2`: both work.

    >>> l2(0.1).get_config()
    {'l2': 0.1}
    """
    return L2(l2 if l is None else l)


def l1_l2(l1: float = 0.01, l2: float = 0.01) -> L1L2:
    """Return `L1L2(l1, l2)`. As in Keras 2 the function's factors default to 0.01, while the class's default to zero.

    >>> l1_l2().get_config()
    {'l1': 0.01, 'l2': 0.01}
    """
    return L1L2(l1, l2)


orthogonal_regularizer = OrthogonalRegularizer

_registry = Registry(
    "regularizer",
    {"l1": L1, "l2": L2, "l1_l2": L1L2, "orthogonal_regularizer": OrthogonalRegularizer},
    aliases={"orthogonal": "orthogonal_regularizer"},
)
serialize = _registry.serialize
deserialize = _registry.deserialize


def get(identifier: Any) -> Any:
    """Return the regularizer for a name, a config, a class or a function from a tensor to a scalar; `None` for `None`.

    The name `'l1_l2'` stands for the function `l1_l2()`: nobody who asks for a regularizer wants one of factor zero.
    Raises `ValueError` with the nearest name for one that is not known.

    >>> get("l2").get_config(), get("l1_l2").get_config()
    ({'l2': 0.01}, {'l1': 0.01, 'l2': 0.01})
    """
    found = _registry.find(identifier) if isinstance(identifier, str) else identifier
    return l1_l2() if found is L1L2 else _registry.get(found)
