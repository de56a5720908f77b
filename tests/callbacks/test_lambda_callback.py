"""`LambdaCallback`: functions at events."""

import numpy as np
import pytest

from torchkeras_fn import Input, Model
from torchkeras_fn.callbacks import CallbackList, LambdaCallback
from torchkeras_fn.callbacks.callback import BATCH_EVENTS, EVENTS, OLDER_EVENTS
from torchkeras_fn.layers import Dense

X, Y = np.zeros((10, 1), dtype="float32"), np.zeros(10, dtype="float32")


def compiled():
    x = Input(shape=(1,))
    model = Model(x, Dense(1)(x))
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("event", [*EVENTS, *BATCH_EVENTS, *OLDER_EVENTS])
def test_every_event_can_be_a_function(event):
    told, model = [], compiled()
    callback = LambdaCallback(**{event: lambda *args: told.append(args)})
    if "predict" in event:
        model.predict(X, callbacks=[callback])
    else:
        model.fit(X, Y, verbose=0, validation_data=(X, Y), callbacks=[callback])
    assert len(told) == 1


def test_other_events_are_not_told():
    callbacks = CallbackList([LambdaCallback(on_epoch_end=print)])
    assert [event for event in (*EVENTS, *BATCH_EVENTS) if callbacks.listeners(event)] == ["on_epoch_end"]


def test_the_order_of_arguments_is_that_of_keras():
    functions = [lambda *args, index=index: index for index in range(6)]
    callback = LambdaCallback(*functions)
    names = ("on_epoch_begin", "on_epoch_end", "on_train_begin", "on_train_end", "on_train_batch_begin", "on_train_batch_end")
    assert [getattr(callback, name) for name in names] == functions


def test_other_names_become_attributes():
    assert LambdaCallback(answer=42, nothing=None).answer == 42


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"on_epoch_ends": print}, ValueError, "'on_epoch_ends' is no event. The events are on_train_begin, "),
        ({"on_epoch_end": 3}, TypeError, "'on_epoch_end' must be a function, got 3"),
        ({"on_test_end": "print"}, TypeError, "'on_test_end' must be a function, got 'print'"),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        LambdaCallback(**options)


def test_no_arguments_and_none_are_nothing():
    assert not any(CallbackList([LambdaCallback(on_epoch_end=None, on_test_end=None)]).listeners(event) for event in EVENTS)
