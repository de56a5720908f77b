"""The backward pass straight into the engine: the gradients of `loss.backward()`, which is asked where somebody replaced it."""

import pytest
import torch
from torch import nn

from torchkeras_fn.engine.steps.gradient import run_backward


def gradients(backward, dtype):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)).to(dtype)
    for _ in range(2):  # the second time they are added
        backward(network(torch.ones(3, 4, dtype=dtype)).pow(2).mean())
    return [parameter.grad for parameter in network.parameters()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_gradients_are_those_of_backward(dtype):
    for ours, public in zip(gradients(run_backward, dtype), gradients(torch.Tensor.backward, dtype), strict=True):
        assert torch.equal(ours, public) and ours.dtype == dtype


def test_the_first_gradient_is_never_changed():
    for _ in range(2):
        weight = torch.ones((), requires_grad=True)
        run_backward(weight)
        weight.grad.mul_(5)
    weight = torch.ones((), requires_grad=True)
    run_backward(weight * 1)
    assert weight.grad == 1


def test_a_loss_with_an_axis_is_refused_as_torch_refuses_it():
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
        run_backward(torch.ones(2, requires_grad=True) * 2)


@pytest.mark.parametrize(("owner", "name"), [(torch.Tensor, "backward"), (torch.autograd, "backward")])
def test_a_backward_of_somebody_elses_is_called(monkeypatch, owner, name):
    calls = []
    public = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: (calls.append(1), public(*args, **kwargs))[1])
    run_backward(torch.ones((), requires_grad=True) * 2)
    assert calls


def test_a_subclass_of_tensor_may_have_a_backward_of_its_own():
    class Loud(torch.Tensor):
        calls = 0

        def backward(self, *args, **kwargs):
            Loud.calls += 1

    run_backward((torch.ones((), requires_grad=True) * 2).as_subclass(Loud))
    assert Loud.calls == 1


@pytest.mark.filterwarnings("ignore::UserWarning")  # of anomaly mode itself
def test_anomaly_mode_and_hooks_still_count():
    weight = torch.ones(2, requires_grad=True)
    weight.register_hook(lambda gradient: gradient * 3)
    with torch.autograd.detect_anomaly(), pytest.raises(RuntimeError, match="nan"):
        run_backward((weight * 0 / 0).sqrt().sum())
    weight.grad = None
    run_backward(weight.sum())
    assert weight.grad.tolist() == [3, 3]
