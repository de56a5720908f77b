"""Losses as metrics: values over unequal batches, weights, averages like the loss's, logits, configs."""

import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn import losses, metrics
from torchkeras_fn.metrics import from_losses

P = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.2, 0.1, 0.7]])
ONE_HOT = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
CLASSES = torch.tensor([0, 2, 2])
BITS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0]])

# metric, targets, predictions, the value of each sample
VALUES = [
    (metrics.BinaryAccuracy, BITS, P, [2 / 3, 2 / 3, 1 / 3]),
    (metrics.CategoricalAccuracy, ONE_HOT, P, [1.0, 0.0, 1.0]),
    (metrics.SparseCategoricalAccuracy, CLASSES, P, [1.0, 0.0, 1.0]),
    (lambda: metrics.get("mse"), BITS, P, (BITS - P).square().mean(1).tolist()),
    (lambda: metrics.get("mean_absolute_error"), BITS, P, (BITS - P).abs().mean(1).tolist()),
    (lambda: metrics.get("binary_crossentropy"), BITS, P, F.binary_cross_entropy(P, BITS, reduction="none").mean(1).tolist()),
    (lambda: metrics.get("categorical_crossentropy"), ONE_HOT, P, F.nll_loss(P.log(), CLASSES, reduction="none").tolist()),
    (lambda: metrics.get("sparse_categorical_crossentropy"), CLASSES, P, F.nll_loss(P.log(), CLASSES, reduction="none").tolist()),
    (lambda: metrics.get(lambda y_true, y_pred: (y_true - y_pred).abs().amax(-1)), BITS, P, (BITS - P).abs().amax(1).tolist()),
    (lambda: metrics.get(nn.L1Loss()), BITS, P, (BITS - P).abs().mean(1).tolist()),
]
IDS = ["binary", "categorical", "sparse", "mse", "mae", "bce", "cce", "scce", "function", "torch"]


@pytest.mark.parametrize(("make", "y_true", "y_pred", "values"), VALUES, ids=IDS)
def test_the_result_is_the_mean_over_all_samples_of_unequal_batches(make, y_true, y_pred, values):
    metric = make()
    metric.update_state(y_true[:2], y_pred[:2])
    metric.update_state(y_true[2:], y_pred[2:])
    assert float(metric.result()) == pytest.approx(sum(values) / 3)


@pytest.mark.parametrize(("make", "y_true", "y_pred", "values"), VALUES, ids=IDS)
def test_weights_count_samples_more_or_less(make, y_true, y_pred, values):
    metric = make()
    metric.update_state(y_true[:2], y_pred[:2], torch.tensor([3.0, 0.5]))
    metric.update_state(y_true[2:], y_pred[2:], torch.tensor([2.0]))
    assert float(metric.result()) == pytest.approx((3 * values[0] + 0.5 * values[1] + 2 * values[2]) / 5.5)


@pytest.mark.parametrize(("make", "y_true", "y_pred", "values"), VALUES, ids=IDS)
@pytest.mark.parametrize("reset", ["reset_state", "reset_states"])
def test_reset_forgets_all_batches(make, y_true, y_pred, values, reset):
    metric = make()
    metric.update_state(y_true, y_pred)
    getattr(metric, reset)()
    metric.update_state(y_true[1:2], y_pred[1:2])
    assert float(metric.result()) == pytest.approx(values[1])


@pytest.mark.parametrize(("make", "y_true", "y_pred", "values"), VALUES, ids=IDS)
def test_calling_takes_in_a_batch_and_returns_the_figure_so_far(make, y_true, y_pred, values):
    metric = make()
    assert float(metric(y_true[:1], y_pred[:1])) == pytest.approx(values[0])
    assert float(metric(y_true[1:], y_pred[1:])) == pytest.approx(sum(values) / 3)


@pytest.mark.parametrize(("make", "y_true", "y_pred", "values"), VALUES, ids=IDS)
def test_the_result_is_a_scalar_on_the_device_of_the_predictions(make, y_true, y_pred, values):
    metric = make()
    metric.update_state(y_true.to("meta"), y_pred.to("meta"))
    assert metric.result().device.type == "meta"
    assert metric.result().shape == ()


CLASSES_OF_KERAS = [item for item in vars(from_losses).values() if isinstance(item, type) and issubclass(item, from_losses._KerasMetric)]


@pytest.mark.parametrize("make", [make for make in CLASSES_OF_KERAS if not make.__name__.startswith("_")], ids=lambda make: make.__name__)
def test_every_class_is_a_loss_that_is_better_when_it_is_lower(make):
    metric = make()
    assert metric.direction == "down" and isinstance(metric.loss, losses.Loss)
    assert make.from_config(json.loads(json.dumps(metric.get_config()))).get_config() == metric.get_config()
    assert [variable.name for variable in metric.variables] == ["total", "count"]


@pytest.mark.parametrize(("weight", "share"), [(None, 1 / 3), (torch.tensor([1.0, 2.0, 0.5]), 1.0)])
def test_ignored_classes_count_as_in_keras(weight, share):
    metric = metrics.SparseCategoricalCrossentropy(ignore_class=2)
    metric.update_state(CLASSES, P, weight)
    assert float(metric.result()) == pytest.approx(-share * float(P[0, 0].log()), rel=1e-5)


@pytest.mark.parametrize(("metric", "like_the_loss"), [(metrics.get("mse"), True), (metrics.MeanSquaredError(), False)])
@pytest.mark.parametrize("make", [losses.MeanSquaredError], ids=["mse"])
def test_a_name_is_averaged_as_the_loss_and_a_class_by_its_weights(metric, like_the_loss, make):
    assert metric.like_the_loss == like_the_loss
    weight = torch.tensor([1.0, 0.0, 0.0])
    metric.reset_state()
    metric.averaged_as_the_loss()(BITS, P, weight)
    assert float(metric.result()) == pytest.approx(float(make()(BITS, P, sample_weight=weight)))
    metric.reset_state()
    metric.update_state(BITS, P, weight)
    assert float(metric.result()) == pytest.approx(3 * float(make()(BITS, P, sample_weight=weight)))


def test_a_name_is_averaged_over_what_the_loss_makes_of_targets_and_predictions_in_this_order():
    y_true, y_pred = torch.tensor([[0.1, 0.9]]), torch.tensor([[0.5, 0.5]])
    metric = metrics.get("kl_divergence")
    metric.averaged_as_the_loss()(y_true, y_pred, None)
    assert float(metric.result()) == pytest.approx(float((y_true * (y_true / y_pred).log()).sum()), rel=1e-5)


def test_a_loss_keeps_its_options_and_name_in_the_config():
    metric = metrics.get(losses.Huber(delta=0.5, name="robust"))
    again = metrics.deserialize(json.loads(json.dumps(metrics.serialize(metric))))
    assert type(again) is metrics.LossMetric and again.name == "robust" and again.loss.delta == 0.5


SHARES = torch.tensor([0.2, 3.0, 0.1])
CROSSENTROPIES = [nn.CrossEntropyLoss(SHARES), nn.CrossEntropyLoss(SHARES, ignore_index=0), nn.CrossEntropyLoss(ignore_index=2)]


@pytest.mark.parametrize("mask", [None, torch.tensor([True, True, False])])
@pytest.mark.parametrize("weight", [None, torch.tensor([2.0, 0.5, 3.0])])
@pytest.mark.parametrize("theirs", CROSSENTROPIES)
def test_a_loss_of_torch_is_averaged_as_the_loss_with_its_weights_of_classes(theirs, weight, mask):
    metric, loss = metrics.get(theirs), losses.as_loss(theirs)
    metric.averaged_as_the_loss()(CLASSES, P, weight, mask)
    torch.testing.assert_close(metric.result(), loss.compute(*loss.prepare(CLASSES, P), weight, mask))


@pytest.mark.parametrize("theirs", CROSSENTROPIES)
def test_a_loss_of_torch_as_a_metric_is_what_it_is_of_all_samples(theirs):
    metric = metrics.get(theirs)
    metric.update_state(CLASSES[:2], P[:2])
    metric.update_state(CLASSES[2:], P[2:])
    torch.testing.assert_close(metric.result(), theirs(P, CLASSES))


def test_a_mask_and_an_ignored_class_leave_out_of_the_average_what_they_leave_out_of_the_loss():
    loss = losses.SparseCategoricalCrossentropy(ignore_class=0)
    metric, mask = metrics.LossMetric(loss), torch.tensor([True, True, False])
    metric.averaged_as_the_loss()(CLASSES, P, None, mask)
    torch.testing.assert_close(metric.result(), loss.compute(CLASSES, P, mask=mask))
