"""Intersection over union: classes left out, weights, shapes, arguments."""

import pytest
import torch

from torchkeras_fn import metrics


def test_classes_that_do_not_appear_are_left_out_of_the_mean():
    assert float(metrics.MeanIoU(5)([0, 1], [0, 1])) == 1.0
    assert float(metrics.MeanIoU(5).result()) == 0.0


@pytest.mark.parametrize("ignored", [-1, 7, 2])
def test_ignored_and_unknown_classes_do_not_count(ignored):
    metric = metrics.MeanIoU(2 if ignored != 2 else 3, ignore_class=ignored)
    assert float(metric([0, 1, ignored], [0, 1, 0])) == 1.0


def test_weights_need_not_be_whole_numbers():
    assert float(metrics.IoU(2, [0])([0, 0], [0, 1], [0.5, 1.5])) == 0.25


def test_weights_a_sample_count_for_all_its_elements():
    y_true, y_pred = torch.zeros(2, 2, 2), torch.stack([torch.zeros(2, 2), torch.ones(2, 2)])
    assert float(metrics.IoU(2, [0])(y_true, y_pred, torch.tensor([3.0, 1.0]))) == 0.75


@pytest.mark.parametrize(("y_true", "y_pred"), [((4, 1), (4,)), ((4,), (4, 1)), ((2, 3, 1), (2, 3))])
def test_a_last_axis_of_1_is_none(y_true, y_pred):
    metric = metrics.MeanIoU(2)
    assert float(metric(torch.ones(y_true), torch.ones(y_pred))) == 1.0


@pytest.mark.parametrize("axis", [1, -1])
def test_scores_along_an_axis(axis):
    y_true = torch.tensor([[0, 1], [1, 1]])
    scores = torch.nn.functional.one_hot(y_true, 2).float().movedim(-1, axis)
    assert float(metrics.MeanIoU(2, sparse_y_pred=False, axis=axis)(y_true, scores)) == 1.0
    assert float(metrics.OneHotMeanIoU(2, axis=axis)(scores, scores)) == 1.0


def test_one_hot_classes_may_be_booleans():
    y_true, y_pred = torch.eye(3)[[0, 1, 2]].bool(), torch.eye(3)[[0, 1, 1]].bool()
    assert float(metrics.OneHotIoU(3, [0, 1])(y_true, y_pred)) == 0.75


def test_the_state_is_a_confusion_matrix():
    metric = metrics.MeanIoU(2)
    metric.update_state([0, 0, 1], [0, 1, 1])
    assert metric.total_cm.tolist() == [[1, 1], [0, 1]] and metric.variables[0] is metric.total_cm


def test_the_result_is_a_fraction_whatever_the_dtype():
    assert metrics.MeanIoU(2).dtype == "int32" and metrics.MeanIoU(2)([0, 0], [0, 1]).item() == 0.25
    assert metrics.MeanIoU(2, dtype="float64")([0, 0], [0, 1]).dtype == torch.float64


def test_scores_in_place_of_classes_are_an_error_that_says_what_to_do():
    with pytest.raises(ValueError, match="MeanIoU compares class indices of one shape.*sparse_y_pred=False"):
        metrics.MeanIoU(3).update_state(torch.zeros(4), torch.zeros(4, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: metrics.IoU(2, [2]), "'target_class_ids' must be below num_classes=2"),
        (lambda: metrics.IoU(2, [-1]), "'target_class_ids' must be an integer of at least 0"),
        (lambda: metrics.MeanIoU(0), "'num_classes' must be an integer of at least 1"),
        (lambda: metrics.BinaryIoU(threshold="half"), "'threshold' must be a finite number"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
