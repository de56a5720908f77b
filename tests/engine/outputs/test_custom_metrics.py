"""Figures that steps of a user's own returned, put together; tests/distributed has them with real processes."""

import numpy as np
import torch
import torchmetrics

from torchkeras_fn import Input, Model
from torchkeras_fn.engine.outputs.custom_metrics import figures_of_all, keep_metrics_in, metrics_in, reset_metrics_in
from torchkeras_fn.layers import Dense, Layer
from torchkeras_fn.metrics import Mean, Metric, Precision


class Counting(Metric):
    """Gathers in an attribute, and has no `reset_state`."""

    count = 0

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count += len(y_pred)

    def result(self):
        return self.count


def model_with(**attributes):
    x = Input(shape=(1,))
    model = Model(x, Dense(1)(x))
    model.compile("sgd", "mse")
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


def test_metrics_are_found_reset_and_kept():
    first, second, third, counting = Mean("first"), Mean("second"), Mean("third"), Counting()
    model = model_with(first=first, several=[second], named={"third": third, "again": first}, counting=counting)
    assert metrics_in(model) == [first, second, third, counting]
    for metric in (first, second, third):
        metric.update_state(3.0)
    counting.update_state(None, [1, 2])
    put_back = keep_metrics_in(model)
    reset_metrics_in(model)
    assert float(first.result()) == float(third.result()) == 0.0 and counting.count == 2
    put_back()
    assert float(first.result()) == float(third.result()) == 3.0


def gathered_by_two(model, result, rows, last, others):
    """The figures of this process and of another, which gives `others` in turn."""
    return figures_of_all(result, rows, last, model, lambda given: [given, next(others)])


def test_a_figure_that_nobody_gathered_is_the_mean_of_the_last_step():
    model = model_with()
    figures = {"loss": torch.tensor(1.0), "name": "a", "flag": True}
    other = (5, 3, {"loss": 3.0, "name": "b", "flag": False}, {}, False)
    assert gathered_by_two(model, figures, 5, 1, iter([other])) == {"loss": 2.5, "name": "a", "flag": True}


def test_a_figure_of_a_metric_that_nobody_can_merge_is_the_mean_by_rows():
    model = model_with(counting=Counting(), tracker=Mean("tracked"))
    model.counting.update_state(None, [1, 2])
    model.tracker.update_state(1.0)
    other = (6, 6, {"counting": 6.0}, {"counting": [0]}, True)
    assert gathered_by_two(model, {"counting": 2}, 2, 0, iter([other])) == {"counting": 5.0}


def test_metrics_of_equal_value_are_told_apart_by_their_names():
    model = model_with(one=Precision(name="one"), two=Precision(name="two"))
    for metric in (model.one, model.two):
        metric.update_state(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0]))
    told = []

    def exchange(given):
        told.append(given)
        return [given, given]

    figures = {"two": model.two.result(), "one": model.one.result(), "elsewhere": 0.25}
    assert figures_of_all(figures, 2, 2, model, exchange) == {"two": 0.5, "one": 0.5, "elsewhere": 0.25}
    assert told[0][3] == {"two": [1, 0], "one": [0, 1], "elsewhere": []} and len(told) == 3
    assert float(model.one.result()) == 0.5


def test_metrics_of_torchmetrics_in_the_model_begin_anew_with_each_epoch_and_evaluation():
    class Own(Model):
        def train_step(self, batch):
            self.seen.update(batch[0].flatten())
            return {"seen": self.seen.compute()}

        test_step = train_step

    x = Input(shape=(1,))
    model = Own(x, Dense(1)(x))
    model.seen = torchmetrics.SumMetric()
    model.compile("sgd")
    data = np.ones((4, 1), "float32")
    history = model.fit(data, data, epochs=2, batch_size=2, validation_data=(data[:3], data[:3]), verbose=0).history
    assert history == {"seen": [4.0, 4.0], "val_seen": [3.0, 3.0]}


class Noting(Layer):
    """Notes the mean of what comes."""

    def __init__(self, name):
        super().__init__()
        self.seen, self.counting = [Mean(name)], Counting()

    def call(self, inputs):
        self.seen[0].update_state(inputs)
        self.counting.update_state(None, inputs)
        return inputs


def test_a_metric_that_a_layer_updates_is_logged_and_begins_anew():
    x = Input(shape=(1,))
    model = Model(x, Dense(1)(Noting("seen")(x)))
    model.compile("sgd", "mse", metrics=["mae"], device="cpu")
    rows = np.arange(4, dtype="float32")[:, None]
    history = model.fit(rows, rows, epochs=2, batch_size=2, validation_data=(rows[:2], rows[:2]), verbose=0).history
    assert history["seen"] == [1.5, 1.5]
    assert history["val_seen"] == [0.5, 0.5]
    assert model.metrics_names == ["loss", "mae", "seen"]
    assert model.evaluate(rows, rows, verbose=0)[2] == 1.5


def test_a_metric_of_a_layer_stands_in_place_of_one_of_its_name():
    x = Input(shape=(1,))
    model = Model(x, Dense(1)(Noting("mae")(x)))
    model.compile("sgd", "mse", metrics=["mae"], device="cpu")
    rows = np.full((4, 1), 7, "float32")
    assert model.evaluate(rows, rows, verbose=0)[1:] == [7.0]
    assert model.metrics_names == ["loss", "mae"]
