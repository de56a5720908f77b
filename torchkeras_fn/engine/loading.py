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
    """How batches are prepared: `workers` threads or processes (0: in the main thread), at most `max_queue_size` ahead."""

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
        from_base = getattr(type(self.sequence), "on_epoch_end", None)
        changes = from_base is not None and from_base.__qualname__ != "Sequence.on_epoch_end"
        if self._loader is None or changes:
            # a sequence that changes between epochs is handed to new processes each time, as the main process has it
            self._sampler = _Order()
            self._loader = _loader(_Indexed(self.sequence), self.loading, sampler=self._sampler, persistent=not changes)
        self._sampler.order = order
        yield from self._loader

    def close(self) -> None:
        """End the worker processes."""
        self._loader = None


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
            return iter(_loader(_Streamed(self.generator), self.loading))
        return _Threaded(self.generator, self.loading) if self.loading.workers else self.generator


class LoaderSource(Source):
    """A torch `DataLoader`, used as it is, or another iterable of batches that can be iterated again."""

    batches_are_pairs = True

    def __init__(self, loader: Iterable[Any]):
        self.loader = loader
        try:
            self.steps = len(loader)  # type: ignore[arg-type]
        except TypeError:
            self.steps = None

    def one_pass(self) -> Iterator[Any]:
        """Yield the loader's batches."""
        return iter(self.loader)


def dataset_source(dataset: Any, batch_size: int, shuffle: bool, loading: Loading) -> Source:
    """Return a torch data set of samples as a source of batches, through a `DataLoader`."""
    iterable = isinstance(dataset, IterableDataset)
    return LoaderSource(
        DataLoader(
            dataset,
            batch_size=batch_size,
            shuffle=None if iterable else shuffle,
            num_workers=loading.processes,
            prefetch_factor=loading.prefetch_factor if loading.processes else None,
            persistent_workers=bool(loading.processes),
        )
    )


class Epochs:
    """The batches of each epoch in turn: `steps` of them, going on where the last epoch ended, or a whole pass for `None`.

    `convert` makes a batch of tensors of what the source gives. When data that cannot begin again is over, the epoch
    ends with a warning, and `exhausted` is set.
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

    def __len__(self) -> int:
        if self.steps is None and self.source.steps is None:
            raise TypeError("The number of batches is not known.")
        return self.steps if self.steps is not None else int(self.source.steps or 0)

    def __iter__(self) -> Iterator[Any]:
        source = self.source
        wanted = self.steps if self.steps is not None else source.steps if source.restarts else None
        done = 0
        while wanted is None or done < wanted:
            if self._pass is None:
                self._open_pass()
            try:
                raw = self._peeked.pop() if self._peeked else next(self._pass)
            except StopIteration:
                self._pass = None
                if wanted is None or not source.restarts or self._position == 0:
                    break
                continue
            yield self.convert(raw)
            self._position += 1
            done += 1
        if self._pass is not None and source.restarts and self._position == self._length:
            next(self._pass, None)  # a used-up pass comes to its end here, which tells a Sequence that its epoch is over
            self._pass = None
        if wanted is None:
            self.exhausted = not source.restarts
        elif done < wanted:
            self.exhausted = True
            warnings.warn(f"The data ended after {done} of the {wanted} steps that were wanted, and the run ends with it.", stacklevel=2)

    def peek(self) -> Any:
        """Return the first batch as the source gave it, without using it up."""
        first = next(self._open_pass(), None)
        self._peeked.append(first)
        return first

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
        self._stop = threading.Event()
        self._queue: queue.Queue[tuple[str, Any]] = queue.Queue(loading.max_queue_size)
        self._thread = threading.Thread(target=self._produce, args=(generator,), daemon=True, name="torchkeras_fn-generator")
        self._thread.start()

    def _produce(self, generator: Iterator[Any]) -> None:
        try:
            for batch in generator:
                if not self._put("batch", batch):
                    return
            self._put("end", None)
        except BaseException as error:  # handed over to the caller, whatever it is
            self._put("error", error)

    def _put(self, kind: str, value: Any) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put((kind, value), timeout=0.05)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> "_Threaded":
        return self

    def __next__(self) -> Any:
        kind, value = self._queue.get()
        if kind == "batch":
            return value
        self.close()
        if kind == "error":
            raise value
        raise StopIteration

    def close(self) -> None:
        """Stop the thread, and wait for it."""
        self._stop.set()
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


def _as_it_is(batch: Any) -> Any:
    return batch


def _loader(dataset: Any, loading: Loading, sampler: Any = None, persistent: bool = True) -> DataLoader[Any]:
    """Return a loader of ready batches; the processes are forked where that exists, so that nothing needs to be pickled."""
    can_fork = "fork" in multiprocessing.get_all_start_methods()
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=sampler,
        collate_fn=_as_it_is,
        num_workers=loading.processes,
        prefetch_factor=loading.prefetch_factor,
        persistent_workers=persistent,
        multiprocessing_context="fork" if can_fork else None,
    )
