"""Reading and changing the learning rate of this library's optimizers and torch's."""

import pytest
import torch

from torchkeras_fn import optimizers
from torchkeras_fn.callbacks.learning_rates import change_learning_rate, check_changeable, learning_rate
from torchkeras_fn.optimizers.schedules import ExponentialDecay

WEIGHT = torch.nn.Parameter(torch.zeros(1))


def groups(first=0.5, second=0.25):
    return torch.optim.SGD([{"params": [WEIGHT], "lr": first}, {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": second}])


@pytest.mark.parametrize("bound", [True, False])
def test_one_of_ours(bound):
    optimizer = optimizers.SGD(0.5)
    if bound:
        optimizer.bind([WEIGHT])
    assert type(learning_rate(optimizer)) is float and learning_rate(optimizer) == 0.5
    assert change_learning_rate(optimizer, lambda rate: rate / 2) == [(0.5, 0.25)]
    assert learning_rate(optimizer) == 0.25


def test_every_group_of_a_torch_optimizer_is_changed_by_itself():
    optimizer = groups()
    assert learning_rate(optimizer) == 0.5
    assert change_learning_rate(optimizer, lambda rate: rate / 2) == [(0.5, 0.25), (0.25, 0.125)]
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.125]


def test_a_rate_in_a_tensor_stays_in_it():
    rate = torch.tensor(0.5)
    optimizer = torch.optim.Adam([WEIGHT], lr=rate)
    change_learning_rate(optimizer, lambda rate: rate / 2)
    assert optimizer.param_groups[0]["lr"] is rate and rate == 0.25


def test_a_schedule_cannot_be_changed():
    optimizer = optimizers.SGD(ExponentialDecay(0.5, 10, 0.9))
    with pytest.raises(TypeError, match="created with a `LearningRateSchedule`, so Somebody cannot change"):
        check_changeable(optimizer, "Somebody")


@pytest.mark.parametrize("optimizer", [optimizers.Adam(0.5), optimizers.SGD(0.5, decay=0.1), groups()])
def test_a_number_can_be_changed_and_is_left_as_it_is(optimizer):
    check_changeable(optimizer, "Somebody")
    assert learning_rate(optimizer) == 0.5
