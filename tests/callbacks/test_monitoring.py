"""What callbacks that watch a figure share: an error for a figure that never comes, and what is better."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.callbacks.stand_ins import StandIn
from torchkeras_fn import Input, Model, Trainer, metrics
from torchkeras_fn.callbacks import Callback, EarlyStopping, LambdaCallback, ModelCheckpoint, MonitorCallback, ReduceLROnPlateau
from torchkeras_fn.layers import Dense, Layer

X, Y = np.random.default_rng(0).normal(size=(20, 3)).astype("float32"), (np.arange(20) % 2).astype("float32")


def compiled(names=("accuracy",), **options):
    x = Input(shape=(3,))
    model = Model(x, Dense(1, activation="sigmoid", name="head")(x), **options)
    model.compile("sgd", "binary_crossentropy", metrics=list(names))
    return model


WATCHERS = [
    lambda **options: EarlyStopping(**options),
    lambda **options: ReduceLROnPlateau(**options),
    lambda **options: ModelCheckpoint("unused", save_best_only=True, **options),
]


class Count(Callback):
    epochs = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs += 1


# ---------------------------------------------------------------------- a figure that is not there


@pytest.mark.parametrize("watcher", WATCHERS)
def test_an_unknown_name_is_an_error_before_the_first_epoch_that_lists_the_names(watcher):
    count, model = Count(), compiled()
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"monitors 'val_acuracy', .* \['loss', 'accuracy', 'val_loss', 'val_accuracy'\]"):
        model.fit(X, Y, verbose=0, validation_split=0.5, callbacks=[count, watcher(monitor="val_acuracy", mode="max")])
    assert count.epochs == 0 and np.array_equal(before[0], model.get_weights()[0])


@pytest.mark.parametrize("watcher", WATCHERS)
def test_without_validation_data_its_figures_are_missing(watcher):
    with pytest.raises(ValueError, match=r"monitors 'val_loss', .* \['loss', 'accuracy'\]\. There is no validation data\."):
        compiled().fit(X, Y, verbose=0, callbacks=[watcher()])


@pytest.mark.parametrize("names", [["acc"], ["accuracy"]])
@pytest.mark.parametrize("asked", ["acc", "accuracy", "val_acc", "val_accuracy"])
def test_the_older_and_the_newer_name_are_found(names, asked):
    stopper = EarlyStopping(asked, patience=5)
    compiled(names).fit(X, Y, verbose=0, validation_split=0.5, epochs=2, callbacks=[stopper])
    assert stopper.best is not None and stopper.monitor_op is np.greater


class Measures(Layer):
    """A layer of a user's, which adds a figure that nobody knows of before it runs."""

    def call(self, x):
        self.add_metric(x.abs().mean(), name="size")
        return x


class OwnStep(Model):
    def train_step(self, batch):
        return {**super().train_step(batch), "extra": torch.tensor(1.0)}


class PlainNet(Trainer, nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, x):
        return torch.sigmoid(self.linear(x))


def with_own_layer():
    x = Input(shape=(3,))
    model = Model(x, Dense(1, activation="sigmoid")(Measures()(x)))
    model.compile("sgd", "binary_crossentropy")
    return model


def with_own_step():
    x = Input(shape=(3,))
    model = OwnStep(x, Dense(1, activation="sigmoid")(x))
    model.compile("sgd", "binary_crossentropy")
    return model


@pytest.mark.parametrize(("make", "late"), [(with_own_layer, "size"), (with_own_step, "extra")])
def test_figures_that_come_up_later_can_be_monitored(make, late):
    stopper = EarlyStopping(late, mode="min", patience=5)
    make().fit(X, Y, verbose=0, epochs=2, callbacks=[stopper])
    assert stopper.best is not None


@pytest.mark.parametrize(("make", "late"), [(with_own_layer, "size"), (with_own_step, "extra")])
def test_where_figures_may_come_up_later_the_error_comes_after_the_first_epoch(make, late):
    count = Count()
    with pytest.raises(ValueError, match=rf"monitors 'typo', which is none of the figures \['loss', '{late}'\]"):
        make().fit(X, Y, verbose=0, epochs=3, callbacks=[count, EarlyStopping("typo", mode="min")])
    assert count.epochs == 1


def test_a_plain_module_knows_its_figures():
    model = PlainNet()
    model.compile("sgd", "bce", metrics=["accuracy"])
    with pytest.raises(ValueError, match=r"\['loss', 'accuracy'\]"):
        model.fit(X, Y, verbose=0, callbacks=[EarlyStopping("typo", mode="min")])


def adds_a_figure():
    class Adds(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_special"] = 1.0 / (epoch + 1)

    return Adds()


@pytest.mark.parametrize("adding", [adds_a_figure, lambda: LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(val_special=epoch))])
def test_a_figure_that_another_callback_adds_can_be_monitored(adding):
    stopper = EarlyStopping("val_special", mode="max", patience=5)
    compiled().fit(X, Y, verbose=0, epochs=2, callbacks=[adding(), stopper])
    assert stopper.best == 1


def test_a_figure_of_a_subclass_is_its_own_matter():
    class Own(EarlyStopping):
        def get_monitor_value(self, logs):
            return logs["loss"] + 1

    stopper = Own("mine", mode="min", patience=5)
    history = compiled().fit(X, Y, verbose=0, epochs=2, callbacks=[stopper])
    assert stopper.best == min(history.history["loss"]) + 1


@pytest.mark.parametrize("name", ["lr", "learning_rate"])
def test_the_learning_rate_can_be_monitored_where_a_callback_logs_it(name):
    compiled().fit(X, Y, verbose=0, epochs=2, callbacks=[ReduceLROnPlateau("loss"), EarlyStopping(name, mode="min", patience=5)])
    with pytest.raises(ValueError, match=name):
        compiled().fit(X, Y, verbose=0, epochs=2, callbacks=[EarlyStopping(name, mode="min", patience=5)])


@pytest.mark.parametrize("watcher", WATCHERS[:2])
def test_epochs_without_validation_are_passed_over(watcher):
    callback = watcher(patience=1)
    history = compiled().fit(X, Y, verbose=0, epochs=4, validation_split=0.5, validation_freq=2, callbacks=[callback])
    assert callback.best == min(history.history["val_loss"]) and len(history.epoch) == 4


def test_a_figure_that_comes_and_goes_is_no_error():
    stopper = EarlyStopping("extra", mode="min", patience=5)
    stopper.set_model(StandIn())
    stopper.on_train_begin()
    stopper.on_epoch_end(0, {"extra": 1.0})
    stopper.on_epoch_end(1, {"loss": 1.0})
    assert stopper.best == 1


def test_by_hand_the_error_comes_with_the_first_epoch():
    stopper = EarlyStopping("val_loss")
    stopper.set_model(StandIn())
    stopper.on_train_begin()
    with pytest.raises(ValueError, match=r"figures \['loss'\]. There is no validation data"):
        stopper.on_epoch_end(0, {"loss": 1.0})


# ---------------------------------------------------------------------- what is better


class Warmth(metrics.Mean):
    direction = "up"


def temperature(y_true, y_pred):
    return y_pred.mean(-1)


def my_acc(y_true, y_pred):
    return y_pred.mean(-1)


@pytest.mark.parametrize(
    ("metric", "monitor", "larger"),
    [
        ("accuracy", "accuracy", True),
        ("acc", "val_acc", True),
        ("mse", "val_mse", False),
        ("mae", "mae", False),
        (metrics.AUC(name="area"), "val_area", True),
        (metrics.Precision(name="p"), "p", True),
        (metrics.MeanSquaredError(name="distance"), "val_distance", False),
        (my_acc, "my_acc", True),
        ("accuracy", "loss", False),
        ("accuracy", "val_loss", False),
    ],
)
def test_the_compiled_metric_says_what_is_better(metric, monitor, larger):
    stopper = EarlyStopping(monitor, patience=3)
    compiled([metric]).fit(X, Y, verbose=0, validation_split=0.5, callbacks=[stopper])
    assert stopper.monitor_op is (np.greater if larger else np.less)


def test_what_cannot_be_told_is_an_error_before_the_first_epoch():
    count = Count()
    with pytest.raises(ValueError, match=r"'val_temperature', and mode='auto' cannot tell .* Give mode='max' or mode='min'"):
        compiled([temperature]).fit(X, Y, verbose=0, validation_split=0.5, callbacks=[count, EarlyStopping("val_temperature")])
    assert count.epochs == 0


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_mode_that_was_given_holds(mode):
    stopper = EarlyStopping("val_temperature", mode=mode, patience=3)
    compiled([temperature]).fit(X, Y, verbose=0, validation_split=0.5, callbacks=[stopper])
    assert stopper.monitor_op is (np.less if mode == "min" else np.greater)


def test_figures_of_several_outputs():
    x = Input(shape=(3,))
    model = Model(x, [Dense(1, name=name, activation="sigmoid")(x) for name in ("left", "right")])
    model.compile("sgd", "bce", metrics=["accuracy"])
    stoppers = [EarlyStopping(name, patience=3) for name in ("val_left_accuracy", "right_loss")]
    model.fit(X, [Y, Y], verbose=0, validation_split=0.5, callbacks=stoppers)
    assert [stopper.monitor_op for stopper in stoppers] == [np.greater, np.less]


@pytest.mark.parametrize(
    ("mode", "delta", "value", "reference", "better"),
    [
        ("min", 0, 1.0, 1.0, False),
        ("min", 0, 0.9, 1.0, True),
        ("min", 0.1, 0.95, 1.0, False),
        ("min", -0.1, 0.8, 1.0, True),
        ("max", 0.1, 1.05, 1.0, False),
        ("max", 0.1, 1.2, 1.0, True),
        ("max", 0, 3.0, None, True),
        ("min", 0, float("nan"), 1.0, False),
        ("max", 0, float("nan"), None, False),
        ("min", 0, float("inf"), None, True),
    ],
)
def test_better_is_better_by_more_than_min_delta(mode, delta, value, reference, better):
    assert MonitorCallback("loss", mode, min_delta=delta)._is_improvement(value, reference) is better


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"monitor": 3}, TypeError, "'monitor' is the name of a figure, got 3"),
        ({"mode": "least"}, ValueError, "'mode' must be one of 'auto', 'min', 'max'; got 'least'"),
        ({"min_delta": "much"}, ValueError, "'min_delta'"),
        ({"baseline": "low"}, ValueError, "'baseline'"),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        MonitorCallback(**options)
