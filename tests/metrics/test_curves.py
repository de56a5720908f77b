"""Areas under curves, and the best of one share where another is good enough."""

import math

import pytest
import torch

from torchkeras_fn import metrics

Y_TRUE, Y_PRED = torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([0.1, 0.6, 0.4, 0.9])
AT = {
    "specificity": metrics.SensitivityAtSpecificity,
    "sensitivity": metrics.SpecificityAtSensitivity,
    "recall": metrics.PrecisionAtRecall,
    "precision": metrics.RecallAtPrecision,
}


@pytest.mark.parametrize(("curve", "area"), [("ROC", 0.75), ("roc", 0.75)])
def test_the_area_under_a_curve_is_the_share_of_pairs_in_the_right_order(curve, area):
    assert float(metrics.AUC(curve=curve)(Y_TRUE, Y_PRED)) == pytest.approx(area)


@pytest.mark.parametrize(
    ("curve", "method", "area"),
    [
        ("PR", "interpolation", 1 / 2 + (1 - math.log(3 / 2)) / 2),  # from 1 hit of 2 that are called to 2 hits of 3
        ("PR", "minoring", 1 / 4),
        ("PR", "majoring", 1 / 2 + 1 / 3),
        ("PRGAIN", "interpolation", 1 / 4),
        ("PRGAIN", "minoring", 0.0),
        ("PRGAIN", "majoring", 1 / 2),
    ],
)
def test_areas_by_hand(curve, method, area):
    assert float(metrics.AUC(curve=curve, summation_method=method)(Y_TRUE, Y_PRED)) == pytest.approx(area)


def test_weights_of_labels_without_curves_of_their_own_weigh_their_predictions():
    y_true, y_pred = Y_TRUE.reshape(2, 2), Y_PRED.reshape(2, 2)
    weights = torch.tensor([1.0, 3.0])
    mine = metrics.AUC(label_weights=weights)(y_true, y_pred)
    assert float(mine) == pytest.approx(float(metrics.AUC()(Y_TRUE, Y_PRED, sample_weight=weights.repeat(2))))
    assert float(mine) != pytest.approx(float(metrics.AUC()(Y_TRUE, Y_PRED)))


def test_weights_of_labels_and_of_samples_are_multiplied():
    y_true, y_pred, weights = Y_TRUE.reshape(2, 2), Y_PRED.reshape(2, 2), torch.tensor([[2.0, 1.0], [1.0, 4.0]])
    mine = metrics.AUC(label_weights=[1.0, 3.0])(y_true, y_pred, sample_weight=weights)
    expected = metrics.AUC()(Y_TRUE, Y_PRED, sample_weight=(weights * torch.tensor([1.0, 3.0])).flatten())
    assert float(mine) == pytest.approx(float(expected))


def test_labels_have_curves_of_their_own():
    y_true, y_pred = torch.stack([Y_TRUE, 1 - Y_TRUE], 1), torch.stack([Y_PRED, Y_PRED], 1)
    assert float(metrics.AUC(multi_label=True)(y_true, y_pred)) == pytest.approx(0.5)
    assert float(metrics.AUC(multi_label=True, label_weights=[1.0, 0.0])(y_true, y_pred)) == pytest.approx(0.75)
    assert [part.shape for part in metrics.AUC(multi_label=True, num_labels=2, num_thresholds=5).variables] == [(5, 2)] * 4


def test_a_label_axis_is_told_by_the_first_batch_and_kept_over_a_reset():
    metric = metrics.AUC(multi_label=True)
    assert metric.variables == [] and float(metric.result()) == 0.0
    metric.reset_state()
    metric.update_state(torch.eye(3), torch.eye(3) / 2)
    metric.reset_state()
    assert float(metric(torch.eye(3), torch.eye(3) / 2)) == pytest.approx(1.0)
    with pytest.raises(ValueError, match=r"shape \(samples, 3\), got \(2, 2\)"):
        metric.update_state(torch.eye(2), torch.eye(2))


def test_logits():
    assert float(metrics.AUC(from_logits=True)(Y_TRUE, torch.logit(Y_PRED))) == pytest.approx(0.75)


@pytest.mark.parametrize("value", [1.5, -2.0])
def test_predictions_beyond_0_and_1_count_as_the_limits(value):
    metric = metrics.AUC()
    metric.update_state(torch.ones(1), torch.tensor([value]))
    assert metric.true_positives[0] == 1 and metric.true_positives[-1] == 0


def test_thresholds_stand_in_for_their_number():
    assert metrics.AUC(num_thresholds=None, thresholds=[0.3, 0.5]).num_thresholds == 4


@pytest.mark.parametrize(
    ("argument", "expected"),
    [("specificity", 0.0), ("sensitivity", 0.0), ("recall", 0.5), ("precision", 0.0)],
)
def test_the_wrong_order_has_no_threshold_but_those_at_which_all_are_called_alike(argument, expected):
    assert float(AT[argument](1.0)(torch.tensor([0.0, 1.0]), torch.tensor([0.9, 0.1]))) == expected


@pytest.mark.parametrize("argument", AT)
def test_no_batches_give_0(argument):
    assert float(AT[argument](0.5).result()) == 0.0


@pytest.mark.parametrize("argument", AT)
@pytest.mark.parametrize("value", [-0.1, 1.1, "half", None])
def test_shares_lie_between_0_and_1(argument, value):
    with pytest.raises(ValueError, match=f"{argument}' must be"):
        AT[argument](value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"curve": "RC"}, "'curve' must be one of 'ROC', 'PR', 'PRGAIN'"),
        ({"summation_method": "sum"}, "'summation_method' must be one of"),
        ({"num_thresholds": 1}, "'num_thresholds' must be an integer of at least 2"),
        ({"num_labels": 2}, "'num_labels' goes with multi_label=True"),
        ({"thresholds": [0.5, 2.0]}, "'thresholds' must be numbers between 0 and 1"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        metrics.AUC(**options)


@pytest.mark.parametrize("options", [{}, {"thresholds": [0.6, 0.2]}, {"label_weights": torch.ones(2).numpy(), "multi_label": True}])
def test_the_config_makes_an_equal_metric(options):
    metric = metrics.AUC(**options)
    again = metrics.deserialize(metrics.serialize(metric))
    assert again.thresholds == metric.thresholds and again.get_config() == metric.get_config()
