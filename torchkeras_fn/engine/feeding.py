"""Targets that come from tensors given to `compile`, and not with the data."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from torchkeras_fn.engine.per_output import entry_per_output


def target_feeds(target_tensors: Any, names: Sequence[str] | None) -> dict[int, Callable[[], torch.Tensor]]:
    """Return for each output that has one, by its position, the function that returns its target.

    Raises `TypeError` for what is no tensor, list or dict, and `ValueError` for one that does not fit the outputs.

    >>> target_feeds({"b": torch.ones(1)}, ["a", "b"])[1]()
    tensor([1.])
    """
    if target_tensors is None:
        return {}
    if not isinstance(target_tensors, (torch.Tensor, list, Mapping)) and not callable(target_tensors):
        raise TypeError(f"target_tensors is a tensor, or a list or dict of tensors, got a {type(target_tensors).__name__}.")
    known = list(names or ["output_1"])
    if (isinstance(target_tensors, torch.Tensor) or callable(target_tensors)) and len(known) > 1:
        raise ValueError(
            f"The model has {len(known)} outputs {known}: target_tensors was expected to be a list or dict, got a single tensor."
        )
    chosen = entry_per_output(target_tensors, known, "target_tensors")
    return {index: _feed(value) for index, value in enumerate(chosen) if value is not None}


def _feed(value: Any) -> Callable[[], torch.Tensor]:
    return value if callable(value) else functools.partial(_given, value)


def _given(tensor: torch.Tensor) -> torch.Tensor:
    return tensor
