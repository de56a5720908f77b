"""Layers that join several tensors into one, and the function of each."""

import functools
import operator
import string
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import handle_torch_function, has_torch_function

from torchkeras_fn import config
from torchkeras_fn.engine.layer import Layer


class _Merge(Layer):
    """Joins a list of tensors; those of lower rank get axes of size 1 after the batch."""

    inline = True
    supports_masking = True
    exactly: ClassVar[int | None] = None

    @classmethod
    def is_inlined(cls) -> bool:
        """Return whether models run the functions that the merging is made of; what a user's class does may be random."""
        return super().is_inlined() and cls._merge_function is _Merge._merge_function

    def build(self, input_shape: Any) -> nn.Module | None:
        """Check the number of inputs, of which one is enough as in Keras 3, and note their ranks."""
        wanted = f"expected a list of {f'exactly {self.exactly}' if self.exactly else 'one or more'} inputs"
        if not isinstance(input_shape, list):
            raise ValueError(f"{wanted}, got one in no list")
        if any(isinstance(shape, list) for shape in input_shape):
            raise ValueError(f"{wanted}, got one with lists in it")
        if self.exactly not in (None, len(input_shape)):
            raise ValueError(f"{wanted}, got {len(input_shape)}")
        self._ranks = [len(shape) for shape in input_shape]
        return None

    def call(self, inputs: Any, mask: Any = None, **kwargs: Any) -> Any:
        """Align the ranks, and merge."""
        highest = max(self._ranks)
        masks = [None] * len(self._ranks) if mask is None else list(mask)
        for index, rank in enumerate(self._ranks):
            for _ in range(highest - rank):
                inputs = [*inputs[:index], inputs[index].unsqueeze(1), *inputs[index + 1 :]]
                masks[index] = None  # as in Keras 3, whose masks stay with the tensors that came
        if all(part is None for part in masks):
            return self.merge(inputs)
        return self.merge_shown(inputs, [None if m is None else widened(m, x) for m, x in zip(masks, inputs, strict=True)])

    def merge(self, inputs: Sequence[Any]) -> Any:
        """Join tensors of one rank."""
        return self._merge_function(inputs)

    def _merge_function(self, inputs: Sequence[Any]) -> Any:
        """What Keras calls the method that a class of one's own overrides."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it joins its inputs: define _merge_function(self, inputs).")

    def merge_shown(self, inputs: Sequence[Any], masks: Sequence[Any]) -> Any:
        """Join tensors, of which masks, with as many axes, or `None` say what counts."""
        return self.merge(inputs)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return where any of the masks holds, as in Keras 3; none where an input has none."""
        masks = _as_masks(mask, inputs)
        return None if any(part is None for part in masks) else functools.reduce(torch.logical_or, masks)


def widened(mask: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Return the mask with as many axes as the inputs. One node of a lowered graph, where ranks are known when it runs.

    >>> widened(torch.ones(2, 3), torch.ones(2, 3, 4, 5)).shape
    torch.Size([2, 3, 1, 1])
    """
    if has_torch_function((mask, inputs)):
        wide: torch.Tensor = handle_torch_function(widened, (mask, inputs), mask, inputs)
        return wide
    return mask[(..., *[None] * (inputs.ndim - mask.ndim))]


def _as_masks(mask: Any, inputs: Sequence[Any]) -> list[Any]:
    """One mask, or none, for each input; arrays, which come where a user asks for the mask, as tensors."""
    if mask is None:
        return [None] * len(inputs)
    if not isinstance(mask, (list, tuple)) or len(mask) != len(inputs):
        raise ValueError(f"'mask' is a list with the mask, or None, of each of the {len(inputs)} inputs; got a {type(mask).__name__}.")
    return [_as_tensor(part) for part in mask]


def _as_tensor(value: Any) -> Any:
    return torch.as_tensor(value) if isinstance(value, np.ndarray) else value


class Add(_Merge):
    """The sum of the inputs.

    >>> Add()([torch.ones(1, 2), torch.ones(1, 2)])
    tensor([[2., 2.]])
    """

    def merge(self, inputs: Sequence[Any]) -> Any:
        """Add."""
        return functools.reduce(operator.add, inputs)


class Subtract(_Merge):
    """The first input minus the second.

    >>> Subtract()([torch.ones(1, 2), torch.ones(1, 2)])
    tensor([[0., 0.]])
    """

    exactly = 2

    def merge(self, inputs: Sequence[Any]) -> Any:
        """Subtract."""
        return inputs[0] - inputs[1]


class Multiply(_Merge):
    """The product of the inputs; what a mask hides counts as 1, and as 0 where all of the inputs' masks hide.

    >>> Multiply()([torch.full((1, 2), 3.0), torch.full((1, 2), 2.0)])
    tensor([[6., 6.]])
    """

    def merge(self, inputs: Sequence[Any]) -> Any:
        """Multiply."""
        return functools.reduce(operator.mul, inputs)

    def merge_shown(self, inputs: Sequence[Any], masks: Sequence[Any]) -> Any:
        """Multiply what is shown."""
        pairs = zip(inputs, masks, strict=True)
        product = self.merge([x if mask is None else torch.where(mask, x, torch.ones_like(x)) for x, mask in pairs])
        if any(mask is None for mask in masks):
            return product
        return torch.where(functools.reduce(torch.logical_or, masks), product, torch.zeros_like(product))


class Average(_Merge):
    """The mean of the inputs.

    >>> Average()([torch.zeros(1, 2), torch.ones(1, 2)])
    tensor([[0.5000, 0.5000]])
    """

    def merge(self, inputs: Sequence[Any]) -> Any:
        """Average."""
        return functools.reduce(operator.add, inputs) / len(inputs)


class _Extreme(_Merge):
    choose: ClassVar[Any]

    def merge(self, inputs: Sequence[Any]) -> Any:
        """Choose among all."""
        return functools.reduce(type(self).choose, inputs)

    def merge_shown(self, inputs: Sequence[Any], masks: Sequence[Any]) -> Any:
        """Choose among what is shown; what is hidden counts as what has been chosen so far."""
        chosen, shown = inputs[0], masks[0]
        for x, mask in zip(inputs[1:], masks[1:], strict=True):
            x = x if mask is None else torch.where(mask, x, chosen)
            chosen = chosen if shown is None else torch.where(shown, chosen, x)
            shown = None if mask is None or shown is None else torch.logical_or(shown, mask)
            chosen = type(self).choose(chosen, x)
        return chosen


class Maximum(_Extreme):
    """The largest of the inputs, element by element; where the mask of one hides it, that of the others.

    >>> Maximum()([torch.zeros(1, 2), torch.ones(1, 2)])
    tensor([[1., 1.]])
    """

    choose = staticmethod(torch.maximum)


class Minimum(_Extreme):
    """The smallest of the inputs, element by element; where the mask of one hides it, that of the others.

    >>> Minimum()([torch.zeros(1, 2), torch.ones(1, 2)])
    tensor([[0., 0.]])
    """

    choose = staticmethod(torch.minimum)


class Concatenate(_Merge):
    """The inputs one after the other along `axis`.

    >>> Concatenate()([torch.ones(2, 3), torch.ones(2, 4)]).shape
    torch.Size([2, 7])
    """

    def __init__(self, axis: int = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = int(axis)

    def build(self, input_shape: Any) -> nn.Module | None:
        """Check that the ranks agree."""
        super().build(input_shape)
        if len(set(self._ranks)) > 1:
            raise ValueError("expected inputs of one rank")
        return None

    def merge(self, inputs: Sequence[Any]) -> Any:
        """Concatenate."""
        return torch.cat(list(inputs), self.axis)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Concatenate the masks; an input without one counts as unmasked."""
        masks = _as_masks(mask, inputs)
        if all(part is None for part in masks):
            return None
        inputs = [_as_tensor(x) for x in inputs]
        everywhere = [torch.ones_like(x, dtype=torch.bool) for x in inputs]
        parts = zip(inputs, everywhere, masks, strict=True)
        wide = [full if m is None else torch.logical_and(full, widened(m, x)) for x, full, m in parts]
        return torch.cat(wide, self.axis).any(-1)


class Dot(_Merge):
    """The dot product of two inputs along `axes` (one axis of each; an integer for both), sample by sample.

    With `normalize=True` the vectors are first scaled to length 1, which gives their cosine.

    >>> Dot(axes=1)([torch.ones(2, 3), torch.ones(2, 3)])
    tensor([[3.],
            [3.]])
    """

    exactly = 2
    supports_masking = False

    def __init__(self, axes: int | Sequence[int], normalize: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.axes = int(axes) if isinstance(axes, int) else tuple(int(axis) for axis in axes)
        self.normalize = normalize
        if not isinstance(self.axes, int) and len(self.axes) != 2:
            raise ValueError(f"axes must be an integer or a pair of them, got {axes!r}.")

    def build(self, input_shape: Any) -> nn.Module | None:
        """Write the product as an einsum equation."""
        super().build(input_shape)
        pair = (self.axes, self.axes) if isinstance(self.axes, int) else self.axes
        self._positive = [axis % rank for axis, rank in zip(pair, self._ranks, strict=True)]
        if 0 in self._positive:
            raise ValueError(f"axes {self.axes} include the batch axis")
        letters = iter(string.ascii_letters[2:])
        terms = [["a" if axis == 0 else next(letters) for axis in range(rank)] for rank in self._ranks]
        for term, axis in zip(terms, self._positive, strict=True):
            term[axis] = "b"
        result = ["a", *(letter for term in terms for letter in term[1:] if letter != "b")]
        self._equation = f"{''.join(terms[0])},{''.join(terms[1])}->{''.join(result)}"
        self._is_scalar = len(result) == 1
        return None

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Multiply and sum."""
        first, second = inputs
        if self.normalize:
            first, second = (F.normalize(x, dim=axis, eps=config.epsilon()) for x, axis in zip(inputs, self._positive, strict=True))
        product = torch.einsum(self._equation, first, second)
        return product.unsqueeze(-1) if self._is_scalar else product

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return no mask."""
        return None


def _function(layer: type[_Merge], name: str) -> Callable[..., Any]:
    def merge(inputs: Sequence[Any], **kwargs: Any) -> Any:
        return layer(**kwargs)(inputs)

    merge.__name__ = merge.__qualname__ = name
    merge.__doc__ = f"""Return what `{layer.__name__}(**kwargs)` makes of a list of inputs.

    >>> {name}([torch.ones(1, 2), torch.ones(1, 2)]).shape
    torch.Size([1, 2])
    """
    return merge


add = _function(Add, "add")
subtract = _function(Subtract, "subtract")
multiply = _function(Multiply, "multiply")
average = _function(Average, "average")
maximum = _function(Maximum, "maximum")
minimum = _function(Minimum, "minimum")


def concatenate(inputs: Sequence[Any], axis: int = -1, **kwargs: Any) -> Any:
    """Return the inputs joined along `axis`: `Concatenate(axis)` called on a list of them.

    >>> concatenate([torch.ones(2, 3), torch.ones(2, 4)]).shape
    torch.Size([2, 7])
    """
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs: Sequence[Any], axes: int | Sequence[int], normalize: bool = False, **kwargs: Any) -> Any:
    """Return the dot product along `axes`: `Dot(axes, normalize)` called on a list of two inputs.

    >>> dot([torch.ones(1, 3), torch.ones(1, 3)], axes=1)
    tensor([[3.]])
    """
    return Dot(axes=axes, normalize=normalize, **kwargs)(inputs)
