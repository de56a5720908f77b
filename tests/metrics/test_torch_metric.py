"""Metrics of torchmetrics in the list: targets as they take them, devices, masks, collections, evaluations in between."""

import numpy as np
import pytest
import torch
import torchmetrics

from torchkeras_fn import Input, Model, metrics
from torchkeras_fn.layers import Dense, Masking
from torchkeras_fn.metrics import TorchMetric, is_higher_better, keep

SCORES = torch.softmax(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), -1)
CLASSES = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])


def multiclass(**options):
    return torchmetrics.Accuracy(task="multiclass", num_classes=3, average="micro", **options)


EXPECTED = float((SCORES.argmax(1) == CLASSES).float().mean())


@pytest.mark.parametrize(
    "targets",
    [
        *(CLASSES, CLASSES[:, None], CLASSES.float(), CLASSES.float()[:, None], CLASSES.to(torch.int32)),
        *(torch.eye(3)[CLASSES], torch.eye(3)[CLASSES].bool()),
    ],
)
def test_targets_of_any_form_are_classes(targets):
    metric = metrics.get(multiclass())
    assert isinstance(metric, TorchMetric) and metric.name == "multiclass_accuracy"
    for rows in (slice(0, 5), slice(5, 8)):
        metric.update_state(targets[rows], SCORES[rows])
    assert float(metric.result()) == pytest.approx(EXPECTED)


@pytest.mark.parametrize("y_true", [(8,), (8, 1)])
@pytest.mark.parametrize("y_pred", [(8,), (8, 1)])
@pytest.mark.parametrize(
    "theirs",
    [lambda: torchmetrics.Accuracy(task="binary"), torchmetrics.MeanSquaredError, torchmetrics.PearsonCorrCoef, torchmetrics.R2Score],
)
def test_columns_and_flat_arrays_are_one_thing(theirs, y_true, y_pred):
    targets, predictions = (CLASSES > 0).float(), SCORES[:, 0]
    metric, expected = metrics.get(theirs()), theirs()
    metric.update_state(targets.reshape(y_true), predictions.reshape(y_pred))
    expected.update(predictions, targets.long() if "Accuracy" in type(expected).__name__ else targets)
    assert float(metric.result()) == pytest.approx(float(expected.compute()), rel=1e-5)


def test_nothing_seen_is_0_and_a_reset_begins_anew():
    metric = metrics.get(multiclass())
    assert float(metric.result()) == 0.0
    metric.update_state(CLASSES, SCORES)
    metric.reset_state()
    assert float(metric.result()) == 0.0
    metric.update_state(SCORES.argmax(1), SCORES)
    assert float(metric.result()) == 1.0


def test_an_evaluation_may_come_first():
    metric = metrics.get(multiclass())
    with torch.inference_mode():
        metric.update_state(CLASSES.clone(), SCORES.clone())
        metric.result()
    metric.update_state(CLASSES, SCORES)
    assert float(metric.result()) == pytest.approx(EXPECTED)


def test_masked_steps_are_left_out_and_weights_are_an_error():
    metric = metrics.get(multiclass())
    metric.update_state(CLASSES, SCORES, torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 1]))
    assert float(metric.result()) == float((SCORES.argmax(1) == CLASSES)[[0, 7]].float().mean())
    for weight in (torch.full((8,), 0.5), torch.ones(3)):
        with pytest.raises(ValueError, match="'multiclass_accuracy' is a metric of torchmetrics, which takes no sample weights"):
            metric.update_state(CLASSES, SCORES, weight)


def test_back_to_an_earlier_state():
    theirs = multiclass()
    metric = metrics.get(theirs)
    metric.update_state(CLASSES, SCORES)
    restore = keep(metric)
    metric.reset_state()
    metric.update_state(SCORES.argmax(1), SCORES)
    metric.reset_state()
    restore()
    assert float(metric.result()) == pytest.approx(EXPECTED) and metric.metric is theirs


def test_which_way_is_better():
    assert is_higher_better(metrics.get(multiclass())) is True
    assert is_higher_better(metrics.get(torchmetrics.MeanSquaredError())) is False
    assert is_higher_better(metrics.get(torchmetrics.MetricCollection([torchmetrics.MeanSquaredError(), torchmetrics.R2Score()]))) is None


def test_there_is_no_config():
    with pytest.raises(NotImplementedError, match="no config"):
        metrics.serialize(metrics.get(multiclass()))


# ---------------------------------------------------------------------- in compile


def classifier():
    inputs = Input((4,))
    return Model(inputs, Dense(3, activation="softmax")(inputs))


X = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 20)


def test_the_figures_of_training_are_those_of_our_own_metric():
    model = classifier()
    f1 = torchmetrics.F1Score("multiclass", num_classes=3)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy", multiclass(), f1])
    before = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert list(before) == ["loss", "accuracy", "multiclass_accuracy", "multiclass_f1score"]
    history = model.fit(X, Y, batch_size=8, epochs=2, validation_data=(X, Y), verbose=0).history
    for prefix in ("", "val_"):
        assert history[f"{prefix}multiclass_accuracy"] == pytest.approx(history[f"{prefix}accuracy"])
    assert before["accuracy"] == pytest.approx(before["multiclass_accuracy"])
    assert is_higher_better("val_multiclass_accuracy", model.objective.named_metrics())


def test_a_collection_gives_a_figure_for_each_of_its_metrics():
    collection = torchmetrics.MetricCollection({"hits": multiclass(), "f1": torchmetrics.F1Score("multiclass", num_classes=3)})
    model = classifier()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[collection, "acc"])
    assert model.metrics_names == ["loss", "f1", "hits", "acc"]
    figures = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert list(figures) == model.metrics_names and figures["hits"] == pytest.approx(figures["acc"])
    assert model.objective.named_metrics()["f1"] is collection["f1"]


def test_one_object_for_two_outputs_does_not_mix_their_figures():
    inputs, metric = Input((4,)), multiclass()
    model = Model(inputs, [Dense(3, activation="softmax", name=name)(inputs) for name in "ab"])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[["acc", metric], ["acc", metric]])
    figures = model.evaluate(X, [Y, Y], verbose=0, return_dict=True)
    for name in "ab":
        assert figures[f"{name}_acc"] == pytest.approx(figures[f"{name}_multiclass_accuracy"])


def test_masked_outputs():
    inputs = Input((5, 4))
    model = Model(inputs, Dense(3, activation="softmax")(Masking()(inputs)))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["acc", multiclass()])
    x = np.random.default_rng(0).normal(size=(6, 5, 4)).astype("float32")
    x[:, 3:] = 0
    figures = model.evaluate(x, np.random.default_rng(1).integers(0, 3, (6, 5)), verbose=0, return_dict=True)
    assert figures["acc"] == pytest.approx(figures["multiclass_accuracy"])


def test_weighted_metrics_are_told_to_be_put_elsewhere():
    with pytest.raises(ValueError, match="weighted_metrics: 'multiclass_accuracy' is a metric of torchmetrics"):
        classifier().compile("sgd", "sparse_categorical_crossentropy", weighted_metrics=[multiclass()])


def test_a_value_for_each_class_is_an_array_in_the_history():
    model = classifier()
    by_class = torchmetrics.Accuracy(task="multiclass", num_classes=3, average=None)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[by_class])
    history = model.fit(X, Y, verbose=0).history
    assert history["multiclass_accuracy"][0].shape == (3,)
