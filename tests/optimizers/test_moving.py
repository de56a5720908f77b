"""An optimizer whose parameters were moved or cast; whole models are in tests/engine/test_device.py."""

import pytest
import torch

from torchkeras_fn import optimizers
from torchkeras_fn.optimizers.moving import follow_parameters, substitute


def stepped(make, weight):
    optimizer = make([weight])
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    return optimizer


@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.NAdam, torch.optim.Adagrad, torch.optim.LBFGS])
def test_a_state_that_is_in_its_place_already_is_left_alone(make):
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = make([weight])

    def closure():
        optimizer.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    before = {name: value for name, value in optimizer.state[weight].items() if isinstance(value, torch.Tensor)}
    follow_parameters(optimizer, {})
    assert all(optimizer.state[weight][name] is value for name, value in before.items())


def test_numbers_that_are_no_image_of_the_weights_keep_their_type_and_place():
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = stepped(torch.optim.NAdam, weight)
    weight.data = weight.data.bfloat16()
    follow_parameters(optimizer, {})
    kinds = {name: value.dtype for name, value in optimizer.state[weight].items()}
    assert kinds == {"step": torch.float32, "mu_product": torch.float32, "exp_avg": torch.bfloat16, "exp_avg_sq": torch.bfloat16}


def test_so_they_do_where_a_state_is_taken_over():
    weights = [torch.nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2)]
    first, second = (optimizers.Nadam() for _ in weights)
    for optimizer, weight in zip((first, second), weights, strict=True):
        optimizer.apply([torch.ones_like(weight)], [weight])
    second.load_state_dict(first.state_dict())
    assert second.torch_optimizer.state[weights[1]]["mu_product"].dtype == torch.float32


def test_another_parameter_takes_over_the_state_of_the_one_it_replaces():
    old, new = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = stepped(torch.optim.Adam, old)
    follow_parameters(optimizer, {id(old): new})
    assert optimizer.param_groups[0]["params"] == substitute([old], {id(old): new}) == [new]
    assert list(optimizer.state) == [new] and optimizer.state[new]["exp_avg"].dtype == torch.float64


def test_the_state_lies_in_memory_as_the_weights_do():
    weight = torch.nn.Parameter(torch.ones(2, 3))
    optimizer = stepped(torch.optim.Adam, weight)
    optimizer.state[weight]["exp_avg"].copy_(torch.arange(6.0).view(2, 3))
    weight.data = weight.data.t().contiguous().t()
    follow_parameters(optimizer, {})
    mean = optimizer.state[weight]["exp_avg"]
    assert mean.stride() == weight.stride() and mean.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


def test_fused_kernels_are_for_devices_that_have_them():
    old, new = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2, device="meta"))
    optimizer = stepped(lambda weights: torch.optim.Adam(weights, fused=True), old)
    follow_parameters(optimizer, {id(old): new})
    assert optimizer.param_groups[0]["fused"] is None
    stepped(lambda _: optimizer, new)


def test_an_optimizer_that_is_not_bound_has_nothing_to_move():
    optimizer = optimizers.Adam()
    optimizer.follow()
    assert optimizer.torch_optimizer is None
