"""The optimizers that torch lacks behave as torch's own do: groups, closures, missing gradients, state."""

import copy

import pytest
import torch

from torchkeras_fn.optimizers import formulas

FTRL = {"power": 0.5, "accumulator": 0.1, "l1": 0.01, "l2": 0.01, "shrinkage": 0.1, "beta": 0.1}
MAKE = {
    "Lion": lambda p: formulas.Lion(p, lr=0.01, betas=(0.9, 0.99)),
    "Lamb": lambda p: formulas.Lamb(p, lr=0.01, betas=(0.9, 0.999), eps=1e-7),
    "Ftrl": lambda p: formulas.Ftrl(p, lr=0.1, **FTRL),
    "Adafactor": lambda p: formulas.Adafactor(p, lr=0.01, beta2_decay=-0.8, eps=(1e-30, 1e-3), d=1.0),
}
each = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE.keys())


def weights(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(size, generator=generator).to(dtype)) for size in ((3, 4), (4,), (2, 3, 2, 2), ())]


def run(parameters, optimizer, count=4):
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
        optimizer.step()


@each
def test_a_rate_of_0_changes_nothing(make):
    """It is the end of many a schedule, such as the cosine's."""
    parameters, before = weights(), weights()
    optimizer = make(parameters)
    optimizer.param_groups[0]["lr"] = 0.0
    run(parameters, optimizer)
    assert all(map(torch.equal, parameters, before))


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_every_parameter_moves_and_keeps_its_type(make, dtype):
    before, after = weights(dtype), weights(dtype)
    run(after, make(after))
    for a, b in zip(before, after, strict=True):
        assert b.dtype == dtype and b.isfinite().all() and not torch.equal(a, b)


@each
def test_the_state_is_taken_up_where_it_was_left(make):
    first = weights()
    optimizer = make(first)
    run(first, optimizer)
    second = copy.deepcopy(first)
    again = make(second)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    run(first, optimizer)
    run(second, again)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@each
def test_a_parameter_without_a_gradient_stays_as_it_is_and_so_do_all_without_any(make):
    parameters = weights()
    optimizer = make(parameters)
    before = copy.deepcopy(parameters)
    optimizer.step()
    parameters[0].grad = torch.ones_like(parameters[0])
    optimizer.step()
    assert [torch.equal(a, b) for a, b in zip(before, parameters, strict=True)] == [False, True, True, True]


@each
def test_groups_have_options_of_their_own(make):
    kept, moved = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    optimizer = make([{"params": [kept], "lr": 1e-30}, {"params": [moved]}])
    if isinstance(optimizer, formulas.Ftrl):  # its weights are a sum of all steps, not a step from where they are
        kept.data.zero_()
    kept.grad, moved.grad = torch.ones(2), torch.ones(2)
    before = kept.detach().clone()
    optimizer.step()
    assert torch.allclose(kept, before) and not torch.allclose(moved, torch.ones(2))


@each
def test_a_closure_is_called_and_its_loss_returned(make):
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = make([weight])

    def closure():
        loss = (weight**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 2.0 and not torch.equal(weight, torch.ones(2))


def test_adafactor_keeps_little():
    weight = torch.nn.Parameter(torch.ones(100, 50))
    optimizer = MAKE["Adafactor"]([weight])
    run([weight], optimizer, 1)
    assert sum(value.numel() for value in optimizer.state[weight].values() if isinstance(value, torch.Tensor)) == 150


def test_adafactor_does_not_divide_by_zero():
    weight = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = MAKE["Adafactor"]([weight])
    weight.grad = torch.zeros(3, 2)
    optimizer.step()
    assert torch.equal(weight, torch.ones(3, 2))


def test_a_schedule_of_torchs_takes_them():
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = MAKE["Lion"]([weight])
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    run([weight], optimizer, 1)
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.005
