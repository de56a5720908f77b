"""What every metric does: it never waits for the device, follows it, forgets, is copied, put back and written down."""

import copy
import json
import pickle

import pytest
import torch

from torchkeras_fn import metrics
from torchkeras_fn.metrics import keep
from torchkeras_fn.metrics.lookup import CLASSES

BITS, CHANCES = (
    torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 1.0]]),
    torch.tensor([[0.9, 0.3], [0.6, 0.2], [0.1, 0.8], [0.4, 0.7]]),
)
CLASS_INDICES, SHARES = torch.tensor([0, 1, 1, 0]), torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]])
ONE_HOT = torch.eye(2)[CLASS_INDICES]
LABELS = torch.tensor([0, 1, 0, 0])
OF_CLASSES = {"sparse_categorical_accuracy", "sparse_top_k_categorical_accuracy", "sparse_categorical_crossentropy"}
ARGUMENTS = {
    **{"io_u": (2, [0, 1]), "mean_io_u": (2,), "one_hot_io_u": (2, [0, 1]), "one_hot_mean_io_u": (2,)},
    **{name: (0.5,) for name in ("sensitivity_at_specificity", "specificity_at_sensitivity", "precision_at_recall", "recall_at_precision")},
    **{"top_k_categorical_accuracy": (1,), "sparse_top_k_categorical_accuracy": (1,)},
    "mean_metric_wrapper": (metrics.binary_accuracy,),
}


def batch(name):
    """Return targets and predictions that the metric takes; values alone for those that reduce values."""
    if name in ("mean", "sum"):
        return (CHANCES,)
    if name in OF_CLASSES:
        return CLASS_INDICES, SHARES
    if name in ("io_u", "mean_io_u"):
        return CLASS_INDICES, LABELS
    if name.startswith(("one_hot", "categorical", "top_k", "kl")):
        return ONE_HOT, SHARES
    return BITS, CHANCES


@pytest.fixture(params=CLASSES)
def made(request):
    return CLASSES[request.param](*ARGUMENTS.get(request.param, ())), batch(request.param)


def fresh(metric):
    return type(metric).from_config(metric.get_config())


def result_of(metric, *batches):
    for arrays in batches:
        metric.update_state(*arrays)
    return metric.result()


def test_nothing_is_read_from_the_device(made):
    metric, arrays = made
    on_meta = [array.to("meta") for array in arrays]  # reading a value from there raises
    result_of(metric, on_meta, [*on_meta, torch.ones(4, device="meta")])
    assert metric.result().is_meta and {variable.device.type for variable in metric.variables} == {"meta"}
    metric.reset_state()
    assert result_of(metric, arrays).device.type == "cpu"


def test_a_reset_forgets_all_batches(made):
    metric, arrays = made
    expected = result_of(fresh(metric), arrays)
    result_of(metric, arrays, [array[:1] for array in arrays])
    metric.reset_states()
    torch.testing.assert_close(result_of(metric, arrays), expected)


def test_the_variables_are_the_state(made):
    metric, arrays = made
    result_of(metric, arrays)
    assert metric.variables and all(isinstance(variable, metrics.State) and variable.name for variable in metric.variables)
    metric.reset_state()
    assert all(float(variable.abs().sum()) == 0 for variable in metric.variables)


def test_weights_of_1_change_nothing_and_of_0_hide_a_sample(made):
    metric, arrays = made
    torch.testing.assert_close(result_of(fresh(metric), [*arrays, torch.ones(4)]), result_of(fresh(metric), arrays))
    hidden = result_of(fresh(metric), [*arrays, torch.tensor([1.0, 1.0, 0.0, 1.0])])
    torch.testing.assert_close(hidden, result_of(metric, [array[[0, 1, 3]] for array in arrays]))


def test_batches_may_be_cut_anywhere(made):
    metric, arrays = made
    parts = [[array[:1] for array in arrays], [array[1:] for array in arrays]]
    torch.testing.assert_close(result_of(fresh(metric), *parts), result_of(metric, arrays))


def test_an_evaluation_may_come_first_and_gradients_are_not_kept(made):
    metric, arrays = made
    expected = result_of(fresh(metric), arrays, arrays)
    with torch.inference_mode():
        metric.update_state(*[array.clone() for array in arrays])
        metric.result()
    last = arrays[-1].clone()
    metric.update_state(*arrays[:-1], last.requires_grad_() if last.is_floating_point() else last)
    assert not metric.result().requires_grad
    torch.testing.assert_close(metric.result(), expected)


@pytest.mark.parametrize("make", [copy.deepcopy, lambda metric: pickle.loads(pickle.dumps(metric))], ids=["copy", "pickle"])
def test_copies_go_their_own_way(made, make):
    metric, arrays = made
    before = result_of(metric, arrays).clone()
    again = make(metric)
    torch.testing.assert_close(again.result(), before)
    again.reset_state()
    torch.testing.assert_close(metric.result(), before)
    torch.testing.assert_close(result_of(again, arrays), before)


def test_back_to_an_earlier_state(made):
    metric, arrays = made
    before = result_of(metric, arrays).clone()
    restore = keep(metric)
    metric.reset_state()
    result_of(metric, [array[:2] for array in arrays], arrays)
    metric.reset_state()
    restore()
    torch.testing.assert_close(metric.result(), before)
    torch.testing.assert_close(result_of(metric, arrays), result_of(fresh(metric), arrays, arrays))


def test_the_config_is_json_and_makes_an_equal_metric(made):
    metric, _ = made
    again = metrics.deserialize(json.loads(json.dumps(metrics.serialize(metric))))
    assert again.name == metric.name
    if type(metric) is not metrics.MeanMetricWrapper:  # which is written as the name of its function
        assert type(again) is type(metric) and again.get_config() == metric.get_config()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_predictions_of_another_precision(made, dtype):
    metric, arrays = made
    cast = [array.to(dtype) if array.is_floating_point() else array for array in arrays]
    expected = result_of(fresh(metric), [array.float() for array in cast[:-1]] + [cast[-1].to(arrays[-1].dtype)])
    torch.testing.assert_close(result_of(metric, cast), expected, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-2)


def test_lists_and_arrays_are_taken(made):
    metric, arrays = made
    expected = result_of(fresh(metric), arrays)
    torch.testing.assert_close(result_of(fresh(metric), [array.tolist() for array in arrays]), expected)
    torch.testing.assert_close(result_of(metric, [array.numpy() for array in arrays]), expected)


def test_the_result_is_float32_and_reads_as_a_number(made):
    metric, arrays = made
    result = result_of(metric, arrays)
    assert result.dtype == torch.float32 and (result.numel() > 1 or isinstance(float(result), float))
