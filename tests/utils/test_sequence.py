"""`Sequence`: a base for batches that are made when they are asked for."""

import pytest

from torchkeras_fn.utils import Sequence


class Numbers(Sequence):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return index * 10


def test_it_can_be_iterated_over_and_again():
    numbers = Numbers()
    assert list(numbers) == list(numbers) == [0, 10, 20]


def test_the_end_of_an_epoch_asks_for_nothing():
    assert Numbers().on_epoch_end() is None


def test_a_subclass_need_not_call_the_constructor():
    class Silent(Numbers):
        def __init__(self):
            self.own = 1

    assert list(Silent()) == [0, 10, 20]


def test_keras_3_options_are_kept():
    assert Numbers(workers=2, use_multiprocessing=True, max_queue_size=4).loading_options == {
        "workers": 2,
        "use_multiprocessing": True,
        "max_queue_size": 4,
    }


def test_options_can_be_read_and_set():
    numbers = Numbers(max_queue_size=4)
    numbers.workers = 3
    assert (numbers.workers, numbers.use_multiprocessing, numbers.max_queue_size) == (3, False, 4)
    assert numbers.loading_options == {"workers": 3, "max_queue_size": 4}


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="wokers"):
        Numbers(wokers=2)


def test_a_missing_length_says_what_is_needed():
    with pytest.raises(NotImplementedError, match="__len__"):
        len(Sequence())


def test_a_missing_item_says_what_is_needed():
    with pytest.raises(NotImplementedError, match="__getitem__"):
        Sequence()[0]
