"""Coming back to a place in some data: what reading ahead has drawn, and what sequences are made of."""

import random

import numpy as np
import pytest
import torch

from torchkeras_fn.engine.batches.position import Epochwise, Place, Reading, plain_attributes, set_attributes


class Holder:
    """Keeps anything."""

    def __init__(self, **values):
        vars(self).update(values)


@pytest.mark.parametrize(
    ("draw", "kinds"),
    [
        (lambda: None, set()),
        (random.random, {"python"}),
        (np.random.rand, {"numpy"}),
        (lambda: torch.rand(1), {"torch"}),
        (lambda: (random.random(), np.random.rand()), {"python", "numpy"}),
    ],
)
def test_reading_notes_what_it_draws(draw, kinds):
    read = Reading([]).noting(lambda index: draw())
    assert read(0)[1].shared.keys() == kinds
    place = read(1)[1]
    after = draw()
    place.come_back([])
    assert after == draw()


def test_torchs_generator_is_the_trainings_where_the_first_item_did_not_use_it():
    draws = iter([lambda: None, lambda: torch.rand(1)])
    read = Reading([]).noting(lambda: next(draws)())
    read()
    assert read()[1].shared == {}


def test_each_item_of_an_iterator_comes_with_its_place():
    assert [item for item, _ in Reading([]).each(iter([1, None, 2]))] == [1, None, 2]


PLAIN = {"number": 3, "text": "a", "nothing": None, "names": [("a", 1), ["b"]], "order": np.arange(3), "index": torch.arange(3)}
OTHER = {"floats": np.ones(3), "table": np.ones((2, 2), dtype=int), "dict": {}, "values": torch.ones(2), "things": [object()]}


def test_plain_attributes_are_those_of_small_plain_values():
    assert plain_attributes(Holder(**PLAIN, **OTHER, long=[0] * 300_000)).keys() == PLAIN.keys()


def test_attributes_are_set_in_place():
    order, names = np.arange(3), ["a", "b"]
    holder = Holder(order=order, names=names, number=1)
    set_attributes(holder, {"order": np.array([2, 1, 0]), "names": ["b", "a"], "number": 2, "new": 1})
    assert (order.tolist(), names, holder.number, holder.new) == ([2, 1, 0], ["b", "a"], 2, 1)
    assert holder.order is order and holder.names is names


class Changing:
    """Data that is put into another order at the end of each epoch."""

    def __init__(self):
        self.rows, self.told = np.arange(5.0), 0

    def on_epoch_end(self):
        self.rows = self.rows[np.random.permutation(5)]
        self.told += 1


def test_a_new_sequence_is_told_of_the_same_ends_with_the_same_numbers():
    first, second = Changing(), Changing()
    before, after = Epochwise(first), Epochwise(second)
    before.end()
    np.random.rand(7)
    before.end()
    after.load_state_dict(before.state_dict())
    assert (first.rows == second.rows).all()
    assert second.told == 2


def test_the_same_sequence_is_not_told_again():
    sequence = Changing()
    before = Epochwise(sequence)
    before.end()
    state, rows = before.state_dict(), sequence.rows.copy()
    sequence.on_epoch_end()
    Epochwise(sequence).load_state_dict(state)
    assert (sequence.rows == rows).all()


def test_the_same_sequence_goes_back_to_the_backup_before_one_that_never_came_to_stand():
    sequence = Changing()
    before = Epochwise(sequence)
    before.end()
    state, rows = before.state_dict(), sequence.rows.copy()
    before.end()
    before.state_dict()
    Epochwise(sequence).load_state_dict(state)
    assert (sequence.rows == rows).all()


def test_a_sequence_of_which_it_is_not_known_any_more_what_it_was_is_refused():
    sequence = Changing()
    before = Epochwise(sequence)
    state = before.state_dict()
    for _ in range(2):
        before.end()
        before.state_dict()
    with pytest.raises(ValueError, match="as after 2 epochs, and the backup was made after 0"):
        Epochwise(sequence).load_state_dict(state)


def test_a_sequence_that_was_in_another_training_since_it_was_new_is_told_of_the_ends_of_this_one():
    first, second = Changing(), Changing()
    for sequence in (first, second):
        np.random.seed(0)
        earlier = Epochwise(sequence)
        earlier.end()
        earlier.state_dict()
    before = Epochwise(first)
    before.end()
    before.end()
    Epochwise(second).load_state_dict(before.state_dict())
    assert (first.rows == second.rows).all()


def test_places_go_through_plain_values():
    holder = Holder(generator=np.random.default_rng(0))
    place = Place.from_state(Place.of([holder]).state())
    first = torch.rand(1), holder.generator.random()
    place.come_back([holder])
    assert first == (torch.rand(1), holder.generator.random())
