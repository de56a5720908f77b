"""`Group`: the batches of one execution. With `compile(steps_per_execution=n)`, callbacks are told once every n batches."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from torchkeras_fn.engine.batches.columns import is_whole
from torchkeras_fn.engine.batches.unpacking import rows_of

Listener = Callable[[int, Any, Any], None]


class Group:
    """A `batch` and those that follow it, read one by one: the numbers of the `first` and the `last` so far, and their `samples`."""

    def __init__(self, number: int, batch: Any, others: Iterator[Any]):
        self.first = self.last = number
        self.samples = samples_of(batch)
        self._batch, self._others = batch, others

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        yield self.first, self._batch
        for batch in self._others:
            self.last += 1
            self.samples += samples_of(batch)
            yield self.last, batch


def in_groups(batches: Iterable[Any], count: int, done: int = 0) -> Iterator[Group]:
    """Yield the batches in groups that end where their number in the epoch is a multiple of `count`; the last may be shorter.

    `done` is the number of the first batch. Nothing is read before it is needed.

    >>> import torch
    >>> batches = [(torch.zeros(2), None, None)] * 5
    >>> [[number for number, _ in group] for group in in_groups(batches, 2, done=1)]
    [[1], [2, 3], [4, 5]]
    """
    rest = iter(batches)
    for batch in rest:
        group = Group(done, batch, islice(rest, count - 1 - done % count))
        yield group
        done = group.last + 1


def step_of_groups(step: Callable[[Any], Any], each: Sequence[Listener]) -> Callable[[Group], Any]:
    """Return what takes a step for every batch of a group, and tells those who want to hear of `each`; it returns the last result."""

    def run(group: Group) -> Any:
        result = None
        for index, batch in group:
            result = step(batch)
            for listen in each:
                listen(index, batch, result)
        return result

    return run


def at_the_first(listeners: Sequence[Listener]) -> list[Listener]:
    """Return the listeners as they are told of a group by the number of its first batch."""
    return [lambda _, group, result, listen=listen: listen(group.first, group, result) for listen in listeners]  # type: ignore[misc]


def at_the_last(listeners: Sequence[Listener]) -> list[Listener]:
    """Return the listeners as they are told of a group by the number of its last batch."""
    return [lambda _, group, result, listen=listen: listen(group.last, group, result) for listen in listeners]  # type: ignore[misc]


def samples_of(batch: Any) -> int:
    """Return the number of samples of a batch, or of the batches of a group: as many as targets, where those of an object cannot be told.

    >>> import torch
    >>> samples_of((torch.zeros(3, 2), None, None))
    3
    """
    if isinstance(batch, Group):
        return batch.samples
    for part in batch[:2]:
        rows = rows_of(part[0] if isinstance(part, (list, tuple)) and not is_whole(part) else part)
        if rows is not None:
            return rows
    return 1


def steps_of(batch: Any) -> int:
    """Return the number of batches, which a group has more than one of.

    >>> import torch
    >>> steps_of((torch.zeros(3, 2), None, None))
    1
    """
    return batch.last + 1 - batch.first if isinstance(batch, Group) else 1
