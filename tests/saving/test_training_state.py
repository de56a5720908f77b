"""A state of the training that nobody wrote is refused, and then nothing has changed."""

import copy

import numpy as np
import pytest
import torch

from torchkeras_fn import Sequential, layers, optimizers
from torchkeras_fn.saving.training_state import load_training_state, training_state

OPTIMIZERS = {
    "Adam": lambda weights: optimizers.Adam(amsgrad=True, use_ema=True, gradient_accumulation_steps=3),
    "SGD": lambda weights: optimizers.SGD(0.1, momentum=0.9),
    "Ftrl": lambda weights: optimizers.Ftrl(),
    "torch": lambda weights: torch.optim.NAdam(weights),
}


def trained(name):
    model = Sequential([layers.Dense(2, input_shape=(3,)), layers.Dropout(0.5, seed=1)])
    model.compile(OPTIMIZERS[name](model.parameters()), "mse")
    for _ in range(4):
        model.train_on_batch(np.ones((2, 3), "float32"), np.zeros((2, 2), "float32"))
    return model


def refused(model, state):
    before = str(training_state(model))
    with pytest.raises((ValueError, TypeError, KeyError)) as caught:
        load_training_state(model, state)
    assert str(training_state(model)) == before
    return caught.value


NAMES = [
    ("Adam", "step"),
    ("Adam", "exp_avg"),
    ("Adam", "max_exp_avg_sq"),
    ("SGD", "momentum_buffer"),
    ("Ftrl", "linear"),
    ("torch", "mu_product"),
]


@pytest.mark.parametrize(("optimizer", "name"), NAMES)
@pytest.mark.parametrize("change", ["misspelt", "None", "text"])
def test_a_state_that_lacks_what_the_optimizer_needs_is_refused(optimizer, name, change):
    model = trained(optimizer)
    state = copy.deepcopy(training_state(model))
    values = state["optimizer"]["state"][1]
    kept = values.pop(name)
    if change == "misspelt":
        values[f"{name}s"] = kept
    else:
        values[name] = None if change == "None" else "x"
    assert isinstance(refused(model, state), (ValueError, TypeError))


@pytest.mark.parametrize("option", [{"betas": (0.9,)}, {"betas": None}, {"maximize": float("nan")}])
def test_options_with_which_no_step_can_be_taken_are_refused(option):
    model = trained("Adam")
    state = copy.deepcopy(training_state(model))
    state["optimizer"]["param_groups"][0] |= option
    assert "cannot take a step" in str(refused(model, state))


@pytest.mark.parametrize(
    "change",
    [
        {"iterations": None},
        {"iterations": -1},
        {"iterations": 1.5},
        {"averages": None},
        {"gathered": {"batches": 1, "sums": None}},
        {"gathered": {"batches": 1}},
    ],
    ids=str,
)
def test_what_is_kept_beside_the_weights_is_checked(change):
    model = trained("Adam")
    state = copy.deepcopy(training_state(model))
    state["optimizer"] |= change
    refused(model, state)


def test_a_random_generator_of_another_size_is_refused():
    model = trained("Adam")
    state = copy.deepcopy(training_state(model))
    ((path, (name, device, _)),) = state["generators"].items()
    state["generators"][path] = (name, device, torch.zeros(7, dtype=torch.uint8))
    state["optimizer"]["iterations"] = 77
    with pytest.raises(RuntimeError, match="size"):
        load_training_state(model, state)
    assert model.optimizer.iterations == 1


def test_whatever_torch_refuses_leaves_the_optimizer_as_it_was(monkeypatch):
    model = trained("SGD")
    state = copy.deepcopy(training_state(model))
    state["optimizer"]["iterations"] = 77
    original = torch.optim.SGD.load_state_dict

    def refuse_once(self, given):
        monkeypatch.setattr(torch.optim.SGD, "load_state_dict", original)
        raise ValueError("no")

    monkeypatch.setattr(torch.optim.SGD, "load_state_dict", refuse_once)
    assert str(refused(model, state)) == "no"


class Preconditioned(torch.optim.Optimizer):
    """Keeps what is of another shape than the weights, and names that torch's optimizers do not have."""

    def __init__(self, weights):
        super().__init__(weights, {"lr": 0.1})

    @torch.no_grad()
    def step(self, closure=None):
        for weight in self.param_groups[0]["params"]:
            self.state[weight].setdefault("rows", torch.eye(weight.shape[0])).mul_(0.9)
            weight.sub_(0.1 * weight.grad)


def test_an_optimizer_of_the_users_own_may_keep_anything():
    first, second = (Sequential([layers.Dense(2, input_shape=(3,))]) for _ in range(2))
    for model in (first, second):
        model.compile(Preconditioned(model.parameters()), "mse")
    first.train_on_batch(np.ones((2, 3), "float32"), np.zeros((2, 2), "float32"))
    load_training_state(second, training_state(first))
    assert torch.equal(next(iter(second.optimizer.state.values()))["rows"], torch.eye(2) * 0.9)


def test_what_lbfgs_keeps_of_all_weights_together_is_taken():
    first, second = (Sequential([layers.Dense(2, input_shape=(3,))]) for _ in range(2))
    optimizers_ = [torch.optim.LBFGS(model.parameters()) for model in (first, second)]
    for model, optimizer in zip((first, second), optimizers_, strict=True):
        model.train_step = lambda data: {}
        model.compile("sgd", "mse")
        model.optimizer = optimizer

    def closure():
        optimizers_[0].zero_grad()
        loss = first(torch.ones(2, 3)).square().sum()
        loss.backward()
        return loss

    optimizers_[0].step(closure)
    load_training_state(second, training_state(first))
    assert second.optimizer.state_dict()["state"][0]["d"].shape == (8,)
