"""Metrics: the figure over many batches, weights, what 'accuracy' means, logits, and how metrics are looked up."""

import copy
import json
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn import losses, metrics

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


# ---------------------------------------------------------------------- values


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


def test_no_values_give_zero():
    assert float(metrics.Mean().result()) == 0.0


def test_a_million_batches_do_not_round_the_mean_away():
    mean = metrics.Mean()
    mean.add(torch.tensor(1.0), 2**25, times=2**25)
    for _ in range(100):
        mean.update_state(torch.tensor([0.0]))
    assert float(mean.result()) == pytest.approx(2**25 / (2**25 + 100), rel=1e-12)


def test_the_mean_takes_lists_scalars_integers_and_booleans():
    mean = metrics.Mean()
    for values in ([1.0, 2.0], 3, torch.tensor([4, 5]), torch.tensor([True, False])):
        mean.update_state(values)
    assert float(mean.result()) == pytest.approx(16 / 7)


def test_the_mean_of_integers_takes_fractional_weights():
    mean = metrics.Mean()
    mean.update_state(torch.tensor([1, 3]), torch.tensor([0.5, 1.5]))
    assert float(mean.result()) == 2.5


def test_weights_per_sample_count_for_each_of_its_steps():
    metric = metrics.SparseCategoricalAccuracy()
    y_pred = torch.eye(2).expand(2, 2, 2)
    metric.update_state(torch.tensor([[0, 0], [0, 1]]), y_pred, torch.tensor([3.0, 1.0]))
    assert float(metric.result()) == pytest.approx((3 * 1 + 1 * 2) / (3 * 2 + 1 * 2))


def test_weights_per_step():
    metric = metrics.SparseCategoricalAccuracy()
    metric.update_state(torch.tensor([[0, 0], [0, 1]]), torch.eye(2).expand(2, 2, 2), torch.tensor([[1.0, 0.0], [1.0, 2.0]]))
    assert float(metric.result()) == 1.0


def test_weights_that_fit_no_value_are_an_error():
    with pytest.raises(ValueError, match="Weights of shape"):
        metrics.BinaryAccuracy().update_state(torch.zeros(3), torch.zeros(3, 1), torch.ones(3, 3))


@pytest.mark.parametrize("weight", [None, torch.ones(4), torch.ones(4, 2)])
def test_a_function_may_return_a_scalar_which_counts_for_every_sample(weight):
    metric = metrics.get(lambda y_true, y_pred: (y_true - y_pred).abs().max())
    metric.update_state(torch.zeros(4, 2, 1), torch.ones(4, 2, 1), weight)
    metric.update_state(torch.zeros(1, 2, 1), torch.zeros(1, 2, 1), None if weight is None else weight[:1])
    assert float(metric.result()) == pytest.approx(0.8)


@pytest.mark.parametrize("name", ["binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy"])
def test_functions_give_a_value_per_sample(name):
    y_true = {"binary_accuracy": BITS, "categorical_accuracy": ONE_HOT, "sparse_categorical_accuracy": CLASSES}[name]
    assert getattr(metrics, name)(y_true, P).shape == (3,)


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


# ---------------------------------------------------------------------- what 'accuracy' means


@pytest.mark.parametrize(
    ("loss", "y_true", "y_pred", "kind"),
    [
        (losses.BinaryCrossentropy(), (4, 3), (4, 3), "BinaryAccuracy"),
        (losses.TorchLoss(nn.BCELoss()), (4, 3), (4, 3), "BinaryAccuracy"),
        (losses.TorchLoss(F.binary_cross_entropy), (4, 3), (4, 3), "BinaryAccuracy"),
        (losses.MeanSquaredError(), (4,), (4, 1), "BinaryAccuracy"),
        (losses.MeanSquaredError(), (4, 1), (4, 1), "BinaryAccuracy"),
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
def test_which_accuracy_is_meant(loss, y_true, y_pred, kind):
    assert metrics.choose_accuracy(loss, y_true, y_pred).__name__ == kind


# ---------------------------------------------------------------------- predictions before their softmax or sigmoid

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [-3.0, 0.1, 0.2], [0.0, 1.0, -1.0]])


@pytest.mark.parametrize(
    ("make", "kind", "y_true"),
    [
        (metrics.BinaryAccuracy, "sigmoid", BITS),
        (metrics.CategoricalAccuracy, "softmax", ONE_HOT),
        (metrics.SparseCategoricalAccuracy, "softmax", CLASSES),
        (lambda: metrics.get("binary_crossentropy"), "sigmoid", BITS),
        (lambda: metrics.get("categorical_crossentropy"), "softmax", ONE_HOT),
        (lambda: metrics.get("sparse_categorical_crossentropy"), "softmax", CLASSES),
    ],
    ids=["binary", "categorical", "sparse", "bce", "cce", "scce"],
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
        (lambda: metrics.get("mse"), "sigmoid"),
        (metrics.Mean, "sigmoid"),
        (lambda: metrics.get(lambda y_true, y_pred: y_pred), "softmax"),
    ],
)
def test_other_metrics_need_the_probabilities(make, kind):
    assert make().on_logits(kind) is None


@pytest.mark.parametrize(
    ("base", "kind"),
    [(metrics.BinaryAccuracy, "sigmoid"), (metrics.CategoricalAccuracy, "softmax"), (metrics.SparseCategoricalAccuracy, "softmax")],
)
@pytest.mark.parametrize("method", ["compare", "update_state"])
def test_a_subclass_that_computes_for_itself_sees_probabilities(base, kind, method):
    mine = type("Mine", (base,), {method: lambda self, y_true, y_pred, sample_weight=None: y_pred.amax(-1)})
    assert mine().on_logits(kind) is None


# ---------------------------------------------------------------------- metrics of one's own


def test_a_metric_of_ones_own():
    class Largest(metrics.Metric):
        def __init__(self, name="largest"):
            super().__init__(name)
            self.reset_state()

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.largest = max(self.largest, y_pred.max())

        def result(self):
            return self.largest

        def reset_state(self):
            self.largest = torch.tensor(-math.inf)

    metric = metrics.get(Largest)
    assert float(metric(None, torch.tensor([1.0, 3.0]))) == 3.0
    assert float(metric(None, torch.tensor([2.0]))) == 3.0


@pytest.mark.parametrize("call", [lambda m: m.update_state(None, None), lambda m: m.result(), lambda m: m.reset_state()])
def test_the_methods_of_the_base_are_to_be_overridden(call):
    with pytest.raises(NotImplementedError):
        call(metrics.Metric())


# ---------------------------------------------------------------------- looking up


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
        (losses.MeanSquaredError(), "MeanSquaredError"),
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
def test_accuracy_is_left_open_until_the_data_is_seen(name):
    assert metrics.get(name) == name


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


@pytest.mark.parametrize("make", [metrics.BinaryAccuracy, lambda: metrics.get("mse"), metrics.Mean], ids=["accuracy", "loss", "mean"])
def test_copies_and_pickles_keep_the_state_and_go_their_own_way(make):
    metric = make()
    batch = (BITS, P) if type(metric) is not metrics.Mean else (P,)
    metric.update_state(*batch)
    before = float(metric.result())
    for again in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert float(again.result()) == before
        again.reset_state()
    assert float(metric.result()) == before


@pytest.mark.parametrize(
    ("identifier", "message"),
    [
        ("acuracy", "Unknown metric 'acuracy'. Did you mean"),
        ("binary_acuracy", "Did you mean 'binary_accuracy'"),
        ("mean_sqared_error", "Did you mean 'mean_squared_error'"),
        (3, "metric.*got 3 of type int"),
        ({"class_name": "Nothing"}, "Unknown metric 'Nothing'"),
    ],
)
def test_mistakes_are_named(identifier, message):
    with pytest.raises(ValueError, match=message):
        metrics.get(identifier)
