"""`Callback` and `CallbackList`: who is told of what, in which order, with which logs, and who is not called at all."""

import sys

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Model
from torchkeras_fn.callbacks import Callback, CallbackList, History
from torchkeras_fn.callbacks.base import BATCH_EVENTS, EVENTS, overrides
from torchkeras_fn.layers import Dense
from torchkeras_fn.utils import Sequence

X, Y = np.arange(10, dtype="float32").reshape(10, 1), np.arange(10, dtype="float32")


def compiled(metrics=None):
    x = Input(shape=(1,))
    model = Model(x, Dense(1, kernel_initializer="ones")(x))
    model.compile("sgd", "mse", metrics=metrics)
    model.optimizer.lr = 0.0  # the weights stay, so that every figure can be told
    return model


class Recorder(Callback):
    """Notes every event of some kinds, with a copy of its arguments."""

    def __init__(self):
        self.events = []


def recorder(*events):
    def note(event):
        def on_event(self, *args):
            *index, logs = args
            self.events.append((event, *index, dict(logs)))

        return on_event

    return type("Recorder", (Recorder,), {event: note(event) for event in events})()


# ---------------------------------------------------------------------- the order of events


def test_fit_tells_every_event_in_order():
    listener = recorder(*EVENTS, *BATCH_EVENTS)
    compiled().fit(X, Y, batch_size=5, epochs=2, validation_data=(X, Y), verbose=0, callbacks=[listener], validation_batch_size=10)
    epoch = ["on_epoch_begin", *["on_train_batch_begin", "on_train_batch_end"] * 2]
    epoch += ["on_test_begin", "on_test_batch_begin", "on_test_batch_end", "on_test_end", "on_epoch_end"]
    assert [event for event, *_ in listener.events] == ["on_train_begin", *epoch, *epoch, "on_train_end"]


def test_evaluate_tells_its_events():
    listener = recorder(*EVENTS, *BATCH_EVENTS)
    compiled().evaluate(X, Y, batch_size=5, verbose=0, callbacks=[listener])
    assert [event for event, *_ in listener.events] == ["on_test_begin", *["on_test_batch_begin", "on_test_batch_end"] * 2, "on_test_end"]


def test_predict_tells_its_events():
    listener = recorder(*EVENTS, *BATCH_EVENTS)
    compiled().predict(X, batch_size=5, callbacks=[listener])
    batches = ["on_predict_batch_begin", "on_predict_batch_end"] * 2
    assert [event for event, *_ in listener.events] == ["on_predict_begin", *batches, "on_predict_end"]


def test_the_end_of_training_is_told_with_the_figures_of_the_last_epoch():
    listener = recorder("on_epoch_end", "on_train_end")
    compiled().fit(X, Y, epochs=2, verbose=0, validation_data=(X, Y), callbacks=[listener])
    assert listener.events[-1] == ("on_train_end", listener.events[-2][-1])
    assert set(listener.events[-1][-1]) == {"loss", "val_loss"}


def test_predicted_batches_are_told_with_their_outputs():
    listener, model = recorder("on_predict_batch_end"), compiled()
    predicted = model.predict(X, batch_size=5, callbacks=[listener])
    assert np.array_equal(torch.cat([logs["outputs"] for _, _, logs in listener.events]).numpy(), predicted)


@pytest.mark.parametrize("call", ["train_on_batch", "test_on_batch"])
def test_single_batches_tell_nothing_and_need_no_callbacks(call):
    assert isinstance(getattr(compiled(), call)(X, Y), float)


def test_epochs_are_counted_from_the_initial_one():
    listener = recorder("on_epoch_begin", "on_epoch_end")
    compiled().fit(X, Y, initial_epoch=2, epochs=5, verbose=0, callbacks=[listener])
    assert [epoch for _, epoch, _ in listener.events] == [2, 2, 3, 3, 4, 4]


def test_batches_are_counted_anew_in_every_epoch():
    listener = recorder("on_train_batch_begin", "on_train_batch_end")
    compiled().fit(X, Y, batch_size=5, epochs=2, verbose=0, callbacks=[listener])
    assert [batch for _, batch, _ in listener.events] == [0, 0, 1, 1, 0, 0, 1, 1]


def test_callbacks_are_told_in_their_order_and_history_comes_last():
    told = []

    class First(Callback):
        def on_epoch_end(self, epoch, logs=None):
            told.append("first")
            logs["added"] = 1.5

    class Second(Callback):
        def on_epoch_end(self, epoch, logs=None):
            told.append("second")

    history = compiled().fit(X, Y, verbose=0, callbacks=[First(), Second()])
    assert told == ["first", "second"]
    assert history.history["added"] == [1.5]


def test_a_single_callback_needs_no_list():
    listener = recorder("on_epoch_end")
    compiled().fit(X, Y, verbose=0, callbacks=listener)
    assert len(listener.events) == 1


# ---------------------------------------------------------------------- logs


def test_batch_logs_are_running_means_with_the_batch_and_its_size():
    listener = recorder("on_train_batch_end")
    compiled(metrics=["mae"]).fit(X, np.zeros(10), batch_size=4, shuffle=False, verbose=0, callbacks=[listener])
    logs = [logs for *_, logs in listener.events]
    assert [(entry["batch"], entry["size"]) for entry in logs] == [(0, 4), (1, 4), (2, 2)]
    for entry, seen in zip(logs, (4, 8, 10), strict=True):
        assert list(entry) == ["batch", "size", "loss", "mae"]
        assert entry["loss"] == pytest.approx(np.square(X[:seen]).mean())
        assert entry["mae"] == pytest.approx(X[:seen].mean())


def test_logs_at_the_beginning_of_a_batch_have_its_size():
    listener = recorder("on_train_batch_begin")
    compiled().fit(X, Y, batch_size=4, verbose=0, callbacks=[listener])
    assert [logs for *_, logs in listener.events] == [{"batch": 0, "size": 4}, {"batch": 1, "size": 4}, {"batch": 2, "size": 2}]


def test_the_logs_of_the_last_batch_are_those_of_the_epoch():
    listener = recorder("on_train_batch_end", "on_epoch_end")
    compiled().fit(X, np.zeros(10), batch_size=4, verbose=0, callbacks=[listener])
    (*_, last), (*_, epoch) = listener.events[-2:]
    assert last["loss"] == epoch["loss"]


def test_figures_in_logs_are_python_floats():
    types = set()

    class Reader(Callback):
        def on_batch_end(self, batch, logs=None):
            types.update({type(logs["loss"]), type(logs.get("loss")), *(type(value) for name, value in logs.items() if name == "loss")})

        def on_epoch_end(self, epoch, logs=None):
            types.update(type(value) for value in logs.values())

    compiled(metrics=["mae"]).fit(X, Y, verbose=0, validation_split=0.2, callbacks=[Reader()])
    assert types == {float}


@pytest.mark.parametrize(("typed", "read"), [("accuracy", "acc"), ("acc", "accuracy"), ("acc", "acc")])
def test_accuracy_is_found_in_the_logs_under_both_names(typed, read):
    found = []

    class Reader(Callback):
        def on_batch_end(self, batch, logs=None):
            found.append(logs[read])

        def on_epoch_end(self, epoch, logs=None):
            found.extend([logs[read], logs.get(f"val_{read}"), read in logs, f"val_{read}" in logs])

    compiled(metrics=[typed]).fit(X, Y, verbose=0, validation_data=(X, Y), callbacks=[Reader()])
    assert None not in found and found[-2:] == [True, True]


def test_logs_of_an_evaluation_at_its_end():
    listener = recorder("on_test_end")
    compiled(metrics=["mae"]).evaluate(X, np.zeros(10), verbose=0, callbacks=[listener])
    assert listener.events[0][-1] == {"loss": pytest.approx(28.5), "mae": pytest.approx(4.5)}


# ---------------------------------------------------------------------- what a callback is given and may do


def test_model_and_params_are_set_before_training():
    class Reader(Callback):
        def on_train_begin(self, logs=None):
            self.seen = self.model, dict(self.params)

    reader, model = Reader(), compiled(metrics=["mae"])
    model.fit(X, Y, batch_size=4, epochs=3, verbose=0, validation_split=0.2, callbacks=[reader])
    seen, params = reader.seen
    assert seen is model
    assert params["epochs"] == 3 and params["steps"] == 2 and params["samples"] == 8 and params["verbose"] == 0
    assert params["batch_size"] == 4 and params["do_validation"] is True
    assert params["metrics"] == ["loss", "mae", "val_loss", "val_mae"]


def test_the_number_of_steps_is_that_of_the_epoch():
    class Halving(Sequence):
        """Batches that are twice as large in every epoch."""

        size = 2

        def __len__(self):
            return -(-len(X) // self.size)

        def __getitem__(self, index):
            rows = slice(index * self.size, (index + 1) * self.size)
            return X[rows], Y[rows]

        def on_epoch_end(self):
            self.size *= 2

    class Reader(Callback):
        seen = ()

        def on_epoch_begin(self, epoch, logs=None):
            self.seen += ((self.params["steps"], self.params["samples"]),)

    reader = Reader()
    compiled().fit(Halving(), epochs=3, verbose=0, callbacks=[reader])
    assert reader.seen == ((5, 5), (3, 3), (2, 2))


def test_the_model_of_a_callback_can_be_assigned():
    callback = Callback()
    callback.model = "another"
    assert callback.model == "another"
    callback.set_params({"epochs": 2})
    assert callback.params == {"epochs": 2}
    assert Callback().params == {}


@pytest.mark.parametrize(
    ("event", "batches", "epochs"),
    [("on_train_batch_end", 1, 1), ("on_batch_end", 1, 1), ("on_batch_begin", 1, 1), ("on_epoch_end", 3, 1), ("on_epoch_begin", 1, 1)],
)
def test_stop_training_ends_the_epoch_or_the_training(event, batches, epochs):
    def stop(self, index, logs=None):
        self.model.stop_training = True

    steps, stopper = recorder("on_train_batch_end"), type("Stopper", (Callback,), {event: stop})()
    history = compiled().fit(X, Y, batch_size=4, epochs=4, verbose=0, validation_data=(X, Y), callbacks=[steps, stopper])
    assert len(steps.events) == batches
    assert history.epoch == list(range(epochs))
    assert len(history.history["val_loss"]) == epochs  # so that a name of a file may have it, as in Keras 3


def test_training_again_after_a_stop_begins_anew():
    class Stopper(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    model = compiled()
    model.fit(X, Y, epochs=3, verbose=0, callbacks=[Stopper()])
    assert model.stop_training
    assert model.fit(X, Y, epochs=3, verbose=0).epoch == [0, 1, 2]


def test_a_callback_may_change_the_learning_rate():
    class Halve(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.lr = 0.1 / 2**epoch

    model = compiled()
    model.fit(X, Y, epochs=3, verbose=0, callbacks=[Halve()])
    assert model.optimizer.learning_rate == pytest.approx(0.025)


def test_a_callback_may_evaluate_and_predict_in_the_middle_of_an_epoch():
    class Nested(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.figures = self.model.evaluate(X, Y, verbose=0), self.model.predict(X).shape

    nested, model = Nested(), compiled()
    history = model.fit(X, Y, epochs=2, verbose=0, callbacks=[nested])
    assert nested.figures[1] == (10, 1)
    assert nested.figures[0] == pytest.approx(history.history["loss"][-1])


def test_an_error_in_a_callback_reaches_the_caller_and_the_model_goes_on():
    class Broken(Callback):
        def on_batch_end(self, batch, logs=None):
            raise KeyError("broken")

    model = compiled()
    with pytest.raises(KeyError, match="broken"):
        model.fit(X, Y, verbose=0, callbacks=[Broken()])
    assert model.fit(X, Y, verbose=0).epoch == [0]


# ---------------------------------------------------------------------- work nobody asked for


def frames_of(callbacks):
    """Count the calls of functions in `callbacks/base.py` and in `Callback`s while an epoch of ten batches runs."""
    model, calls = compiled(), []
    model.fit(X, Y, verbose=0)

    def profile(frame, event, argument):
        if event == "call" and frame.f_code.co_name.startswith("on_"):
            calls.append(frame.f_code.co_name)

    sys.setprofile(profile)
    try:
        model.fit(X, Y, batch_size=1, verbose=0, callbacks=callbacks)
    finally:
        sys.setprofile(None)
    return calls


def test_no_batch_hook_is_called_unless_somebody_overrides_it():
    assert not [name for name in frames_of([Callback(), Recorder()]) if "batch" in name]


def test_only_the_hook_that_is_overridden_is_called_and_once_per_batch():
    class Listener(Callback):
        def on_train_batch_end(self, batch, logs=None): ...

    assert [name for name in frames_of([Callback(), Listener()]) if "batch" in name] == ["on_train_batch_end"] * 10


@pytest.mark.parametrize("older", ["on_batch_begin", "on_batch_end"])
def test_the_old_names_of_batch_hooks_are_called(older):
    listener = recorder(older)
    compiled().fit(X, Y, batch_size=5, verbose=0, callbacks=[listener])
    assert [(event, batch) for event, batch, _ in listener.events] == [(older, 0), (older, 1)]


def test_the_old_names_are_not_for_evaluation():
    listener = recorder("on_batch_end")
    compiled().evaluate(X, Y, verbose=0, callbacks=[listener])
    assert listener.events == []


def test_a_hook_given_to_the_object_counts_as_overridden():
    callback, seen = Callback(), []
    callback.on_epoch_end = lambda epoch, logs=None: seen.append(epoch)
    compiled().fit(X, Y, epochs=2, verbose=0, callbacks=[callback])
    assert seen == [0, 1]


@pytest.mark.parametrize("event", ["on_batch_end", "on_train_batch_end"])
def test_a_class_of_its_own_with_the_methods_of_a_callback_is_one(event):
    class Theirs:
        def __init__(self):
            self.seen = []

        def set_model(self, model):
            self.model = model

        def set_params(self, params): ...

    setattr(Theirs, event, lambda self, batch, logs=None: self.seen.append(batch))
    theirs = Theirs()
    compiled().fit(X, Y, batch_size=5, verbose=0, callbacks=[theirs])
    assert theirs.seen == [0, 1]


@pytest.mark.parametrize("event", [*EVENTS, *BATCH_EVENTS])
def test_the_base_overrides_nothing_and_all_of_its_events_can_be_called(event):
    assert not overrides(Callback(), event)
    if "batch" in event or "epoch" in event:
        getattr(Callback(), event)(0)
    else:
        getattr(Callback(), event)()


# ---------------------------------------------------------------------- the list


def test_the_list_sets_model_and_params():
    callback = Callback()
    CallbackList([callback], model="model", params={"epochs": 1})
    assert (callback.model, callback.params) == ("model", {"epochs": 1})


def test_the_list_tells_those_that_were_appended_too():
    callbacks, late = CallbackList(), recorder("on_epoch_end")
    callbacks.append(late)
    callbacks.tell("on_epoch_end", 3, {"loss": 1.0})
    assert late.events == [("on_epoch_end", 3, {"loss": 1.0})]


@pytest.mark.parametrize("wrong", [3, "history", print])
def test_what_is_no_callback_is_a_type_error_and_the_model_stays_as_it_was(wrong):
    model = compiled()
    before = model.get_weights()
    with pytest.raises(TypeError, match="Expected a Callback.* LambdaCallback" if callable(wrong) else "Expected a Callback"):
        model.fit(X, Y, verbose=0, callbacks=[wrong])
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_lists_in_lists_and_other_callback_lists_are_told_as_well():
    first, second, third = (recorder("on_epoch_end") for _ in range(3))
    compiled().fit(X, Y, verbose=0, callbacks=[first, [second], CallbackList([third])])
    assert [len(listener.events) for listener in (first, second, third)] == [1, 1, 1]


def test_a_callback_list_can_be_given_to_fit():
    listener = recorder("on_epoch_end")
    history = compiled().fit(X, Y, verbose=0, callbacks=CallbackList([listener]))
    assert len(listener.events) == 1 and history.epoch == [0]


def test_the_class_instead_of_an_object_is_a_type_error():
    with pytest.raises(TypeError, match=r"got the class History. Make an object of it: History\(...\)"):
        compiled().fit(X, Y, verbose=0, callbacks=[History])


@pytest.mark.parametrize("event", [*EVENTS, *BATCH_EVENTS])
def test_an_object_with_one_event_is_a_callback(event):
    theirs = type("Theirs", (), {event: lambda self, *args: seen.append(args)})()
    seen, model = [], compiled()
    if "predict" in event:
        model.predict(X, callbacks=[theirs])
    else:
        model.fit(X, Y, verbose=0, validation_data=(X, Y), callbacks=[theirs])
    assert len(seen) == 1 and len(seen[0]) == (2 if "epoch" in event or "batch" in event else 1)


def test_callbacks_know_their_companions():
    class Reader(Callback):
        def on_train_begin(self, logs=None):
            self.seen = list(self.companions)

    reader, other = Reader(), Callback()
    history = compiled().fit(X, Y, verbose=0, callbacks=[reader, other])
    assert reader.seen == [reader, other, history]


# ---------------------------------------------------------------------- the list alone, in a loop of one's own


def test_a_loop_of_ones_own_tells_every_event():
    listener = recorder(*EVENTS, *BATCH_EVENTS)
    callbacks = CallbackList([listener])
    for event in (*EVENTS, *BATCH_EVENTS):
        getattr(callbacks, event)(*([7] if "epoch" in event or "batch" in event else []), {"loss": torch.tensor(0.5)})
    expected = [(event, *([7] if "epoch" in event or "batch" in event else []), {"loss": 0.5}) for event in (*EVENTS, *BATCH_EVENTS)]
    assert listener.events == expected


@pytest.mark.parametrize("edge", ["begin", "end"])
def test_the_list_takes_the_old_names_of_batch_events(edge):
    older, newer = recorder(f"on_batch_{edge}"), recorder(f"on_train_batch_{edge}")
    getattr(CallbackList([older, newer]), f"on_batch_{edge}")(3)
    assert [listener.events[0][1] for listener in (older, newer)] == [3, 3]


def test_events_need_no_logs():
    listener = recorder("on_train_begin", "on_epoch_end")
    callbacks = CallbackList([listener])
    callbacks.on_train_begin()
    callbacks.on_epoch_end(0)
    assert listener.events == [("on_train_begin", {}), ("on_epoch_end", 0, {})]


def test_history_and_progress_are_added_where_there_is_none():
    kinds = [type(callback).__name__ for callback in CallbackList([Callback()], add_history=True, add_progbar=True)]
    assert kinds == ["Callback", "History", "ProgbarLogger"]
    assert len(CallbackList([History()], add_history=True).callbacks) == 1


def test_further_keywords_are_params():
    callback = Callback()
    CallbackList([callback], model=compiled(), epochs=3, verbose=0)
    assert callback.params == {"epochs": 3, "verbose": 0}


def test_a_list_without_a_model_leaves_that_of_its_callbacks():
    callback = Callback()
    callback.set_model("model")
    CallbackList([callback])
    assert callback.model == "model"


def test_no_callbacks():
    assert list(CallbackList()) == list(CallbackList(None)) == []


# ---------------------------------------------------------------------- the state of all


class Counter(Callback):
    count = 0

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def test_the_list_has_the_state_of_its_callbacks():
    first, second = Counter(), Counter()
    first.count, second.count = 1, 2
    state = CallbackList([first, object_with("on_epoch_end"), second]).state_dict()
    others = Counter(), Counter()
    CallbackList([others[0], object_with("on_epoch_end"), others[1]]).load_state_dict(state)
    assert [other.count for other in others] == [1, 2]


def test_the_state_of_other_callbacks_is_an_error_that_changes_nothing():
    state, counter = CallbackList([Counter(), History()]).state_dict(), Counter()
    with pytest.raises(ValueError, match=r"callbacks \['Counter', 'History'\], but these are \['Counter'\]"):
        CallbackList([counter]).load_state_dict(state)
    assert counter.count == 0


def object_with(event):
    return type("Theirs", (), {event: lambda self, *args: None})()


# ---------------------------------------------------------------------- validation data, evaluate and predict


class Look(Callback):
    def on_train_begin(self, logs=None):
        self.seen = self.validation_data


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"validation_data": (X[:2], Y[:2])}, [X[:2], Y[:2], np.ones(2)]),
        ({"validation_data": (X[:2], Y[:2], Y[2:4])}, [X[:2], Y[:2], Y[2:4]]),
        ({"validation_split": 0.2}, [X[8:], Y[8:], np.ones(2)]),
    ],
)
def test_validation_data_is_inputs_targets_and_weights(options, expected):
    look = Look()
    compiled().fit(X, Y, verbose=0, callbacks=[look], **options)
    assert len(look.seen) == 3
    for seen, wanted in zip(look.seen, expected, strict=True):
        assert isinstance(seen, np.ndarray) and np.array_equal(seen, wanted)
    assert np.shares_memory(look.seen[0], X)


def test_without_validation_and_with_a_generator_there_is_no_validation_data():
    look, model = Look(), compiled()
    model.fit(X, Y, verbose=0, validation_split=0.5, callbacks=[look])
    model.fit(X, Y, verbose=0, callbacks=[look])
    assert look.seen is None
    model.fit(X, Y, verbose=0, validation_data=iter([(X, Y)]), validation_steps=1, callbacks=[look])
    assert look.seen is None


@pytest.mark.parametrize("call", ["evaluate", "predict"])
def test_evaluate_and_predict_say_what_is_to_be_done(call):
    callback = Callback()
    getattr(compiled(), call)(*((X, Y) if call == "evaluate" else (X,)), batch_size=4, verbose=0, callbacks=[callback])
    assert callback.params == {"epochs": 1, "steps": 3, "samples": 10, "verbose": 0, "batch_size": 4}
