"""Runs a function of a test in several processes at once, which make one group of `torch.distributed` over gloo.

The processes begin with the first test that needs them, live as long as the tests, and make a new group for each call.
"""

import atexit
import contextlib
import datetime
import multiprocessing
import multiprocessing.connection
import os
import pickle
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from torchkeras_fn.config import set_random_seed

_LOOPBACK = "lo"
_GRACE = 5.0
"""How many seconds the others have, once one has failed, before they are ended."""


class Failed(RuntimeError):
    """What `run` raises: which process failed, and its traceback."""


def run(function: Callable[..., Any], processes: int, *args: Any, timeout: float = 60) -> list[Any]:
    """Return what `function(*args)` returns in each of the processes, by their ranks. `function` is one of a module.

    Raises `Failed` with the traceback of the first process in which it raised, or that did not answer in time.
    """
    found = outcomes(function, processes, *args, timeout=timeout)
    failed = [outcome for outcome in found if isinstance(outcome, Exception)]
    if failed:
        timed_out = [outcome for outcome in failed if isinstance(outcome, TimeoutError)]
        first = next((outcome for outcome in failed if not isinstance(outcome, TimeoutError)), *timed_out[:1])
        notes = "".join(getattr(first, "__notes__", ()))
        raise Failed(f"process {found.index(first)} of {processes}: {type(first).__name__}: {first}\n{notes}") from first
    return found


def outcomes(function: Callable[..., Any], processes: int, *args: Any, timeout: float = 60) -> list[Any]:
    """Return for each of the processes what `function(*args)` returned, or the exception that it raised.

    One that died is a `ConnectionError`, one that did not answer in time a `TimeoutError`. Nobody is left running then.
    """
    workers = [_worker(rank) for rank in range(processes)]
    with tempfile.TemporaryDirectory() as folder:
        meeting = os.path.join(folder, "meeting")
        for rank, (_, pipe) in enumerate(workers):
            pipe.send_bytes(pickle.dumps((function, args, meeting, rank, processes, timeout)))
        found = _answers([pipe for _, pipe in workers], timeout)
    if any(isinstance(outcome, (TimeoutError, ConnectionError)) for outcome in found):
        end()
    return found


def _answers(pipes: list[Any], timeout: float) -> list[Any]:
    found: dict[int, Any] = {}
    until = time.monotonic() + timeout
    while len(found) < len(pipes):
        waiting = [pipe for rank, pipe in enumerate(pipes) if rank not in found]
        ready = multiprocessing.connection.wait(waiting, max(0.0, until - time.monotonic()))
        if not ready:
            break
        for pipe in ready:
            rank = pipes.index(pipe)
            try:
                found[rank] = pickle.loads(pipe.recv_bytes())
            except (EOFError, OSError):
                found[rank] = ConnectionError(f"process {rank} died")
            if isinstance(found[rank], Exception):
                until = min(until, time.monotonic() + _GRACE)
    return [found.get(rank, TimeoutError(f"process {rank} did not answer within {timeout} seconds")) for rank in range(len(pipes))]


# ------------------------------------------------------------------ the processes

_workers: list[tuple[Any, Any]] = []


def _worker(rank: int) -> tuple[Any, Any]:
    context = multiprocessing.get_context("spawn")
    while len(_workers) <= rank:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,))
        process.start()
        theirs.close()
        _workers.append((process, ours))
    return _workers[rank]


@atexit.register
def end() -> None:
    """End the processes; the next call begins new ones."""
    for process, pipe in _workers:
        pipe.close()
        process.kill()
        process.join()
    _workers.clear()


def _serve(pipe: Any) -> None:
    torch.set_num_threads(1)
    if os.path.exists(f"/sys/class/net/{_LOOPBACK}"):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", _LOOPBACK)
    warnings.filterwarnings("error", module="(torchkeras_fn|tests)")
    while True:
        try:
            request = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        pipe.send_bytes(_answer(request))


def _answer(request: bytes) -> bytes:
    try:
        return pickle.dumps(_call(*pickle.loads(request)))
    except Exception as error:
        error.add_note(traceback.format_exc()) if hasattr(error, "add_note") else None
        with contextlib.suppress(Exception):
            return pickle.dumps(error)
        return pickle.dumps(RuntimeError(traceback.format_exc()))


def _call(function: Callable[..., Any], args: Any, meeting: str, rank: int, count: int, timeout: float) -> Any:
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=count, timeout=datetime.timedelta(0, timeout))
    try:
        dist.barrier()  # or one that is done at once would leave while others still connect to it
        set_random_seed(0)
        return function(*args)
    finally:
        dist.destroy_process_group()
