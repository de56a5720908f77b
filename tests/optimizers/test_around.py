"""`AroundSteps`: what `compile` does around the steps of torch's optimizers, all of them."""

import copy
import functools
import inspect

import pytest
import torch
from torch import nn

from torchkeras_fn.optimizers import AroundSteps, Hold, Scaling

OWN = {name: kind for name, kind in vars(torch.optim).items() if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer)}
UNFIT = {"Optimizer", "LBFGS", "SparseAdam", "Muon"}  # the base, one with a closure, and those for other gradients or shapes
MAKERS = {name: kind for name, kind in OWN.items() if name not in UNFIT}
MAKERS |= {f"fused {name}": functools.partial(OWN[name], fused=True) for name in ("Adam", "AdamW", "SGD", "Adagrad")}
MAKERS |= {"plain Adam": functools.partial(torch.optim.Adam, foreach=False)}
MAKERS |= {
    name: functools.partial(torch.optim.SGD, momentum=0.9, **options)
    for name, options in {"momentum": {}, "fused momentum": {"fused": True}, "fused Nesterov": {"fused": True, "nesterov": True}}.items()
}


def weights():
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(4))]


def take_step(optimizer, parameters, step=0, around=None, factor=1.0):
    loss = sum((parameter - 0.1 * step).square().sum() for parameter in parameters)
    optimizer.zero_grad()
    scaling = around.scaling if around is not None else None
    ((loss if scaling is None else scaling.scale(loss)) * factor).backward()
    optimizer.step()


def pair(make, **options):
    """An optimizer alone, and one with something around its steps."""
    plain, mine = weights(), weights()
    one, other, around = make(plain, lr=0.01), make(mine, lr=0.01), AroundSteps(**options)
    around.attach(other)
    return (one, plain), (other, mine), around


def same(left, right):
    for mine, usual in zip(left, right, strict=True):
        torch.testing.assert_close(mine, usual)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_scaled_steps_are_the_plain_ones(make):
    (one, plain), (other, mine), around = pair(make, scaling=Scaling("cpu"))
    for step in range(4):
        take_step(one, plain, step)
        take_step(other, mine, step, around)
    same(mine, plain)
    assert around.scaling.state_dict() == {"scale": 2.0**15, "steps": 4}


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_step_with_a_gradient_that_is_not_finite_is_left_out(make, at, bad):
    (one, plain), (other, mine), around = pair(make, scaling=Scaling("cpu"))
    for step in range(4):
        if step == at:
            take_step(other, mine, step, around, factor=bad)
        take_step(one, plain, step)
        take_step(other, mine, step, around)
    same(mine, plain)
    assert around.scaling.state_dict() == {"scale": 2.0**14, "steps": 4 - at}
    assert not {"grad_scale", "found_inf"} & vars(other).keys()


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_gathered_gradients_make_one_step_with_their_mean(make, scaled):
    (one, plain), (other, mine), around = pair(make, gradient_accumulation_steps=3, scaling=Scaling("cpu") if scaled else None)
    for _ in range(2):
        take_step(one, plain, 1)  # the mean of the gradients at steps 0, 1 and 2
        before = [parameter.detach().clone() for parameter in mine]
        for step in range(3):
            assert all(torch.equal(was, now) for was, now in zip(before, mine, strict=True))
            take_step(other, mine, step, around)
    same(mine, plain)


def test_constraints_hold_beside_it():
    parameters, around = weights(), AroundSteps(2)
    optimizer = torch.optim.SGD(parameters, lr=1.0)
    optimizer.register_step_post_hook(Hold([lambda: [parameter.data.clamp_(-0.5, 0.5) for parameter in parameters]]))
    around.attach(optimizer)
    take_step(optimizer, parameters)
    assert max(parameter.abs().max() for parameter in parameters) == 0.5


def test_a_schedule_counts_all_calls_without_a_warning():
    parameters, around = weights(), AroundSteps(2)
    optimizer = torch.optim.SGD(parameters, lr=1.0)
    around.attach(optimizer)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    for _ in range(4):
        take_step(optimizer, parameters)
        schedule.step()
    assert schedule.get_last_lr() == [0.25]


def test_detaching_leaves_the_optimizer_as_it_was():
    optimizer, around = torch.optim.SGD(weights(), lr=1.0), AroundSteps(2)
    around.attach(optimizer)
    assert around.is_attached
    around.detach()
    assert not (around.is_attached or optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks)


def test_a_copy_is_attached_to_nothing_and_keeps_what_was_gathered():
    parameters, around = weights(), AroundSteps(2)
    optimizer = torch.optim.SGD(parameters, lr=1.0)
    around.attach(optimizer)
    take_step(optimizer, parameters)
    twin = copy.deepcopy(around)
    assert not twin.is_attached and twin.gathered.batches == 1
    others = weights()
    other = torch.optim.SGD(others, lr=1.0)
    twin.attach(other)
    take_step(other, others)
    take_step(optimizer, parameters)
    same(others, parameters)


def test_what_was_gathered_follows_the_weights():
    parameters, around = weights(), AroundSteps(2)
    optimizer = torch.optim.SGD(parameters, lr=1.0)
    around.attach(optimizer)
    take_step(optimizer, parameters)
    for parameter in parameters:
        parameter.data = parameter.data.double()
    around.detach()
    around.attach(optimizer)
    assert {total.dtype for total in around.gathered.sums} == {torch.float64}
    take_step(optimizer, parameters)


def test_the_state_comes_back():
    (_, _), (other, mine), around = pair(torch.optim.Adam, gradient_accumulation_steps=2, scaling=Scaling("cpu"))
    for step in range(3):
        take_step(other, mine, step, around)
    state = copy.deepcopy(around.state_dict())
    assert state["gathered"]["batches"] == 1 and state["scaling"]["steps"] == 1
    twins = [nn.Parameter(parameter.detach().clone()) for parameter in mine]
    third, again = torch.optim.Adam(twins, lr=0.01), AroundSteps(2, Scaling("cpu"))
    third.load_state_dict(copy.deepcopy(other.state_dict()))
    again.attach(third)
    again.load_state_dict(state)
    take_step(other, mine, 3, around)
    take_step(third, twins, 3, again)
    same(twins, mine)
    assert again.state_dict()["scaling"] == around.state_dict()["scaling"]


def test_nothing_asked_for_is_no_state():
    assert AroundSteps().state_dict() == {}
    assert AroundSteps(1).gathered is None
    AroundSteps().load_state_dict({"gathered": {"batches": 1, "sums": []}, "scaling": {}})
