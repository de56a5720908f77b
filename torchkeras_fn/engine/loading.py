"""Data that comes batch by batch: `Sequence`s, generators, torch data sets and loaders, in threads or worker processes.

A `Source` gives passes over the data. Batches are prepared ahead in order, and no thread or process outlives `close()`.
"""

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from torchkeras_fn.engine.workers import (
    Items,
    Loading,
    Order,
    Stream,
    Threaded,
    batches_from,
    end_workers,
    in_threads,
    loader_of,
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

    def one_pass(self) -> Iterator[Any]:
        """Yield the batches of one pass. Closing the iterator ends every thread and process behind it."""
        raise NotImplementedError

    def first(self) -> Any:
        """Return the first batch, as a sample of what will come, and leave nothing running. Raises `StopIteration` for none."""
        return next(self.one_pass())

    def close(self) -> None:
        """End what is left running."""


class SequenceSource(Source):
    """A `Sequence`, or anything else with a length whose items are batches."""

    def __init__(self, sequence: Any, shuffle: bool, loading: Loading):
        self.sequence, self.shuffle, self.loading = sequence, shuffle, loading
        self._loader: DataLoader[Any] | None = None

    @property
    def steps(self) -> int:  # type: ignore[override]
        """The number of batches, which may change from epoch to epoch."""
        return len(self.sequence)

    def first(self) -> Any:
        """Return the first batch, which is read again when its turn comes."""
        return self.sequence[0]

    def one_pass(self) -> Iterator[Any]:
        """Yield each batch once, then tell the sequence that the epoch is over."""
        count = len(self.sequence)
        order = torch.randperm(count).tolist() if self.shuffle else list(range(count))
        if self.loading.processes:
            yield from self._from_processes(order)
        elif self.loading.workers:
            yield from in_threads(self.sequence.__getitem__, order, self.loading)
        else:
            yield from (self.sequence[index] for index in order)
        if hasattr(self.sequence, "on_epoch_end"):
            self.sequence.on_epoch_end()

    def _from_processes(self, order: list[int]) -> Iterator[Any]:
        reaction = getattr(type(self.sequence), "on_epoch_end", None)
        changes = reaction is not None and getattr(reaction, "__module__", None) != "torchkeras_fn.utils.sequence"
        if self._loader is None or changes:
            # a sequence that changes between epochs is handed to new processes each time, as the main process has it
            self._sampler = Order()
            self._loader = loader_of(Items(self.sequence), self.loading, sampler=self._sampler, persistent=not changes)
        self._sampler.order = order
        yield from batches_from(self._loader, ends=changes)

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
        return Threaded(self.generator, self.loading) if self.loading.workers else self.generator


class LoaderSource(Source):
    """A torch `DataLoader`, used as it is, or another iterable of batches that can be iterated again.

    Processes that a user's loader keeps, with `persistent_workers=True`, are its user's to end; those of a loader that
    was made here (`ours`) end with `close()`.
    """

    batches_are_pairs = True

    def __init__(self, loader: Iterable[Any], ours: bool = False):
        self.loader, self._ours = loader, ours
        self._begun: Iterator[Any] | None = None
        try:
            self.steps = len(loader)  # type: ignore[arg-type]
        except TypeError:
            self.steps = None

    def one_pass(self) -> Iterator[Any]:
        """Yield the loader's batches."""
        begun, self._begun = self._begun, None
        return begun or batches_from(self.loader, ends=not getattr(self.loader, "persistent_workers", False))

    def first(self) -> Any:
        """Return the first batch, and keep it for its turn, unless processes would wait for that."""
        batches = self.one_pass()
        found = next(batches)
        if not getattr(self.loader, "num_workers", 0):
            self._begun = itertools.chain([found], batches)
        self.close()
        return found

    def close(self) -> None:
        """End the worker processes of a loader made here."""
        if self._ours and isinstance(self.loader, DataLoader):
            end_workers(self.loader._iterator)
            self.loader._iterator = None


def dataset_source(dataset: Any, batch_size: int, shuffle: Any, loading: Loading) -> Source:
    """Return a torch data set of samples as a source of batches, through a `DataLoader`."""
    options: dict[str, Any] = {"batch_size": batch_size}
    if shuffle == "batch" and not isinstance(dataset, IterableDataset):
        options = {"batch_sampler": _WholeBatches(len(dataset), batch_size)}
    elif shuffle and not isinstance(dataset, IterableDataset):
        options["shuffle"] = True
    if loading.processes:
        options |= process_options(loading, persistent=True)
        dataset = dataset if isinstance(dataset, IterableDataset) else Items(dataset)
    return LoaderSource(DataLoader(dataset, **options), ours=True)


def batch_starts(samples: int, size: int, shuffle: bool) -> list[int]:
    """Return the first row of each batch, in a new order with `shuffle`; a short last batch stays last.

    >>> batch_starts(7, 3, shuffle=False)
    [0, 3, 6]
    """
    starts = list(range(0, samples, size))
    full = samples // size
    return [starts[index] for index in torch.randperm(full).tolist()] + starts[full:] if shuffle else starts


class Epochs:
    """The batches of each epoch in turn: `steps` of them, going on where the last epoch ended, or a whole pass for `None`.

    `convert` makes a batch of tensors of what the source gives. When data that cannot begin again is over, the epoch
    ends with a warning, and `exhausted` is set. Raises `ValueError` for data that gave nothing from the start.
    """

    def __init__(self, source: Source, convert: Callable[[Any], Any], steps: int | None = None):
        self.source, self.convert = source, convert
        self.steps = steps
        self.samples = source.samples
        self.exhausted = False
        self._pass: Any = None
        self._position = 0
        self._length: int | None = None
        self._begun = False

    def __len__(self) -> int:
        if self.steps is None and self.source.steps is None:
            raise TypeError("The number of batches is not known.")
        return self.steps if self.steps is not None else int(self.source.steps or 0)

    def __iter__(self) -> Iterator[Any]:
        source, wanted, done = self.source, self.steps, 0
        while wanted is None or done < wanted:
            if self._pass is None:
                self._pass, self._position, self._length = source.one_pass(), 0, source.steps
            try:
                raw = next(self._pass)
            except StopIteration:
                self._pass = None if source.restarts else iter(())
                if wanted is None or not source.restarts or self._position == 0:
                    break
                continue
            yield self.convert(raw)
            self._position += 1
            done += 1
        if self._pass is not None and source.restarts and self._position == self._length:
            next(self._pass, None)  # a used-up pass comes to its end here, which tells a Sequence that its epoch is over
            self._pass = None
        if done == 0 and not self._begun:
            raise ValueError("There is nothing to work on: the data gave no batch.")
        self._begun = True
        if done < (wanted or 1):
            self.exhausted = True
            message = f"The data ended after {done} of the {wanted or 1} steps that were wanted, and the run ends with it."
            warnings.warn(message, stacklevel=2)

    def peek(self) -> Any:
        """Return the first batch as the source gave it, without using it up. Raises `ValueError` where there is none.

        Nothing runs after it: threads and processes begin with the first epoch.
        """
        try:
            return self.source.first()
        except StopIteration:
            raise ValueError("There is nothing to work on: the data gave no batch.") from None

    def rewind(self) -> None:
        """Begin anew at the next epoch, where the data can."""
        if self.source.restarts and self._position:
            self._close_pass()

    def close(self) -> None:
        """End all threads and processes."""
        self._close_pass()
        self.source.close()

    def _close_pass(self) -> None:
        ours, self._pass = self._pass, None
        if ours is not None and ours is not getattr(self.source, "generator", None) and hasattr(ours, "close"):
            ours.close()


class _WholeBatches:
    """A sampler of whole batches of neighbours, in a new order for each epoch."""

    def __init__(self, samples: int, size: int):
        self.samples, self.size = samples, size

    def __iter__(self) -> Iterator[list[int]]:
        for start in batch_starts(self.samples, self.size, shuffle=True):
            yield list(range(start, min(start + self.size, self.samples)))

    def __len__(self) -> int:
        return -(-self.samples // self.size)
