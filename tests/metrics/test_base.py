"""Metrics of one's own: variables, reset, devices, gradients, config; and how any metric is put back into an earlier state."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, config, metrics
from torchkeras_fn.metrics import Metric, State, keep


class Counted(Metric):
    """A metric as Keras 3 programs write them."""

    def __init__(self, name="counted", **options):
        super().__init__(name=name, **options)
        self.total = self.add_variable(shape=(), initializer="zeros", name="total")
        self.rows = self.add_weight(name="rows", shape=(2,), initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total.assign_add(y_pred.sum())
        self.rows.assign(self.rows + y_pred.sum(0))

    def result(self):
        return self.total


BATCH = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
X = Input(shape=(2,))


def test_variables_are_gathered_in_and_set_to_0():
    metric = Counted()
    assert [variable.name for variable in metric.variables] == ["total", "rows"]
    for _ in range(2):
        assert float(metric(None, BATCH)) == 10.0
        assert float(metric(None, BATCH)) == 20.0 and metric.rows.tolist() == [8.0, 12.0]
        metric.reset_state()
        assert float(metric.result()) == 0.0 and metric.rows.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("metric", "arguments"),
    [(metrics.Mean(), (X,)), (metrics.AUC(), (X, X)), (metrics.MeanSquaredError(), (BATCH, X)), (Counted(), (BATCH, X))],
    ids=["mean", "auc", "one of two", "own"],
)
def test_a_symbolic_tensor_is_no_number(metric, arguments):
    with pytest.raises(TypeError, match=rf"'{metric.name}' takes numbers.*<KerasTensor.*model\.add_metric\(tensor, name=\.\.\.\)"):
        metric(*arguments)


@pytest.mark.parametrize(
    ("args", "options", "shape"),
    [
        ((), {}, ()),
        (((3,),), {}, (3,)),
        (((3,), "ones"), {}, (3,)),
        ((), {"shape": (2, 2), "initializer": "ones", "name": "x"}, (2, 2)),
        ((), {"name": "x", "initializer": "zeros", "aggregation": "sum", "synchronization": "on_read"}, ()),
        (("x",), {"initializer": "zeros"}, ()),
        (("x", (3,)), {"initializer": "zeros"}, (3,)),
        ((), {"shape": (2,), "initializer": None, "dtype": "int64"}, (2,)),
    ],
)
def test_add_weight_takes_the_arguments_of_keras_2_and_3(args, options, shape):
    metric = Counted()
    variable = metric.add_weight(*args, **options)
    assert isinstance(variable, State) and variable.shape == shape and metric.variables[-1] is variable
    assert variable.name == ("x" if "x" in args or "name" in options else None)
    assert variable.dtype == config.dtype(options.get("dtype"))


@pytest.mark.parametrize(
    ("args", "name", "dtype"),
    [((), "metric", "float32"), (("hits",), "hits", "float32"), (("float64", "hits"), "hits", "float64")]
    + [(("hits", "float64"), "hits", "float64"), ((None, "hits"), "hits", "float32"), ((torch.bfloat16,), "metric", "bfloat16")],
)
def test_name_and_dtype_come_in_the_order_of_keras_2_or_3(args, name, dtype):
    metric = Metric(*args)
    assert (metric.name, metric.dtype) == (name, dtype)


def test_metrics_in_attributes_are_part_of_the_state():
    class Both(Metric):
        def __init__(self):
            super().__init__()
            self.mean, self.others = metrics.Mean(), [metrics.Sum(), metrics.Sum()]

        def update_state(self, y_true, y_pred, sample_weight=None):
            for metric in (self.mean, *self.others):
                metric.update_state(y_pred)

        def result(self):
            return self.mean.result() + self.others[1].result()

    metric = Both()
    assert float(metric(None, BATCH)) == 12.5 and len(metric.variables) == 4
    metric.reset_state()
    assert float(metric.result()) == 0.0


def test_a_metric_of_ones_own_keeps_what_it_likes():
    class Largest(Metric):
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
    with pytest.raises(NotImplementedError, match="Metric needs"):
        call(Metric())


def test_the_constructor_of_the_base_may_be_forgotten():
    class Forgetful(Metric):
        def __init__(self):
            self.total = self.add_variable((), "zeros")

    assert Forgetful().variables[0].item() == 0.0


def test_updates_keep_no_history_of_gradients():
    metric = Counted()
    metric.update_state(None, (BATCH.requires_grad_() * 2))
    assert not metric.result().requires_grad
    BATCH.requires_grad_(False)
    mean = metrics.Mean()
    mean.update_state(torch.ones(3, requires_grad=True).sum())
    assert not mean.result().requires_grad


@pytest.mark.parametrize("make", [Counted, metrics.Mean, metrics.Sum])
def test_the_state_follows_the_predictions(make):
    metric = make()
    arguments = (None, BATCH.to("meta")) if make is Counted else (BATCH.to("meta"),)
    metric.update_state(*arguments)
    assert {variable.device.type for variable in metric.variables} == {"meta"}


def test_an_evaluation_may_come_first():
    metric = Counted()
    with torch.inference_mode():
        metric.update_state(None, BATCH)
    metric.update_state(None, BATCH)
    assert float(metric.result()) == 20.0


@pytest.mark.parametrize("make", [copy.deepcopy, lambda metric: pickle.loads(pickle.dumps(metric))])
def test_copies_go_their_own_way(make):
    metric = Counted()
    metric.update_state(None, BATCH)
    again = make(metric)
    assert again.variables[0] is again.total
    again.update_state(None, BATCH)
    assert (float(metric.result()), float(again.result())) == (10.0, 20.0)


def test_configs_hold_the_name_and_the_dtype():
    metric = Counted(dtype="float64")
    assert metric.get_config() == {"name": "counted", "dtype": "float64"}
    assert Counted.from_config(metric.get_config()).dtype == "float64"


def test_the_way_in_which_a_metric_shows():
    assert repr(Counted()) == "<Counted name=counted>"


# ---------------------------------------------------------------------- back to an earlier state


def around(metric, update):
    """Update in the middle of an epoch, and return the results before, during and after it."""
    update(metric)
    before, restore = float(metric.result()), keep(metric)
    metric.reset_state()
    update(metric)
    update(metric)
    during = float(metric.result())
    metric.reset_state()
    restore()
    return before, during, float(metric.result())


class Gathering(Metric):
    """A metric that keeps tensors, arrays and lists of its own."""

    def __init__(self):
        super().__init__()
        self.reset_state()

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total += y_pred.sum()
        self.array += 1
        self.seen.append(len(y_pred))
        self.by_name["x"].append(1)

    def result(self):
        return self.total + 0 * self.array[0] + len(self.seen) + len(self.by_name["x"])

    def reset_state(self):
        self.total, self.array, self.seen, self.by_name = torch.zeros(()), np.zeros(2), [], {"x": []}


@pytest.mark.parametrize(
    ("make", "update"),
    [
        (Counted, lambda m: m.update_state(None, BATCH)),
        (Gathering, lambda m: m.update_state(None, BATCH)),
        (metrics.Sum, lambda m: m.update_state(BATCH)),
        (metrics.TruePositives, lambda m: m.update_state(torch.ones(2), torch.ones(2))),
        (lambda: metrics.AUC(multi_label=True), lambda m: m.update_state(torch.eye(2), BATCH / 4)),
        (lambda: metrics.MeanIoU(2), lambda m: m.update_state([0, 1], [0, 0])),
    ],
    ids=lambda value: getattr(value, "__name__", "made"),
)
def test_back_to_an_earlier_state(make, update):
    before, during, after = around(make(), update)
    assert before == after and (during == 2 * before or "AUC" in type(make()).__name__ or "IoU" in type(make()).__name__)


def test_what_was_built_meanwhile_is_built_again():
    metric = metrics.F1Score(average="micro")
    restore = keep(metric)
    metric.update_state(torch.eye(2), torch.eye(2))
    metric.reset_state()
    restore()
    metric.update_state(torch.eye(3), torch.eye(3))
    assert float(metric.result()) == pytest.approx(1.0) and len(metric.variables) == 4


def test_objects_that_are_no_metrics_of_ours_are_kept_whole():
    class Theirs:
        def __init__(self):
            self.seen = []

    theirs = Theirs()
    restore = keep(theirs)
    theirs.seen.append(1)
    restore()
    assert theirs.seen == []


def test_a_model_in_an_attribute_is_not_copied():
    metric = Counted()
    metric.model = torch.nn.Linear(1, 1)
    kept = metric.model
    keep(metric)()
    assert metric.model is kept
