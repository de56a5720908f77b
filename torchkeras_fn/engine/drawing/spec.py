"""`Spec`: what is known of a tensor without its data, and how the results of two runs become specs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from torchkeras_fn.engine.basics.nested import leaves_of

Size = tuple[int, ...]

# Two sizes for the batch and two for every other unknown dimension: far from usual layer sizes, with many divisors,
# so that halving and reshaping go through, and with different ratios, so that the two kinds are told apart.
BATCH = (240, 600)
UNKNOWN = (480, 960)

_NUMBERS = {bool: torch.bool, int: torch.int64, float: torch.float32}


@dataclass(frozen=True)
class Spec:
    """What is known of a tensor without its data: its size in a small and in a large run, and its dtype.

    A `number` is a pair of Python's own: the size of an unknown dimension, or what was made of such a size.

    >>> Spec.of((None, 3), torch.float32).shape
    (None, 3)
    """

    small: Size
    large: Size
    dtype: torch.dtype
    number: tuple[int, int] | None = None

    @classmethod
    def of(cls, shape: Sequence[int | None], dtype: torch.dtype) -> "Spec":
        """Return the spec of a tensor of this shape; `None` stands for an unknown dimension, the first being the batch."""
        sizes = [
            tuple((BATCH if axis == 0 else UNKNOWN)[run] if dim is None else int(dim) for axis, dim in enumerate(shape)) for run in (0, 1)
        ]
        return cls(sizes[0], sizes[1], dtype)

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The shape as a user reads it: `None` where the two runs differ."""
        return tuple(a if a == b else None for a, b in zip(self.small, self.large, strict=True))

    @property
    def lead(self) -> tuple[int, int] | None:
        """The first dimension in both runs; `None` for a scalar."""
        return (self.small[0], self.large[0]) if self.small else None


def pair_of(small: Any, large: Any, size: Callable[[torch.Tensor, int], Size], of_numbers: bool = False) -> Any:
    """Merge the results of two runs, leaf by leaf, into specs; `size` gives that of a tensor in the first run, 0, or the second.

    A number is known where it is the same in both, unless it was made `of_numbers`: that of a size may be so by chance, as `size % 2`.

    >>> pair_of(torch.zeros(2, 3), torch.zeros(4, 3), lambda tensor, run: tuple(tensor.shape)).shape
    (None, 3)
    """
    leaves, structure = tree_flatten(small)
    others = tree_leaves(large)

    def spec(a: Any, b: Any) -> Any:
        if isinstance(a, torch.Tensor):
            return Spec(size(a, 0), size(b, 1), a.dtype)
        if type(a) in _NUMBERS and (of_numbers or type(a) is int and a != b):
            return Spec((), (), _NUMBERS[type(a)], number=(a, b))
        return a

    return tree_unflatten([spec(a, b) for a, b in zip(leaves, others, strict=True)], structure)


def device_of(args: Sequence[Any], kwargs: Mapping[str, Any], device: torch.device | None) -> torch.device | None:
    """Return where the tensors among the arguments are, if there are any.

    >>> device_of([torch.zeros(2)], {}, None)
    device(type='cpu')
    """
    return next((leaf.device for leaf in leaves_of((args, kwargs)) if isinstance(leaf, torch.Tensor)), device)
