"""What is said of outputs and targets that do not fit together."""

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Trainer
from torchkeras_fn.engine.lowered.training_outputs import TrainingOutputs
from torchkeras_fn.engine.objective import Objective

A, Y_A = torch.tensor([[0.2], [0.9], [0.6]]), torch.tensor([[0.0], [1.0], [0.0]])


def two(loss=("mse", "sparse_categorical_crossentropy")):
    return Objective(list(loss), output_names=["a", "b"])


# ---------------------------------------------------------------------- before a step


def test_targets_that_do_not_fit_an_output_name_it():
    with pytest.raises(ValueError, match=r"Output 'b': .*Class indices of shape \(None,\)|Output 'b'"):
        two().check([(None, 1), (None, 3)], [torch.zeros(4, 1), torch.zeros(4, 2)])


def test_a_metric_that_fits_one_output_of_several_says_how_to_ask_for_it_there():
    objective = Objective(["mse", "sparse_categorical_crossentropy"], metrics=["mae"], output_names=["a", "b"])
    with pytest.raises(ValueError, match="Metric 'b_mae': .* flat list of metrics is for every output; pass a dict"):
        objective.check([(None, 1), (None, 3)], [torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64)])


def test_unknown_dimensions_are_left_to_the_step():
    two(["mse", "mse"]).check([(None, None), (None, None, 3)], [torch.zeros(4, 7), torch.zeros(4, 5, 3)])


# ---------------------------------------------------------------------- after one that failed


class Returning(Trainer, nn.Module):
    """A module that returns what a function makes of its one output."""

    def __init__(self, make):
        super().__init__()
        self.make, self.inner = make, nn.Linear(3, 1)

    def forward(self, x):
        return self.make(self.inner(x))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda a: None, TypeError, "'output_1' is of type NoneType. Does forward end with a return"),
        (lambda a: "a", TypeError, "'output_1' is of type str"),
        (lambda a: 1.0, TypeError, "'output_1' is of type float"),
        (lambda a: a.detach().numpy(), TypeError, "'output_1' is of type ndarray"),
        (lambda a: [[a, a], a], TypeError, "'output_1' is of type list"),
        (lambda a: [a, None], TypeError, "'output_2' is of type NoneType"),
        (lambda a: [], TypeError, "returned none at all"),
        (lambda a: (a, a), ValueError, r"has 2 outputs, \['output_1', 'output_2'\], but y holds 1"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_what_a_module_returns_in_place_of_tensors_is_named(make, error, message, method):
    net = Returning(make)
    net.compile("sgd", "mse", device="cpu")
    with pytest.raises(error, match=message):
        getattr(net, method)(np.ones((4, 3), "float32"), np.ones((4, 1), "float32"), verbose=0)


def test_a_module_that_returns_nothing_is_told_so_by_the_figures_of_a_step_of_ones_own_too():
    objective = Objective(metrics=["mae"], output_names=["a"], open_ended=True)
    with pytest.raises(TypeError, match="'a' is of type NoneType"):
        objective.track(None, TrainingOutputs([None], [None]), Y_A, None)


def test_outputs_that_become_fewer_are_told_apart_from_missing_targets():
    with pytest.raises(ValueError, match="returned 2 outputs at first, and now 1"):
        two().loss(TrainingOutputs([A], [None]), [Y_A, Y_A], None)


def test_a_mistake_in_a_loss_is_not_taken_for_one_in_the_outputs():
    def broken(y_true, y_pred):
        return y_pred.no_such_thing

    with pytest.raises(AttributeError, match="no_such_thing"):
        two([broken, None]).loss(TrainingOutputs([A, None], [None, None]), [Y_A, None], None)
