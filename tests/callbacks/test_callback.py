"""`Callback`: what it carries from event to event, and which events it asks to be told of."""

import copy
import pickle

import pytest

from torchkeras_fn.callbacks import Callback, CallbackList
from torchkeras_fn.callbacks.callback import only_if, overrides


class Sometimes(Callback):
    wanted = False

    @only_if(lambda self: self.wanted)
    def on_train_batch_end(self, batch, logs=None): ...


def test_an_event_is_told_only_if_it_is_wanted():
    callback = Sometimes()
    assert not overrides(callback, "on_train_batch_end")
    callback.wanted = True
    assert overrides(callback, "on_train_batch_end")


def test_a_subclass_that_overrides_it_itself_is_told_always():
    class Always(Sometimes):
        def on_train_batch_end(self, batch, logs=None): ...

    assert overrides(Always(), "on_train_batch_end")


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda callback: pickle.loads(pickle.dumps(callback))])
def test_a_copy_leaves_the_other_callbacks_and_the_data_behind(again):
    callback = Callback()
    callback.validation_data = [1, 2]
    callback.params = {"epochs": 3}
    CallbackList([callback, type("Other", (Callback,), {})()])
    other = again(callback)
    assert (other.companions, other.validation_data, other.params) == ((), None, {"epochs": 3})
    assert len(callback.companions) == 2


def test_the_base_has_no_state():
    assert Callback().state_dict() == {}
    Callback().load_state_dict({})
