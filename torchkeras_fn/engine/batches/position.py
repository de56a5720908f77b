"""What it takes to come back to a place in some data: random states as a pass began, and what reading ahead has changed since."""

import contextlib
import secrets
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from torchkeras_fn.engine.basics.random_state import (
    States,
    check_generators_of,
    check_random_state,
    generators_of,
    random_state,
    same,
    set_generators_of,
    set_random_state,
)
from torchkeras_fn.engine.batches.columns import Column

_MOST_PARTS = 200_000
"""How many parts a list in an attribute of a sequence may have to be kept with a backup."""
_SOME_ROWS = 16
"""How many rows, at least, tell data from other data of the same size."""
_kept: "weakref.WeakKeyDictionary[Any, tuple[str, dict[int, dict[str, Any]]]]" = weakref.WeakKeyDictionary()
"""In which training this process last made a backup with a sequence, and what its attributes were after so many of its epochs.

Of the last backup and the one before: the last may never have come to stand on the disk.
"""


class Place:
    """The random states of a moment: the generators that all share, and those of some objects' own.

    >>> place = Place.of([])
    >>> first = torch.rand(1)
    >>> place.come_back([])
    >>> bool(first == torch.rand(1))
    True
    """

    def __init__(self, shared: States, own: list[States]):
        self.shared, self.own = shared, own

    @classmethod
    def of(cls, holders: list[Any]) -> "Place":
        """Return the place where the generators are now."""
        return cls(random_state(), [generators_of(holder) for holder in holders])

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Place":
        """Return the place that `state` told of."""
        return cls(state["shared"], list(state["own"]))

    def state(self) -> dict[str, Any]:
        """Return the place as plain values."""
        return {"shared": self.shared, "own": self.own}

    def come_back(self, holders: list[Any]) -> None:
        """Set the generators to where they were."""
        set_random_state(self.shared)
        for holder, states in zip(holders, self.own, strict=False):
            set_generators_of(holder, states)

    def check(self, holders: list[Any]) -> None:
        """Raise `ValueError` where the generators could not `come_back`. None is moved."""
        check_random_state(self.shared)
        for holder, states in zip(holders, self.own, strict=False):
            check_generators_of(holder, states)

    def changes_to(self, later: "Place") -> "Place":
        """Return this place without the generators that have not moved until a later one."""
        shared = {kind: state for kind, state in self.shared.items() if not same(state, later.shared[kind])}
        return Place(shared, self.own if not same(self.own, later.own) else [])


def checksum(columns: Iterable[Column]) -> int:
    """Return what tells rows in memory from others, such as those of another fold; what lies elsewhere is not read.

    >>> checksum([Column(torch.ones(3))]) == checksum([Column(torch.zeros(3))])
    False
    """
    found = 0
    for column in columns:
        if type(column) is Column and len(column):
            rows = column.take(torch.arange(0, len(column), max(1, len(column) // _SOME_ROWS)))
            found = zlib.crc32(rows.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data, found)
    return found


class Reading:
    """Notes the random states after each item that one thread reads ahead of the training.

    What the reading draws from the shared generators is ahead of what has been delivered; what it never draws belongs to
    the training. Of torch's generator, which both may use, the first item tells: the training still waits for it.
    """

    def __init__(self, holders: list[Any]):
        self.holders = holders
        self._kinds: set[str] = set()
        self._begun = False

    def noting(self, read: Callable[..., Any]) -> Callable[..., tuple[Any, Place]]:
        """Return a function that reads, and returns with the item the states of the generators that reading moves."""

        def noted(*args: Any) -> tuple[Any, Place]:
            before = Place.of(self.holders)
            item = read(*args)
            after = Place.of(self.holders)
            moved = before.changes_to(after).shared
            self._kinds |= {kind for kind in moved if kind != "torch" or not self._begun}
            self._begun = True
            return item, Place({kind: after.shared[kind] for kind in self._kinds}, after.own)

        return noted

    def each(self, items: Iterator[Any]) -> Iterator[tuple[Any, Place]]:
        """Yield items, each with these states."""
        read = self.noting(lambda: next(items, items))  # no item is the iterator itself: it stands for the end
        while True:
            item, place = read()
            if item is items:
                return
            yield item, place


# ---------------------------------------------------------------------- sequences, which may change from epoch to epoch


class Epochwise:
    """How a sequence came to be as it is: by what `on_epoch_end` did after each epoch.

    A sequence with `state_dict` and `load_state_dict` says it itself. Of others the attributes are kept that hold numbers,
    text, lists of them, and arrays of indices; for the rest, such as data that was put into another order, a new
    sequence is told of the same epoch ends, each with the random numbers it had.
    """

    def __init__(self, sequence: Any):
        self.sequence = sequence
        self._training = secrets.token_hex(8)
        self._ends: list[dict[str, Any]] = []

    @property
    def _speaks_for_itself(self) -> bool:
        return all(callable(getattr(self.sequence, name, None)) for name in ("state_dict", "load_state_dict"))

    def end(self) -> None:
        """Tell the sequence that an epoch is over."""
        before = Place.of([self.sequence])
        self.sequence.on_epoch_end()
        self._ends.append(before.changes_to(Place.of([self.sequence])).state())

    def state_dict(self) -> dict[str, Any]:
        """Return all that it takes to make a new sequence like it."""
        if self._speaks_for_itself:
            return {"own": self.sequence.state_dict()}
        self._keep()
        return {"attributes": plain_attributes(self.sequence), "ends": list(self._ends), "training": self._training}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the sequence what it was. Random states are left anywhere.

        Raises `ValueError` for one that has gone on since in this process, and of which it is not known any more what it was.
        """
        if "own" in state:
            self.sequence.load_state_dict(state["own"])
            return
        for end in state["ends"]:
            Place.from_state(end).check([self.sequence])
        kept = self._kept(state.get("training"))
        if kept and len(state["ends"]) not in kept:
            raise ValueError(
                f"The {type(self.sequence).__name__} has gone on since: it is as after {max(kept)} epochs, and the backup was made after "
                f"{len(state['ends'])}. Give a new one."
            )
        self._ends, self._training = list(state["ends"]), state.get("training", self._training)
        if kept:
            vars(self.sequence).update(kept[len(self._ends)])
        else:
            for end in self._ends:
                Place.from_state(end).come_back([self.sequence])
                self.sequence.on_epoch_end()
        set_attributes(self.sequence, state["attributes"])
        self._keep()

    def _keep(self) -> None:
        """Keep the attributes, as they are not what they were in a new sequence: the same one may go on in this process."""
        now, kept = len(self._ends), self._kept(self._training)
        earlier = {epochs: kept[epochs] for epochs in sorted(kept) if epochs < now}
        with contextlib.suppress(TypeError):  # of a sequence that cannot be hashed, or referred to weakly
            _kept[self.sequence] = self._training, {**dict(list(earlier.items())[-1:]), now: dict(getattr(self.sequence, "__dict__", {}))}

    def _kept(self, training: Any) -> dict[int, dict[str, Any]]:
        """What was kept in a training, nothing where that was another: a sequence is as new to a training as it was when that began."""
        with contextlib.suppress(TypeError):
            last, kept = _kept.get(self.sequence, (None, {}))
            return kept if last == training else {}
        return {}


def plain_attributes(holder: Any) -> dict[str, Any]:
    """Return the attributes of an object that are numbers, text, lists of them, or arrays of whole numbers with one axis.

    >>> class Numbers:
    ...     def __init__(self):
    ...         self.order, self.data = np.arange(3), np.ones((3, 2))
    >>> plain_attributes(Numbers())
    {'order': array([0, 1, 2])}
    """
    return {name: value for name, value in getattr(holder, "__dict__", {}).items() if _is_plain(value)}


def set_attributes(holder: Any, values: Mapping[str, Any]) -> None:
    """Give an object back what `plain_attributes` returned: lists and arrays in place, so that all who share them see it."""
    for name, value in values.items():
        own = getattr(holder, name, None)
        if isinstance(value, list) and type(own) is list:
            own[:] = value
        elif isinstance(value, np.ndarray) and isinstance(own, np.ndarray) and own.shape == value.shape and own.flags.writeable:
            own[...] = value
        else:
            setattr(holder, name, value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim <= 1 and value.dtype.kind in "iub"
    if isinstance(value, torch.Tensor):
        return value.ndim <= 1 and not value.is_floating_point() and not value.is_complex()
    return _count(value) <= _MOST_PARTS


def _count(value: Any, depth: int = 0) -> int:
    """The number of parts of a plain value; more than may be for one that is not."""
    if value is None or type(value) in (bool, int, float, str):
        return 1
    if type(value) not in (list, tuple) or depth > 3 or len(value) > _MOST_PARTS:
        return _MOST_PARTS + 1
    total = 0
    for part in value:
        total += _count(part, depth + 1)
        if total > _MOST_PARTS:
            break
    return total
