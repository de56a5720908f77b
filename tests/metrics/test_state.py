"""The tensors that metrics gather in: assignment in place, copies, devices, inference mode."""

import copy
import pickle

import numpy as np
import pytest
import torch

from torchkeras_fn.metrics.state import State, divide, fit_weights, move, new_state, spread_weights, supported


def state(values=(1.0, 2.0)):
    return new_state(torch.tensor(values), "total")


@pytest.mark.parametrize("value", [[3.0, 4.0], np.array([3.0, 4.0]), torch.tensor([3, 4]), torch.tensor([3.0, 4.0], dtype=torch.float64)])
def test_values_of_any_kind_are_assigned_in_place(value):
    total = state()
    same = total
    assert total.assign(value) is total and total.tolist() == [3.0, 4.0] and total.dtype == torch.float32
    total.assign_add(value)
    total.assign_sub([1.0, 0.0])
    assert same.tolist() == [5.0, 8.0]


def test_numbers_are_assigned_everywhere():
    total = state()
    assert total.assign(0).tolist() == [0.0, 0.0]
    assert total.assign_add(2).tolist() == [2.0, 2.0]
    assert total.assign_sub(torch.tensor(0.5)).tolist() == [1.5, 1.5]


def test_integers_take_what_is_added_as_keras_casts_it():
    assert new_state(torch.zeros((), dtype=torch.int32)).assign_add(torch.tensor(2.0)).item() == 2


def test_a_value_of_another_shape_is_an_error():
    with pytest.raises(ValueError, match=r"The state 'total' has the shape \(2,\), but the new value \(3,\)"):
        state().assign(torch.zeros(3))


def test_no_gradients_are_kept():
    total, value = state(), torch.ones(2, requires_grad=True)
    for update in (total.assign, total.assign_add, total.assign_sub):
        assert not update(value * 2).requires_grad


def test_what_is_computed_is_a_plain_tensor():
    total = state()
    for result in (total + 1, 1 / total, total.sum(), torch.maximum(total, total), total[0], total.clone()):
        assert type(result) is torch.Tensor
    assert float(total[1]) == 2.0 and total.numpy().tolist() == [1.0, 2.0] and total.value is total


@pytest.mark.parametrize("make", [copy.deepcopy, lambda total: pickle.loads(pickle.dumps(total))])
def test_copies_go_their_own_way(make):
    total = state()
    again = make(total)
    again.assign(0)
    assert type(again) is State and again.name == "total" and total.tolist() == [1.0, 2.0]


def test_a_state_made_or_changed_in_inference_mode_is_changed_later():
    with torch.inference_mode():
        total = new_state(torch.zeros(2))
        total.assign_add(torch.ones(2))
        total.assign(torch.ones(2))
        move(total, torch.device("meta"))
        total = copy.deepcopy(state())
    assert total.add_(1).tolist() == [2.0, 3.0]


def test_all_that_refer_to_a_state_see_it_move():
    total = state()
    others = [total]
    move(total, torch.device("meta"))
    assert others[0].is_meta and type(others[0]) is State and total.name == "total"


def test_a_device_without_float64_gets_float32():
    assert supported(torch.float64, torch.device("mps")) == torch.float32
    assert supported(torch.float64, torch.device("cuda")) == supported(torch.float64, torch.device("cpu")) == torch.float64


def test_quotients_of_nothing_are_0():
    assert divide(torch.tensor([0.0, 1.0, 3.0]), torch.tensor([0.0, 0.0, 2.0])).tolist() == [0.0, 0.0, 1.5]


@pytest.mark.parametrize(
    ("weight", "values", "fitted"),
    [
        *[
            ((4,), (4,), (4,)),
            ((4,), (4, 3), (4,)),
            ((4, 1), (4, 3), (4,)),
            ((1, 3), (4, 3), (4, 3)),
            ((4, 1, 2), (4, 3, 2), (4, 3, 2)),
            ((4, 1), (4, 1), (4, 1)),
            ((4, 1), (4,), (4,)),
        ],
        *[((4, 3), (4, 3), (4, 3)), ((4, 3, 1), (4, 3), (4, 3)), ((4, 1, 1), (4, 3, 2), (4,)), ((), (4, 3), ()), ((1,), (1,), (1,))],
    ],
)
def test_weights_take_the_first_axes_of_the_values(weight, values, fitted):
    assert fit_weights(torch.ones(weight), torch.zeros(values)).shape == fitted
    assert spread_weights(torch.ones(weight), torch.zeros(values)).shape == values


@pytest.mark.parametrize(("weight", "values"), [((3,), (4,)), ((4, 2), (4, 3)), ((4, 3), (4,)), ((1,), (4,)), ((2, 3), (4, 3))])
def test_other_weights_are_an_error(weight, values):
    with pytest.raises(ValueError, match="Weights of shape .* do not fit values of shape"):
        fit_weights(torch.ones(weight), torch.zeros(values))


def test_weights_are_of_the_type_of_the_values():
    assert fit_weights(np.ones(2), torch.zeros(2)).dtype == torch.float32
    assert fit_weights([1, 2], torch.zeros(2, dtype=torch.float64)).dtype == torch.float64
    assert fit_weights([True, False], torch.zeros(2, dtype=torch.int64)).tolist() == [1.0, 0.0]
