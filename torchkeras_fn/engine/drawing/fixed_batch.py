"""Calls that work for batches of one size alone, such as a layer that draws random numbers of shape `(batch_size, 2)`, are drawn."""

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from torchkeras_fn.engine.basics.nested import leaves_of, map_only


def with_fixed_batch(call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Return what a call gives, told by running it on as many rows as it makes itself; its inputs hold no data, and any number of rows.

    `None` where it does not work for that number either, or does not return as many rows.

    >>> rows = torch.empty(240, 3, device="meta")
    >>> with_fixed_batch(lambda x: x + torch.rand(8, 1, device="meta"), (rows,), {}).shape
    torch.Size([240, 3])
    """
    inputs = [leaf for leaf in leaves_of((args, kwargs)) if isinstance(leaf, torch.Tensor) and leaf.ndim]
    if not inputs or not all(leaf.is_meta for leaf in inputs):
        return None
    rows = inputs[0].shape[0]
    with _NotedRows() as noted, contextlib.suppress(Exception):
        call(*args, **kwargs)
    for fixed in dict.fromkeys(noted.rows):
        if fixed in (1, rows):
            continue
        with contextlib.suppress(Exception):
            outputs = call(*_with_rows(args, rows, fixed), **_with_rows(kwargs, rows, fixed))
            tensors = [leaf for leaf in leaves_of(outputs) if isinstance(leaf, torch.Tensor)]
            if tensors and all(tensor.ndim and tensor.shape[0] == fixed for tensor in tensors):
                return _with_rows(outputs, fixed, rows)
    return None


def _with_rows(tree: Any, before: int, after: int) -> Any:
    """The tensors of so many rows with others instead."""

    def resized(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.new_empty((after, *tensor.shape[1:])) if tensor.ndim and tensor.shape[0] == before else tensor

    return map_only(torch.Tensor, resized, tree)


class _NotedRows(TorchFunctionMode):
    """Notes how many rows the tensors have that are made from no other."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        is_made = not any(isinstance(leaf, torch.Tensor) for leaf in leaves_of((args, kwargs)))
        if is_made and isinstance(result, torch.Tensor) and result.ndim:
            self.rows.append(result.shape[0])
        return result
