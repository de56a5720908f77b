"""Optimizers: torch's formulas under Keras' names, learning rates, clipping, state, and how they are looked up."""

import copy
import functools
import json
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import optimizers

TWINS = [
    (optimizers.SGD(0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
    (optimizers.SGD(0.1, momentum=0.9), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
    (optimizers.SGD(0.1, momentum=0.9, nesterov=True), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True)),
    (optimizers.SGD(0.1, nesterov=True), lambda p: torch.optim.SGD(p, lr=0.1)),
    (optimizers.SGD(0.1, weight_decay=0.2), lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.2)),
    (optimizers.Adam(0.1), lambda p: torch.optim.Adam(p, lr=0.1, eps=1e-7)),
    (optimizers.Adam(0.1, 0.8, 0.9, 0.01, amsgrad=True), lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.8, 0.9), eps=0.01, amsgrad=True)),
    (optimizers.Adam(0.1, weight_decay=0.2), lambda p: torch.optim.AdamW(p, lr=0.1, eps=1e-7, weight_decay=0.2)),
    (optimizers.RMSprop(0.1), lambda p: torch.optim.RMSprop(p, lr=0.1, alpha=0.9, eps=1e-7)),
    (
        optimizers.RMSprop(0.1, rho=0.8, momentum=0.5, epsilon=0.1, centered=True),
        lambda p: torch.optim.RMSprop(p, lr=0.1, alpha=0.8, momentum=0.5, eps=0.1, centered=True),
    ),
]
KINDS = [optimizers.SGD, optimizers.Adam, optimizers.RMSprop]


def parameter(*values):
    return nn.Parameter(torch.tensor(values or (1.0, -2.0, 3.0)))


def bound(optimizer, *parameters):
    optimizer.bind(parameters or [parameter()])
    return optimizer


def step(optimizer, gradient):
    """Take a step with a gradient that is the same for all parameters."""
    for p in optimizer.param_groups[0]["params"]:
        p.grad = torch.full_like(p, gradient)
    optimizer.step()


# ---------------------------------------------------------------------- the formulas


@pytest.mark.parametrize(("ours", "make_theirs"), TWINS, ids=lambda x: type(x).__name__ if not callable(x) else "")
def test_the_steps_are_those_of_torch(ours, make_theirs):
    mine, other = parameter(), parameter()
    ours = bound(copy.deepcopy(ours), mine)
    theirs = make_theirs([other])
    for gradient in (0.5, -1.0, 0.25):
        step(ours, gradient)
        step(theirs, gradient)
    torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("kind", KINDS)
def test_adam_and_its_like_know_the_defaults_of_keras(kind):
    optimizer = kind()
    assert optimizer.learning_rate == (0.01 if kind is optimizers.SGD else 0.001)
    assert getattr(optimizer, "epsilon", 1e-7) == 1e-7


@pytest.mark.parametrize("kind", [optimizers.Adam, optimizers.RMSprop])
def test_no_epsilon_is_the_usual_one(kind):
    assert kind(epsilon=None).epsilon == 1e-7


@pytest.mark.parametrize("kind", [optimizers.SGD, optimizers.Adam])
def test_torchs_fused_kernels_are_used_where_there_are_some(kind):
    assert bound(kind()).torch_optimizer.defaults["fused"] is True


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_without_storage_can_be_trained(kind):
    p = nn.Parameter(torch.ones(3, device="meta"))
    optimizer = bound(kind(), p)
    step(optimizer, 1.0)
    assert p.device.type == "meta"


@pytest.mark.parametrize("kind", KINDS)
def test_decay_divides_the_rate_by_the_steps_taken(kind):
    p, q = parameter(), parameter()
    decaying, plain = bound(kind(0.1, decay=0.5), p), bound(kind(0.1), q)
    for index in range(3):
        plain.learning_rate = 0.1 / (1 + 0.5 * index)
        step(decaying, 1.0)
        step(plain, 1.0)
    torch.testing.assert_close(p, q)
    assert decaying.learning_rate == 0.1


def test_no_parameters_are_no_reason_to_fail():
    optimizer = optimizers.SGD()
    optimizer.bind([])
    optimizer.zero_grad()
    optimizer.step()
    assert optimizer.param_groups == []
    assert optimizer.state_dict() == {"iterations": 0}


def test_parameters_without_a_gradient_stay_as_they_are():
    used, unused = parameter(1.0), parameter(1.0)
    optimizer = bound(optimizers.Adam(clipnorm=1.0, global_clipnorm=1.0, clipvalue=1.0), used, unused)
    used.grad = torch.ones(1)
    optimizer.step()
    assert unused.item() == 1.0 and used.item() < 1.0


def test_zero_grad_forgets_the_gradients():
    p = parameter()
    optimizer = bound(optimizers.SGD(), p)
    p.grad = torch.ones(3)
    optimizer.zero_grad()
    assert p.grad is None


def test_constraints_are_applied_after_each_step():
    p = parameter(1.0)
    optimizer = optimizers.SGD(1.0)
    optimizer.bind([p], [lambda: p.data.clamp_(min=0)])
    step(optimizer, 5.0)
    assert p.item() == 0.0


# ---------------------------------------------------------------------- clipping


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ({"clipvalue": 1.0}, [[1.0, 1.0], [0.5]]),
        ({"clipnorm": 1.0}, [[0.6, 0.8], [0.5]]),
        ({"global_clipnorm": 2.5}, [[1.5 * 5 / 25.25**0.5, 2 * 5 / 25.25**0.5], [0.25 * 5 / 25.25**0.5]]),
        ({"global_clipnorm": 100.0}, [[3.0, 4.0], [0.5]]),
        ({}, [[3.0, 4.0], [0.5]]),
    ],
    ids=str,
)
def test_clipping(option, expected):
    first, second = parameter(0.0, 0.0), parameter(0.0)
    optimizer = bound(optimizers.SGD(1.0, **option), first, second)
    first.grad, second.grad = torch.tensor([3.0, 4.0]), torch.tensor([0.5])
    optimizer.step()
    torch.testing.assert_close(-first.detach(), torch.tensor(expected[0]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(-second.detach(), torch.tensor(expected[1]), atol=1e-4, rtol=1e-4)


# ---------------------------------------------------------------------- the learning rate


@pytest.mark.parametrize("name", ["lr", "learning_rate"])
@pytest.mark.parametrize("is_bound", [False, True])
def test_the_learning_rate_is_read_and_set_under_both_names(name, is_bound):
    optimizer = optimizers.SGD(0.5)
    if is_bound:
        bound(optimizer)
    assert getattr(optimizer, name) == 0.5
    setattr(optimizer, name, 0.25)
    assert (optimizer.lr, optimizer.learning_rate) == (0.25, 0.25)
    assert not is_bound or optimizer.param_groups[0]["lr"] == 0.25


@pytest.mark.parametrize("kind", KINDS)
def test_the_old_keyword_lr_is_taken(kind):
    assert kind(lr=0.5).learning_rate == 0.5


@pytest.mark.parametrize("rate", [1, np.float32(0.5), np.float64(0.5), torch.tensor(0.5), 0])
def test_rates_are_numbers_of_any_kind(rate):
    optimizer = optimizers.SGD(rate)
    assert type(optimizer.learning_rate) is float and optimizer.learning_rate == float(rate)
    optimizer.lr = rate
    assert optimizer.learning_rate == float(rate)


def test_a_rate_that_is_set_counts_in_the_next_step():
    p = parameter(1.0)
    optimizer = bound(optimizers.SGD(1.0), p)
    optimizer.lr = 0.25
    step(optimizer, 1.0)
    assert p.item() == 0.75


def test_a_rate_that_is_set_before_binding_is_kept_by_binding():
    optimizer = optimizers.Adam()
    optimizer.lr = 0.5
    assert bound(optimizer).param_groups[0]["lr"] == 0.5


def test_a_torch_schedule_drives_the_rate():
    optimizer = bound(optimizers.SGD(1.0))
    schedule = torch.optim.lr_scheduler.StepLR(optimizer.torch_optimizer, step_size=1, gamma=0.5)
    step(optimizer, 1.0)
    schedule.step()
    assert optimizer.learning_rate == 0.5


# ---------------------------------------------------------------------- state


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_is_taken_up_where_it_was_left(kind):
    p, q = parameter(), parameter()
    options = {"momentum": 0.9} if kind is optimizers.SGD else {}
    first, second = bound(kind(0.1, **options), p), bound(kind(0.1, **options), q)
    step(first, 1.0)
    q.data.copy_(p.data)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert second.iterations == 1
    for optimizer in (first, second):
        step(optimizer, -0.5)
    torch.testing.assert_close(p, q)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_a_copy_steps_on_parameters_of_its_own(copied):
    p = parameter()
    optimizer = optimizers.Adam(0.1)
    optimizer.bind([p], [lambda: None])
    step(optimizer, 1.0)
    before = p.detach().clone()
    again = copied(optimizer)
    step(again, 1.0)
    assert torch.equal(p, before)
    assert not torch.equal(again.parameters[0], before)
    assert again.iterations == 2 and optimizer.iterations == 1


# ---------------------------------------------------------------------- looking up


@pytest.mark.parametrize("kind", KINDS)
def test_names_classes_configs_and_objects(kind):
    name = kind.__name__
    for identifier in (name, name.lower(), name.upper(), kind, {"class_name": name, "config": {"learning_rate": 0.5}}):
        assert type(optimizers.get(identifier)) is kind
    optimizer = kind()
    assert optimizers.get(optimizer) is optimizer
    assert optimizer.name == name.lower()


def test_torch_optimizers_their_classes_and_partials_are_given_back():
    for identifier in (torch.optim.Adam([parameter()]), torch.optim.SGD, functools.partial(torch.optim.SGD, lr=0.1)):
        assert optimizers.get(identifier) is identifier


@pytest.mark.parametrize("optimizer", [ours for ours, _ in TWINS] + [optimizers.Adam(lr=0.5, clipnorm=1.0, decay=0.1)])
def test_the_config_is_json_and_makes_an_equal_optimizer(optimizer):
    again = optimizers.deserialize(json.loads(json.dumps(optimizers.serialize(optimizer))))
    assert type(again) is type(optimizer)
    assert again.get_config() == optimizer.get_config()


def test_the_config_has_the_rate_as_it_is_now():
    optimizer = bound(optimizers.SGD(0.1))
    optimizer.lr = 0.5
    assert optimizers.SGD.from_config(optimizer.get_config()).learning_rate == 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimizers.get("adm"), "Unknown optimizer 'adm'. Did you mean 'Adam'?"),
        (lambda: optimizers.get("rms_prp"), "Did you mean 'RMSprop'?"),
        (lambda: optimizers.get("xyzzy"), "Known are: Adam, RMSprop, SGD"),
        (lambda: optimizers.get(None), "Expected an optimizer's name.* got None"),
        (lambda: optimizers.get(0.1), "Expected an optimizer's name.* got 0.1 of type float"),
        (lambda: optimizers.get(lambda parameters: None), "Expected an optimizer's name"),
        (lambda: optimizers.get(nn.ReLU), "is not an optimizer"),
        (lambda: optimizers.SGD(-0.1), "'learning_rate' must not be negative, got -0.1"),
        (lambda: optimizers.SGD("fast"), "'learning_rate' must be a number, got 'fast'"),
        (lambda: optimizers.SGD(momentum=2), "'momentum' must be between 0 and 1, got 2"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_unknown_option_is_a_type_error():
    with pytest.raises(TypeError, match="speed"):
        optimizers.Adam(speed=3)
