"""Items that threads read ahead, in their order. None of the threads outlives the iterator's `close()`."""

import itertools
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from torchkeras_fn.engine.batches.refilled import Spared, caused, no_item
from torchkeras_fn.engine.batches.workers import Loading

_PATIENCE_SECONDS = 10.0


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
        ready = Threaded(map(Spared(read), order), loading)
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
                future.set_exception(caused(no_item(index), error))
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
