"""Batches prepared ahead, in threads or in the worker processes of a `DataLoader`. None of them outlives the iterator's `close()`."""

import itertools
import multiprocessing
import pickle
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from torchkeras_fn.engine.basics.nested import leaves_of, map_only

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
        whole = isinstance(self.workers, (int, np.integer)) and isinstance(self.max_queue_size, (int, np.integer))
        if not whole or self.workers < 0 or self.max_queue_size < 1:
            given = f"{self.workers!r} and {self.max_queue_size!r}"
            raise ValueError(f"'workers' must not be negative and 'max_queue_size' must be positive, both whole numbers, got {given}.")

    @property
    def processes(self) -> int:
        """The number of worker processes."""
        return self.workers if self.use_multiprocessing else 0

    @property
    def prefetch_factor(self) -> int:
        """The number of batches that each worker process prepares ahead."""
        return max(1, self.max_queue_size // max(1, self.workers))


class Threaded:
    """An iterator whose items a thread takes from a generator ahead of time, in their order; only so many as are `wanted`.

    >>> numbers = iter(range(9))
    >>> list(itertools.islice(Threaded(numbers, Loading(), wanted=3), 3)), next(numbers)
    ([0, 1, 2], 3)
    """

    def __init__(self, generator: Iterator[Any], loading: Loading, wanted: int = sys.maxsize):
        self._stopped = False
        self._queue: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[int] = queue.SimpleQueue()
        # Room is given back for several at once: each time that threads take turns costs both of them.
        self._most, self._few = loading.max_queue_size, loading.max_queue_size - max(1, loading.max_queue_size // 2)
        self._ahead = 0
        self.want(wanted)
        self._thread = threading.Thread(target=self._produce, args=(generator,), daemon=True, name="torchkeras_fn-generator")
        _start([self._thread], self._stop)

    def want(self, count: int) -> None:
        """Say how many more items will be asked for, which is how many more the thread takes at most."""
        self._wanted = count
        self._make_room()

    def _make_room(self) -> None:
        room = min(self._most, self._wanted) - self._ahead
        if room > 0:
            self._ahead += room
            self._room.put(room)

    def _produce(self, generator: Iterator[Any]) -> None:
        try:
            while not self._stopped:
                for _ in range(self._room.get()):
                    if self._stopped:
                        return
                    self._queue.put(("batch", next(generator)))
        except StopIteration:
            self._queue.put(("end", None))
        except BaseException as error:  # handed over to the caller, whatever it is
            self._queue.put(("error", error))

    def __iter__(self) -> "Threaded":
        return self

    def __next__(self) -> Any:
        if self._stopped:
            raise StopIteration
        kind, value = self._queue.get()
        if kind == "batch":
            self._ahead -= 1
            self._wanted -= 1
            if self._ahead <= self._few:
                self._make_room()
            return value
        self.close()
        if kind == "error":
            raise value
        raise StopIteration

    def close(self) -> None:
        """Stop the thread, and wait for it."""
        self._stop()
        self._thread.join(_PATIENCE_SECONDS)

    def _stop(self) -> None:
        self._stopped = True
        self._room.put(0)


def _start(threads: Iterable[threading.Thread], stop: Callable[[], None]) -> None:
    """Start threads, which an interrupt on the way would leave without anyone to `stop` them."""
    try:
        for thread in threads:
            thread.start()
    except BaseException:
        stop()
        raise


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


class _Spared:
    """Reads items that may all come in the same memory: the second shows whether they do, and then all are copied, as the first was."""

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


def one_by_one(read: Callable[[Any], Any], order: Sequence[Any]) -> Iterator[Any]:
    """Read the items of an order one after the other, each when it is asked for.

    >>> list(one_by_one(str, [2, 1]))
    ['2', '1']
    """
    for index in order:
        try:
            item = read(index)
        except StopIteration as error:
            raise no_item(index) from error
        yield item


def in_threads(read: Callable[[Any], Any], order: Sequence[Any], loading: Loading) -> Iterator[Any]:
    """Read the items of an order in one thread or several, and yield them in that order."""
    if loading.workers == 1:
        ready = Threaded(map(_Spared(read), order), loading)
        try:
            yield from ready
        finally:
            ready.close()
        return
    readers = _Readers(read, min(loading.workers, len(order)))
    try:
        indices, few = iter(order), max(loading.workers, loading.max_queue_size // 2)
        ahead: deque[Future[Any]] = deque(readers.ask(index) for index in itertools.islice(indices, loading.max_queue_size))
        while ahead:
            batch = ahead.popleft().result()
            if len(ahead) <= few:  # several at once, for each time that threads take turns costs both of them
                wanted = loading.max_queue_size - len(ahead)
                ahead.extend(readers.ask(index) for index in itertools.islice(indices, wanted))
            yield batch
    finally:
        readers.close()


class _Readers:
    """Threads that read items. An item that never comes keeps neither the end of a run nor that of Python waiting, as an executor would."""

    def __init__(self, read: Callable[[Any], Any], count: int):
        self._read, self._stopped = read, False
        self._asked: queue.SimpleQueue[tuple[Future[Any] | None, Any]] = queue.SimpleQueue()
        names = [f"torchkeras_fn-sequence-{number}" for number in range(count)]
        self._threads = [threading.Thread(target=self._work, daemon=True, name=name) for name in names]
        _start(self._threads, self._stop)

    def ask(self, index: Any) -> "Future[Any]":
        """Return what will hold the item."""
        future: Future[Any] = Future()
        self._asked.put((future, index))
        return future

    def _work(self) -> None:
        while True:
            future, index = self._asked.get()
            if future is None or self._stopped:
                return
            try:
                future.set_result(self._read(index))
            except StopIteration as error:
                future.set_exception(_caused(no_item(index), error))
            except BaseException as error:  # handed over to the caller, whatever it is
                future.set_exception(error)
            del future  # which may hold a batch, or an error that holds this frame

    def close(self) -> None:
        """Stop the threads, and wait for them."""
        self._stop()
        end = time.monotonic() + _PATIENCE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _stop(self) -> None:
        self._stopped = True
        for _ in self._threads:
            self._asked.put((None, None))


class Items(Dataset[Any]):
    """The batches of a sequence, or the samples of a data set, as a data set for a loader's processes."""

    def __init__(self, sequence: Any):
        self.sequence = sequence
        self._read = _Spared(sequence.__getitem__)  # for an item is sent while the next one is read

    def __len__(self) -> int:
        return len(self.sequence)

    def __getitem__(self, index: int) -> Any:
        try:
            return self._read(index)
        except Exception as error:
            raise _sendable(error)  # noqa: B904 - it says itself what it comes from

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """Return several items at once, as a data set of torch's may offer it."""
        several = getattr(self.sequence, "__getitems__", None)
        if several is None:
            return [self[index] for index in indices]
        try:
            return list(several(indices))
        except StopIteration as error:
            raise no_item(indices) from error
        except Exception as error:
            raise _sendable(error)  # noqa: B904 - it says itself what it comes from


class Stream(IterableDataset[Any]):
    """The batches of a generator, as a data set for a loader's processes."""

    def __init__(self, generator: Iterator[Any]):
        self.generator = generator

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from map(copied, self.generator)
        except Exception as error:
            raise _sendable(error)  # noqa: B904 - it says itself what it comes from


class Order:
    """A sampler whose order is set before each epoch."""

    order: Sequence[int] = ()

    def __iter__(self) -> Iterator[int]:
        return iter(self.order)

    def __len__(self) -> int:
        return len(self.order)


def _sendable(error: Exception) -> Exception:
    """The error, or one that tells of it where its class cannot be pickled: such an error is lost between processes."""
    if _can_be_pickled(type(error)):
        return error
    return _caused(RuntimeError(f"{type(error).__name__}: {error}"), error)


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def _checked(batch: Any) -> Any:
    """Return a batch that can be sent to another process. Raises `TypeError` for one that would be lost on its way."""
    batch = map_only(torch.Tensor, torch.Tensor.detach, batch)  # a tensor with a history would be lost without an error
    if not all(_is_plain(leaf) for leaf in leaves_of(batch)) and not _can_be_pickled(batch):
        raise TypeError(f"A batch of type {type(batch).__name__} cannot be pickled, so a worker process cannot send it: {batch!r:.200}.")
    return batch


def _is_plain(leaf: Any) -> bool:
    return leaf is None or isinstance(leaf, (torch.Tensor, int, float, str)) or (type(leaf) is np.ndarray and not leaf.dtype.hasobject)


def _can_be_pickled(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception:
        return False
    return True


def loader_of(dataset: Any, loading: Loading, sampler: Any = None, persistent: bool = True) -> DataLoader[Any]:
    """Return a loader of ready batches out of worker processes."""
    return DataLoader(dataset, batch_size=None, sampler=sampler, collate_fn=_checked, **process_options(loading, persistent))


def process_options(loading: Loading, persistent: bool) -> dict[str, Any]:
    """The options of a loader's processes. They are forked where that exists, so that nothing needs to be pickled."""
    return {
        "num_workers": loading.processes,
        "prefetch_factor": loading.prefetch_factor,
        "persistent_workers": persistent,
        "multiprocessing_context": "fork" if "fork" in multiprocessing.get_all_start_methods() else None,
    }


def batches_from(loader: Iterable[Any], ends: bool) -> Iterator[Any]:
    """Yield the batches of a loader; with `ends`, its processes end when this does, and not when the last traceback is forgotten."""
    batches = iter(loader)
    try:
        yield from batches
    finally:
        if ends:
            end_workers(batches)


def end_workers(batches: Any) -> None:
    """End the worker processes behind a `DataLoader`'s iterator, as its deletion would."""
    end = getattr(batches, "_shutdown_workers", None)
    if end is not None:
        end()
