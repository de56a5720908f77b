"""Targets that come from tensors given to `compile`, and not with the data."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from torchkeras_fn.engine.outputs.per_output import entry_per_output
from torchkeras_fn.engine.symbolic import KerasTensor


def target_feeds(target_tensors: Any, names: Sequence[str] | None) -> dict[int, Callable[[], torch.Tensor]]:
    """Return for each output that has one, by its position, the function that returns its target.

    A placeholder, as `Input` and `keras.backend.placeholder` return it, stands for what is passed as `y`, as without it. Raises
    `TypeError` for what is no tensor, list or dict, and for one that is computed from others in a graph; `ValueError` for one that
    does not fit the outputs.

    >>> target_feeds({"b": torch.ones(1)}, ["a", "b"])[1]()
    tensor([1.])
    """
    if target_tensors is None:
        return {}
    is_single = isinstance(target_tensors, (torch.Tensor, KerasTensor)) or callable(target_tensors)
    if not isinstance(target_tensors, (list, Mapping)) and not is_single:
        raise TypeError(f"target_tensors is a tensor, or a list or dict of tensors, got a {type(target_tensors).__name__}.")
    known = list(names or ["output_1"])
    if is_single and len(known) > 1:
        raise ValueError(
            f"The model has {len(known)} outputs {known}: target_tensors was expected to be a list or dict, got a single tensor."
        )
    chosen = entry_per_output(target_tensors, known, "target_tensors")
    feeds = {index: _feed(value) for index, value in enumerate(chosen) if value is not None}
    return {index: feed for index, feed in feeds.items() if feed is not None}


def _feed(value: Any) -> Callable[[], torch.Tensor] | None:
    if isinstance(value, KerasTensor):
        entry = value.node.operation
        if not hasattr(entry, "feed"):
            raise TypeError(
                f"target_tensors holds {value}, which is computed from other tensors of a graph. Pass what it is computed from as y and "
                "compute it in the loss, or use add_loss."
            )
        return entry.feed if entry.tensor is not None else None
    return value if callable(value) else functools.partial(_given, value)


def _given(tensor: torch.Tensor) -> torch.Tensor:
    return tensor
