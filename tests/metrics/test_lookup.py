"""How metrics are looked up and written down, and what 'accuracy' and 'crossentropy' mean."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn import Model, losses, metrics


@pytest.mark.parametrize(
    ("loss", "y_true", "y_pred", "kind"),
    [
        (losses.BinaryCrossentropy(), (4, 3), (4, 3), "BinaryAccuracy"),
        (losses.TorchLoss(nn.BCELoss()), (4, 3), (4, 3), "BinaryAccuracy"),
        (losses.TorchLoss(F.binary_cross_entropy), (4, 3), (4, 3), "BinaryAccuracy"),
        (losses.MeanSquaredError(), (4,), (4, 1), "BinaryAccuracy"),
        (losses.MeanSquaredError(), (4, 1), (4, 1), "BinaryAccuracy"),
        (losses.BinaryFocalCrossentropy(), (4, 2), (4, 2), "BinaryAccuracy"),
        (losses.MeanSquaredError(), (4,), (4,), "BinaryAccuracy"),
        (losses.MeanSquaredError(), (4, 5, 1), (4, 5, 1), "BinaryAccuracy"),
        (losses.SparseCategoricalCrossentropy(), (4,), (4, 3), "SparseCategoricalAccuracy"),
        (losses.SparseCategoricalCrossentropy(), (4, 1), (4, 3), "SparseCategoricalAccuracy"),
        (losses.SparseCategoricalCrossentropy(), (4, 5), (4, 5, 3), "SparseCategoricalAccuracy"),
        (losses.TorchLoss(nn.CrossEntropyLoss()), (4,), (4, 3), "SparseCategoricalAccuracy"),
        (losses.TorchLoss(nn.CrossEntropyLoss()), (4, 3), (4, 3), "CategoricalAccuracy"),
        (None, (4,), (4, 3), "SparseCategoricalAccuracy"),
        (None, (4, 3), (4, 3), "CategoricalAccuracy"),
        (losses.CategoricalCrossentropy(), (4, 3), (4, 3), "CategoricalAccuracy"),
        (losses.CategoricalCrossentropy(), (4, 5, 3), (4, 5, 3), "CategoricalAccuracy"),
    ],
)
@pytest.mark.parametrize("word", ["accuracy", "acc", "Accuracy", "crossentropy", "ce"])
def test_which_metric_is_meant(loss, y_true, y_pred, kind, word):
    metric = metrics.choose(word, loss, y_true, y_pred)
    assert type(metric).__name__ == (kind if "acc" in word.lower() else kind.replace("Accuracy", "Crossentropy"))
    assert metric.name == word and metrics.is_open(word)


@pytest.mark.parametrize("loss", [nn.BCEWithLogitsLoss(), F.binary_cross_entropy_with_logits])
def test_accuracy_of_logits_that_torchs_loss_takes_parts_them_at_zero(loss):
    metric = metrics.choose("accuracy", losses.as_loss(loss), (4, 1), (4, 1))
    assert float(metric([[1.0], [1.0], [0.0], [0.0]], [[0.2], [2.0], [-0.2], [-2.0]])) == 1.0


@pytest.mark.parametrize(
    "name", ["mse", "MSE", "mae", "mean_squared_error", "bce", "binary_accuracy", "BinaryAccuracy", "categorical_accuracy", "mean"]
)
def test_a_metric_is_called_as_the_user_typed(name):
    assert metrics.get(name).name == name


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        (losses.mean_squared_error, "mean_squared_error"),
        (losses.MeanSquaredError(name="distance"), "distance"),
        (losses.MeanSquaredError(), "mean_squared_error"),
        (metrics.BinaryAccuracy(name="hits"), "hits"),
        (metrics.BinaryAccuracy, "binary_accuracy"),
        (metrics.binary_accuracy, "binary_accuracy"),
        (nn.L1Loss(), "L1Loss"),
        (F.l1_loss, "l1_loss"),
    ],
)
def test_other_metrics_have_the_name_of_the_object(identifier, name):
    assert metrics.get(identifier).name == name


@pytest.mark.parametrize("name", ["acc", "accuracy"])
def test_outside_compile_accuracy_is_that_of_labels(name):
    assert type(metrics.get(name)) is metrics.Accuracy and metrics.get(name).name == name


def test_every_lookup_by_name_gives_a_metric_of_its_own():
    assert metrics.get("mse") is not metrics.get("mse")


def test_an_object_with_update_state_is_taken_as_it_is():
    class Theirs:
        def update_state(self, y_true, y_pred, sample_weight=None): ...
        def __call__(self): ...

    theirs = Theirs()
    assert metrics.get(theirs) is theirs


@pytest.mark.parametrize(
    "metric",
    [
        metrics.BinaryAccuracy(threshold=0.3, name="hits"),
        metrics.CategoricalAccuracy(),
        metrics.SparseCategoricalAccuracy(),
        metrics.Mean(),
        metrics.get(losses.CategoricalCrossentropy(label_smoothing=0.1)),
    ],
    ids=lambda metric: type(metric).__name__,
)
def test_the_config_is_json_and_makes_an_equal_metric(metric):
    again = metrics.deserialize(json.loads(json.dumps(metrics.serialize(metric))))
    assert type(again) is type(metric)
    assert metrics.serialize(again) == metrics.serialize(metric)


def test_a_function_of_ones_own_is_written_by_name_and_found_again():
    def distance(y_true, y_pred):
        return (y_true - y_pred).abs().mean(-1)

    written = metrics.serialize(metrics.get(distance))
    assert written == "distance"
    assert metrics.deserialize(written, custom_objects={"distance": distance}).fn is distance


@pytest.mark.parametrize("function", [metrics.binary_accuracy, metrics.mse, metrics.pearson_correlation])
def test_functions_are_written_by_name(function):
    assert metrics.serialize(function) == function.__name__
    assert metrics.deserialize(function.__name__).name == function.__name__


@pytest.mark.parametrize("name", metrics.lookup.CLASSES)
def test_every_class_is_found_in_both_spellings(name):
    made = metrics.lookup.CLASSES[name]
    assert metrics.registry.find(name) is made and metrics.registry.find(made.__name__) is made
    assert getattr(metrics, made.__name__) is made


@pytest.mark.parametrize("name", sorted(losses.registry.entries))
def test_every_loss_is_a_metric(name):
    assert isinstance(metrics.get(name), metrics.Metric) and metrics.get(name).name == name


@pytest.mark.parametrize(
    ("identifier", "message"),
    [
        ("acuracy", "Unknown metric 'acuracy'. Did you mean"),
        ("binary_acuracy", "Did you mean 'binary_accuracy'"),
        ("mean_sqared_error", "Did you mean 'mean_squared_error'"),
        (3, "metric.*got 3 of type int"),
        ({"class_name": "Nothing"}, "Unknown metric 'Nothing'"),
        ("MeanIoU", "'MeanIoU' cannot be made without num_classes: pass metrics.MeanIoU"),
        ("precision_at_recall", "cannot be made without recall: pass metrics.PrecisionAtRecall"),
    ],
)
def test_mistakes_are_named(identifier, message):
    with pytest.raises(ValueError, match=message):
        metrics.get(identifier)


@pytest.mark.parametrize("shape", [(8, 4, 4, 4), (8, 4, 5), (8, 4, 1), (8, 4, 5, 6)])
@pytest.mark.parametrize("shares", [False, True])
def test_the_accuracy_of_pixels_and_steps_goes_along_the_classes_of_torchs_loss(shape, shares):
    net = Model.from_module(nn.Identity())
    net.compile("sgd", nn.CrossEntropyLoss(), metrics=["accuracy"], weighted_metrics=["accuracy"], device="cpu")
    y_pred, y_true = torch.randn(shape), torch.randint(0, 4, (shape[0], *shape[2:]))
    targets = F.one_hot(y_true, 4).movedim(-1, 1).float() if shares else y_true
    right = (y_pred.argmax(1) == y_true).float()
    expected = [right.mean().item(), right.flatten(1).mean(1)[:4].mean().item()]
    weights = np.repeat([1.0, 0.0], 4)
    found = net.evaluate(y_pred, targets, sample_weight=weights, verbose=0)[1:]
    assert found == pytest.approx(expected, abs=1e-6)
