"""Data that comes batch by batch: `Sequence`s, generators, torch data sets and loaders, in threads or worker processes.

A `Source` gives passes over the data. Batches are prepared ahead in order, and no thread or process outlives `close()`.
"""

import itertools
import multiprocessing
import queue
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

_PATIENCE_SECONDS = 10.0


@dataclass
class Loading:
    """How batches are prepared: `workers` threads or processes (0: in the main thread), at most `max_queue_size` ahead.

    Each process has random generators of its own, which differ between processes and epochs and repeat from run to run;
    threads share the generators of the main thread, so what they draw depends on who comes first.
    """

    workers: int = 1
    use_multiprocessing: bool = False
    max_queue_size: int = 10

    def __post_init__(self) -> None:
        if self.workers < 0 or self.max_queue_size < 1:
            raise ValueError(
                f"'workers' must not be negative and 'max_queue_size' must be positive, got {self.workers} and {self.max_queue_size}."
            )

    @property
    def processes(self) -> int:
        """The number of worker processes."""
        return self.workers if self.use_multiprocessing else 0

    @property
    def prefetch_factor(self) -> int:
        """The number of batches that each worker process prepares ahead."""
        return max(1, self.max_queue_size // max(1, self.workers))


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

    def one_pass(self) -> Iterator[Any]:
        """Yield each batch once, then tell the sequence that the epoch is over."""
        count = len(self.sequence)
        order = torch.randperm(count).tolist() if self.shuffle else list(range(count))
        if self.loading.processes:
            yield from self._from_processes(order)
        elif self.loading.workers:
            yield from _in_threads(self.sequence.__getitem__, order, self.loading)
        else:
            yield from (self.sequence[index] for index in order)
        if hasattr(self.sequence, "on_epoch_end"):
            self.sequence.on_epoch_end()

    def _from_processes(self, order: list[int]) -> Iterator[Any]:
        reaction = getattr(type(self.sequence), "on_epoch_end", None)
        changes = reaction is not None and getattr(reaction, "__module__", None) != "torchkeras_fn.utils.sequence"
        if self._loader is None or changes:
            # a sequence that changes between epochs is handed to new processes each time, as the main process has it
            self._sampler = _Order()
            self._loader = _loader(_Indexed(self.sequence), self.loading, sampler=self._sampler, persistent=not changes)
        self._sampler.order = order
        yield from _from(self._loader, ends=changes)

    def close(self) -> None:
        """End the worker processes."""
        loader, self._loader = self._loader, None
        _end_workers(getattr(loader, "_iterator", None))


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

    def one_pass(self) -> Iterator[Any]:
        """Yield what the generator yields."""
        if self.loading.processes:
            return _from(_loader(_Streamed(self.generator), self.loading), ends=True)
        return _Threaded(self.generator, self.loading) if self.loading.workers else self.generator


class LoaderSource(Source):
    """A torch `DataLoader`, used as it is, or another iterable of batches that can be iterated again.

    Processes that a user's loader keeps, with `persistent_workers=True`, are its user's to end; those of a loader that
    was made here (`ours`) end with `close()`.
    """

    batches_are_pairs = True

    def __init__(self, loader: Iterable[Any], ours: bool = False):
        self.loader, self._ours = loader, ours
        try:
            self.steps = len(loader)  # type: ignore[arg-type]
        except TypeError:
            self.steps = None

    def one_pass(self) -> Iterator[Any]:
        """Yield the loader's batches."""
        return _from(self.loader, ends=not getattr(self.loader, "persistent_workers", False))

    def close(self) -> None:
        """End the worker processes of a loader made here."""
        if self._ours:
            _end_workers(getattr(self.loader, "_iterator", None))


def dataset_source(dataset: Any, batch_size: int, shuffle: Any, loading: Loading) -> Source:
    """Return a torch data set of samples as a source of batches, through a `DataLoader`."""
    options: dict[str, Any] = {"batch_size": batch_size}
    if shuffle == "batch" and not isinstance(dataset, IterableDataset):
        options = {"batch_sampler": _WholeBatches(len(dataset), batch_size)}
    elif shuffle and not isinstance(dataset, IterableDataset):
        options["shuffle"] = True
    if loading.processes:
        options |= _process_options(loading, persistent=True)
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
        self._peeked: list[Any] = []
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
                self._open_pass()
            try:
                raw = self._peeked.pop() if self._peeked else next(self._pass)
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
        """Return the first batch as the source gave it, without using it up. Raises `ValueError` where there is none."""
        self._peeked = list(itertools.islice(self._open_pass(), 1))
        if not self._peeked:
            raise ValueError("There is nothing to work on: the data gave no batch.")
        return self._peeked[0]

    def _open_pass(self) -> Any:
        self._pass, self._position, self._length = self.source.one_pass(), 0, self.source.steps
        return self._pass

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


class _Threaded:
    """An iterator whose items a thread takes from a generator ahead of time, in their order."""

    def __init__(self, generator: Iterator[Any], loading: Loading):
        self._stopped = False
        self._room = threading.Semaphore(loading.max_queue_size)
        self._queue: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._produce, args=(generator,), daemon=True, name="torchkeras_fn-generator")
        self._thread.start()

    def _produce(self, generator: Iterator[Any]) -> None:
        try:
            while self._room.acquire() and not self._stopped:
                self._queue.put(("batch", next(generator)))
        except StopIteration:
            self._queue.put(("end", None))
        except BaseException as error:  # handed over to the caller, whatever it is
            self._queue.put(("error", error))

    def __iter__(self) -> "_Threaded":
        return self

    def __next__(self) -> Any:
        if self._stopped:
            raise StopIteration
        kind, value = self._queue.get()
        self._room.release()
        if kind == "batch":
            return value
        self.close()
        if kind == "error":
            raise value
        raise StopIteration

    def close(self) -> None:
        """Stop the thread, and wait for it."""
        self._stopped = True
        self._room.release()
        self._thread.join(_PATIENCE_SECONDS)


def _in_threads(read: Callable[[int], Any], order: list[int], loading: Loading) -> Iterator[Any]:
    """Read the items of an order in several threads, and yield them in that order."""
    executor = ThreadPoolExecutor(loading.workers, thread_name_prefix="torchkeras_fn-sequence")
    try:
        indices = iter(order)
        ahead: deque[Future[Any]] = deque(executor.submit(read, index) for index in itertools.islice(indices, loading.max_queue_size))
        while ahead:
            batch = ahead.popleft().result()
            ahead.extend(executor.submit(read, index) for index in itertools.islice(indices, 1))
            yield batch
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


class _Indexed(Dataset[Any]):
    def __init__(self, sequence: Any):
        self.sequence = sequence

    def __len__(self) -> int:
        return len(self.sequence)

    def __getitem__(self, index: int) -> Any:
        return self.sequence[index]


class _Streamed(IterableDataset[Any]):
    def __init__(self, generator: Iterator[Any]):
        self.generator = generator

    def __iter__(self) -> Iterator[Any]:
        return self.generator


class _Order:
    """A sampler whose order is set before each epoch."""

    order: list[int] = []

    def __iter__(self) -> Iterator[int]:
        return iter(self.order)

    def __len__(self) -> int:
        return len(self.order)


class _WholeBatches:
    """A sampler of whole batches of neighbours, in a new order for each epoch."""

    def __init__(self, samples: int, size: int):
        self.samples, self.size = samples, size

    def __iter__(self) -> Iterator[list[int]]:
        for start in batch_starts(self.samples, self.size, shuffle=True):
            yield list(range(start, min(start + self.size, self.samples)))

    def __len__(self) -> int:
        return -(-self.samples // self.size)


def _as_it_is(batch: Any) -> Any:
    return batch


def _loader(dataset: Any, loading: Loading, sampler: Any = None, persistent: bool = True) -> DataLoader[Any]:
    """Return a loader of ready batches out of worker processes."""
    return DataLoader(dataset, batch_size=None, sampler=sampler, collate_fn=_as_it_is, **_process_options(loading, persistent))


def _process_options(loading: Loading, persistent: bool) -> dict[str, Any]:
    """The options of a loader's processes. They are forked where that exists, so that nothing needs to be pickled."""
    return {
        "num_workers": loading.processes,
        "prefetch_factor": loading.prefetch_factor,
        "persistent_workers": persistent,
        "multiprocessing_context": "fork" if "fork" in multiprocessing.get_all_start_methods() else None,
    }


def _from(loader: Iterable[Any], ends: bool) -> Iterator[Any]:
    """Yield the batches of a loader; with `ends`, its processes end when this does, and not when the last traceback is forgotten."""
    batches = iter(loader)
    try:
        yield from batches
    finally:
        if ends:
            _end_workers(batches)


def _end_workers(batches: Any) -> None:
    """End the worker processes behind a `DataLoader`'s iterator, as its deletion would."""
    end = getattr(batches, "_shutdown_workers", None)
    if end is not None:
        end()
