"""`Failures`: how the processes of a job learn that one of them failed, so that none waits for ever for one that does not come."""

import contextlib
import os
import re
import secrets
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

NUMBERS = 15
"""How many numbers may be summed while the processes meet."""
_PATIENCE = timedelta(seconds=2)
"""How long a process that failed waits until the others know, before it goes on to raise."""
_WATCH_SECONDS = 2.0
_GRACE_SECONDS = 30.0
"""How long after another process's failure this one is given to notice."""
_MOST_WORDS = 4000
_OF_CONNECTION = re.compile(r"gloo/|NCCL")
"""What torch's plain `RuntimeError`s say where the others cannot be reached."""


class ProcessError(RuntimeError):
    """Another process of the job failed, or is gone; the message says which one and how, as far as it is known.

    >>> raise ProcessError("Process 1 of 2 failed: ValueError: no such row")
    Traceback (most recent call last):
        ...
    torchkeras_fn.engine.processes.failures.ProcessError: Process 1 of 2 failed: ValueError: no such row
    """


class Failures:
    """Where the processes of torch's default group meet, over gloo, and learn of each other's failures. Making one is a collective.

    A process that fails writes down what happened in the store of the job, where the first to write is the first to have
    failed, and comes to the next meeting, at which the others raise. Those that wait elsewhere find what was written when
    the connection breaks; if it does not, as the one that failed lives on, they end after a while.
    """

    def __init__(self) -> None:
        store: Any = dist.distributed_c10d._get_default_store()
        self.rank, self.count, self.timeout = dist.get_rank(), dist.get_world_size(), store.timeout
        self._group = dist.new_group(backend="gloo", timeout=self.timeout)
        name = [secrets.token_hex(4)]  # of these processes: the store may have served others before
        dist.broadcast_object_list(name, src=0, group=self._group)
        self.store = dist.PrefixStore(f"torchkeras_fn/{name[0]}", store)
        self._number = 0
        self._times = 0
        self._watching = False

    # ------------------------------------------------------------------ meeting

    def meet(self, numbers: Sequence[float] = ()) -> list[float]:
        """Return the sums of up to `NUMBERS` numbers over the processes. A collective.

        Raises a `ProcessError` that names the first of those that failed, where some did.
        """
        sums = self._sums(numbers)
        dist.all_reduce(sums, group=self._group)
        failed, *totals = sums.tolist()
        if failed:
            first = self.first()
            self._number += 1
            raise ProcessError(first or f"{int(failed)} of {self.count} processes failed.")
        return totals[: len(numbers)]

    @staticmethod
    def _sums(numbers: Sequence[float], failed: bool = False) -> torch.Tensor:
        return torch.tensor([float(failed), *numbers, *[0.0] * (NUMBERS - len(numbers))], dtype=torch.float64)

    # ------------------------------------------------------------------ failing

    @contextlib.contextmanager
    def together(self, watching: bool = False) -> Iterator[None]:
        """Let the others know of an error in this block, which each of the processes runs.

        Raises `ProcessError` instead of what torch says where another process failed first, or is gone. With `watching` this
        process ends where it waits in vain for one that failed and lives on.
        """
        over = self._watch() if watching and not self._watching else None
        self._watching |= watching
        try:
            yield
        except BaseException as error:
            if is_told(error):
                raise
            if not _is_of_connection(error):
                self.tell(error)
                raise
            reason = self.first() or f"Process {self.rank} of {self.count} has lost the others: one of them died, or did not come in time."
            self.tell(known := ProcessError(reason))
            raise known from error
        finally:
            if over is not None:
                over.set()
                self._watching = False

    def tell(self, error: BaseException) -> None:
        """Let the other processes know of an error, now or at their next meeting. It is for the caller to raise it."""
        self._write_down(error)
        with contextlib.suppress(RuntimeError):  # they do not come, or are gone: what is written down is all there is to do
            meeting = dist.all_reduce(self._sums((), failed=True), group=self._group, async_op=True)
            if isinstance(error, Exception):
                meeting.wait(_PATIENCE)

    @property
    def happened(self) -> bool:
        """Whether this process has failed, or heard of one that did."""
        return self._number > 0

    def first(self) -> str | None:
        """Return what the first process that failed has written down, `None` where none has."""
        with contextlib.suppress(RuntimeError):  # the store is gone with the process that kept it
            if self.store.check([self._key]):
                return self.store.get(self._key).decode(errors="replace")
        return None

    @property
    def _key(self) -> str:
        return f"failure/{self._number}"

    def _write_down(self, error: BaseException) -> None:
        mark_as_told(error)
        with contextlib.suppress(RuntimeError):
            self.store.compare_set(self._key, "", self._in_words(error))
        self._number += 1

    def _in_words(self, error: BaseException) -> str:
        if isinstance(error, ProcessError):
            return str(error)
        words = "".join(traceback.format_exception_only(type(error), error)).strip()[:_MOST_WORDS]
        return f"Process {self.rank} of {self.count} failed: {words}"

    # ------------------------------------------------------------------ what the first does for all

    def once(self, action: Callable[[], Any]) -> None:
        """Let the first process do something; the others return when it has called this, and come to its end, as often as they.

        The first waits for nobody, so that it may also be the only one that calls this. Raises in the others a
        `ProcessError` where it failed.
        """
        self._times += 1
        key = f"once/{self._times}"
        if self.rank:
            self._wait_for(key)
            return
        words = ""
        try:
            action()
        except BaseException as error:
            words = self._in_words(error)
            mark_as_told(error)
            raise
        finally:
            with contextlib.suppress(RuntimeError):  # the store is gone with the process that kept it
                self.store.set(key, words)

    def _wait_for(self, key: str) -> None:
        until, pause = time.monotonic() + self.timeout.total_seconds(), 0.002
        while not self.store.check([key]):
            if self.first() is not None:
                self.meet()
            if time.monotonic() > until:
                raise ProcessError(f"Process {self.rank} of {self.count} waited {self.timeout} for the first to write a file.")
            time.sleep(pause)
            pause = min(1.5 * pause, 0.2)
        words = self.store.get(key).decode(errors="replace")
        if words:
            raise ProcessError(words)

    # ------------------------------------------------------------------ waiting in vain

    def _watch(self) -> threading.Event:
        """Look from time to time whether another process failed, until the event that is returned is set."""
        over = threading.Event()
        threading.Thread(target=self._look, args=(over,), name="torchkeras_fn failures", daemon=True).start()
        return over

    def _look(self, over: threading.Event) -> None:
        while not over.wait(_WATCH_SECONDS):
            number, first = self._number, self.first()
            if first is not None and not over.wait(_GRACE_SECONDS) and self._number == number:
                print(f"{first}\nProcess {self.rank} of {self.count} waits for it in vain, and ends.", file=sys.stderr, flush=True)
                os._exit(1)


def _is_of_connection(error: BaseException) -> bool:
    return isinstance(error, dist.DistError) or (type(error) is RuntimeError and _OF_CONNECTION.search(str(error)) is not None)


def mark_as_told(error: BaseException) -> None:
    """Note that the other processes learn of an error, so that they are not told again on its way up.

    >>> mark_as_told(error := ValueError())
    >>> is_told(error)
    True
    """
    with contextlib.suppress(AttributeError):
        error.told_to_processes = True  # type: ignore[attr-defined]


def is_told(error: BaseException | None) -> bool:
    """Return whether the other processes know of an error, or of the one that it was raised for.

    >>> is_told(ValueError()), is_told(ProcessError())
    (False, True)
    """
    while error is not None:
        if isinstance(error, ProcessError) or getattr(error, "told_to_processes", False):
            return True
        error = error.__cause__
    return False
