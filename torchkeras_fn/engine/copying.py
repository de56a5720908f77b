"""Copies of a layer's inputs, and whether the layer wrote to them."""

from collections.abc import Callable
from typing import Any

import torch

from torchkeras_fn.engine.incoming import carried_mask, carry_mask
from torchkeras_fn.engine.inference import map_only


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
            copy = tensor.clone()
        mask = carried_mask(tensor)
        if mask is not None:
            carry_mask(copy, mask)
        copies.append((copy, copy._version))
        return copy

    return map_only(torch.Tensor, copy_of, inputs), lambda: any(copy._version != version for copy, version in copies)
