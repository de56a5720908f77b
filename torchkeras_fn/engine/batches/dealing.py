"""How the batches of some data are dealt out to several processes, so that each step works on what one process would have had.

A global batch is as many batches as there are processes. Where the data does not divide evenly, a process without a part
of its own takes part with rows of another's, which count nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_map
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, IterableDataset, SequentialSampler

from torchkeras_fn.engine.batches.columns import is_whole
from torchkeras_fn.engine.processes.processes import Processes


def part_of(rows: Any, samples: int, processes: Processes) -> Any:
    """Return the part of a global batch that is this process's: a slice or row numbers. That of the first stands in for an empty one.

    The parts lie one after the other, and differ by one row at most.
    """
    if isinstance(rows, slice):
        start, stop = rows.start, min(rows.stop, samples)
    else:
        start, stop = 0, len(rows)
    bounds = [start + -(-(stop - start) * rank // processes.count) for rank in (processes.rank, processes.rank + 1)]
    first, last = bounds if bounds[0] < bounds[1] else (start, start - (start - stop) // processes.count)
    return slice(first, last) if isinstance(rows, slice) else rows[first:last]


def rows_in(total: int, processes: Processes) -> int:
    """Return how many of the rows of a global batch are this process's."""
    return -(-total * (processes.rank + 1) // processes.count) + (-total * processes.rank // processes.count)


def dealt(items: Sequence[Any], processes: Processes) -> list[Any]:
    """Return every so many of the items, from that of this rank on: as many for each process, the last of them repeats.

    torch's `DistributedSampler` says which.
    """
    sampler = DistributedSampler(range(len(items)), processes.count, processes.rank, shuffle=False)  # type: ignore[arg-type, var-annotated]
    return [items[index] for index in sampler]


def is_repeat(position: int, items: int, processes: Processes) -> bool:
    """Return whether what `dealt` gives at a position is a repeat."""
    return position * processes.count + processes.rank >= items


class Dealt:
    """A sampler that deals out what another draws in the first process, index by index or batch by batch."""

    def __init__(self, sampler: Any, processes: Processes):
        self.sampler, self.processes = sampler, processes

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.processes.count)

    def __iter__(self) -> Iterator[Any]:
        # as a generator, which begins when the loader has drawn a number of its own: then all is drawn as in one process
        drawn = self.processes.from_first(list(self.sampler) if self.processes.is_first else None)
        yield from dealt(drawn, self.processes)


def dealt_loader(loader: Any, processes: Processes, in_order: bool = False) -> Any:
    """Return a `DataLoader` that loads this process's batches; the loader itself where it cannot be told, or says it already.

    A user's `DistributedSampler` is left as it is, unless everything is wanted `in_order`, as for a prediction.
    """
    if type(loader).__iter__ is not DataLoader.__iter__ or isinstance(loader.dataset, IterableDataset):
        return loader
    sampler, batches = loader.sampler, loader.batch_sampler
    if any(isinstance(one, DistributedSampler) for one in (sampler, getattr(batches, "sampler", None))):
        if not in_order or batches is not None and type(batches) is not BatchSampler:
            return loader
        sampler = SequentialSampler(loader.dataset)
        batches = None if batches is None else BatchSampler(sampler, loader.batch_size, drop_last=False)
    if not hasattr(sampler if batches is None else batches, "__len__"):
        return loader
    if batches is None:
        return DataLoader(loader.dataset, batch_size=None, sampler=Dealt(sampler, processes), **_options(loader))
    return DataLoader(loader.dataset, batch_sampler=Dealt(batches, processes), **_options(loader))


_OPTIONS = (
    *("num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context", "generator"),
    *("prefetch_factor", "persistent_workers", "pin_memory_device", "in_order"),
)


def _options(loader: Any) -> dict[str, Any]:
    return {name: value for name in _OPTIONS if (value := getattr(loader, name, None)) not in (None, "")}


def own_rows(sampler: Any) -> int:
    """Return how many of the rows that a `DistributedSampler` gives this process are no repeats."""
    if sampler.drop_last:
        return int(sampler.num_samples)
    return len(range(sampler.rank, len(sampler.dataset), sampler.num_replicas))


def first_rows(batch: Any, count: int) -> Any:
    """Return the first rows of a batch of tensors. Raises `ValueError` where something in it cannot be cut.

    >>> first_rows((torch.ones(3, 2), None, [torch.ones(3)]), 1)
    (tensor([[1., 1.]]), None, [tensor([1.])])
    """

    def cut(value: Any) -> Any:
        if is_whole(value):
            raise ValueError(
                f"A DistributedSampler repeats rows for processes of equal shares, and those in a {type(value).__name__} cannot be left "
                "out again. Leave out the sampler, for batches are dealt out without it, or make it with drop_last=True."
            )
        return value[:count] if isinstance(value, torch.Tensor) else value

    return tree_map(cut, batch, is_leaf=is_whole)


def in_turn(pieces: Iterable[Sequence[Any]]) -> Iterator[Any]:
    """Yield the first piece of each process, then the second of each, and so on: what `dealt` dealt, in order again.

    >>> list(in_turn([[1, 3], [2]]))
    [1, 2, 3]
    """
    remaining = [iter(part) for part in pieces]
    nothing = object()
    while remaining:
        for part in list(remaining):
            piece = next(part, nothing)
            if piece is nothing:
                remaining.remove(part)
            else:
                yield piece
