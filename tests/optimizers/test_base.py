"""Optimizers: torch's formulas under Keras' names, learning rates, clipping, state, and how they are looked up."""

import copy
import functools
import importlib
import inspect
import json
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from tests.optimizers.steps import bound, parameter, step
from torchkeras_fn import optimizers
from torchkeras_fn.optimizers.schedules import ExponentialDecay, LearningRateSchedule

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
    (optimizers.AdamW(0.1), lambda p: torch.optim.AdamW(p, lr=0.1, eps=1e-7, weight_decay=0.004)),
    (optimizers.Adamax(0.1, 0.8), lambda p: torch.optim.Adamax(p, lr=0.1, eps=1e-7, betas=(0.8, 0.999))),
    (optimizers.Nadam(0.1, schedule_decay=0.004), lambda p: torch.optim.NAdam(p, lr=0.1, eps=1e-7)),
    (optimizers.Adagrad(0.1), lambda p: torch.optim.Adagrad(p, lr=0.1, eps=1e-7, initial_accumulator_value=0.1)),
    (optimizers.Adadelta(0.1), lambda p: torch.optim.Adadelta(p, lr=0.1, eps=1e-7, rho=0.95)),
    (optimizers.Adafactor(0.1), lambda p: torch.optim.Adafactor(p, lr=0.1, eps=(1e-15, 1e-3))),
]
KINDS = [kind for kind in vars(optimizers).values() if isinstance(kind, type) and issubclass(kind, optimizers.Optimizer)]
KINDS = list(dict.fromkeys(KINDS))  # some have two names
KINDS.remove(optimizers.Optimizer)
KINDS.remove(optimizers.LossScaleOptimizer)  # which goes around another: test_loss_scale.py
WITH_EPSILON = [kind for kind in KINDS if "epsilon" in inspect.signature(kind).parameters]
OPTIONS = [
    {"weight_decay": 0.1, "clipnorm": 1.0},
    {"global_clipnorm": 1.0, "clipvalue": 0.1, "decay": 0.1},
    {"learning_rate": ExponentialDecay(0.1, 2, 0.5), "use_ema": True, "ema_overwrite_frequency": 2},
    {"gradient_accumulation_steps": 2, "loss_scale_factor": 8.0},
]
FUSED = [optimizers.SGD, optimizers.Adam, optimizers.AdamW, optimizers.Adagrad]


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


@pytest.mark.parametrize("kind", WITH_EPSILON)
def test_no_epsilon_is_the_usual_one(kind):
    assert kind(epsilon=None).epsilon == 1e-7


@pytest.mark.parametrize("kind", FUSED)
def test_torchs_fused_kernels_are_used_where_there_are_some(kind):
    assert bound(kind()).torch_optimizer.defaults["fused"] is True


@pytest.mark.parametrize("kind", [optimizers.Adam, optimizers.AdamW])
def test_weight_decay_is_part_of_adams_kernel(kind):
    optimizer = bound(kind(weight_decay=0.1))
    assert type(optimizer.torch_optimizer) is torch.optim.AdamW
    assert optimizer.param_groups[0]["weight_decay"] == 0.1
    assert type(bound(optimizers.Adam()).torch_optimizer) is torch.optim.Adam


@pytest.mark.parametrize("options", [{}, *OPTIONS], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_read_from_the_device(kind, options):
    """A device without storage has nothing to read: reading would raise."""
    p, q = (nn.Parameter(torch.ones(size, device="meta")) for size in ((3, 2), (3,)))
    optimizer = bound(kind(**options), p, q)
    for _ in range(3):
        step(optimizer, 1.0)
    assert p.device.type == "meta" and optimizer.iterations == 3 // (optimizer.gradient_accumulation_steps or 1)


@pytest.mark.parametrize("kind", KINDS)
def test_decay_divides_the_rate_by_the_steps_taken(kind):
    p, q = parameter(), parameter()
    decaying, plain = bound(kind(0.1, decay=0.5), p), bound(kind(0.1), q)
    for index in range(3):
        plain.learning_rate = 0.1 / (1 + 0.5 * index)
        step(decaying, 1.0)
        step(plain, 1.0)
    torch.testing.assert_close(p, q)
    assert decaying.learning_rate == 0.1 and decaying.param_groups[0]["lr"] == 0.1 / 2


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


def test_constraints_are_applied_after_each_batch_also_while_gradients_are_gathered():
    p, applied = parameter(1.0), []
    optimizer = optimizers.SGD(1.0, gradient_accumulation_steps=3)
    optimizer.bind([p], [lambda: applied.append(p.item())])
    for _ in range(3):
        step(optimizer, 1.0)
    assert applied == [1.0, 1.0, 0.0]  # as in Keras 3


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
    assert isinstance(optimizer.learning_rate, float) and optimizer.learning_rate == float(rate)
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


class Halving(LearningRateSchedule):
    """A schedule of a user's, in torch's words."""

    def __init__(self, start=1.0):
        self.start = start

    def __call__(self, step):
        return self.start * torch.pow(0.5, step)


@pytest.mark.parametrize("rate", [Halving(0.5), ExponentialDecay(0.5, 1, 0.5), lambda: 0.5], ids=["users", "ours", "function"])
def test_a_rate_that_moves_is_asked_at_every_step(rate):
    p = parameter(0.0)
    optimizer = bound(optimizers.SGD(rate), p)
    step(optimizer, 1.0)
    assert p.item() == -0.5
    assert optimizer.learning_rate == (0.5 if inspect.isfunction(rate) else 0.25)
    before = p.item()
    step(optimizer, 1.0)
    assert before - p.item() == pytest.approx(0.5 if inspect.isfunction(rate) else 0.25)


@pytest.mark.parametrize("is_bound", [False, True])
def test_a_rate_that_follows_a_schedule_cannot_be_set_to_a_number_but_to_another_schedule(is_bound):
    optimizer = optimizers.SGD(ExponentialDecay(0.5, 1, 0.5))
    if is_bound:
        bound(optimizer)
    for change in (lambda: setattr(optimizer, "learning_rate", 0.1), lambda: optimizer.learning_rate.assign(0.1)):
        with pytest.raises(TypeError, match="follows .*ExponentialDecay.* and cannot be set to a number"):
            change()
    optimizer.learning_rate = ExponentialDecay(0.25, 1, 0.5)
    assert optimizer.learning_rate == 0.25


def test_a_rate_that_was_read_can_be_assigned_as_keras_variable():
    optimizer = bound(optimizers.SGD(0.5))
    optimizer.learning_rate.assign(0.25)
    assert (optimizer.lr, optimizer.lr.numpy(), optimizer.param_groups[0]["lr"]) == (0.25, 0.25, 0.25)
    assert type(copy.deepcopy(optimizer.lr)) is float and type(pickle.loads(pickle.dumps(optimizer.lr))) is float


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_remembers_steps_as_in_keras(nesterov):
    p = parameter(0.0)
    optimizer = bound(optimizers.SGD(1.0, momentum=0.5, nesterov=nesterov), p)
    velocity = expected = 0.0
    for rate in (1.0, 0.1, 0.1, 0.5):
        optimizer.lr = rate
        step(optimizer, 1.0)
        velocity = 0.5 * velocity - rate
        expected += 0.5 * velocity - rate if nesterov else velocity
    assert p.item() == pytest.approx(expected)


# ---------------------------------------------------------------------- weight decay


def test_weights_are_excluded_from_decay_by_name_and_by_themselves():
    weights = {"dense.weight kernel": parameter(1.0), "dense.bias bias": parameter(1.0), "other.weight": parameter(1.0)}
    kernel, bias, other = weights.values()
    optimizer = optimizers.Adam(0.0, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[other], var_names=["bias", "gamma"])
    optimizer.bind(weights.values(), names={id(weight): name for name, weight in weights.items()})
    optimizer.learning_rate = 1e-2
    step(optimizer, 0.0)
    assert [weight.item() for weight in (kernel, bias, other)] == [pytest.approx(1 - 0.5e-2), 1.0, 1.0]
    with pytest.raises(ValueError, match="comes before compile"):
        optimizer.exclude_from_weight_decay(var_names=["kernel"])


def test_decay_leaves_weights_without_a_gradient_alone():
    used, unused = parameter(1.0), parameter(1.0)
    optimizer = bound(optimizers.SGD(0.5, weight_decay=0.5), used, unused)
    used.grad = torch.zeros(1)
    optimizer.step()
    assert (used.item(), unused.item()) == (0.75, 1.0)


# ---------------------------------------------------------------------- running means, gathered gradients, scaled losses


def test_running_means_become_the_weights():
    p = parameter(0.0)
    optimizer = bound(optimizers.SGD(1.0, use_ema=True, ema_momentum=0.75), p)
    step(optimizer, -1.0)
    step(optimizer, -1.0)
    assert p.item() == 2.0
    optimizer.finalize_variable_values([p])
    assert p.item() == 0.75 * 1 + 0.25 * 2
    with pytest.raises(ValueError, match="no running mean of a weight"):
        optimizer.finalize_variable_values([parameter(1.0)])


def test_running_means_overwrite_the_weights_every_so_often():
    p = parameter(0.0)
    optimizer = bound(optimizers.SGD(1.0, use_ema=True, ema_momentum=0.75, ema_overwrite_frequency=2), p)
    values = []
    for _ in range(4):
        step(optimizer, -1.0)
        values.append(p.item())
    assert values == [1.0, 1.25, 2.25, 0.75 * (0.75 * 1.25 + 0.25 * 2.25) + 0.25 * 3.25]


def test_weights_are_exchanged_for_their_running_means_and_back():
    p = parameter(0.0)
    optimizer = bound(optimizers.SGD(1.0, use_ema=True, ema_momentum=0.75), p)
    step(optimizer, -1.0)
    step(optimizer, -1.0)
    for is_swapped, value in ((True, 1.25), (True, 1.25), (False, 2.0)):
        optimizer.swapped = is_swapped
        assert (optimizer.swapped, p.item()) == (is_swapped, value)


def test_weights_without_running_means_are_not_exchanged():
    optimizer = bound(optimizers.SGD(1.0))
    assert optimizer.swapped is False
    with pytest.raises(ValueError, match="use_ema=True"):
        optimizer.swapped = True


def test_nothing_is_finalized_without_running_means():
    p = parameter(1.0)
    bound(optimizers.SGD(), p).finalize_variable_values([p])
    bound(optimizers.SGD(use_ema=True), p).finalize_variable_values()
    assert p.item() == 1.0


@pytest.mark.parametrize("when", [0, 1, 2])
@pytest.mark.parametrize("taken_up", [False, True])
def test_gathered_gradients_make_one_step_with_their_mean(when, taken_up):
    p, sometimes, never = parameter(0.0), parameter(0.0), parameter(1.0)
    parameters = (p, sometimes, never)
    optimizer = bound(optimizers.SGD(1.0, gradient_accumulation_steps=3, clipvalue=2.0, weight_decay=0.1), *parameters)
    for index, gradient in enumerate((1.0, 2.0, 6.0, 1.0)):
        optimizer.zero_grad()
        p.grad = torch.tensor([gradient])
        sometimes.grad = torch.ones(1) if index == when else None
        optimizer.step()
        assert p.item() == (0.0 if index < 2 else -2.0)
        if taken_up:
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = bound(optimizers.SGD(1.0, gradient_accumulation_steps=3, clipvalue=2.0, weight_decay=0.1), *parameters)
            optimizer.load_state_dict(state)
    assert optimizer.iterations == 1 and sometimes.item() == pytest.approx(-1 / 3) and never.item() == 1.0


def test_a_scaled_loss_makes_the_same_step():
    p = parameter(1.0)
    optimizer = bound(optimizers.SGD(0.5, loss_scale_factor=128.0), p)
    optimizer.scale_loss(p.sum()).backward()
    assert p.grad.item() == 128.0
    optimizer.step()
    assert p.item() == 0.5
    assert optimizers.SGD().scale_loss(p) is p


def test_keras_apply_takes_gradients_and_variables():
    p, q = parameter(1.0), parameter(1.0)
    optimizer = optimizers.SGD(0.5)
    with pytest.raises(RuntimeError, match="knows no variables yet"):
        optimizer.apply([torch.ones(1)])
    optimizer.build([p, q])
    optimizer.apply([torch.ones(1), None])
    optimizer.apply_gradients([(torch.ones(1), q)])
    assert (p.item(), q.item(), optimizer.iterations) == (0.5, 0.5, 2)
    for gradients, variables in (([torch.ones(1)], [parameter(1.0)]), ([torch.ones(1)], None)):
        with pytest.raises(ValueError, match="a gradient for each variable"):
            optimizer.apply(gradients, variables)


# ---------------------------------------------------------------------- state


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
    assert optimizer.name == {"RMSprop": "rm_sprop", "AdamW": "adam_w"}.get(name, name.lower())  # as Keras spells them


def test_torch_optimizers_their_classes_and_partials_are_given_back():
    for identifier in (torch.optim.Adam([parameter()]), torch.optim.SGD, functools.partial(torch.optim.SGD, lr=0.1)):
        assert optimizers.get(identifier) is identifier


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not optimizers.Muon])  # of which they stand between its own
def test_the_options_of_all_follow_those_of_one_in_keras_order(kind):
    arguments = list(inspect.signature(kind.__init__).parameters.values())[1:]
    own = {argument.name: argument.default for argument in arguments if argument.kind is argument.POSITIONAL_OR_KEYWORD}
    rest = [0.1, 1.0, None, None, True, 0.5, 3, 8.0, 2, "mine"][1 if "weight_decay" in own else 0 :]
    optimizer = kind(*own.values(), *rest)
    again = kind.from_config(json.loads(json.dumps(optimizer.get_config())))
    for made in (optimizer, again):
        assert (made.clipnorm, made.use_ema, made.ema_momentum, made.ema_overwrite_frequency) == (1.0, True, 0.5, 3)
        assert (made.loss_scale_factor, made.gradient_accumulation_steps, made.name) == (8.0, 2, "mine")


@pytest.mark.parametrize("optimizer", [ours for ours, _ in TWINS] + [optimizers.Adam(lr=0.5, clipnorm=1.0, decay=0.1)])
def test_the_config_is_json_and_makes_an_equal_optimizer(optimizer):
    again = optimizers.deserialize(json.loads(json.dumps(optimizers.serialize(optimizer))))
    assert type(again) is type(optimizer)
    assert again.get_config() == optimizer.get_config()


def test_the_config_has_the_rate_as_it_is_now():
    optimizer = bound(optimizers.SGD(0.1))
    optimizer.lr = 0.5
    assert optimizers.SGD.from_config(optimizer.get_config()).learning_rate == 0.5


def test_the_config_of_a_schedule_is_part_of_that_of_the_optimizer():
    optimizer = bound(optimizers.SGD(ExponentialDecay(0.5, 10, 0.5)))
    again = optimizers.deserialize(json.loads(json.dumps(optimizers.serialize(optimizer))))
    assert again.get_config() == optimizer.get_config() and again.learning_rate == 0.5
    mine = optimizers.SGD.from_config(optimizers.SGD(Halving(0.25)).get_config(), custom_objects={"Halving": Halving})
    assert mine.learning_rate == 0.25


@pytest.mark.parametrize("rate", [0.5, Halving(0.5), ExponentialDecay(0.5, 1, 0.5), lambda: 0.5])
def test_another_model_gets_an_optimizer_of_the_same_options_that_knows_of_no_step(rate):
    optimizer = bound(optimizers.Adam(rate, clipnorm=1.0, use_ema=True))
    step(optimizer, 1.0)
    twin = optimizer.for_another_model()
    assert (twin.torch_optimizer, twin.parameters, twin.iterations, twin.learning_rate, twin.clipnorm) == (None, [], 0, 0.5, 1.0)
    assert optimizer.iterations == 1 and optimizer.parameters


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimizers.get("adm"), "Unknown optimizer 'adm'. Did you mean 'Adam'?"),
        (lambda: optimizers.get("rms_prp"), "Did you mean 'RMSprop'?"),
        (lambda: optimizers.get("xyzzy"), "Known are: Adadelta, Adafactor, .*, SGD"),
        (lambda: optimizers.get(None), "Expected an optimizer's name.* got None"),
        (lambda: optimizers.get(0.1), "Expected an optimizer's name.* got 0.1 of type float"),
        (lambda: optimizers.get(lambda parameters: None), "Expected an optimizer's name"),
        (lambda: optimizers.get(nn.ReLU), "is not an optimizer"),
        (lambda: optimizers.SGD(-0.1), "'learning_rate' must not be negative, got -0.1"),
        (lambda: optimizers.SGD("fast"), "'learning_rate' must be a number, got 'fast'"),
        (lambda: optimizers.SGD(momentum=2), "'momentum' must be between 0 and 1, got 2"),
        (lambda: optimizers.SGD(clipnorm=-1), "'clipnorm' must be a finite number of at least 0, got -1"),
        (lambda: optimizers.SGD(decay=-1), "'decay' must be a finite number of at least 0, got -1"),
        (lambda: optimizers.SGD(use_ema=True, ema_momentum=2), "'ema_momentum' must be between 0 and 1, got 2"),
        (lambda: optimizers.SGD(ema_overwrite_frequency=1.5), "'ema_overwrite_frequency' must be an integer of at least 1"),
        (lambda: optimizers.SGD(gradient_accumulation_steps=1), "'gradient_accumulation_steps' must be an integer of at least 2"),
        (lambda: optimizers.SGD(loss_scale_factor=0), "'loss_scale_factor' must be greater than 0"),
        (lambda: optimizers.AdamW(weight_decay=None), "AdamW needs a number for 'weight_decay', got None"),
        (lambda: optimizers.Lion(beta_1=0), "'beta_1' must be above 0 and at most 1, got 0"),
        (lambda: optimizers.Ftrl(learning_rate_power=0.5), "'learning_rate_power' must be at most 0, got 0.5"),
        (lambda: optimizers.SGD(True), "'learning_rate' must be a number, got True"),
        (lambda: optimizers.SGD({"class_name": "ExponentialDecays"}), "Did you mean 'ExponentialDecay'?"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_unknown_option_is_a_type_error():
    with pytest.raises(TypeError, match="speed"):
        optimizers.Adam(speed=3)


# ---------------------------------------------------------------------- the names of other versions of Keras


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax", "Nadam"])
def test_keras_2_has_a_second_name_for_a_class(name):
    assert getattr(optimizers, name.lower()) is getattr(optimizers, name)


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax", "Nadam", "Ftrl"])
def test_the_older_optimizers_of_tf_keras_take_its_arguments(name):
    assert getattr(optimizers.legacy, name)(lr=0.5, decay=0.1).decay == 0.1


def test_adam_can_be_imported_from_a_module_of_that_name_which_does_not_hide_the_class():
    from torchkeras_fn.optimizers.adam import Adam

    assert Adam is optimizers.Adam is importlib.import_module("torchkeras_fn.optimizers").adam


# ---------------------------------------------------------------------- optimizers that are written for Keras


@pytest.mark.parametrize("method", ["get_updates", "update_step", "_resource_apply_dense"])
@pytest.mark.parametrize("parent", [optimizers.Optimizer, optimizers.Adam])
def test_an_optimizer_that_is_written_for_keras_says_what_it_would_be_here(method, parent):
    kind = type("RAdam", (parent,), {method: lambda self, *arguments: None})
    with pytest.raises(TypeError, match=rf"RAdam computes its steps in {method}\(\).*torch.optim.Optimizer class"):
        kind(0.1)


def test_an_optimizer_of_ones_own_needs_a_torch_class():
    class Mine(optimizers.Optimizer):
        pass

    with pytest.raises(TypeError, match="Mine names no torch_class"):
        Mine()


def test_an_optimizer_of_ones_own_may_make_what_it_likes():
    class Mine(optimizers.Optimizer):
        def make(self, parameters, decaying=False):
            return torch.optim.SGD(parameters, lr=0.5)

    weight = parameter()
    optimizer = bound(Mine(), weight)
    assert type(optimizer.torch_optimizer) is torch.optim.SGD
