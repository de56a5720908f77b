"""Accuracies: values, top-k, alignment, and the same figures from logits."""

import pytest
import torch

from torchkeras_fn import metrics

P = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.2, 0.1, 0.7]])
ONE_HOT = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
CLASSES = torch.tensor([0, 2, 2])
BITS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
TARGETS = {
    "accuracy": BITS,
    "binary_accuracy": BITS,
    "categorical_accuracy": ONE_HOT,
    "sparse_categorical_accuracy": CLASSES,
    "top_k_categorical_accuracy": ONE_HOT,
    "sparse_top_k_categorical_accuracy": CLASSES,
}


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "accuracy"])
def test_functions_give_a_value_per_sample_of_tensors_and_lists(name):
    function = getattr(metrics, name)
    assert function(TARGETS[name], P).shape == (3,)
    assert function(TARGETS[name].tolist(), P.tolist()).tolist() == function(TARGETS[name], P).tolist()


@pytest.mark.parametrize("name", TARGETS)
def test_a_function_as_a_metric_is_the_class(name):
    metric = metrics.get(getattr(metrics, name))
    assert metric.name == name and type(metric) is type(metrics.get(name))


@pytest.mark.parametrize(("y_true", "y_pred"), [((3,), (3, 1)), ((3, 1), (3,)), ((3,), (3,)), ((3, 1), (3, 1))])
def test_binary_accuracy_aligns_columns(y_true, y_pred):
    metric = metrics.BinaryAccuracy()
    metric.update_state(torch.tensor([1.0, 0.0, 1.0]).reshape(y_true), torch.tensor([0.9, 0.8, 0.7]).reshape(y_pred))
    assert float(metric.result()) == pytest.approx(2 / 3)


def test_the_threshold_of_binary_accuracy():
    metric = metrics.BinaryAccuracy(threshold=0.8)
    metric.update_state(torch.tensor([1.0, 0.0]), torch.tensor([0.9, 0.7]))
    assert float(metric.result()) == 1.0


@pytest.mark.parametrize("metric", [metrics.BinaryAccuracy(), metrics.CategoricalAccuracy(), metrics.get("mse")], ids=lambda m: m.name)
def test_a_mismatch_is_an_error(metric):
    with pytest.raises(ValueError, match="do not fit predictions"):
        metric.update_state(torch.zeros(3), torch.zeros(3, 3))


@pytest.mark.parametrize(("k", "hits"), [(1, [1, 0, 1]), (2, [1, 1, 1]), (3, [1, 1, 1]), (9, [1, 1, 1])])
def test_among_the_k_largest(k, hits):
    assert metrics.top_k_categorical_accuracy(ONE_HOT, P, k).tolist() == hits
    assert metrics.sparse_top_k_categorical_accuracy(CLASSES, P, k).tolist() == hits
    assert metrics.sparse_top_k_categorical_accuracy(CLASSES[:, None], P, k).tolist() == hits


def test_a_class_that_does_not_exist_and_a_score_that_is_no_number_are_misses():
    scores = torch.tensor([[0.1, 0.9], [0.1, 0.9], [float("nan"), 0.9]])
    assert metrics.sparse_top_k_categorical_accuracy([-1, 2, 0], scores, k=2).tolist() == [0, 0, 0]


def test_equal_scores_share_a_place():
    assert metrics.sparse_top_k_categorical_accuracy([0, 1, 2], [[0.2, 0.2, 0.1]] * 3, k=1).tolist() == [1, 1, 0]


def test_predictions_that_are_classes_already():
    metric = metrics.SparseTopKCategoricalAccuracy(k=1, from_sorted_ids=True)
    assert float(metric([2, 1], [[1, 0, 3], [1, 2, 3]])) == 0.5


@pytest.mark.parametrize("make", [metrics.TopKCategoricalAccuracy, metrics.SparseTopKCategoricalAccuracy])
@pytest.mark.parametrize("k", [0, -1, 2.5, "2"])
def test_k_is_a_positive_integer(make, k):
    with pytest.raises(ValueError, match="'k' must be an integer of at least 1"):
        make(k=k)


# ---------------------------------------------------------------------- predictions before their softmax or sigmoid

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [-3.0, 0.1, 0.2], [0.0, 1.0, -1.0]])


@pytest.mark.parametrize(
    ("make", "kind", "y_true"),
    [
        (metrics.BinaryAccuracy, "sigmoid", BITS),
        (metrics.CategoricalAccuracy, "softmax", ONE_HOT),
        (metrics.SparseCategoricalAccuracy, "softmax", CLASSES),
        (lambda: metrics.TopKCategoricalAccuracy(k=2), "softmax", ONE_HOT),
        (lambda: metrics.SparseTopKCategoricalAccuracy(k=2), "softmax", CLASSES),
        (lambda: metrics.get("binary_crossentropy"), "sigmoid", BITS),
        (lambda: metrics.get("categorical_crossentropy"), "softmax", ONE_HOT),
        (lambda: metrics.get("sparse_categorical_crossentropy"), "softmax", CLASSES),
    ],
    ids=["binary", "categorical", "sparse", "top", "sparse top", "bce", "cce", "scce"],
)
@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 3.0, 0.5])], ids=["plain", "weighted"])
def test_the_form_for_logits_gives_the_same_figure(make, kind, y_true, weight):
    plain, on_logits = make(), make()
    probabilities = torch.softmax(LOGITS, -1) if kind == "softmax" else torch.sigmoid(LOGITS)
    plain.update_state(y_true, probabilities, weight)
    on_logits.on_logits(kind)(y_true, LOGITS, weight)
    assert float(on_logits.result()) == pytest.approx(float(plain.result()), rel=1e-5)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: metrics.BinaryAccuracy(threshold=0.7), "sigmoid"),
        (metrics.BinaryAccuracy, "softmax"),
        (metrics.CategoricalAccuracy, "sigmoid"),
        (metrics.SparseCategoricalAccuracy, "sigmoid"),
        (metrics.TopKCategoricalAccuracy, "sigmoid"),
        (lambda: metrics.get("mse"), "sigmoid"),
        (metrics.Mean, "sigmoid"),
        (metrics.AUC, "sigmoid"),
        (lambda: metrics.get(lambda y_true, y_pred: y_pred), "softmax"),
    ],
)
def test_other_metrics_need_the_probabilities(make, kind):
    assert make().on_logits(kind) is None


@pytest.mark.parametrize(
    ("base", "kind"),
    [
        (metrics.BinaryAccuracy, "sigmoid"),
        (metrics.CategoricalAccuracy, "softmax"),
        (metrics.SparseCategoricalAccuracy, "softmax"),
        (metrics.TopKCategoricalAccuracy, "softmax"),
        (metrics.SparseTopKCategoricalAccuracy, "softmax"),
        (metrics.BinaryCrossentropy, "sigmoid"),
    ],
)
@pytest.mark.parametrize("method", ["compare", "update_state"])
def test_a_subclass_that_computes_for_itself_sees_probabilities(base, kind, method):
    mine = type("Mine", (base,), {method: lambda self, y_true, y_pred, sample_weight=None: y_pred.amax(-1)})
    assert mine().on_logits(kind) is None
