"""Batches for an accelerator out of arrays in the CPU's memory: a thread makes the next ones ready while the device works."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import torch

from torchkeras_fn.engine.batches.columns import Column
from torchkeras_fn.engine.batches.worker_threads import Threaded
from torchkeras_fn.engine.batches.workers import Loading
from torchkeras_fn.engine.device import pinned, to_device

AHEAD = 2
"""So many batches, or groups of small ones, are ready at most before they are asked for."""
_MOST_AT_ONCE, _BYTES_AT_ONCE = 16, 2**20


def is_worth_it(columns: Iterable[Column], device: torch.device) -> bool:
    """Return whether the arrays lie in the CPU's memory and the model elsewhere. What is read from somewhere else stays with its thread.

    >>> is_worth_it([Column(torch.ones(3))], torch.device("cpu"))
    False
    """
    return device.type != "cpu" and all(type(one) is Column and one.device.type == "cpu" for one in columns)


def ahead(make: Callable[[Any], Any], rows: Sequence[Any], device: torch.device, columns: Sequence[Column] = ()) -> Iterator[Any]:
    """Yield what `make` makes of each of the rows, in their order: made in a thread, and in pinned memory where the device gains by that.

    What is drawn at random is drawn before, by whoever chose the rows. Small batches, as the `columns` show, come out of
    the thread several at once. Closing the iterator ends the thread.

    >>> list(ahead(lambda row: torch.tensor(row), [1, 2], torch.device("cpu")))
    [tensor(1), tensor(2)]
    """
    several = _at_once(rows, columns)
    groups = [rows[start : start + several] for start in range(0, len(rows), several)]

    def read(group: Sequence[Any]) -> list[Any]:
        return [each_tensor(make(index), pinned, device) for index in group]

    with closing(Threaded(map(read, groups), Loading(max_queue_size=AHEAD))) as ready:
        for group in ready:
            yield from group


def _at_once(rows: Sequence[Any], columns: Sequence[Column]) -> int:
    """How many batches to hand over together: each time that threads take turns costs as much as a small batch."""
    if not rows or not columns:
        return 1
    first = rows[0]
    samples = first.stop - first.start if isinstance(first, slice) else len(first)
    size = samples * sum(math.prod(one.shape[1:]) * one.dtype.itemsize for one in columns)
    return max(1, min(_MOST_AT_ONCE, _BYTES_AT_ONCE // max(1, size)))


def staged(make: Callable[[Any], Any], rows: Sequence[Any], device: torch.device, columns: Sequence[Column] = ()) -> Iterator[Any]:
    """Yield what `make` makes of each of the rows on the CPU, on the device. The copies are not waited for."""
    with closing(ahead(make, rows, device, columns)) as batches:  # type: ignore[type-var]
        for batch in batches:
            yield each_tensor(batch, to_device, device)


def each_tensor(batch: Any, change: Callable[[torch.Tensor, torch.device], torch.Tensor], device: torch.device) -> Any:
    """Return a batch with all its tensors, in lists, tuples and dicts too, changed for a device.

    >>> each_tensor((torch.ones(1), None, [torch.ones(2)]), to_device, torch.device("meta"))
    (tensor(..., device='meta', size=(1,)), None, [tensor(..., device='meta', size=(2,))])
    """
    if isinstance(batch, torch.Tensor):
        return change(batch, device)
    if isinstance(batch, Mapping):
        return {name: each_tensor(part, change, device) for name, part in batch.items()}
    if isinstance(batch, (list, tuple)):
        return type(batch)([each_tensor(part, change, device) for part in batch])
    return batch
