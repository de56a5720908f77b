"""What a thread is about that runs a function for its shapes: whose random numbers stay drawn, and what is left as it was."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from torchkeras_fn.engine.basics import threads
from torchkeras_fn.engine.basics.untouched import Unwritten


class Now(threading.local):
    """What this thread is about."""

    random_state_moved = creating_weights = inferring = False


now = Now()
_one_thread = threading.RLock()
"""Held while random numbers are drawn that stay so, or that do not: in each case no other thread is to put the state back."""
_PATIENCE_SECONDS = 2.0


@contextmanager
def alone() -> Iterator[None]:
    """Let no other thread infer or create weights; unless it has to, as this one waits for it.

    >>> with alone():
    ...     pass
    """
    is_held = _one_thread.acquire(timeout=_PATIENCE_SECONDS)
    try:
        yield
    finally:
        if is_held:
            _one_thread.release()


def _begin_anew() -> None:
    """A forked process has none of the other threads."""
    global _one_thread
    _one_thread = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


@contextmanager
def creating_weights() -> Iterator[None]:
    """Make real tensors, from random numbers that stay drawn, also while a function is being inferred.

    >>> with creating_weights():
    ...     weight = torch.zeros(3)
    """
    with alone():
        outer, now.creating_weights, now.random_state_moved = now.creating_weights, True, True
        try:
            yield
        finally:
            now.creating_weights = outer


@contextmanager
def untouched_random_state() -> Iterator[None]:
    """Take back the random numbers that are drawn, unless weights came of them.

    >>> before = torch.get_rng_state()
    >>> with untouched_random_state():
    ...     number = torch.rand(1)
    >>> torch.equal(torch.get_rng_state(), before)
    True
    """
    before, outer = torch.get_rng_state(), now.random_state_moved
    now.random_state_moved = False
    try:
        yield
    finally:
        if not (now.random_state_moved or threads.is_among_others()):  # who may have drawn numbers meanwhile, which are not to come again
            torch.set_rng_state(before)
        now.random_state_moved = outer or now.random_state_moved


def is_inferring() -> bool:
    """Return whether this thread runs a function for the shapes alone, so that what it writes to variables is no news.

    >>> is_inferring()
    False
    """
    return not torch.compiler.is_compiling() and now.inferring and not now.creating_weights


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Leave the module's weights and buffers as they were where a function is being inferred: what a call notes of no data is no news.

    >>> with untouched(nn.BatchNorm1d(2)):
    ...     pass
    """
    if not now.inferring:
        yield
        return
    kept = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        with Unwritten(module):
            yield
    finally:
        for buffer, value in kept:
            buffer.copy_(value)
