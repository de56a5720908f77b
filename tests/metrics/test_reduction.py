"""Means and sums of values, and of functions of targets and predictions."""

import copy
import functools
import pickle

import pytest
import torch

from torchkeras_fn import metrics, portion


def test_no_values_give_zero():
    assert float(metrics.Mean().result()) == float(metrics.Sum().result()) == 0.0


def test_a_million_batches_do_not_round_the_mean_away():
    mean = metrics.Mean(dtype="float64")
    mean.add(torch.tensor(1.0), 2**25, times=2**25)
    for _ in range(100):
        mean.update_state(torch.tensor([0.0]))
    assert float(mean.result()) == pytest.approx(2**25 / (2**25 + 100), rel=1e-12)


@pytest.mark.parametrize(("make", "expected"), [(metrics.Mean, 16 / 7), (metrics.Sum, 16.0)])
def test_lists_scalars_integers_and_booleans(make, expected):
    metric = make()
    for values in ([1.0, 2.0], 3, torch.tensor([4, 5]), torch.tensor([True, False])):
        metric.update_state(values)
    assert float(metric.result()) == pytest.approx(expected)


def test_integers_take_fractional_weights():
    mean, total = metrics.Mean(), metrics.Sum()
    for metric in (mean, total):
        metric.update_state(torch.tensor([1, 3]), torch.tensor([0.5, 1.5]))
    assert (float(mean.result()), float(total.result())) == (2.5, 5.0)


def test_half_precision_is_summed_in_full():
    mean = metrics.Mean()
    mean.update_state(torch.full((4096,), 0.1, dtype=torch.bfloat16))
    assert float(mean.result()) == pytest.approx(float(torch.tensor(0.1, dtype=torch.bfloat16)), rel=1e-6)


def test_a_batch_without_samples_changes_nothing():
    mean = metrics.Mean()
    mean.update_state(torch.tensor([2.0]))
    mean.update_state(torch.zeros(0))
    mean.update_state(torch.zeros(0, 3))
    assert float(mean.result()) == 2.0


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_the_result_has_the_type_that_was_asked_for(dtype):
    for make in (metrics.Mean, metrics.Sum, metrics.AUC, metrics.F1Score, metrics.R2Score, metrics.Precision):
        assert str(make(dtype=dtype).result().dtype) == f"torch.{dtype}"


def test_total_and_count_are_variables():
    mean = metrics.Mean()
    mean.update_state([1.0, 2.0, 3.0])
    assert [(state.name, float(state)) for state in mean.variables] == [("total", 6.0), ("count", 3.0)]
    mean.update_state([4.0], sample_weight=[0.5])
    assert float(mean.count) == 3.5 and float(mean.result()) == pytest.approx(8 / 3.5)
    mean.total.assign(7.0)
    assert float(mean.result()) == 2.0
    mean.reset_state()
    assert [float(state) for state in mean.variables] == [0.0, 0.0]


@pytest.mark.parametrize("weight", [[0.0, 0.0], None])
def test_weights_of_0_alone_give_0(weight):
    mean = metrics.Mean()
    mean.update_state([1.0, 2.0], weight or [0.0, 0.0])
    assert float(mean.result()) == 0.0


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


def test_a_scalar_counts_with_the_weights_of_its_samples():
    metric = metrics.get(lambda y_true, y_pred: (y_true - y_pred).abs().max())
    metric.update_state(torch.zeros(2, 1), torch.ones(2, 1), torch.tensor([0.0, 1.0]))
    metric.update_state(torch.zeros(2, 1), torch.zeros(2, 1), torch.tensor([1.0, 2.0]))
    assert float(metric.result()) == 0.25


def test_values_along_more_axes_than_the_weights_are_averaged():
    metric = metrics.get(lambda y_true, y_pred: (y_true - y_pred).abs())
    metric.update_state(torch.zeros(1, 2, 2), torch.tensor([[[0.0, 1.0], [2.0, 5.0]]]), torch.tensor([[1.0, 0.0]]))
    assert float(metric.result()) == 0.5


def test_a_function_with_options():
    metric = metrics.MeanMetricWrapper(metrics.top_k_categorical_accuracy, k=1, name="first")
    assert float(metric(torch.eye(3), torch.eye(3).roll(1, 0))) == 0.0
    again = metrics.deserialize(metrics.serialize(metric))
    assert again.options == {"k": 1} and again.name == "first" and again.fn is metrics.top_k_categorical_accuracy


@pytest.mark.parametrize(
    ("function", "name"),
    [(lambda y_true, y_pred: y_pred, "<lambda>"), (functools.partial(metrics.binary_accuracy, threshold=0.2), "partial")],
)
def test_the_name_of_a_function(function, name):
    assert metrics.MeanMetricWrapper(function).name == name


def test_copies_and_pickles_keep_the_state_and_go_their_own_way():
    metric = metrics.Mean()
    metric.update_state([1.0, 2.0])
    for again in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert float(again.result()) == 1.5
        again.reset_state()
    assert float(metric.result()) == 1.5


def test_a_subclass_that_gathers_through_its_parent():
    class Doubled(metrics.Mean):
        def update_state(self, values, sample_weight=None):
            super().update_state(2 * values, sample_weight)

    metric = Doubled(name="doubled")
    metric.update_state(torch.tensor([1.0, 2.0]))
    assert float(metric.result()) == 3.0


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("values", [[], [0.1, 0.2], [1e300], [float("nan"), 1.0]])
def test_the_number_is_the_result(dtype, values):
    mean = metrics.Mean(dtype=dtype)
    for value in values:
        mean.update_state(torch.tensor([value], dtype=torch.float64))
    assert mean.number() == pytest.approx(float(mean.result()), rel=0, abs=0, nan_ok=True)


def test_the_number_of_a_weighted_mean_and_of_a_result_of_ones_own():
    class Percent(metrics.Mean):
        def result(self):
            return 100 * super().result()

    for mean in (metrics.Mean(), Percent()):
        mean.update_state([1.0, 4.0], sample_weight=[2.0, 1.0])
        assert mean.number() == float(mean.result())
    percent = Percent()
    percent.update_state([0.5])
    assert percent.number() == 50.0


def test_the_scalars_of_several_processes_are_one_value_of_a_batch():
    parts = metrics.Mean(), metrics.Mean()
    for shares, values in (((3, 1), (1.0, 5.0)), ((2, 2), (3.0, 5.0)), ((1, 0), (7.0, 99.0))):
        for mean, rows, value in zip(parts, shares, values, strict=True):
            before = portion.take(portion.Portion(rows, sum(shares), count=2))
            mean.update_state(torch.tensor(value))
            mean.update_state([value], sample_weight=[0.0])
            portion.take(before)
    total, count = (sum(float(getattr(mean, name)) for mean in parts) for name in ("total", "count"))
    assert (total, count) == (2.0 + 4.0 + 7.0, 3.0)
    mean = metrics.Mean()
    mean.update_state(2.0)  # by itself
    assert float(mean.count) == 1.0


@pytest.mark.parametrize("value", [None, "high", {"a": 1.0}, torch.ones(2, dtype=torch.complex64)])
def test_a_function_that_returns_no_real_numbers_is_named(value):
    def mine(y_true, y_pred):
        return value

    with pytest.raises(TypeError, match="The metric 'mine' has to return a tensor of real numbers"):
        metrics.get(mine).update_state(torch.ones(2, 1), torch.ones(2, 1))
