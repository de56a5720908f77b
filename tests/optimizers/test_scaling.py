"""`Scaling`: the scale of the loss comes out of the gradients, and a step with one that is not finite is left out."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from torchkeras_fn import optimizers
from torchkeras_fn.optimizers import Scaling
from torchkeras_fn.optimizers.fused import takes_unfit

ADAGRAD_TAKES_UNFIT = takes_unfit(torch.optim.Adagrad([torch.ones(1)], fused=True))  # in later versions of torch
KINDS = ["Adam", "AdamW", "SGD", "Adagrad", "RMSprop", "Adadelta", "Adamax", "Nadam", "Ftrl", "Lion", "Lamb", "Adafactor"]


def weights():
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(4))]


def bound(optimizer, parameters, scaling=None, **options):
    optimizer.bind(parameters, scaling=scaling, **options)
    return optimizer


def loss_of(parameters, step=0):
    return sum((parameter - 0.1 * step).square().sum() for parameter in parameters)


def take_step(optimizer, parameters, step=0, factor=1.0):
    optimizer.zero_grad()
    (optimizer.scale_loss(loss_of(parameters, step)) * factor).backward()
    optimizer.step()


def values(parameters):
    return [parameter.detach().clone() for parameter in parameters]


# ---------------------------------------------------------------------- steps


@pytest.mark.parametrize("options", [{}, {"clipnorm": 0.5}, {"global_clipnorm": 0.5, "clipvalue": 0.2}, {"loss_scale_factor": 8.0}])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_those_without_a_scale(kind, options):
    plain, scaled = weights(), weights()
    one = bound(getattr(optimizers, kind)(0.01, **options), plain)
    other = bound(getattr(optimizers, kind)(0.01, **options), scaled, Scaling("cpu"))
    for step in range(5):
        take_step(one, plain, step)
        take_step(other, scaled, step)
    for mine, usual in zip(scaled, plain, strict=True):
        torch.testing.assert_close(mine, usual)
    assert other.iterations == one.iterations == 5


@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_with_a_gradient_that_is_not_finite_is_left_out(kind, bad, at):
    parameters, scaling = weights(), Scaling("cpu")
    options = {"weight_decay": 0.1, "use_ema": True, "global_clipnorm": 1.0}
    optimizer = bound(getattr(optimizers, kind)(0.01, **options), parameters, scaling)
    for step in range(at):
        take_step(optimizer, parameters, step)
    before, state = values(parameters), copy.deepcopy(optimizer.torch_optimizer.state_dict()["state"])
    take_step(optimizer, parameters, factor=bad)
    assert all(torch.equal(mine, was) for mine, was in zip(parameters, before, strict=True))
    assert all(mean.isfinite().all() for mean in optimizer._averages.means)
    assert scaling.state_dict() == {"scale": 2.0**14, "steps": 0}
    for number, values_before in state.items():
        for name, value in values_before.items():
            torch.testing.assert_close(optimizer.torch_optimizer.state_dict()["state"][number][name], value, msg=name)
    take_step(optimizer, parameters)
    assert not any(torch.equal(mine, was) for mine, was in zip(parameters, before, strict=True))
    assert all(mine.isfinite().all() for mine in parameters)
    assert scaling.state_dict() == {"scale": 2.0**14, "steps": 1}


def test_weights_are_decayed_only_in_steps_that_are_taken():
    parameters = weights()
    optimizer = bound(optimizers.SGD(0.1, weight_decay=0.5), parameters, Scaling("cpu"))
    before = values(parameters)
    take_step(optimizer, parameters, factor=float("inf"))
    assert all(torch.equal(mine, was) for mine, was in zip(parameters, before, strict=True))
    take_step(optimizer, parameters)
    for mine, was in zip(parameters, before, strict=True):
        torch.testing.assert_close(mine.detach(), was * (1 - 0.1 * 0.5) - 0.1 * 2 * was)


def test_the_scale_grows_after_many_steps():
    parameters, scaling = weights(), Scaling("cpu")
    scaling.load_state_dict({"scale": 4.0, "steps": 1998})
    optimizer = bound(optimizers.SGD(0.0), parameters, scaling)
    take_step(optimizer, parameters)
    assert scaling.state_dict() == {"scale": 4.0, "steps": 1999}
    take_step(optimizer, parameters)
    assert scaling.state_dict() == {"scale": 8.0, "steps": 0}


@pytest.mark.parametrize("bad", [None, 0, 1])
def test_gathered_gradients_are_unscaled_once(bad):
    plain, scaled, scaling = weights(), weights(), Scaling("cpu")
    one = bound(optimizers.SGD(0.1, momentum=0.9), plain, gradient_accumulation_steps=2)
    other = bound(optimizers.SGD(0.1, momentum=0.9), scaled, scaling, gradient_accumulation_steps=2)
    for step in range(4):
        if bad is None or step > 1:
            take_step(one, plain, step)
        take_step(other, scaled, step, factor=float("inf") if step == bad else 1.0)
    for mine, usual in zip(scaled, plain, strict=True):
        torch.testing.assert_close(mine, usual)
    assert scaling.state_dict() == ({"scale": 2.0**15, "steps": 2} if bad is None else {"scale": 2.0**14, "steps": 1})
    assert other.iterations == 2


def test_a_step_without_a_scaled_loss_is_a_plain_one():
    plain, mine = weights(), weights()
    one, other = bound(optimizers.Adam(0.01), plain), bound(optimizers.Adam(0.01), mine, Scaling("cpu"))
    for step in range(4):
        take_step(one, plain, step)
        other.zero_grad()
        loss = loss_of(mine, step)
        (other.scale_loss(loss) if step == 2 else loss).backward()
        other.step()
    for left, right in zip(mine, plain, strict=True):
        torch.testing.assert_close(left, right)


def test_a_step_without_gradients_changes_nothing():
    parameters, scaling = weights(), Scaling("cpu")
    optimizer = bound(optimizers.Adam(), parameters, scaling)
    before = values(parameters)
    scaling.scale(torch.ones(()))
    optimizer.step()
    assert all(torch.equal(mine, was) for mine, was in zip(parameters, before, strict=True))
    assert scaling.state_dict() == {"scale": 2.0**15, "steps": 0}


def test_a_step_that_fails_does_not_spoil_the_next():
    parameters = weights()
    optimizer = bound(optimizers.RMSprop(0.1), parameters, Scaling("cpu"))
    handle = optimizer.torch_optimizer.register_step_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        take_step(optimizer, parameters)
    handle.remove()
    before = values(parameters)
    take_step(optimizer, parameters)
    assert not any(torch.equal(mine, was) for mine, was in zip(parameters, before, strict=True))


class Reads(TorchDispatchMode):
    """Counts how often a number is read from a tensor."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function._schema.name in ("aten::_local_scalar_dense", "aten::item", "aten::equal", "aten::nonzero")
        return function(*args, **(kwargs or {}))


READS = {"Adam": 0, "AdamW": 0, "SGD": 0, "Adagrad": 0 if ADAGRAD_TAKES_UNFIT else 1, "RMSprop": 1, "Lion": 1}


@pytest.mark.parametrize(("kind", "reads"), READS.items(), ids=READS)
def test_fused_optimizers_read_nothing(kind, reads):
    parameters = weights()
    options = {"weight_decay": 0.1, "use_ema": True, "global_clipnorm": 1.0}
    optimizer = bound(getattr(optimizers, kind)(0.01, **options), parameters, Scaling("cpu"))
    take_step(optimizer, parameters)
    with Reads() as seen:
        take_step(optimizer, parameters)
    assert seen.count == reads


TAKING_UNFIT = [("Adam", {"amsgrad": True}), ("AdamW", {}), ("SGD", {"momentum": 0.9}), *[("Adagrad", {})] * ADAGRAD_TAKES_UNFIT]


@pytest.mark.parametrize(("kind", "options"), TAKING_UNFIT)
def test_scaled_steps_are_kernels_too_unless_somebody_watches(kind, options, monkeypatch):
    public = []
    parameters = weights()
    optimizer = bound(getattr(optimizers, kind)(0.01, **options), parameters, Scaling("cpu"))
    torch_class = type(optimizer.torch_optimizer)
    usual = torch_class.step
    monkeypatch.setattr(torch_class, "step", lambda self, *args: public.append(self) or usual(self, *args))
    for step in range(4):
        take_step(optimizer, parameters, step)
    assert len(public) == 1  # the first, which makes the state
    watched = []
    optimizer.torch_optimizer.register_step_post_hook(lambda *_: watched.append(1))
    take_step(optimizer, parameters)
    take_step(optimizer, parameters, factor=float("inf"))
    assert len(public) == 3 and len(watched) == 2
    assert not {"grad_scale", "found_inf"} & vars(optimizer.torch_optimizer).keys()


# ---------------------------------------------------------------------- state


def test_the_state_comes_back():
    parameters, scaling = weights(), Scaling("cpu")
    optimizer = bound(optimizers.Adam(), parameters, scaling)
    take_step(optimizer, parameters, factor=float("inf"))
    take_step(optimizer, parameters)
    state = optimizer.state_dict()
    assert state["scaling"] == {"scale": 2.0**14, "steps": 1}
    twin = bound(optimizers.Adam(), weights(), Scaling("cpu"))
    twin.load_state_dict(state)
    assert twin.state_dict()["scaling"] == state["scaling"]
    take_step(twin, twin.parameters)
    assert twin.state_dict()["scaling"] == {"scale": 2.0**14, "steps": 2}


def test_a_state_without_a_scale_is_taken():
    optimizer = bound(optimizers.Adam(), weights())
    state = optimizer.state_dict()
    assert "scaling" not in state
    bound(optimizers.Adam(), weights(), Scaling("cpu")).load_state_dict(state)


@pytest.mark.parametrize(
    "state",
    [
        *({"scale": scale, "steps": 0} for scale in (float("inf"), float("nan"), -1.0, "1", None, True, torch.ones(1))),
        *({"scale": 1.0, "steps": steps} for steps in (-1, 2**40, 0.5, None, True)),
        *({}, None, [1.0, 0]),
    ],
)
def test_a_state_that_cannot_be_is_refused(state):
    scaling = Scaling("cpu")
    with pytest.raises(ValueError, match="which cannot be"):
        scaling.load_state_dict(state)
    assert scaling.state_dict() == {"scale": 2.0**15, "steps": 0}


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))], ids=["copy", "pickle"])
def test_a_copy_has_the_scale_of_its_own(copied):
    parameters, scaling = weights(), Scaling("cpu")
    optimizer = bound(optimizers.SGD(), parameters, scaling)
    take_step(optimizer, parameters, factor=float("inf"))
    twin = copied(optimizer)
    take_step(twin, twin.parameters, factor=float("inf"))
    assert twin.state_dict()["scaling"]["scale"] == 2.0**13
    assert scaling.state_dict()["scale"] == 2.0**14


def test_binding_anew_drops_the_scale():
    optimizer = bound(optimizers.SGD(), weights(), Scaling("cpu"), gradient_accumulation_steps=3)
    assert optimizer.scales_loss
    optimizer.bind(weights())
    assert not optimizer.scales_loss and optimizer._gathered is None
    assert optimizer.get_config()["gradient_accumulation_steps"] is None
