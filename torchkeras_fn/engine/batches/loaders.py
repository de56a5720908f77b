"""torch's data sets and loaders, and other iterables that can begin again, as a source of batches."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from torchkeras_fn.engine.basics.snapshot import Snapshot
from torchkeras_fn.engine.batches.dealing import Dealt, dealt_loader, is_repeat, own_rows
from torchkeras_fn.engine.batches.position import Place, plain_attributes, set_attributes
from torchkeras_fn.engine.batches.sources import Source
from torchkeras_fn.engine.batches.worker_processes import Items, batches_from, end_workers, process_options
from torchkeras_fn.engine.batches.workers import Loading
from torchkeras_fn.engine.processes.processes import Processes


class LoaderSource(Source):
    """A torch `DataLoader`, used as it is, or another iterable of batches that can be iterated again.

    Processes that a user's loader keeps, with `persistent_workers=True`, are its user's to end; those of a loader that
    was made here (`ours`) end with `close()`.
    """

    batches_are_pairs = True

    def __init__(self, loader: Any, ours: bool = False, processes: Processes | None = None, in_order: bool = False):
        self.loader = loader if processes is None else dealt_loader(loader, processes, in_order)
        self.processes, self._ours = processes, ours or self.loader is not loader
        self.is_dealt = self.loader is not loader
        self._begun: Iterator[Any] | None = None
        self._passes_begun = 0
        self._begun_at: Place | None = None
        self._handed_over: Snapshot | None = None

    @property
    def steps(self) -> int | None:  # type: ignore[override]
        """The number of batches, where the loader tells it; it may change from epoch to epoch."""
        try:
            return len(self.loader)
        except TypeError:
            return None

    def rows_at(self, position: int, rows: int) -> int:
        """Return 0 for a batch that another process has, and leave out the rows that a `DistributedSampler` repeats."""
        if self.processes is None or not isinstance(self.loader, DataLoader):
            return rows
        sampler = self.loader.sampler
        chosen: Any = sampler if self.loader.batch_sampler is None else self.loader.batch_sampler
        if isinstance(chosen, Dealt):
            return 0 if is_repeat(position, len(chosen.sampler), self.processes) else rows
        if isinstance(sampler, DistributedSampler) and self.loader.batch_size is not None:
            return min(rows, max(0, own_rows(sampler) - position * self.loader.batch_size))
        return rows

    def one_pass(self) -> Iterator[Any]:
        """Yield the loader's batches."""
        sampler = getattr(self.loader, "sampler", None)
        if self._begun is None and self.processes is not None and isinstance(sampler, DistributedSampler):
            sampler.set_epoch(sampler.epoch + self._passes_begun)
            self._passes_begun = 1
        begun, self._begun = self._begun, None
        keeps = getattr(self.loader, "persistent_workers", False)
        if self.is_watched and keeps:
            return self._from_new_processes()
        if self._ours and keeps:
            self._end_processes_with_old_data()
        return begun or batches_from(self.loader, ends=not keeps)

    def _from_new_processes(self) -> Iterator[Any]:
        """Yield a pass out of processes that begin with it and end with it: what others drew before is known to nobody."""
        self._end_processes()
        try:
            yield from self.loader
        finally:
            self._end_processes()

    def holders(self) -> list[Any]:
        """Return the loader, what it loads, and what chooses the order."""
        inner = getattr(self.loader, "batch_sampler", None)
        parts = (getattr(self.loader, "dataset", None), getattr(self.loader, "sampler", None), inner, getattr(inner, "sampler", None))
        return [self.loader, *parts]

    def place(self) -> Place:
        """Return where the random generators are, or were when a pass was begun for its first batch."""
        return self._begun_at if self._begun is not None and self._begun_at is not None else super().place()

    def state_dict(self) -> dict[str, Any]:
        """Return the numbers that samplers keep, such as that of the epoch."""
        return {"attributes": [plain_attributes(sampler) for sampler in self.holders()[2:]]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Give the samplers their numbers back. A pass that was begun is not the one to go on with."""
        self._begun = None
        for sampler, values in zip(self.holders()[2:], state["attributes"], strict=True):
            set_attributes(sampler, values)

    def first(self) -> Any:
        """Return the first batch, and keep it for its turn, unless processes would wait for that."""
        self._begun_at = self.place()
        batches = self.one_pass()
        found = next(batches)
        if not getattr(self.loader, "num_workers", 0):
            self._begun = itertools.chain([found], batches)
        self.close()
        return found

    def close(self) -> None:
        """End the worker processes of a loader made here."""
        if self._ours:
            self._end_processes()

    def _end_processes_with_old_data(self) -> None:
        """End those that have the data as it was before somebody changed it."""
        before, self._handed_over = self._handed_over, Snapshot(self.loader.dataset)
        if before != self._handed_over:
            self._end_processes()

    def _end_processes(self) -> None:
        if isinstance(self.loader, DataLoader):
            end_workers(self.loader._iterator)
            self.loader._iterator = None


def dataset_source(dataset: Any, batch_size: int, shuffle: Any, loading: Loading, processes: Processes | None = None) -> Source:
    """Return a torch data set of samples as a source of batches, through a `DataLoader`."""
    options: dict[str, Any] = {"batch_size": batch_size}
    if shuffle == "batch" and not isinstance(dataset, IterableDataset):
        options = {"batch_sampler": _WholeBatches(len(dataset), batch_size)}
    elif shuffle and not isinstance(dataset, IterableDataset):
        options["shuffle"] = True
    if loading.processes:
        options |= process_options(loading, persistent=True)
        dataset = dataset if isinstance(dataset, IterableDataset) else Items(dataset)
    return LoaderSource(DataLoader(dataset, **options), ours=True, processes=processes)


def batch_starts(samples: int, size: int, shuffle: bool) -> list[int]:
    """Return the first row of each batch, in a new order with `shuffle`; a short last batch stays last.

    >>> batch_starts(7, 3, shuffle=False)
    [0, 3, 6]
    """
    starts = list(range(0, samples, size))
    full = samples // size
    return [starts[index] for index in torch.randperm(full).tolist()] + starts[full:] if shuffle else starts


class _WholeBatches:
    """A sampler of whole batches of neighbours, in a new order for each epoch."""

    def __init__(self, samples: int, size: int):
        self.samples, self.size = samples, size

    def __iter__(self) -> Iterator[list[int]]:
        for start in batch_starts(self.samples, self.size, shuffle=True):
            yield list(range(start, min(start + self.size, self.samples)))

    def __len__(self) -> int:
        return -(-self.samples // self.size)
