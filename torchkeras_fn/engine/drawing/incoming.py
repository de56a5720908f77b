"""What comes into a layer: arrays made tensors, casts, what a layer demands of its inputs, and the masks that tensors carry."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from torchkeras_fn.engine.basics.nested import leaves_of
from torchkeras_fn.engine.symbolic import KerasTensor, describe_operation, record
from torchkeras_fn.numpy_arrays import from_numpy


def as_tensors(argument: Any, dtype: torch.dtype) -> Any:
    """Return numpy arrays, also in lists, tuples and dicts, as tensors, doubles in the given type; anything else as it is.

    >>> as_tensors(np.ones(2), torch.float32)
    tensor([1., 1.])
    """
    if isinstance(argument, (list, tuple)) and not hasattr(argument, "_fields"):
        return type(argument)(as_tensors(part, dtype) for part in argument)
    if isinstance(argument, dict):
        return {key: as_tensors(part, dtype) for key, part in argument.items()}
    if isinstance(argument, np.ndarray):
        tensor = from_numpy(argument)
        return tensor.to(dtype) if tensor.dtype is torch.float64 else tensor
    return argument


def as_floats(inputs: Any, dtype: torch.dtype) -> Any:
    """Return integers, and floats of another type, in the layer's own, with which they would clash. What autocast casts stays as it is.

    >>> as_floats(torch.tensor([1, 2]), torch.float32)
    tensor([1., 2.])
    """
    if not isinstance(inputs, (torch.Tensor, KerasTensor)) or inputs.dtype.is_complex or inputs.dtype == dtype:
        return inputs
    if isinstance(inputs, KerasTensor):
        return inputs if _drawing_again else record(cast_inside, (inputs, dtype), {})
    is_autocast = inputs.dtype.is_floating_point and torch.is_autocast_enabled(inputs.device.type)
    return inputs if is_autocast else inputs.to(dtype)


def cast_inside(inputs: Any, dtype: torch.dtype) -> Any:
    """Return the inputs in the type of the layer that reads them. It is part of that call: a mask stays, which a cast of the user's drops.

    >>> cast_inside(torch.tensor([1, 2]), torch.float32)
    tensor([1., 2.])
    """
    return inputs.to(dtype)


_drawing_again = False


@contextlib.contextmanager
def drawing_again() -> Iterator[None]:
    """Draw what was drawn before, in which the casts are calls of their own: the weights, and what comes from them, may be cast since.

    >>> from torchkeras_fn import Input
    >>> x = Input(shape=(1,), dtype="float64")
    >>> with drawing_again():
    ...     as_floats(x, torch.float32) is x
    True
    """
    global _drawing_again
    before, _drawing_again = _drawing_again, True
    try:
        yield
    finally:
        _drawing_again = before


class InputSpec:
    """What a layer of your own demands of its inputs: set `self.input_spec` to one, or to a list with one for each input.

    `ndim` is the number of dimensions, the batch included, `min_ndim` and `max_ndim` bound it, `shape` gives the sizes, `None`
    being any, and `axes` a dict of sizes by axis. `dtype` and `name` are kept. A call with other inputs raises `ValueError`.

    >>> InputSpec(ndim=3, axes={-1: 8}).check(torch.ones(2, 5, 7), "pool (Pool)")
    Traceback (most recent call last):
        ...
    ValueError: pool (Pool) expects size 8 along axis -1, got input of shape (2, 5, 7).
    """

    def __init__(
        self,
        dtype: Any = None,
        shape: Sequence[int | None] | None = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: dict[int, int | None] | None = None,
        allow_last_axis_squeeze: bool = False,
        name: str | None = None,
        optional: bool = False,
    ):
        self.dtype = dtype
        self.shape = None if shape is None else tuple(shape)
        self.ndim = ndim if shape is None else len(self.shape or ())
        self.max_ndim = max_ndim
        self.min_ndim = min_ndim
        self.axes = dict(axes or {})
        self.allow_last_axis_squeeze = allow_last_axis_squeeze
        self.name = name
        self.optional = optional

    def check(self, tensor: Any, layer: str) -> None:
        """Raise `ValueError`, naming the layer, where a tensor, symbolic or real, is not as demanded."""
        shape = tuple(tensor.shape)
        if self.ndim is not None and len(shape) != self.ndim:
            raise ValueError(f"{layer} expects input of {self.ndim} dimensions, got shape {shape}.")
        if self.min_ndim is not None and len(shape) < self.min_ndim:
            raise ValueError(f"{layer} expects input of at least {self.min_ndim} dimensions, got shape {shape}.")
        if self.max_ndim is not None and len(shape) > self.max_ndim:
            raise ValueError(f"{layer} expects input of at most {self.max_ndim} dimensions, got shape {shape}.")
        for axis, size in {**dict(enumerate(self.shape or ())), **self.axes}.items():
            if size is not None and shape[axis] not in (size, None):
                raise ValueError(f"{layer} expects size {size} along axis {axis}, got input of shape {shape}.")

    def __repr__(self) -> str:
        given = {key: value for key, value in vars(self).items() if value not in (None, {}, False)}
        return f"InputSpec({', '.join(f'{key}={value!r}' for key, value in given.items())})"


def check_inputs(specs: Any, inputs: Any, layer: Any) -> None:
    """Raise `ValueError` unless the inputs are as the layer's `input_spec`, or list of them, demands.

    >>> check_inputs(InputSpec(min_ndim=2), torch.ones(2, 3), "any")
    """
    wanted = list(specs) if isinstance(specs, (list, tuple)) else [specs]
    tensors = [leaf for leaf in leaves_of(inputs) if isinstance(leaf, (KerasTensor, torch.Tensor))]
    if len(wanted) != len(tensors):
        raise ValueError(f"{describe_operation(layer)} expects {len(wanted)} inputs, got {len(tensors)}.")
    for spec, tensor in zip(wanted, tensors, strict=True):
        if spec is not None:
            spec.check(tensor, describe_operation(layer))


def carried_mask(argument: Any) -> Any:
    """Return the mask that a real tensor carries, or the list of those of a list, of which some may be `None`; `None` where there is none.

    In a graph, masks are ordinary nodes. Where layers are called by hand, in the `call` of another, each result carries its mask.

    >>> from torchkeras_fn.layers import Embedding
    >>> carried_mask(Embedding(5, 2, mask_zero=True)(torch.tensor([[1, 0]])))
    tensor([[ True, False]])
    """
    if isinstance(argument, (list, tuple)):
        masks = [carried_mask(part) for part in argument]
        return masks if any(mask is not None for mask in masks) else None
    return getattr(argument, MASK, None) if isinstance(argument, torch.Tensor) else None


def carry_mask(outputs: Any, mask: Any, in_place_of_others: bool = True) -> None:
    """Let outputs carry their mask, or a list of outputs those in a list; if not `in_place_of_others`, those that carry none yet.

    >>> carry_mask(x := torch.ones(1, 2), torch.tensor([[True, False]]))
    >>> carried_mask([x])
    [tensor([[ True, False]])]
    """
    for index, tensor in enumerate(outputs if isinstance(outputs, (list, tuple)) else [outputs]):
        own = own_mask(mask, index)
        if own is not None and isinstance(tensor, torch.Tensor) and (in_place_of_others or carried_mask(tensor) is None):
            setattr(tensor, MASK, own)


def carrying(tensor: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return the numbers of a tensor as one of its own, that carries a mask.

    >>> carried_mask(carrying(torch.ones(1, 2), torch.tensor([[True, False]])))
    tensor([[ True, False]])
    """
    own = tensor.view_as(tensor)
    carry_mask(own, mask)
    return own


def masks_of(mask: Any, count: int) -> list[Any]:
    """Return a mask that was given for a number of inputs, or those in a list of arrays and tensors, as tensors: one for each, or `None`.

    >>> masks_of(np.array([[True, False]]), 1)
    [tensor([[ True, False]])]
    """
    is_listed = isinstance(mask, (list, tuple)) and all(part is None or isinstance(part, (np.ndarray, torch.Tensor)) for part in mask)
    listed = list(mask) if is_listed else [mask]
    if len(listed) != count:
        raise ValueError(f"'mask' must be one mask for each of the {count} inputs, with None for those that have none, got {len(listed)}.")
    return [None if part is None else torch.as_tensor(part, dtype=torch.bool) for part in listed]


def own_mask(mask: Any, index: int) -> Any:
    """Return the mask of one of a layer's outputs, from what `compute_mask` returned: a list of masks, or that of the first.

    >>> own_mask(["mask", None], 0), own_mask("mask", 0), own_mask("mask", 1)
    ('mask', 'mask', None)
    """
    masks = mask if isinstance(mask, (list, tuple)) else [mask]
    return masks[index] if index < len(masks) else None


MASK = "_keras_mask"
"""The attribute of a tensor that holds the mask it carries."""
