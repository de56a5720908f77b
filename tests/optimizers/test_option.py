import copy
import pickle

import pytest
import torch

from torchkeras_fn import Input, Sequential, layers, optimizers
from torchkeras_fn.callbacks import LambdaCallback

CASES = [
    (optimizers.SGD, {"momentum": 0.5}, {"momentum": 0.9}),
    (optimizers.SGD, {}, {"momentum": 0.9, "nesterov": True}),
    (optimizers.SGD, {"weight_decay": 0.1}, {"weight_decay": 0.5}),
    (optimizers.RMSprop, {"momentum": 0.1}, {"rho": 0.5, "momentum": 0.9, "epsilon": 0.1}),
    (optimizers.RMSprop, {}, {"momentum": 0.9}),
    (optimizers.Adagrad, {}, {"epsilon": 0.1}),
    (optimizers.Adadelta, {}, {"rho": 0.5, "epsilon": 0.1}),
    (optimizers.Adafactor, {}, {"epsilon_2": 0.1, "clip_threshold": 0.5}),
    (optimizers.Ftrl, {}, {"l1_regularization_strength": 0.1, "l2_regularization_strength": 0.1, "beta": 0.1}),
    (optimizers.Adam, {}, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.1}),
    (optimizers.AdamW, {"weight_decay": 0.1}, {"weight_decay": 0.5}),
    (optimizers.Adamax, {}, {"beta_1": 0.5, "beta_2": 0.9}),
    (optimizers.Nadam, {}, {"beta_1": 0.5, "schedule_decay": 0.1}),
    (optimizers.Lamb, {}, {"beta_1": 0.5}),
    (optimizers.Lion, {}, {"beta_1": 0.5, "beta_2": 0.7}),
]


def bound(optimizer):
    generator = torch.Generator().manual_seed(0)
    optimizer.build([torch.nn.Parameter(torch.randn(size, generator=generator)) for size in ((3, 4), (4,))])
    return optimizer


def trained(optimizer, steps=3):
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        optimizer.apply([torch.randn(weight.shape, generator=generator) for weight in optimizer.parameters])
    return optimizer.parameters


@pytest.mark.parametrize(("kind", "given", "later"), CASES)
def test_an_option_that_is_set_counts_for_the_next_step(kind, given, later):
    at_once, set_later = bound(kind(0.1, **{**given, **later})), bound(kind(0.1, **given))
    for name, value in later.items():
        setattr(set_later, name, value)
    assert all(map(torch.equal, trained(at_once), trained(set_later)))
    assert not any(map(torch.equal, trained(bound(kind(0.1, **given))), set_later.parameters))


@pytest.mark.parametrize(("kind", "given", "later"), CASES)
def test_an_option_may_be_set_between_steps(kind, given, later):
    optimizer, plain = bound(kind(0.1, **given)), bound(kind(0.1, **given))
    trained(optimizer)
    for name, value in later.items():
        setattr(optimizer, name, value)
    weights = trained(optimizer)
    trained(plain)
    assert not any(map(torch.equal, weights, trained(plain)))
    assert all(torch.isfinite(weight).all() for weight in weights)
    assert optimizer.get_config().items() >= later.items()


def test_a_momentum_that_is_set_between_steps_is_torchs():
    weight, other = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    descent, expected = optimizers.SGD(0.1), torch.optim.SGD([other], 0.1)
    for momentum in (0.0, 0.0, 0.9, 0.9, 0.5, 0.0, 0.9):
        descent.momentum = expected.param_groups[0]["momentum"] = momentum
        descent.apply([torch.ones(2)], [weight])
        other.grad = torch.ones(2)
        expected.step()
    torch.testing.assert_close(weight, other)


def test_a_callback_sets_the_momentum():
    model = Sequential([Input((2,)), layers.Dense(1)])
    model.compile(optimizers.SGD(0.1, momentum=0.5), "mse", device="cpu")
    rising = LambdaCallback(on_epoch_begin=lambda epoch, logs: setattr(model.optimizer, "momentum", 0.5 + epoch / 10))
    model.fit(torch.ones(4, 2), torch.ones(4, 1), epochs=3, verbose=0, callbacks=[rising])
    assert model.optimizer.param_groups[0]["momentum"] == model.optimizer.get_config()["momentum"] == 0.7


def test_what_torch_has_changed_itself_stays_where_another_option_is_set():
    optimizer = bound(optimizers.SGD(0.1, momentum=0.5))
    optimizer.param_groups[0]["momentum"] = 0.7  # as torch's OneCycleLR does
    optimizer.nesterov = True
    assert (optimizer.param_groups[0]["momentum"], optimizer.param_groups[0]["nesterov"]) == (0.7, True)


@pytest.mark.parametrize("value", [-1, "much", None, float("nan"), True])
def test_what_is_no_number_is_refused_and_changes_nothing(value):
    optimizer = bound(optimizers.Adam(0.1))
    with pytest.raises(ValueError, match="'beta_1' must be a finite number of at least 0"):
        optimizer.beta_1 = value
    assert (optimizer.beta_1, optimizer.param_groups[0]["betas"]) == (0.9, (0.9, 0.999))


def test_copies_have_options_of_their_own():
    optimizer = bound(optimizers.SGD(0.1, momentum=0.5))
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer)), optimizer.for_another_model()):
        twin.momentum = 0.9
        assert (twin.momentum, optimizer.momentum, optimizer.param_groups[0]["momentum"]) == (0.9, 0.5, 0.5)
