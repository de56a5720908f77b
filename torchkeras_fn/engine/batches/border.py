"""`Border`: arrays that come again become tensors by what was decided for the first of their kind."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from torchkeras_fn.engine.batches.arrays import Arrays, Signature
from torchkeras_fn.engine.batches.columns import Column
from torchkeras_fn.engine.device import to_device

Parts = tuple[Any, ...]
Batch = tuple[Any, Any, Any]
_Made = TypeVar("_Made")
_ARRAYS = (np.ndarray, torch.Tensor)


class Border:
    """What is known of arrays that come to a model of this `signature`, by their types and shapes: as a batch, or for a whole `fit`.

    >>> from torchkeras_fn.engine.batches.arrays import arrays_of
    >>> x, border = np.ones((2, 3)), Border(Signature())
    >>> border.made(border.batches, x, None) is None
    True
    >>> border.learn(x, None, arrays_of(x, None, None, border.signature))
    >>> border.made(border.batches, x, None)[0].dtype
    torch.float32
    """

    def __init__(self, signature: Signature):
        self.signature = signature
        self.key: Any = None
        """What the model's signature was told by; a copy belongs to another model."""
        self.batches: dict[Any, Callable[[Parts, Parts], Batch]] = {}
        """How arrays of a kind become a batch."""
        self.arrays: dict[Any, Callable[[Parts, Parts], Arrays]] = {}
        """How they are put in order."""

    def __reduce__(self) -> Any:
        """A copy learns anew."""
        return Border, (Signature(),)

    def made(self, known: dict[Any, Callable[[Parts, Parts], _Made]], x: Any, y: Any) -> _Made | None:
        """Return arrays as `batches` or as `arrays`, if their kind is known there; `None` where they have to be checked first."""
        inputs = (x,) if type(x) in _ARRAYS else _parts(x, self.signature.input_names)
        targets = (y,) if type(y) in _ARRAYS else _parts(y, self.signature.output_names)
        make = known.get(_kind(x, y, inputs, targets))
        if make is None:
            return None
        samples = inputs[0].shape[0]
        for part in (*inputs, *targets):
            if part.shape[0] != samples or not samples:
                return None
        return make(inputs, targets)

    def learn(self, x: Any, y: Any, arrays: Arrays) -> None:
        """Note how arrays of this kind become tensors, unless it takes more than casting and moving them."""
        signature = self.signature
        inputs, targets = _parts(x, signature.input_names), _parts(y, signature.output_names)
        kind = _kind(x, y, inputs, targets)
        more = signature.class_weights or signature.fed or signature.targets_fed or any(arrays.sample_weight)
        if kind is None or more or not _are_as_given(arrays.x, inputs) or not _are_as_given(arrays.y if targets else (), targets):
            return
        floats, device, rebuild, x_dtypes = signature.float_dtype, signature.device, arrays.rebuild, arrays.x_dtypes
        x_types = [dtype or _type(one, floats) for one, dtype in zip(arrays.x, x_dtypes, strict=True)]
        to_x = [_maker(part, dtype, device) for part, dtype in zip(inputs, x_types, strict=True)]
        to_y = [_maker(part, _type(one, floats), device) for part, one in zip(targets, arrays.y, strict=False)]
        several = len(arrays.y) > 1
        count, keys = len(arrays.y), arrays.keys

        def in_order(inputs: Parts, targets: Parts) -> Arrays:
            x, y = ([Column(_read(part)) for part in parts] for parts in (inputs, targets))
            return Arrays(x, list(y) or [None] * count, [None] * count, x_dtypes, rebuild, keys)

        self.arrays[kind] = in_order
        if len(to_x) == len(to_y) == 1 and not several and keys is None and rebuild([self]) is self:
            (read_x,), (read_y,) = to_x, to_y
            self.batches[kind] = lambda inputs, targets: (read_x(inputs[0]), read_y(targets[0]), None)
            return

        def convert(inputs: Parts, targets: Parts) -> Batch:
            y: Any = [make(part) for make, part in zip(to_y, targets, strict=True)] or [None] * count
            if keys is not None:
                return rebuild([make(part) for make, part in zip(to_x, inputs, strict=True)]), dict(zip(keys, y, strict=True)), None
            nothing = [None] * len(y) if several else None
            return rebuild([make(part) for make, part in zip(to_x, inputs, strict=True)]), y if several else y[0] if y else None, nothing

        self.batches[kind] = convert


def _parts(value: Any, names: Sequence[str] | None) -> Parts:
    if type(value) is dict:
        return tuple(value.values()) if names is None else tuple(map(value.get, names))
    return () if value is None else tuple(value) if isinstance(value, (list, tuple)) else (value,)


def _kind(x: Any, y: Any, inputs: Parts, targets: Parts) -> Any:
    """What decides how arrays become tensors; `None` for anything but plain numpy arrays and tensors."""
    kinds: list[Any] = [type(x), type(y), len(inputs)]
    if type(x) is dict or type(y) is dict:
        kinds += [tuple(value) for value in (x, y) if type(value) is dict]
    for part in (*inputs, *targets):
        if type(part) is np.ndarray and part.ndim:
            # of the flags the right to write counts; the strides tell what they do not of axes of size 1, one row among them
            kinds += (part.dtype, part.shape[1:], part.strides, part.flags.num)
        elif type(part) is torch.Tensor and part.ndim and part.layout is torch.strided and not part.is_nested:
            kinds += (part.dtype, part.shape[1:], part.device, part.requires_grad, part.is_inference())
        else:
            return None
    return tuple(kinds) if inputs else None


def _are_as_given(columns: Sequence[Any], parts: Parts) -> bool:
    """Whether the columns are the arrays themselves, in their order."""
    same = len(columns) == len(parts)
    return same and all(type(one) is Column and _is_memory_of(one.tensor, part) for one, part in zip(columns, parts, strict=True))


def _is_memory_of(tensor: torch.Tensor, part: Any) -> bool:
    if isinstance(part, torch.Tensor):
        return tensor is part
    as_it_lies = part.flags.writeable and part.flags.c_contiguous
    return bool(as_it_lies and tensor.shape == part.shape and tensor.data_ptr() == part.ctypes.data)


def _type(column: Any, floats: torch.dtype) -> torch.dtype:
    dtype: torch.dtype = column.dtype
    return floats if dtype.is_floating_point else dtype


def _maker(part: Any, dtype: torch.dtype, device: torch.device) -> Callable[[Any], torch.Tensor]:
    """Return the function that makes such an array a tensor of this type on this device."""
    read = torch.from_numpy if isinstance(part, np.ndarray) else _as_it_is
    tensor = read(part)
    if tensor.dtype == dtype and tensor.device == device:
        return read
    return lambda part: to_device(read(part).to(dtype), device)


def _read(part: Any) -> torch.Tensor:
    return torch.from_numpy(part) if isinstance(part, np.ndarray) else part


def _as_it_is(tensor: torch.Tensor) -> torch.Tensor:
    return tensor
