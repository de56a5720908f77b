"""Items in memory that whoever made them writes to again: they are copied, where that is so."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from torchkeras_fn.engine.basics.nested import leaves_of


def copied(batch: Any) -> Any:
    """Return a batch whose numbers nobody else writes to: a thread that runs ahead of a generator lets it refill its arrays.

    >>> buffer = np.zeros(2)
    >>> batch = copied((buffer, None))
    >>> buffer[:] = 1
    >>> batch
    (array([0., 0.]), None)
    """
    if isinstance(batch, np.ndarray):
        return batch.copy(order="K") if batch.flags.writeable else batch
    if isinstance(batch, torch.Tensor):
        return batch.detach().clone()
    if hasattr(batch, "iloc") or hasattr(batch, "nnz"):  # of the sparse matrices one is a dict, too
        return batch.copy()
    if isinstance(batch, Mapping):
        return {name: copied(part) for name, part in batch.items()}
    if isinstance(batch, (list, tuple)):
        parts = batch if all(isinstance(part, (int, float)) for part in batch) else map(copied, batch)
        return type(batch)(*parts) if hasattr(batch, "_fields") else tuple(parts) if isinstance(batch, tuple) else list(parts)
    return batch


class Spared:
    """Reads items that may all come in the same memory: the second shows whether they do, and then all are copied, as the first was.

    >>> buffer = np.zeros(1)
    >>> read = Spared(lambda index: np.add(buffer, 1, out=buffer))
    >>> read(0), read(1)
    (array([1.]), array([2.]))
    """

    def __init__(self, read: Callable[[Any], Any]):
        self._read, self._copies = read, True
        self._first: list[Any] | None = None

    def __call__(self, index: Any) -> Any:
        try:
            item = self._read(index)
        except StopIteration as error:
            raise no_item(index) from error
        if self._first is None:
            self._first = list(filter(_is_array, leaves_of(item)))
        elif self._first:
            self._copies = any(_share_memory(leaf, one) for leaf in filter(_is_array, leaves_of(item)) for one in self._first)
            self._first = []
        return copied(item) if self._copies else item


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, (np.ndarray, torch.Tensor))


def _share_memory(one: Any, other: Any) -> bool:
    """Whether what is written into one of two arrays may be seen in the other, as in a view that is made anew for each item."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.may_share_memory(one, other)
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one is other or _is_overlapping(_bytes_of(one), _bytes_of(other))
    return False


def _bytes_of(tensor: torch.Tensor) -> tuple[int, int]:
    """Where the first of a tensor's bytes is, and the first behind them; nowhere for one of several parts, as a sparse one."""
    if tensor.layout is not torch.strided or tensor.is_nested or not tensor.numel():
        return 0, 0
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()


def _is_overlapping(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def no_item(index: Any) -> RuntimeError:
    """Return what is raised for an item that ends with `StopIteration`, which would pass for the end of all items.

    >>> raise no_item(3)
    Traceback (most recent call last):
        ...
    RuntimeError: Reading item 3 of the data raised StopIteration. Items are read by their numbers: return one for each below the length.
    """
    return RuntimeError(
        f"Reading item {index} of the data raised StopIteration. Items are read by their numbers: return one for each below the length."
    )


def caused(error: Exception, cause: Exception) -> Exception:
    """Return the error, as raised `from` the cause.

    >>> caused(RuntimeError("no item"), StopIteration()).__cause__
    StopIteration()
    """
    error.__cause__ = cause
    return error
