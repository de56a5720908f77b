"""The metrics of an output in compile: open names, figures by name, values of several classes, evaluations in the middle of an epoch."""

import copy

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Model, losses, metrics
from torchkeras_fn.callbacks import Callback
from torchkeras_fn.layers import Dense

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(20, 4)).astype("float32"), RANDOM.integers(0, 3, 20)


def classifier(outputs=1, **options):
    inputs = Input((4,))
    made = [Dense(3, activation="softmax", name=f"out{index}")(inputs) for index in range(outputs)]
    model = Model(inputs, made if outputs > 1 else made[0])
    model.compile("sgd", "sparse_categorical_crossentropy", **options)
    return model


class Spread(metrics.Metric):
    """Two figures in one metric."""

    def __init__(self, name="spread"):
        super().__init__(name=name)
        self.low, self.high = self.add_variable((), "zeros", name="low"), self.add_variable((), "zeros", name="high")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.low.assign(torch.minimum(self.low, y_pred.min()))
        self.high.assign(torch.maximum(self.high, y_pred.max()))

    def result(self):
        return {"low": self.low, "high": self.high}


def test_a_dict_of_figures_is_logged_by_its_names():
    model = classifier(metrics=[Spread(), "acc"])
    figures = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert list(figures) == model.metrics_names == ["loss", "low", "high", "acc"]
    assert figures["high"] == pytest.approx(model.predict(X).max())
    history = model.fit(X, Y, epochs=2, validation_data=(X, Y), verbose=0).history
    assert list(history) == ["loss", "low", "high", "acc", "val_loss", "val_low", "val_high", "val_acc"]
    assert all(isinstance(value, float) for values in history.values() for value in values)


def test_a_dict_of_figures_of_each_output():
    model = classifier(2, metrics=[Spread()])
    model.evaluate(X, [Y, Y], verbose=0)
    assert model.metrics_names == ["loss", "out0_loss", "out1_loss", "out0_low", "out0_high", "out1_low", "out1_high"]


def test_a_value_for_each_threshold_is_an_array_in_the_logs(capsys):
    inputs = Input((4,))
    model = Model(inputs, Dense(1, activation="sigmoid")(inputs))
    model.compile("sgd", "binary_crossentropy", metrics=[metrics.Recall([0.2, 0.5], name="found"), "f1_score"])
    history = model.fit(X, Y > 1, epochs=2, verbose=2).history
    assert [values.shape for values in history["found"]] == [(2,), (2,)] and isinstance(history["f1_score"][0], float)
    assert "found" in capsys.readouterr().out
    assert model.evaluate(X, Y > 1, verbose=0)[1].shape == (2,)


def test_names_that_are_open_until_the_data_is_seen():
    figures = classifier(metrics=["accuracy", "crossentropy", "ce"]).evaluate(X, Y, verbose=0, return_dict=True)
    assert list(figures) == ["loss", "accuracy", "crossentropy", "ce"]
    assert figures["crossentropy"] == figures["ce"] == pytest.approx(figures["loss"])


def test_the_objects_behind_the_figures():
    mine = metrics.SparseTopKCategoricalAccuracy(k=2, name="two")
    model = classifier(2, metrics=[[mine, "acc"], ["acc"]])
    named = model.objective.named_metrics()
    assert list(named) == ["out0_two", "out0_acc", "out1_acc"] and named["out0_two"] is mine
    assert metrics.is_higher_better("val_out0_two", named) is True


def test_an_evaluation_in_the_middle_of_an_epoch_leaves_its_figures_alone():
    class Look(Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.evaluate(X[:3], Y[:3], verbose=0)

    def gather(callbacks):
        torch.manual_seed(0)
        model = classifier(
            metrics=["acc", Spread(), metrics.SparseCategoricalCrossentropy(name="cross"), metrics.MeanIoU(3, sparse_y_pred=False)]
        )
        return model.fit(X, Y, batch_size=6, shuffle=False, verbose=0, callbacks=callbacks).history

    assert gather([Look()]) == gather([])


def test_a_weighted_class_is_averaged_by_its_weights_and_a_name_as_the_loss():
    weight = RANDOM.uniform(0, 2, 20).astype("float32")
    model = classifier(weighted_metrics=["sparse_categorical_crossentropy", metrics.SparseCategoricalCrossentropy(name="by_weight")])
    figures = model.evaluate(X, Y, sample_weight=weight, verbose=0, return_dict=True)
    assert figures["sparse_categorical_crossentropy"] == pytest.approx(figures["loss"])
    assert figures["by_weight"] == pytest.approx(figures["loss"] * 20 / weight.sum(), rel=1e-5)


def test_targets_that_a_metric_cannot_take_are_an_error_before_a_step():
    model = classifier(metrics=[metrics.Precision()])
    before = model.get_weights()[0].copy()
    with pytest.raises(ValueError, match="Metric 'precision': Targets of shape"):
        model.fit(X, Y, verbose=0)
    assert (model.get_weights()[0] == before).all()


def test_a_subclass_that_prepares_the_predictions_for_its_parent():
    class SparseMeanIoU(metrics.MeanIoU):
        def update_state(self, y_true, y_pred, sample_weight=None):
            return super().update_state(y_true, y_pred.argmax(-1), sample_weight)

    model = classifier(metrics=[SparseMeanIoU(3, name="mine"), metrics.MeanIoU(3, sparse_y_pred=False, name="ours")])
    history = model.fit(X, Y, epochs=2, verbose=0).history
    assert history["mine"] == history["ours"]


NUMBERS = [
    (losses.Huber(), "delta", 0.1),
    (losses.CategoricalCrossentropy(from_logits=True), "label_smoothing", 0.3),
    (losses.CategoricalCrossentropy(), "label_smoothing", 0.3),  # whose form for logits is a copy
    (losses.BinaryFocalCrossentropy(), "gamma", 5.0),
]


@pytest.mark.parametrize("is_metric", [False, True], ids=["loss", "metric"])
@pytest.mark.parametrize(("loss", "name", "value"), NUMBERS, ids=["huber", "logits", "softmax", "focal"])
def test_a_number_of_a_loss_that_is_changed_counts_from_the_next_epoch_on(loss, name, value, is_metric):
    loss, inputs = copy.copy(loss), Input((4,))
    model = Model(inputs, Dense(3, activation="softmax")(inputs))
    settings = {"loss": "categorical_crossentropy", "metrics": [loss]} if is_metric else {"loss": loss}
    model.compile("sgd", **settings)
    targets = np.eye(3)[Y]
    before = model.evaluate(X, targets, verbose=0)
    setattr(loss, name, value)
    after = model.evaluate(X, targets, verbose=0)
    model.compile("sgd", **settings)
    assert after == model.evaluate(X, targets, verbose=0) != before


def test_what_was_decided_for_a_loss_is_kept_while_it_does_not_change():
    model = classifier(metrics=["accuracy", "sparse_categorical_crossentropy"])
    model.evaluate(X, Y, verbose=0), model.evaluate(X, Y, verbose=0)
    [output] = model.objective.outputs
    known = output._loss_recipes
    model.evaluate(X, Y, verbose=0)
    assert output._loss_recipes is known
