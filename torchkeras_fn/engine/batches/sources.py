"""Data that comes batch by batch: `Sequence`s and generators, in threads or worker processes. `loaders.py` has those of torch.

A `Source` gives passes over the data. Batches are prepared ahead in order, and no thread or process outlives `close()`.
"""

import itertools
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader

from torchkeras_fn.engine.basics.snapshot import Snapshot
from torchkeras_fn.engine.batches.dealing import dealt, is_repeat
from torchkeras_fn.engine.batches.position import Epochwise, Place, Reading
from torchkeras_fn.engine.batches.refilled import copied
from torchkeras_fn.engine.batches.worker_processes import Items, Order, Stream, batches_from, end_workers, loader_of
from torchkeras_fn.engine.batches.worker_threads import Threaded, in_threads, one_by_one
from torchkeras_fn.engine.batches.workers import Loading
from torchkeras_fn.engine.processes.processes import Processes


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

    def expect(self, count: int) -> None:
        """Hear how many batches will be taken next."""

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
        self._handed_over: Snapshot | None = None
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
        """Tell the sequence that an epoch begins, yield each batch once, and tell it that the epoch is over."""
        if self._reacts_to_the_begin():
            self.sequence.on_epoch_begin()
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
            order: Sequence[int] = torch.randperm(steps).tolist() if self.shuffle and steps < sys.maxsize else range(steps)
            return order
        drawn = self.processes.as_first(lambda: torch.randperm(steps).tolist()) if self.shuffle else range(steps)
        return dealt(drawn, self.processes)

    def _with_an_end(self, batches: Iterator[Any]) -> Iterator[Any]:
        yield from batches
        if self.is_watched and self._changes():
            self._epochwise.end()
        elif hasattr(self.sequence, "on_epoch_end"):
            self.sequence.on_epoch_end()

    def _reacts_to_the_begin(self) -> bool:
        """Whether the sequence reacts to the begin of an epoch, as a sequence: one that is a callback too is told as that."""
        return hasattr(self.sequence, "on_epoch_begin") and not hasattr(self.sequence, "set_params")

    def _changes(self) -> bool:
        """Whether the sequence reacts to the begin or end of an epoch."""
        if self._reacts_to_the_begin():
            return True
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
        now = Snapshot(self.sequence) if keeps else None
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
    """A generator or iterator of batches: one pass that goes on over the epochs. What no epoch takes is left to its user."""

    restarts = False

    def __init__(self, generator: Any, loading: Loading):
        self.generator, self.loading = iter(generator), loading
        self._ready: Threaded | None = None
        self._expected = sys.maxsize
        if loading.processes > 1:
            warnings.warn(
                f"A generator in {loading.processes} processes runs once in each of them, so batches may repeat. "
                "Use a torchkeras_fn.utils.Sequence, whose batches are shared out.",
                UserWarning,
                stacklevel=2,
            )

    def expect(self, count: int) -> None:
        """Hear how many batches will be taken next, beyond which no thread reads."""
        self._expected = count
        if self._ready is not None:
            self._ready.want(count)

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
        return self._in_thread(map(copied, self.generator)) if self.loading.workers else self.generator

    def _in_thread(self, items: Iterator[Any]) -> Threaded:
        self._ready = Threaded(items, self.loading, self._expected)
        return self._ready

    def _watched(self) -> Iterator[Any]:
        ready = self._in_thread(Reading([]).each(map(copied, self.generator)))
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
