"""What an optimizer keeps is taken over by another one, and by itself when it is bound again."""

import copy
import pickle

import numpy as np
import pytest
import torch

from tests.optimizers.steps import bound, parameter, step
from torchkeras_fn import optimizers
from torchkeras_fn.optimizers.schedules import ExponentialDecay

KINDS = [kind for kind in vars(optimizers).values() if isinstance(kind, type) and issubclass(kind, optimizers.Optimizer)]
KINDS.remove(optimizers.Optimizer)
KINDS.remove(optimizers.LossScaleOptimizer)  # which goes around another: test_loss_scale.py


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_is_taken_up_where_it_was_left(kind):
    p, q = parameter(), parameter()
    rate = ExponentialDecay(0.1, 2, 0.5)
    options = {"use_ema": True, "ema_overwrite_frequency": 2, "gradient_accumulation_steps": 2}
    options |= {"momentum": 0.9} if kind is optimizers.SGD else {}
    first, second = bound(kind(rate, **options), p), bound(kind(rate, **options), q)
    for gradient in (1.0, 0.5, 0.25):
        step(first, gradient)
    q.data.copy_(p.data)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert second.iterations == 1 and second.learning_rate == first.learning_rate
    for gradient in (-0.5, 0.5, 2.0):
        for optimizer in (first, second):
            step(optimizer, gradient)
    torch.testing.assert_close(p, q, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_bound_again_to_the_same_parameters_it_goes_on(kind):
    options = {"learning_rate": ExponentialDecay(0.1, 2, 0.5), "use_ema": True, "ema_overwrite_frequency": 2, "clipnorm": 1.0}
    p, q = parameter(), parameter()
    again, uninterrupted = bound(kind(**options), p), bound(kind(**options), q)
    for gradient in (1.0, 0.5, 0.25, -0.5):
        for optimizer in (again, uninterrupted):
            step(optimizer, gradient)
        again.bind([p])
    torch.testing.assert_close(p, q, rtol=0, atol=0)
    assert again.iterations == uninterrupted.iterations == 4


@pytest.mark.parametrize("kind", KINDS)
def test_bound_again_between_two_steps_it_goes_on_with_what_it_gathered(kind):
    options = {"learning_rate": ExponentialDecay(0.1, 2, 0.5), "gradient_accumulation_steps": 3}
    p, q = parameter(), parameter()
    again, uninterrupted = bound(kind(**options), p), bound(kind(**options), q)
    for gradient in (1.0, 0.5, 0.25, -0.5, 2.0, -0.25, 1.0):
        for optimizer in (again, uninterrupted):
            step(optimizer, gradient)
        again.bind([p])
        assert again.learning_rate == uninterrupted.learning_rate
    torch.testing.assert_close(p, q, rtol=0, atol=0)
    assert again.iterations == uninterrupted.iterations == 2


def test_a_parameter_that_joins_between_two_steps_adds_nothing_for_the_batches_before():
    p, q = parameter(), parameter()
    optimizer = bound(optimizers.SGD(1.0, gradient_accumulation_steps=2), p)
    step(optimizer, 1.0)
    before = p.detach().clone(), q.detach().clone()
    optimizer.bind([p, q])
    step(optimizer, 3.0)
    torch.testing.assert_close(p, before[0] - 2.0)
    torch.testing.assert_close(q, before[1] - 1.5)


def test_a_parameter_that_joins_later_begins_and_the_others_go_on():
    p, q, alone, later = parameter(), parameter(), parameter(), parameter()
    optimizer, of_p, of_q = bound(optimizers.Adam(0.1), p), bound(optimizers.Adam(0.1), alone), bound(optimizers.Adam(0.1), later)
    step(optimizer, 1.0)
    step(of_p, 1.0)
    optimizer.bind([p, q])
    for one in (optimizer, of_p, of_q):
        step(one, -0.5)
    assert torch.equal(p, alone) and torch.equal(q, later)
    assert optimizer.iterations == 2


def test_a_running_mean_of_a_parameter_that_joins_later_begins_with_it():
    p, q = parameter(0.0), parameter(5.0)
    optimizer = bound(optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5), p)
    step(optimizer, -1.0)
    optimizer.bind([p, q])
    step(optimizer, -1.0)  # p: 1, 2 with the mean 1.5; q: 5, 6 with the mean 5.5
    optimizer.finalize_variable_values()
    assert (p.item(), q.item()) == (1.5, 5.5)


def test_a_rate_that_was_set_stays():
    p = parameter()
    optimizer = bound(optimizers.SGD(0.1), p)
    optimizer.param_groups[0]["lr"] = 0.5  # by a scheduler of torch, say
    optimizer.bind([p])
    assert optimizer.learning_rate == optimizer.param_groups[0]["lr"] == 0.5


def test_steps_are_counted_on_when_gradients_are_gathered_over_other_numbers_of_batches():
    p = parameter()
    optimizer = bound(optimizers.SGD(0.1), p)
    for _ in range(3):
        step(optimizer, 1.0)
    optimizer.bind([p], gradient_accumulation_steps=2)
    for _ in range(2):
        step(optimizer, 1.0)
    assert optimizer.iterations == 4


# ---------------------------------------------------------------------- as a list of weights

OPTIONS = [
    *((kind, {}) for kind in KINDS),
    (optimizers.SGD, {"momentum": 0.9}),
    (optimizers.Adam, {"amsgrad": True}),
    (optimizers.RMSprop, {"momentum": 0.9, "centered": True}),
    (optimizers.SGD, {"use_ema": True}),
    (optimizers.Adam, {"use_ema": True, "gradient_accumulation_steps": 2}),
]


def stepped(optimizer, weights, steps):
    for number in range(steps):
        optimizer.apply([torch.full_like(weight, 1.0 + number) for weight in weights], weights)
    return [weight.detach().clone() for weight in weights]


@pytest.mark.parametrize(("kind", "options"), OPTIONS, ids=[f"{kind.__name__}-{options}" for kind, options in OPTIONS])
def test_weights_go_into_an_optimizer_that_took_no_step(kind, options):
    first, second = ([torch.nn.Parameter(torch.ones(3, 2)), torch.nn.Parameter(torch.ones(2))] for _ in range(2))
    optimizer, twin = kind(0.1, **options), kind(0.1, **options)
    reached = stepped(optimizer, first, 4)
    twin.build(second)
    with torch.no_grad():
        for weight, value in zip(second, reached, strict=True):
            weight.copy_(value)
    twin.set_weights(optimizer.get_weights())
    assert twin.iterations == optimizer.iterations
    torch.testing.assert_close(stepped(twin, second, 4), stepped(optimizer, first, 4), rtol=0, atol=0)


def test_the_weights_are_one_kind_after_the_other():
    weights = [torch.nn.Parameter(torch.ones(3, 2)), torch.nn.Parameter(torch.ones(2))]
    optimizer = optimizers.Adam()
    optimizer.build(weights)
    assert optimizer.get_weights() == [0]
    stepped(optimizer, weights, 2)
    assert [tuple(array.shape) for array in optimizer.get_weights()] == [(), (3, 2), (2,), (3, 2), (2,)]
    assert optimizer.weights[1] is optimizer.torch_optimizer.state[weights[0]]["exp_avg"]
    assert len(optimizer.variables) == 5
    optimizer.set_weights([0])
    assert optimizer.iterations == 0 and len(optimizer.weights) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "the list is empty"),
        ([np.ones(3)], "the number of steps comes first, got array"),
        ([-1], "the number of steps comes first, got -1"),
        ([1, np.ones(2)], r"keeps 4 tensors beside the number of steps, of shapes .*; 1 were given, of shapes \[\(2,\)\]"),
        ([1, *[np.ones((2, 3)), np.ones(2)] * 2], "keeps 4 tensors"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(values, message):
    weights = [torch.nn.Parameter(torch.ones(3, 2)), torch.nn.Parameter(torch.ones(2))]
    optimizer = optimizers.Adam()
    stepped(optimizer, weights, 2)
    before = optimizer.get_weights()
    with pytest.raises(ValueError, match=message):
        optimizer.set_weights(values)
    assert all(np.array_equal(old, new) for old, new in zip(before, optimizer.get_weights(), strict=True))


def test_weights_need_parameters():
    assert not optimizers.Adam().built
    with pytest.raises(RuntimeError, match="knows no parameters yet: compile a model"):
        optimizers.Adam().set_weights([0])


def test_the_number_of_steps_can_be_set_as_it_was_read():
    optimizer = optimizers.Adam(gradient_accumulation_steps=2)
    optimizer.iterations.assign(7)
    assert (optimizer.iterations, optimizer.iterations.numpy(), type(optimizer.state_dict()["iterations"])) == (7, 7, int)
    assert type(pickle.loads(pickle.dumps(optimizer.iterations))) is int
