"""What an optimizer is found to keep by a trial, which leaves no trace."""

import pytest
import torch

from torchkeras_fn.saving.trial import state_after_a_step


def bound(kind, **options):
    weights = [torch.nn.Parameter(torch.ones(shape)) for shape in ((3, 2), (2,))]
    return kind(weights, **options)


def names(optimizer):
    return {number: sorted(kept) for number, kept in state_after_a_step(optimizer, optimizer.param_groups).items()}


def test_the_options_decide_what_is_kept():
    assert names(bound(torch.optim.SGD, lr=0.1)) == {0: [], 1: []}
    assert names(bound(torch.optim.SGD, lr=0.1, momentum=0.9)) == {0: ["momentum_buffer"], 1: ["momentum_buffer"]}
    adam = bound(torch.optim.Adam)
    wanted = [{**adam.param_groups[0], "amsgrad": True}]
    assert sorted(state_after_a_step(adam, wanted)[1]) == ["exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step"]


def test_the_number_of_axes_decides_too():
    assert names(bound(torch.optim.Adafactor)) == {0: ["col_var", "row_var", "step"], 1: ["step", "variance"]}


def test_of_an_optimizer_that_takes_a_closure_nothing_can_be_told():
    assert names(bound(torch.optim.LBFGS)) == {}


def test_options_with_which_no_step_can_be_taken_are_refused():
    adam = bound(torch.optim.Adam)
    with pytest.raises(ValueError, match="Adam cannot take a step with the options in the file"):
        state_after_a_step(adam, [{**adam.param_groups[0], "betas": 0.9}])


class Noisy(torch.optim.SGD):
    def step(self, closure=None):
        torch.rand(1)
        return super().step(closure)


def test_a_trial_leaves_no_trace():
    optimizer = bound(Noisy, lr=0.1, momentum=0.9)
    before, random = str(optimizer.state_dict()), torch.get_rng_state()
    names(optimizer)
    assert str(optimizer.state_dict()) == before
    assert torch.equal(torch.get_rng_state(), random)
    assert all(weight.grad is None and (weight == 1).all() for weight in optimizer.param_groups[0]["params"])
