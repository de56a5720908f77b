"""`Turn`: threads that run the same modules do so one after the other, so that none meets the mode of another.

A module is in training or inference mode for all threads at once. So a `predict` in a thread, as in a generator that looks for
the samples which the model finds hard, waits for a gap between two steps of training, and the next step waits for its end.
Inference goes together with other inference, and what has no module in common goes its own way. Steps that gather figures in
the same trainer, as those of two evaluations, come one after the other too.
"""

import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

_Found = TypeVar("_Found")

guard = threading.RLock()
"""Held while the lists are looked at or changed, and while modes are switched."""
under_way: list["Turn"] = []
"""The turns that were begun, in all threads."""
waiting: list[list["Turn"]] = []
"""Those that want to begin or to go on, in the order in which they came: the turns of a thread together."""
_changed = threading.Condition(guard)
_PATIENCE_SECONDS = 0.5


class Turn:
    """Some time in which the modules of a trainer are in one mode. All methods are called by who holds the `guard`."""

    _is_resting = _is_interrupted = False
    _has_figures = True
    """Whether what the trainer has gathered is of this turn, and not of one that took its place."""
    _parts: set[int] | None = None

    def __init__(self, trainer: Any, training: bool, gathers: bool = False):
        self._trainer, self._training, self._gathers = trainer, training, gathers
        self._thread = threading.get_ident()
        self._handed_over: list[Callable[[], None]] = []

    def _go_on(self) -> None:
        """Bring the modules into the mode of this turn again."""
        raise NotImplementedError

    def _put_back(self) -> Callable[[], None] | None:
        """Return what brings them back into the mode from before, `None` where that is the same."""
        raise NotImplementedError

    def _take_figures(self) -> None:
        """Gather on where this turn was, if another one has gathered figures in the same trainer meanwhile."""

    def is_nested(self) -> bool:
        """Return whether this thread is in the middle of another turn."""
        return any(other._thread == self._thread and not other._is_resting for other in under_way)

    def wait(self) -> None:
        """Return when no other thread is in the way, nor waits for longer; unless this one keeps it waiting."""
        _wait_with([self], in_order=not self.is_nested())

    def end(self) -> None:
        """Make way. What was switched is put back now, or by another thread whose inference goes on with it."""
        if self in under_way:  # as it is not in a process that was forked meanwhile
            under_way.remove(self)
        left = self._left()
        heir = next((other for other in under_way if self._goes_together_with(other)), None) if left else None
        if heir is None:
            for put_back in reversed(left):
                put_back()
        else:
            heir._handed_over += left
            heir._parts = heir._modules() | self._modules()
        _changed.notify_all()

    def _left(self) -> list[Callable[[], None]]:
        """What there is to put back, last things last."""
        put_back = None if self._is_interrupted else self._put_back()
        left = self._handed_over if put_back is None else [*self._handed_over, put_back]
        self._handed_over = []
        return left

    def _interrupt(self) -> None:
        """Put back what was switched, until this turn goes on."""
        for put_back in reversed(self._left()):
            put_back()
        self._is_interrupted = True

    def _roots(self) -> Iterable[Any]:
        """The modules that all others are in."""
        return (self._trainer._as_module(),)

    def _modules(self) -> set[int]:
        if self._parts is None:
            self._parts = {id(part) for root in self._roots() for part in root.modules()}
        return self._parts

    def _meets(self, other: "Turn") -> bool:
        return other._thread != self._thread and not self._modules().isdisjoint(other._modules())

    def _goes_together_with(self, other: "Turn") -> bool:
        return self._training is other._training and not other._is_interrupted and self._meets(other)

    def _needs_another_mode_than(self, other: "Turn") -> bool:
        return (self._training or other._training) and self._meets(other)

    def _is_against(self, other: "Turn") -> bool:
        if self._gathers and other._gathers and self._trainer is other._trainer and self._thread != other._thread:
            return True
        return self._needs_another_mode_than(other)


def is_in_own(training: bool) -> bool:
    """Return whether this thread is in the middle of a turn in the mode.

    >>> is_in_own(training=True)
    False
    """
    thread = threading.get_ident()
    return any(turn._thread == thread and turn._training is training and not turn._is_resting for turn in list(under_way))


def is_among_others() -> bool:
    """Return whether another thread has begun a turn.

    >>> is_among_others()
    False
    """
    thread = threading.get_ident()
    return any(turn._thread != thread for turn in list(under_way))


def device_here() -> Any:
    """Return where the model is whose steps this thread takes; `None` where it takes none.

    >>> device_here() is None
    True
    """
    thread = threading.get_ident()
    own = (turn._trainer for turn in reversed(list(under_way)) if turn._thread == thread)
    return next((trainer._device for trainer in own if hasattr(trainer, "_device")), None)


def _wait_with(own: list[Turn], in_order: bool = True) -> None:
    """Wait until no other thread is in the way of turns, nor has waited for longer; then interrupt those that rest and would be."""
    waiting.append(own)
    blocked: dict[int, int] = {}
    try:
        while any(turn._is_against(other) for turn in own for other in _before(own, in_order)):
            if not _changed.wait(_PATIENCE_SECONDS):
                before, blocked = blocked, _blocked_threads()
                if _is_waited_for(own, {thread for thread, frame in before.items() if blocked.get(thread) == frame}):
                    break
    finally:
        waiting[:] = [others for others in waiting if others is not own]
        _changed.notify_all()
    for other in reversed(under_way):
        if other._is_resting and not other._is_interrupted and any(turn._needs_another_mode_than(other) for turn in own):
            other._interrupt()


def _before(own: list[Turn], in_order: bool) -> Iterator[Turn]:
    """Those whose turn it is before that of others."""
    yield from (turn for turn in under_way if not turn._is_resting)
    for others in waiting if in_order else ():
        if others is own:
            break
        yield from others


def _blocked_threads() -> dict[int, int]:
    """The threads of turns under way that wait for other threads, in which calls of `threading`."""
    frames = sys._current_frames()
    found = {turn._thread: frames.get(turn._thread) for turn in under_way if not turn._is_resting}
    return {thread: id(frame) for thread, frame in found.items() if frame is not None and frame.f_code.co_filename == threading.__file__}


def _is_waited_for(own: list[Turn], blocked: set[int]) -> bool:
    """Whether all who are in the way are blocked, as a step is that waits for what it makes a thread do. A warning says so."""
    in_the_way = [other for other in under_way if not other._is_resting and any(turn._is_against(other) for turn in own)]
    if not in_the_way or any(other._thread not in blocked for other in in_the_way):
        return False
    warnings.warn(
        "A step waits for another thread, and that for the end of the step, since it is to run the same modules. It runs them now, in the "
        "middle of the step. Let it do so between two steps, or in the thread of the step.",
        RuntimeWarning,
        stacklevel=2,
    )
    return True


def aside(read: Callable[..., _Found], *arguments: Any) -> _Found:
    """Return `read(*arguments)`, which may take its time or wait for other threads: they have their turns meanwhile.

    >>> aside(next, iter([1]))
    1
    """
    thread, own = threading.get_ident(), []
    with guard:
        for turn in under_way:
            if turn._thread == thread and not turn._is_resting:
                turn._is_resting = True
                own.append(turn)
        if waiting:
            _changed.notify_all()
    try:
        return read(*arguments)
    finally:
        with guard:
            if waiting or len(under_way) > len(own):
                _wait_with(own)
            for turn in own:
                turn._is_resting = False
                if turn._is_interrupted:
                    turn._go_on()
                    turn._is_interrupted = False
                if not turn._has_figures:
                    turn._take_figures()


def _begin_anew() -> None:
    """A forked process has none of the other threads."""
    global guard, _changed
    guard = threading.RLock()
    _changed = threading.Condition(guard)
    under_way.clear()
    waiting.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
