"""`History`: the figures of every epoch, under the names the user typed and their older or newer words."""

import copy
import pickle

import numpy as np
import pytest

from torchkeras_fn import Input, Model
from torchkeras_fn.callbacks import Callback, History
from torchkeras_fn.callbacks.history import Figures
from torchkeras_fn.layers import Dense

X, Y = np.random.default_rng(0).normal(size=(20, 3)).astype("float32"), np.arange(20) % 2


def compiled(metrics=None, outputs=1):
    x = Input(shape=(3,))
    heads = [Dense(1, activation="sigmoid", name=name)(x) for name in ("left", "right")[:outputs]]
    model = Model(x, heads if outputs > 1 else heads[0])
    model.compile("sgd", "binary_crossentropy", metrics=metrics)
    return model


def test_one_number_for_each_epoch_in_the_order_of_metrics_names():
    model = compiled(metrics=["acc", "mse"])
    history = model.fit(X, Y, epochs=3, verbose=0, validation_split=0.25)
    assert list(history.history) == ["loss", "acc", "mse", "val_loss", "val_acc", "val_mse"]
    assert all(len(figures) == 3 and all(type(figure) is float for figure in figures) for figures in history.history.values())
    assert history.epoch == [0, 1, 2]
    assert history.model is model and model.history is history


def test_an_epoch_without_figures_is_noted():
    history = History()
    history.on_train_begin()
    history.on_epoch_end(0)
    assert (history.epoch, history.history) == ([0], {})


def test_several_outputs_have_figures_of_their_own():
    history = compiled(metrics=["accuracy"], outputs=2).fit(X, [Y, Y], verbose=0)
    assert list(history.history) == ["loss", "left_loss", "right_loss", "left_accuracy", "right_accuracy"]
    left, right = history.history["left_loss"][0], history.history["right_loss"][0]
    assert history.history["loss"][0] == pytest.approx(left + right)
    assert history.history["left_acc"] == history.history["left_accuracy"]


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        ("accuracy", "acc"),
        ("acc", "accuracy"),
        ("val_acc", "val_accuracy"),
        ("a_accuracy", "a_acc"),
        ("lr", "learning_rate"),
        ("learning_rate", "lr"),
    ],
)
def test_older_and_newer_words_find_the_same_figures(known, asked):
    figures = Figures({known: [0.5]})
    assert figures[asked] == [0.5]
    assert asked in figures
    assert figures.get(asked) == [0.5]
    assert list(figures) == [known]


def test_a_name_nobody_logged_is_a_key_error():
    figures = Figures(loss=[0.5])
    with pytest.raises(KeyError, match="acc"):
        figures["acc"]
    assert "acc" not in figures and 3 not in figures
    assert figures.get("acc") is None and figures.get("acc", []) == []


def test_the_figures_are_a_plain_dict_for_everything_else():
    figures = Figures(loss=[0.5])
    assert figures == {"loss": [0.5]}
    assert isinstance(figures, dict)
    for again in (copy.deepcopy(figures), pickle.loads(pickle.dumps(figures))):
        assert again == figures and type(again) is Figures


def test_every_fit_has_a_history_of_its_own():
    model = compiled()
    first, second = model.fit(X, Y, epochs=2, verbose=0), model.fit(X, Y, epochs=3, verbose=0)
    assert len(first.history["loss"]) == 2 and len(second.history["loss"]) == 3


def test_a_history_of_ones_own_is_filled_as_well():
    mine = History()
    returned = compiled().fit(X, Y, epochs=2, verbose=0, callbacks=[mine])
    assert mine.history == returned.history and mine is not returned


def test_a_history_that_is_used_again_begins_anew():
    mine, model = History(), compiled()
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[mine])
    model.fit(X, Y, epochs=1, verbose=0, callbacks=[mine])
    assert len(mine.history["loss"]) == 1 and mine.epoch == [0]


def test_figures_other_callbacks_added_to_the_logs_are_kept():
    class Rate(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["lr"] = self.model.optimizer.lr

    history = compiled().fit(X, Y, epochs=2, verbose=0, callbacks=[Rate()])
    assert history.history["learning_rate"] == [0.01, 0.01]


def test_epochs_without_validation_have_no_validation_figures():
    history = compiled().fit(X, Y, epochs=5, verbose=0, validation_split=0.5, validation_freq=2)
    assert len(history.history["loss"]) == 5 and len(history.history["val_loss"]) == 2


@pytest.mark.parametrize(("frequency", "count"), [(1, 4), (3, 1), (np.int64(2), 2), ([1, 4], 2), (10, 0)])
def test_validation_at_some_epochs(frequency, count):
    history = compiled().fit(X, Y, epochs=4, verbose=0, validation_data=(X, Y), validation_freq=frequency)
    assert len(history.history.get("val_loss", [])) == count


def test_no_epochs_leave_the_history_empty():
    history = compiled().fit(X, Y, epochs=2, initial_epoch=2, verbose=0)
    assert history.history == {} and history.epoch == []


def test_an_interrupted_training_keeps_the_finished_epochs():
    class Interrupt(Callback):
        def on_batch_end(self, batch, logs=None):
            if len(self.model.history.epoch) == 2:
                raise KeyboardInterrupt

    model = compiled()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=5, verbose=0, callbacks=[Interrupt()])
    assert model.history.epoch == [0, 1]
    assert len(model.history.history["loss"]) == 2
    assert np.isfinite(model.evaluate(X, Y, verbose=0))


def test_the_state_goes_on_after_the_epochs_so_far():
    first, second = History(), History()
    first.on_train_begin()
    first.on_epoch_end(0, {"accuracy": 0.5})
    state = first.state_dict()
    first.on_epoch_end(1, {"accuracy": 0.6})
    second.on_train_begin()
    second.load_state_dict(state)
    assert state == {"history": {"accuracy": [0.5]}, "epoch": [0]}
    second.on_epoch_end(1, {"accuracy": 0.6})
    assert second.history == first.history and second.epoch == first.epoch == [0, 1]
    assert second.history["acc"] == [0.5, 0.6]
