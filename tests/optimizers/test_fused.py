import copy

import pytest
import torch

from torchkeras_fn.optimizers import SGD, fused
from torchkeras_fn.optimizers.fused import FusedStep

OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, fused=True),
    "adam with weight decay": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1, fused=True),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True, fused=True),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.01, fused=True),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, fused=True),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True, fused=True),
    "dampening": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, dampening=0.5, fused=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1, fused=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01, lr_decay=0.1, initial_accumulator_value=0.1, fused=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, foreach=True),
    "rmsprop with all": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9, centered=True, weight_decay=0.1, foreach=True),
    "rmsprop, centered": lambda p: torch.optim.RMSprop(p, lr=0.01, centered=True, foreach=True),
    "not fused": lambda p: torch.optim.Adam(p, lr=0.01),
    "rmsprop, one by one": lambda p: torch.optim.RMSprop(p, lr=0.01),
    "maximizing": lambda p: torch.optim.SGD(p, lr=0.01, maximize=True, fused=True),
    "another optimizer": lambda p: torch.optim.Adamax(p, lr=0.01),
}


def parameters():
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(size, generator=generator)) for size in ((3, 4), (4,))]


def run(weights, step, count=6, before=lambda index: None):
    generator = torch.Generator().manual_seed(1)
    for index in range(count):
        before(index)
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        step()


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_weights_and_state_equal_those_of_the_public_step(make):
    public, direct = parameters(), parameters()
    expected, used = make(public), make(direct)
    run(public, expected.step)
    run(direct, FusedStep(used, direct))
    assert all(torch.equal(a, b) for a, b in zip(public, direct, strict=True))
    for a, b in zip(public, direct, strict=True):
        assert expected.state[a].keys() == used.state[b].keys()
        assert all(torch.equal(torch.as_tensor(expected.state[a][k]), torch.as_tensor(used.state[b][k])) for k in used.state[b])


@pytest.mark.parametrize("name", ["adam", "amsgrad", "adamw", "adagrad", "momentum", "rmsprop", "rmsprop with all"])
def test_the_kernel_is_called_without_the_optimizers_step(name, monkeypatch):
    weights = parameters()
    optimizer = OPTIMIZERS[name](weights)
    step = FusedStep(optimizer, weights)
    run(weights, step, count=1)
    monkeypatch.setattr(type(optimizer), "step", lambda self: pytest.fail("the public way was taken"))
    run(weights, step, count=2)


def test_a_learning_rate_set_between_steps_counts():
    public, direct = parameters(), parameters()
    expected, used = OPTIMIZERS["adam"](public), OPTIMIZERS["adam"](direct)

    def lower(optimizer):
        return lambda index: optimizer.param_groups[0].update(lr=0.01 / (index + 1))

    run(public, expected.step, before=lower(expected))
    run(direct, FusedStep(used, direct), before=lower(used))
    assert all(torch.equal(a, b) for a, b in zip(public, direct, strict=True))


def test_a_step_hook_is_called_every_time():
    weights, calls = parameters(), []
    optimizer = OPTIMIZERS["adam"](weights)
    step = FusedStep(optimizer, weights)
    run(weights, step, count=2)
    optimizer.register_step_post_hook(lambda *args: calls.append(1))
    run(weights, step, count=3)
    assert len(calls) == 3


def test_a_scheduler_that_watches_steps_sees_them():
    weights = parameters()
    optimizer = OPTIMIZERS["adam"](weights)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    step = FusedStep(optimizer, weights)
    run(weights, step, count=2, before=lambda index: scheduler.step() if index else None)
    assert optimizer.param_groups[0]["lr"] == 0.005


def test_loading_a_state_takes_effect():
    public, direct = parameters(), parameters()
    expected, used = OPTIMIZERS["adam"](public), OPTIMIZERS["adam"](direct)
    step = FusedStep(used, direct)
    run(public, expected.step, count=3)
    run(direct, step, count=3)
    state = copy.deepcopy(expected.state_dict())
    run(direct, step, count=2)
    with torch.no_grad():
        for a, b in zip(public, direct, strict=True):
            b.copy_(a)
    used.load_state_dict(state)
    run(public, expected.step, count=2)
    run(direct, step, count=2)
    assert all(torch.equal(a, b) for a, b in zip(public, direct, strict=True))


def test_a_parameter_without_a_gradient_is_left_alone():
    weights = parameters()
    step = FusedStep(OPTIMIZERS["adam"](weights), weights)
    run(weights, step, count=2)
    before = weights[1].detach().clone()
    weights[1].grad = None
    step()
    assert torch.equal(weights[1], before)


@pytest.mark.parametrize("name", ["adam", "momentum", "rmsprop"])
def test_parameters_of_several_types_take_the_public_way(name):
    public, direct = ([p, torch.nn.Parameter(q.detach().double())] for p, q in (parameters(), parameters()))
    expected, used = OPTIMIZERS[name](public), OPTIMIZERS[name](direct)
    step = FusedStep(used, direct)

    def grow(weights, step):
        for index in range(3):
            for weight in weights:
                weight.grad = torch.full_like(weight, index + 1.0)
            step()

    grow(public, expected.step)
    grow(direct, step)
    assert all(torch.equal(a, b) for a, b in zip(public, direct, strict=True))
    assert step._kernel is None


def test_without_the_private_kernels_the_public_way_is_taken(monkeypatch):
    monkeypatch.setattr(fused, "_KERNELS", {})
    public, direct = parameters(), parameters()
    run(public, OPTIMIZERS["adam"](public).step)
    run(direct, FusedStep(OPTIMIZERS["adam"](direct), direct))
    assert all(torch.equal(a, b) for a, b in zip(public, direct, strict=True))


@pytest.mark.parametrize("options", [{}, {"nesterov": True}, {"dampening": 0.5, "weight_decay": 0.1}, {"dampening": 0.5, "maximize": True}])
def test_a_weight_that_gets_its_first_gradient_later_begins_its_momentum_then(options):
    ours, public = parameters(), parameters()
    step = FusedStep(torch.optim.SGD(ours, lr=0.1, momentum=0.9, fused=True, **options), ours)
    by_hand = torch.optim.SGD(public, lr=0.1, momentum=0.9, **options)
    for index in range(5):
        for weights in (ours, public):
            weights[0].grad, weights[1].grad = torch.ones(3, 4), torch.ones(4) if index > 2 else None
        step()
        by_hand.step()
    for one, other in zip(ours, public, strict=True):
        torch.testing.assert_close(one, other)


# ---------------------------------------------------------------------- sparse gradients


def run_sparse(make, count=3):
    """Take steps with the sparse gradient of an embedding, and return its weights."""
    table = torch.nn.Embedding(5, 2, sparse=True)
    torch.nn.init.ones_(table.weight)
    step = make(table.parameters())
    for _ in range(count):
        table.weight.grad = None
        table(torch.tensor([1, 3, 1])).square().sum().backward()
        step()
    return table.weight.detach()


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")  # which torch's own Adagrad makes no use of
@pytest.mark.parametrize("name", ["sgd", "momentum", "adagrad"])
def test_sparse_gradients_take_the_way_of_torch_that_takes_them(name):
    def short(parameters):
        parameters = list(parameters)
        return FusedStep(OPTIMIZERS[name](parameters), parameters)

    def public(parameters):
        optimizer = OPTIMIZERS[name](parameters)
        optimizer.param_groups[0]["fused"] = False
        return optimizer.step

    assert torch.equal(run_sparse(short), run_sparse(public))


def test_a_step_that_takes_sparse_gradients_says_that_its_kernel_leaves_none_out():
    weight = torch.nn.Embedding(5, 2, sparse=True).weight
    optimizer = torch.optim.SGD([weight], lr=0.1, fused=True)
    weight.grad = torch.sparse_coo_tensor([[1]], [[1.0, 1.0]], (5, 2))
    FusedStep(optimizer, [weight])()
    assert not fused.takes_unfit(optimizer)


@pytest.mark.parametrize("name", ["adam", "rmsprop", "another optimizer"])
def test_an_optimizer_without_sparse_gradients_names_the_one_with(name):
    def make(parameters):
        parameters = list(parameters)
        return FusedStep(OPTIMIZERS[name](parameters), parameters)

    with pytest.raises(ValueError, match="takes no sparse gradients.*torch.optim.SparseAdam"):
        run_sparse(make)


@pytest.mark.parametrize(
    "options", [{"clipnorm": 0.5}, {"clipvalue": 0.1}, {"global_clipnorm": 0.5}, {"gradient_accumulation_steps": 2}, {"weight_decay": 0.1}]
)
def test_sparse_gradients_are_clipped_gathered_and_decayed_like_others(options):
    def with_options(is_sparse):
        table = torch.nn.Embedding(5, 2, sparse=is_sparse)
        torch.nn.init.ones_(table.weight)
        optimizer = SGD(0.1, **options)
        optimizer.build(table.parameters())
        for _ in range(4):
            optimizer.zero_grad()
            table(torch.tensor([1, 3, 1])).square().sum().backward()
            optimizer.step()
        return table.weight.detach()

    assert torch.allclose(with_options(True), with_options(False))


def switched(**options):
    return lambda optimizer: optimizer.param_groups[0].update(options)


def forget_each(optimizer):
    for weight in list(optimizer.state):
        optimizer.state[weight] = {}


def with_another_group(optimizer):
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer.add_param_group({"params": [weight]})
    weight.grad = torch.ones(2)


def begin_each_anew(optimizer):
    """Put other tensors in the place of what is kept of each parameter, and leave the numbers of steps as they are."""
    for state in optimizer.state.values():
        state |= {name: torch.zeros_like(value) for name, value in state.items() if name != "step"}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sgd", switched(momentum=0.9)),
        ("momentum", switched(momentum=0.0, nesterov=False)),
        ("sgd", switched(maximize=True)),
        ("adam", switched(maximize=True)),
        ("rmsprop", switched(maximize=True)),
        ("adam", switched(fused=False)),
        ("adam", lambda optimizer: optimizer.state.clear()),
        ("momentum", lambda optimizer: optimizer.state.clear()),
        ("rmsprop", lambda optimizer: optimizer.state.clear()),
        ("adagrad", switched(maximize=True)),
        ("adam", forget_each),
        ("adam", begin_each_anew),
        ("momentum", begin_each_anew),
        ("adam", with_another_group),
    ],
)
def test_what_is_changed_in_the_torch_optimizer_between_steps_counts(name, change):
    public, direct = parameters(), parameters()
    expected, used = OPTIMIZERS[name](public), OPTIMIZERS[name](direct)

    def at_the_fourth(optimizer):
        return lambda index: change(optimizer) if index == 3 else None

    run(public, expected.step, before=at_the_fourth(expected))
    run(direct, FusedStep(used, direct), before=at_the_fourth(used))
    assert all(map(torch.equal, public, direct))
    assert all(map(torch.equal, expected.param_groups[-1]["params"], used.param_groups[-1]["params"]))


def test_the_kernel_is_called_again_after_a_change(monkeypatch):
    weights = parameters()
    optimizer = OPTIMIZERS["adam"](weights)
    step = FusedStep(optimizer, weights)
    run(weights, step, count=2)
    optimizer.state.clear()
    run(weights, step, count=1)
    monkeypatch.setattr(type(optimizer), "step", lambda self: pytest.fail("the public way was taken"))
    run(weights, step, count=2)
