"""Copies of the inputs of layers and functions that a user wrote, and whether these wrote to them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from torchkeras_fn.engine.basics.nested import map_only
from torchkeras_fn.engine.drawing.incoming import carried_mask, carry_mask


def copies_of(inputs: Any) -> tuple[Any, Callable[[], bool]]:
    """Return a structure with its tensors copied, masks included, and the function that says whether one was written to since.

    >>> (copy,), is_altered = copies_of((torch.ones(2),))
    >>> copy -= 1
    >>> is_altered()
    True
    """
    copies: list[tuple[torch.Tensor, int]] = []

    def copy_of(tensor: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(False):  # tensors made in that mode do not count what is written to them
            copy = alike(tensor)
        mask = carried_mask(tensor)
        if mask is not None:
            carry_mask(copy, mask)
        copies.append((copy, copy._version))
        return copy

    return map_only(torch.Tensor, copy_of, inputs), lambda: any(copy._version != version for copy, version in copies)


def alike(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy that lies in memory as the tensor does: as far from the beginning of a line of 64 bytes, with the same strides.

    What is computed of it is the same to the last bit; kernels sum in another order where memory lies otherwise. A tensor
    that has a history, or lies elsewhere, is cloned.

    >>> rows = torch.ones(5, 3)[1:]
    >>> (alike(rows).data_ptr() - rows.data_ptr()) % 64
    0
    """
    is_plain = type(tensor) is torch.Tensor and tensor.is_cpu and tensor.layout is torch.strided and not tensor.is_nested
    if not is_plain or tensor.requires_grad or not tensor.numel():
        return tensor.clone()
    size = 1 + sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.stride(), strict=True))
    if not tensor.numel() <= size <= 2 * tensor.numel():  # it overlaps itself, or is part of something much larger
        return tensor.clone()
    memory = tensor.new_empty(size + _LINE // tensor.itemsize)
    start = (tensor.data_ptr() - memory.data_ptr()) % _LINE // tensor.itemsize
    return memory.as_strided(tensor.shape, tensor.stride(), start).copy_(tensor)


_LINE = 64


def called_on_copies(
    call: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], writes: dict[Any, bool], mode: Any
) -> Any:
    """Spare the inputs, which others read as well, what `inputs -= mean` does to them; and note whether there was need to.

    Further arguments, such as a cache that the call fills, are written to as they are. What is noted for each mode in `writes`
    tells the caller whether to go on doing so.

    >>> inputs, writes = torch.ones(2), {}
    >>> called_on_copies(torch.Tensor.add_, [inputs, 1], {}, writes, mode=True)
    tensor([2., 2.])
    >>> inputs, writes
    (tensor([1., 1.]), {True: True})
    """
    if not args:
        return call(**kwargs)
    if torch.compiler.is_compiling():  # which can note nothing
        is_careful = writes.get(mode, any(writes.values()))
        return call(map_only(torch.Tensor, torch.clone, args[0]) if is_careful else args[0], *args[1:], **kwargs)
    inputs, is_altered = copies_of(args[0])
    outputs = call(inputs, *args[1:], **kwargs)
    writes[mode] = writes.get(mode, False) or is_altered()
    return outputs
