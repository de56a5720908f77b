"""`Snapshot`: what a thing was, so that it can be told whether somebody has changed it since."""

import operator
from collections.abc import Iterable
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

_DEPTH = 4
_MOST_PARTS = 10_000
_MOST_BYTES = 2**24


class Snapshot:
    """What a thing is made of: its attributes, the parts of its lists and tables, and their attributes, some levels down.

    Another object in the place of one is seen, and so is what is written into a tensor, or into numpy arrays of up to 16 megabytes
    together; what is written into larger ones is not, as looking at it would take longer than it is worth.

    >>> class Batches:
    ...     strength, files = 1, ["a", "b"]
    >>> batches = Batches()
    >>> before = Snapshot(batches)
    >>> before == Snapshot(batches)
    True
    >>> batches.strength = 2
    >>> before == Snapshot(batches)
    False
    """

    def __init__(self, thing: Any):
        self._objects: list[Any] = []
        self._contents: list[Any] = []
        self._looked_into = self._bytes = 0
        self._take(thing, _DEPTH)

    def _take(self, thing: Any, depth: int) -> None:
        self._objects.append(thing)
        if isinstance(thing, np.ndarray):
            if self._bytes + thing.nbytes <= _MOST_BYTES and not thing.dtype.hasobject:
                self._bytes += thing.nbytes
                self._contents.append(thing.tobytes())
        elif isinstance(thing, torch.Tensor):
            if not thing.is_inference():  # which count no changes
                self._contents.append(thing._version)
        elif isinstance(thing, dict):
            self._objects += thing
            self._take_each(thing.values(), depth)
        elif isinstance(thing, (list, tuple, set, frozenset)):
            self._take_each(thing, depth)
        elif not isinstance(thing, (type, ModuleType, FunctionType)) and hasattr(thing, "__dict__"):
            self._take_each(vars(thing).values(), depth)

    def _take_each(self, parts: Iterable[Any], depth: int) -> None:
        parts = list(parts)  # which another thread may add to
        if depth == 0 or self._looked_into + len(parts) > _MOST_PARTS:
            self._objects += parts
        else:
            self._looked_into += len(parts)
            for part in parts:
                self._take(part, depth - 1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Snapshot) or len(self._objects) != len(other._objects):
            return False
        return all(map(operator.is_, self._objects, other._objects)) and self._contents == other._contents
