"""Whether a thing was changed is seen by a snapshot of what it was."""

import threading

import numpy as np
import pytest
import torch

from torchkeras_fn.engine.basics.snapshot import Snapshot


class Thing:
    """What has attributes of many kinds."""

    def __init__(self):
        self.number, self.text, self.nothing, self.lock = 1000, "text", None, threading.Lock()
        self.order, self.table, self.pair, self.names = [3, 1, 2], {"strength": 0.5}, (1, [2]), {"a", "b"}
        self.small, self.large, self.tensor = np.arange(3), np.zeros(2**22), torch.zeros(3)
        self.long, self.open, self.weights = list(range(20_000)), open, torch.nn.Linear(2, 1)
        self.itself = self


class Inner(Thing):
    """Has another one in it."""

    def __init__(self):
        super().__init__()
        self.inner = Thing()


CHANGES = {
    "a number": lambda thing: setattr(thing, "number", 1001),
    "a new attribute": lambda thing: setattr(thing, "other", 1),
    "one attribute less": lambda thing: delattr(thing, "nothing"),
    "a part of a list": lambda thing: thing.order.reverse(),
    "a longer list": lambda thing: thing.order.append(4),
    "a part of a table": lambda thing: thing.table.update(strength=0.75),
    "a new part of a table": lambda thing: thing.table.update(other=1),
    "a list in a tuple": lambda thing: thing.pair[1].append(1),
    "a set": lambda thing: thing.names.add("c"),
    "a small array": lambda thing: np.put(thing.small, 0, 9),
    "another large array": lambda thing: setattr(thing, "large", thing.large + 1),
    "a tensor": lambda thing: thing.tensor.add_(1),
    "a part of a long list": lambda thing: thing.long.__setitem__(19_999, "x"),
    "the weights of a model": lambda thing: torch.nn.init.ones_(thing.weights.weight),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", [Thing, Inner])
def test_a_change_is_seen(kind, change):
    thing = kind()
    before = Snapshot(thing)
    CHANGES[change](getattr(thing, "inner", thing))
    assert before != Snapshot(thing)


@pytest.mark.parametrize("kind", [Thing, Inner])
def test_what_did_not_change_looks_the_same(kind):
    thing = kind()
    assert Snapshot(thing) == Snapshot(thing)


def test_many_arrays_are_not_copied_whole():
    arrays = [np.zeros(2**20) for _ in range(4)]
    assert sum(map(len, Snapshot(arrays)._contents)) <= 2**24


def test_tensors_of_inference_are_looked_at_as_objects():
    with torch.inference_mode():
        tensor = torch.zeros(3)
    assert Snapshot([tensor]) != Snapshot([tensor.clone()])


def test_a_picture_is_like_nothing_else():
    assert Snapshot(1) != 1
