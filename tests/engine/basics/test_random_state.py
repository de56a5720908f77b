"""The random generators of a program as plain values, that go through a file and back."""

import random

import numpy as np
import pytest
import torch

from torchkeras_fn.engine.basics.random_state import (
    check_random_state,
    generators_of,
    random_state,
    same,
    set_generators_of,
    set_random_state,
)
from torchkeras_fn.saving.trees import decode, encode, parse_json, write_json


def through_a_file(state):
    tensors = {}
    return decode(parse_json(write_json(encode(state, tensors), "state")), tensors)


def draw():
    return random.random(), random.gauss(0, 1), np.random.rand(), np.random.normal(), float(torch.rand(())), float(torch.randn(()))


def test_shared_generators_come_back():
    draw()  # so that each Gaussian has left its twin for the next
    state = through_a_file(random_state())
    first = draw()
    draw()
    set_random_state(state)
    assert draw() == first


@pytest.mark.parametrize("place", [-1, 625, 10**9])
def test_a_place_of_which_numpy_would_read_past_the_end_is_refused(place):
    state = random_state()
    state["numpy"]["state"]["pos"] = place
    with pytest.raises(ValueError, match="no place among 624 numbers"):
        check_random_state(state)
    assert same(np.random.get_state(legacy=False)["state"]["key"], state["numpy"]["state"]["key"])


def test_only_what_is_named_is_set():
    state = random_state()
    np.random.rand()
    before = np.random.get_state(legacy=False)
    set_random_state({"torch": state["torch"]})
    assert same(np.random.get_state(legacy=False), before)


class Holder:
    """Keeps a generator."""

    def __init__(self, generator):
        self.generator = generator


KINDS = {
    "torch": (lambda: torch.Generator().manual_seed(1), lambda generator: float(torch.rand((), generator=generator))),
    "default_rng": (lambda: np.random.default_rng(1), lambda generator: generator.random()),
    **{
        kind.__name__: (lambda kind=kind: np.random.Generator(kind(1)), lambda generator: generator.normal())
        for kind in (np.random.MT19937, np.random.Philox, np.random.SFC64, np.random.PCG64DXSM)
    },
    "RandomState": (lambda: np.random.RandomState(1), lambda generator: generator.normal()),
    "random.Random": (lambda: random.Random(1), lambda generator: generator.gauss(0, 1)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_generators_in_attributes_come_back_into_another_object(kind):
    make, take = KINDS[kind]
    holder, other = Holder(make()), Holder(make())
    take(holder.generator)
    state = through_a_file(generators_of(holder))
    set_generators_of(other, state)
    assert [take(holder.generator) for _ in range(3)] == [take(other.generator) for _ in range(3)]


def test_a_generator_that_is_made_when_needed_is_made():
    holder, other = Holder(torch.Generator().manual_seed(3)), Holder(None)
    set_generators_of(other, through_a_file(generators_of(holder)))
    assert torch.rand(1, generator=holder.generator) == torch.rand(1, generator=other.generator)


def test_a_generator_of_a_device_that_is_not_here_is_passed_over(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: None)
    states = {"generator": {"torch": torch.zeros(16, dtype=torch.uint8), "device": "cuda:0"}}
    own, none = Holder(torch.Generator().manual_seed(3)), Holder(None)
    before = own.generator.get_state()
    set_generators_of(own, states)
    set_generators_of(none, states)
    assert torch.equal(own.generator.get_state(), before) and none.generator is None


@pytest.mark.parametrize("holder", [None, 3, Holder(random.SystemRandom()), Holder(random), object()])
def test_what_has_no_generator_with_a_state_has_none(holder):
    assert generators_of(holder) == {}
