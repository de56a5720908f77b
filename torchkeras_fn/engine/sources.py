"""Data that comes batch by batch: `Sequence`s, generators, torch data sets and loaders, in threads or worker processes.

A `Source` gives passes over the data. Batches are prepared ahead in order, and no thread or process outlives `close()`.
"""

import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from torchkeras_fn.engine.dealing import Dealt, dealt, dealt_loader, is_repeat, own_rows
from torchkeras_fn.engine.picture import Picture
from torchkeras_fn.engine.position import Epochwise, Place, Reading, plain_attributes, set_attributes
from torchkeras_fn.engine.processes import Processes
from torchkeras_fn.engine.workers import (
    Items,
    Loading,
    Order,
    Stream,
    Threaded,
    batches_from,
    copied,
    end_workers,
    in_threads,
    loader_of,
    one_by_one,
    process_options,
)


class Source:
    """Passes over some data. `steps` is the number of batches in a pass, `None` where it is not known."""

    steps: int | None = None
    restarts = True
    """Whether the data begins again when it is over; a generator does not."""
    samples: int | None = None
    batches_are_pairs = False
    """Whether a list that comes as a batch stands for `(x, y)`, as torch's collation returns it."""
    processes: Processes | None = None
    """Those among whom the data is dealt out; `None` where it comes as it is."""
    is_dealt = False
    """Whether each process has a part of the data, which is whole with those of the others."""
    is_planned = False
    """Whether it is known before anything is read how many rows each process has of a batch, and reading cannot fail."""
    is_watched = False
    """Whether somebody wants to come back to a place in a pass."""
    device = torch.device("cpu")
    """Where the batches are wanted."""
    ahead: Place | None = None
    """Where random generators were after the last batch that was delivered, where a thread has moved them on since."""

    def one_pass(self) -> Iterator[Any]:
        """Yield the batches of one pass. Closing the iterator ends every thread and process behind it."""
        raise NotImplementedError

    def pass_after(self, count: int) -> Iterator[Any]:
        """Begin a pass, and return what comes after its first `count` batches. Raises `ValueError` where there are fewer."""
        batches = self.one_pass()
        drop(batches, count)
        return batches

    def total_at(self, position: int) -> int:
        """Return how many rows all processes have together at a position in the pass, where that `is_planned`."""
        raise NotImplementedError

    def rows_at(self, position: int, rows: int) -> int:
        """Return how many of the rows that came as a batch at a position in the pass are this process's, and no repeats."""
        return rows

    def holders(self) -> list[Any]:
        """Return the objects whose own random generators may have a say in what comes."""
        return []

    def place(self) -> Place:
        """Return where the random generators are as a pass begins."""
        return Place.of(self.holders())

    def state_dict(self) -> dict[str, Any]:
        """Return what has changed about the data since it was new."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the data what it was, between two passes."""

    def first(self) -> Any:
        """Return the first batch, as a sample of what will come, and leave nothing running. Raises `StopIteration` for none."""
        return next(self.one_pass())

    def close(self) -> None:
        """End what is left running."""


class SequenceSource(Source):
    """A `Sequence`, or anything else with a length whose items are batches."""

    def __init__(self, sequence: Any, shuffle: bool, loading: Loading, processes: Processes | None = None):
        self.sequence, self.shuffle, self.loading, self.processes = sequence, shuffle, loading, processes
        self.is_dealt = processes is not None
        self._loader: DataLoader[Any] | None = None
        self._handed_over: Picture | None = None
        self._epochwise = Epochwise(sequence)

    @property
    def steps(self) -> int:  # type: ignore[override]
        """The number of batches, which may change from epoch to epoch."""
        return -(-len(self.sequence) // (1 if self.processes is None else self.processes.count))

    def rows_at(self, position: int, rows: int) -> int:
        """Return 0 for a batch that another process has."""
        return 0 if self.processes is not None and is_repeat(position, len(self.sequence), self.processes) else rows

    def first(self) -> Any:
        """Return the first batch, which is read again when its turn comes."""
        return self.sequence[0]

    def one_pass(self) -> Iterator[Any]:
        """Yield each batch once, then tell the sequence that the epoch is over."""
        return self.pass_after(0)

    def pass_after(self, count: int) -> Iterator[Any]:
        """Return the batches of a new pass but for the first `count`, which only worker processes read."""
        order = self._order()
        if count > len(order):
            raise ValueError(_too_few(len(order), count))
        if self.loading.processes:
            batches = self._from_processes(order)
            drop(batches, count)
        elif self.loading.workers:
            batches = self._from_threads(order[count:])
        else:
            batches = one_by_one(self.sequence.__getitem__, order[count:])
        return self._with_an_end(batches)

    def _order(self) -> Sequence[int]:
        """The numbers of this process's batches."""
        steps = len(self.sequence)
        if self.processes is None:
            order: Sequence[int] = torch.randperm(steps).tolist() if self.shuffle else range(steps)
            return order
        drawn = self.processes.as_first(lambda: torch.randperm(steps).tolist()) if self.shuffle else range(steps)
        return dealt(drawn, self.processes)

    def _with_an_end(self, batches: Iterator[Any]) -> Iterator[Any]:
        yield from batches
        if self.is_watched and self._changes():
            self._epochwise.end()
        elif hasattr(self.sequence, "on_epoch_end"):
            self.sequence.on_epoch_end()

    def _changes(self) -> bool:
        """Whether the sequence reacts to the end of an epoch."""
        reaction = getattr(type(self.sequence), "on_epoch_end", None)
        return reaction is not None and getattr(reaction, "__module__", None) != "torchkeras_fn.utils.sequence"

    def _from_threads(self, order: Sequence[int]) -> Iterator[Any]:
        if not self.is_watched or self.loading.workers > 1:
            yield from in_threads(self.sequence.__getitem__, order, self.loading)
            return
        read = Reading(self.holders()).noting(self.sequence.__getitem__)
        for batch, place in in_threads(read, order, self.loading):
            self.ahead = place
            yield batch
        self.ahead = None

    def _from_processes(self, order: Sequence[int]) -> Iterator[Any]:
        # a sequence that changes between epochs is handed to new processes each time, as the main process has it
        keeps = not self._changes() and not self.is_watched
        now = Picture(self.sequence) if keeps else None
        if self._loader is None or not keeps or self._handed_over != now:
            self.close()
            self._sampler, self._handed_over = Order(), now
            self._loader = loader_of(Items(self.sequence), self.loading, sampler=self._sampler, persistent=keeps)
        self._sampler.order = order
        yield from batches_from(self._loader, ends=not keeps)

    def holders(self) -> list[Any]:
        """Return the sequence."""
        return [self.sequence]

    def state_dict(self) -> dict[str, Any]:
        """Return what the ends of epochs have made of the sequence."""
        return self._epochwise.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the sequence what it was."""
        self._epochwise.load_state_dict(state)

    def close(self) -> None:
        """End the worker processes."""
        loader, self._loader = self._loader, None
        end_workers(getattr(loader, "_iterator", None))


class GeneratorSource(Source):
    """A generator or iterator of batches: one pass that goes on over the epochs."""

    restarts = False

    def __init__(self, generator: Any, loading: Loading):
        self.generator, self.loading = iter(generator), loading
        if loading.processes > 1:
            warnings.warn(
                f"A generator in {loading.processes} processes runs once in each of them, so batches may repeat. "
                "Use a torchkeras_fn.utils.Sequence, whose batches are shared out.",
                UserWarning,
                stacklevel=2,
            )

    def first(self) -> Any:
        """Return the first batch, and keep it for its turn."""
        found = next(self.generator)
        self.generator = itertools.chain([found], self.generator)
        return found

    def one_pass(self) -> Iterator[Any]:
        """Yield what the generator yields."""
        if self.loading.processes:
            return batches_from(loader_of(Stream(self.generator), self.loading), ends=True)
        if self.loading.workers and self.is_watched:
            return self._watched()
        return Threaded(map(copied, self.generator), self.loading) if self.loading.workers else self.generator

    def _watched(self) -> Iterator[Any]:
        ready = Threaded(Reading([]).each(map(copied, self.generator)), self.loading)
        try:
            for batch, place in ready:
                self.ahead = place
                yield batch
        finally:
            ready.close()

    def pass_after(self, count: int) -> Iterator[Any]:
        """Let the generator begin again, which is a new one, and return what comes after `count` batches."""
        if self.loading.processes:
            return super().pass_after(count)
        drop(self.generator, count)
        return self.one_pass()


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
        self._handed_over: Picture | None = None
        try:
            self.steps = len(self.loader)
        except TypeError:
            self.steps = None

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
        before, self._handed_over = self._handed_over, Picture(self.loader.dataset)
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


def drop(batches: Iterator[Any], count: int) -> None:
    """Take so many batches, and forget them. Raises `ValueError` where there are fewer.

    >>> drop(iter([1]), 2)
    Traceback (most recent call last):
        ...
    ValueError: The data gave 1 batches, but 2 were taken of it before training was interrupted. Give the same data.
    """
    for taken in range(count):
        try:
            next(batches)
        except StopIteration:
            raise ValueError(_too_few(taken, count)) from None


def _too_few(given: int, wanted: int) -> str:
    return f"The data gave {given} batches, but {wanted} were taken of it before training was interrupted. Give the same data."


class _WholeBatches:
    """A sampler of whole batches of neighbours, in a new order for each epoch."""

    def __init__(self, samples: int, size: int):
        self.samples, self.size = samples, size

    def __iter__(self) -> Iterator[list[int]]:
        for start in batch_starts(self.samples, self.size, shuffle=True):
            yield list(range(start, min(start + self.size, self.samples)))

    def __len__(self) -> int:
        return -(-self.samples // self.size)
